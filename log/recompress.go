package log

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

// A topic whose compression.type is not "producer" has the batches of its
// producers packed anew as it says, as in Kafka.

// asProduced is the compression.type that leaves batches as producers packed them.
const asProduced = "producer"

// compressionTypes are the values of compression.type that name a codec.
var compressionTypes = map[string]Compression{
	"uncompressed": CompressionNone, "gzip": CompressionGzip, "snappy": CompressionSnappy, "lz4": CompressionLZ4, "zstd": CompressionZstd,
}

// recompress packs batches with the codec c. They are good ones. It returns them
// as they are if there is nothing to do.
func recompress(c Compression, batches []byte) ([]byte, error) {
	same := true
	for b := batches; len(b) > 0 && same; {
		info := parseHeader(b)
		same = info.Compression() == c
		b = b[info.Size:]
	}
	if same {
		return batches, nil
	}
	plain := <-unpacking // as few at a time as checkRecords does
	defer func() {
		if cap(plain) > maxUnpackKept {
			plain = nil
		}
		unpacking <- plain
	}()
	var out []byte
	for b := batches; len(b) > 0; {
		info := parseHeader(b)
		var err error
		if plain, err = info.Compression().decompress(plain[:0], b[BatchHeaderSize:info.Size], MaxDecompressedBytes); err != nil {
			return nil, err
		}
		from := len(out)
		out = append(out, b[:BatchHeaderSize]...)
		if out, err = c.compress(out, plain); err != nil {
			return nil, fmt.Errorf("pack %s: %w", c, err)
		}
		batch := out[from:]
		info.Attributes = info.Attributes&^attrCompression | int16(c)
		info.Size = len(batch)
		putBatchHeader(batch, &info)
		sealBatch(batch)
		b = b[parseHeader(b).Size:]
	}
	return out, nil
}

// snappyBlock is how much of the plain text Java clients put into a block.
const snappyBlock = 32 << 10

// compress appends the packed src to dst, in the form that all clients read.
func (c Compression) compress(dst, src []byte) ([]byte, error) {
	switch c {
	case CompressionNone:
		return append(dst, src...), nil
	case CompressionGzip:
		return appendPacked(dst, src, func(w io.Writer) (io.WriteCloser, error) { return gzip.NewWriter(w), nil })
	case CompressionLZ4:
		return appendPacked(dst, src, func(w io.Writer) (io.WriteCloser, error) {
			z := lz4.NewWriter(w)
			return z, z.Apply(lz4.BlockSizeOption(lz4.Block64Kb))
		})
	case CompressionSnappy:
		dst = append(append(dst, xerialMagic...), 0, 0, 0, 1, 0, 0, 0, 1)
		for len(src) > 0 {
			n := min(len(src), snappyBlock)
			block := snappy.Encode(nil, src[:n])
			dst = append(binary.BigEndian.AppendUint32(dst, uint32(len(block))), block...)
			src = src[n:]
		}
		return dst, nil
	case CompressionZstd:
		z, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1))
		if err != nil {
			return dst, err
		}
		defer z.Close()
		return z.EncodeAll(src, dst), nil
	}
	return dst, fmt.Errorf("unknown codec %d", uint8(c))
}

func appendPacked(dst, src []byte, open func(io.Writer) (io.WriteCloser, error)) ([]byte, error) {
	buf := bytes.NewBuffer(dst)
	w, err := open(buf)
	if err != nil {
		return dst, err
	}
	if _, err := w.Write(src); err != nil {
		return dst, err
	}
	err = w.Close()
	return buf.Bytes(), err
}
