package log

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

// Compression is how the records of a batch are packed: Kafka's codec numbers.
type Compression uint8

const (
	CompressionNone Compression = iota
	CompressionGzip
	CompressionSnappy
	CompressionLZ4
	CompressionZstd
)

var compressionNames = [...]string{"none", "gzip", "snappy", "lz4", "zstd"}

func (c Compression) String() string {
	if int(c) < len(compressionNames) {
		return compressionNames[c]
	}
	return fmt.Sprintf("compression %d", uint8(c))
}

// decompress appends the unpacked src to dst. More than limit bytes of it are an
// error, found before they are made: a small request cannot take all memory.
func (c Compression) decompress(dst, src []byte, limit int) ([]byte, error) {
	var err error
	from := len(dst)
	switch c {
	case CompressionNone:
		dst = append(dst, src...)
	case CompressionGzip:
		dst, err = gunzip(dst, src, limit)
	case CompressionSnappy:
		dst, err = unsnappy(dst, src, limit)
	case CompressionLZ4:
		dst, err = unlz4(dst, src, limit)
	case CompressionZstd:
		dst, err = unzstd(dst, src)
	default:
		err = errors.New("unknown codec")
	}
	if err == nil && len(dst)-from > limit {
		err = fmt.Errorf("more than %d bytes", limit)
	}
	if err != nil {
		return dst[:from], fmt.Errorf("%w: unpack %s: %w", ErrInvalidBatch, c, err)
	}
	return dst, nil
}

// Decoders are large and reusable; decompress gives them back.
var (
	gzipReaders = sync.Pool{New: func() any { return new(gzip.Reader) }}
	lz4Readers  = sync.Pool{New: func() any { return lz4.NewReader(nil) }}

	// zstdDecoder decodes for all goroutines, each call on its own, and starts
	// no goroutine.
	zstdDecoder = sync.OnceValues(func() (*zstd.Decoder, error) {
		return zstd.NewReader(nil, zstd.WithDecoderConcurrency(0), zstd.WithDecoderMaxMemory(MaxDecompressedBytes))
	})
)

func gunzip(dst, src []byte, limit int) ([]byte, error) {
	r := gzipReaders.Get().(*gzip.Reader)
	defer gzipReaders.Put(r)
	if err := r.Reset(bytes.NewReader(src)); err != nil {
		return dst, err
	}
	return appendAll(dst, r, limit)
}

func unlz4(dst, src []byte, limit int) ([]byte, error) {
	r := lz4Readers.Get().(*lz4.Reader)
	defer lz4Readers.Put(r)
	r.Reset(bytes.NewReader(src))
	return appendAll(dst, r, limit)
}

func unzstd(dst, src []byte) ([]byte, error) {
	d, err := zstdDecoder()
	if err != nil {
		return dst, err
	}
	return d.DecodeAll(src, dst)
}

// appendAll appends what r holds, and at most one byte more than limit.
func appendAll(dst []byte, r io.Reader, limit int) ([]byte, error) {
	b := bytes.NewBuffer(dst)
	_, err := b.ReadFrom(io.LimitReader(r, int64(limit)+1))
	return b.Bytes(), err
}

// xerialMagic begins what Java clients make of snappy: 8 bytes of magic, two
// versions of 4, then blocks, each with its length before it in 4 bytes. Other
// clients send one bare block.
const (
	xerialMagic      = "\x82SNAPPY\x00"
	xerialHeaderSize = 16
)

func unsnappy(dst, src []byte, limit int) ([]byte, error) {
	if !bytes.HasPrefix(src, []byte(xerialMagic)) {
		return appendSnappy(dst, src, limit)
	}
	if len(src) < xerialHeaderSize {
		return dst, io.ErrUnexpectedEOF
	}
	src = src[xerialHeaderSize:]
	for len(src) > 0 {
		if len(src) < 4 {
			return dst, io.ErrUnexpectedEOF
		}
		n := binary.BigEndian.Uint32(src)
		if src = src[4:]; uint64(n) > uint64(len(src)) {
			return dst, io.ErrUnexpectedEOF
		}
		from := len(dst)
		var err error
		if dst, err = appendSnappy(dst, src[:n], limit); err != nil {
			return dst, err
		}
		limit -= len(dst) - from
		src = src[n:]
	}
	return dst, nil
}

func appendSnappy(dst, block []byte, limit int) ([]byte, error) {
	n, err := snappy.DecodedLen(block)
	if err != nil {
		return dst, err
	}
	if n > limit {
		return dst, fmt.Errorf("more than %d bytes", limit)
	}
	from := len(dst)
	dst = append(dst, make([]byte, n)...)
	out, err := snappy.Decode(dst[from:], block)
	if err != nil {
		return dst[:from], err
	}
	return dst[:from+len(out)], nil
}
