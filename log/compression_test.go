package log

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

// pack is what a client does to the records of a batch.
func pack(t testing.TB, c Compression, xerial bool, plain []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	var w io.WriteCloser
	switch c {
	case CompressionGzip:
		w = gzip.NewWriter(&b)
	case CompressionLZ4:
		w = lz4.NewWriter(&b)
	case CompressionZstd:
		e, err := zstd.NewWriter(&b, zstd.WithEncoderConcurrency(1))
		if err != nil {
			t.Fatal(err)
		}
		w = e
	case CompressionSnappy:
		if !xerial {
			return snappy.Encode(nil, plain)
		}
		out := append([]byte(xerialMagic), 0, 0, 0, 1, 0, 0, 0, 1)
		for len(plain) > 0 {
			n := min(len(plain), 100)
			block := snappy.Encode(nil, plain[:n])
			out = append(binary.BigEndian.AppendUint32(out, uint32(len(block))), block...)
			plain = plain[n:]
		}
		return out
	}
	if _, err := w.Write(plain); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// packBatch turns an encoded batch into a compressed one.
func packBatch(t testing.TB, c Compression, xerial bool, batch []byte) []byte {
	t.Helper()
	out := append(bytes.Clone(batch[:BatchHeaderSize]), pack(t, c, xerial, batch[BatchHeaderSize:])...)
	out[batchAttributesPos+1] |= byte(c)
	binary.BigEndian.PutUint32(out[batchLengthPos:], uint32(len(out)-batchFrameSize))
	sealBatch(out)
	return out
}

func TestCompressedBatches(t *testing.T) {
	var recs []Record
	for i := range 100 {
		recs = append(recs, Record{Timestamp: Timestamp(i), Key: fmt.Append(nil, i%3), Value: []byte(strings.Repeat("word ", i))})
	}
	plain := encode(recs, 0)
	f := func(c Compression, xerial bool) {
		t.Helper()
		batch := packBatch(t, c, xerial, plain)
		got, err := DecodeRecords(nil, batch)
		if err != nil {
			t.Fatalf("%s: %v", c, err)
		}
		checkSameRecords(t, got, recs, 0)

		// Cut short inside, under a checksum that holds.
		cut := packBatch(t, c, xerial, plain)
		cut = cut[:len(cut)-20]
		binary.BigEndian.PutUint32(cut[batchLengthPos:], uint32(len(cut)-batchFrameSize))
		sealBatch(cut)
		if _, err := DecodeRecords(nil, cut); !errors.Is(err, ErrInvalidBatch) {
			t.Errorf("%s cut: got %v, want ErrInvalidBatch", c, err)
		}
	}
	f(CompressionGzip, false)
	f(CompressionSnappy, false)
	f(CompressionSnappy, true)
	f(CompressionLZ4, false)
	f(CompressionZstd, false)
}

// A few kilobytes that unpack to more than is allowed are refused, not made.
func TestDecompressionIsBounded(t *testing.T) {
	plain := make([]byte, 8<<20)
	for _, c := range []Compression{CompressionGzip, CompressionSnappy, CompressionLZ4, CompressionZstd} {
		packed := pack(t, c, false, plain)
		if out, err := c.decompress(nil, packed, 1<<20); !errors.Is(err, ErrInvalidBatch) || len(out) != 0 {
			t.Errorf("%s: got %d bytes, %v", c, len(out), err)
		}
		if out, err := c.decompress([]byte("x"), packed, len(plain)); err != nil || len(out) != len(plain)+1 {
			t.Errorf("%s: got %d bytes, %v", c, len(out), err)
		}
	}
}
