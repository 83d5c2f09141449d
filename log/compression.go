package log

import "fmt"

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

// decompress appends the unpacked src to dst.
func (c Compression) decompress(dst, src []byte, limit int) ([]byte, error) {
	return nil, fmt.Errorf("%w: records are packed with %s, which this log cannot read", ErrInvalidBatch, c)
}
