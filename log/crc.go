package log

import (
	"encoding/binary"
	"hash/crc32"
)

// A journal entry has a checksum of all that it holds, and so has each batch in
// it, which was checked a moment ago. To read megabytes once more for the
// entry's would cost as much as writing them does, so it is made of theirs.
//
// A CRC is what is left of a polynomial, whose coefficients are the bits of the
// text, after division by a fixed one. To append a text b of n bytes to a text a
// is to multiply a by x^8n and to add b; so
//
//	crc(a·b) = crc(a) · x^8n + crc(b)
//
// where the inversions that CRC-32C makes before and after cancel out.

// combineFrom is the size from which on combining is the faster way: it takes a
// microsecond or less, in which 16 KiB can be read.
const combineFrom = 16 << 10

// appendCRC returns the checksum of a text that crc is that of, followed by a
// run of batches, whose own checksums are right.
func appendCRC(crc uint32, batches []byte) uint32 {
	for len(batches) > 0 {
		size := batchFrameSize + int(binary.BigEndian.Uint32(batches[batchLengthPos:]))
		if size < combineFrom {
			crc = crc32.Update(crc, castagnoli, batches[:size])
		} else {
			crc = crc32.Update(crc, castagnoli, batches[:batchAttributesPos])
			body := binary.BigEndian.Uint32(batches[batchCRCPos:]) // of all from the attributes on
			crc = combineCRC(crc, body, size-batchAttributesPos)
		}
		batches = batches[size:]
	}
	return crc
}

// combineCRC returns the checksum of a text with checksum a followed by one of n
// bytes with checksum b.
func combineCRC(a, b uint32, n int) uint32 {
	for k := 0; n > 0; k++ {
		if n&1 != 0 {
			a = multiply(a, powers[k])
		}
		n >>= 1
	}
	return a ^ b
}

// powers holds x^(8·2^k), so that x^8n is a product of some of them.
var powers = func() (p [64]uint32) {
	p[0] = one >> 8 // x^8
	for k := 1; k < len(p); k++ {
		p[k] = multiply(p[k-1], p[k-1])
	}
	return p
}()

// Polynomials of degree below 32 are written as CRCs are: bit 31 is the
// coefficient of 1, bit 0 that of x^31.
const one = 1 << 31

// multiply returns a·b modulo the polynomial of CRC-32C.
func multiply(a, b uint32) uint32 {
	product := uint32(0)
	for ; a != 0; a <<= 1 {
		product ^= b & -(a >> 31)          // b·x^i if a has that term
		b = b>>1 ^ crc32.Castagnoli&-(b&1) // b·x
	}
	return product
}
