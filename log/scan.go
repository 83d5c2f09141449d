package log

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"sync"
)

const (
	scanBytes = 256 << 10

	// largeBatch is the size from which it is faster to read headers one by one
	// than all bytes: a read costs as much as copying some 16 KiB.
	largeBatch = 16 << 10
)

// buffers lends large buffers to scans and readers; whoever takes one gives it
// back. First touch of fresh memory is slow, so they are kept.
var buffers = sync.Pool{New: func() any { b := make([]byte, scanBytes); return &b }}

// batchScanner walks the batches of a file from pos to end. Close gives its
// buffer back.
type batchScanner struct {
	r    io.ReaderAt
	name string // of the file, for errors
	pos  int64  // of the batch that next returns
	end  int64
	size int // of the batch that header returned last

	buf    *[]byte
	at     int64 // position in the file of the buffer's first byte
	filled int   // bytes in the buffer
}

func newBatchScanner(r io.ReaderAt, name string, pos, end int64) *batchScanner {
	return &batchScanner{r: r, name: name, pos: pos, end: end, at: pos, buf: buffers.Get().(*[]byte)}
}

func (s *batchScanner) Close() {
	if s.buf != nil {
		buffers.Put(s.buf)
		s.buf = nil
	}
}

// view returns the n bytes at pos, valid until the next call; fewer at the end.
// It reads ahead as far as ahead bytes.
func (s *batchScanner) view(n, ahead int) ([]byte, error) {
	n = int(min(int64(n), s.end-s.pos))
	if off := s.pos - s.at; off >= 0 && off+int64(n) <= int64(s.filled) {
		return (*s.buf)[off : off+int64(n)], nil
	}
	if n > len(*s.buf) {
		grown := make([]byte, max(n, 2*len(*s.buf)))
		s.buf = &grown
	}
	b := (*s.buf)[:min(int64(max(n, min(ahead, len(*s.buf)))), s.end-s.pos)]
	got, err := s.r.ReadAt(b, s.pos)
	s.at, s.filled = s.pos, got
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("read %s at %d: %w", s.name, s.pos, err)
	}
	return (*s.buf)[:min(n, got)], nil
}

// header returns the header of the batch at pos and moves past it. io.EOF is
// the end; a batch that makes no sense or is cut off is ErrCorrupt, and pos
// stays on it.
func (s *batchScanner) header() (BatchInfo, error) {
	if s.pos >= s.end {
		return BatchInfo{}, io.EOF
	}
	// Among large batches, header by header: what lies between is not read.
	ahead := scanBytes
	if s.size >= largeBatch {
		ahead = BatchHeaderSize
	}
	b, err := s.view(BatchHeaderSize, ahead)
	if err != nil {
		return BatchInfo{}, err
	}
	if len(b) < BatchHeaderSize {
		return BatchInfo{}, s.corrupt(fmt.Errorf("%d bytes, want a header of %d", len(b), BatchHeaderSize))
	}
	info := parseHeader(b)
	if err := info.check(b[batchMagicPos]); err != nil {
		return info, s.corrupt(err)
	}
	if left := s.end - s.pos; int64(info.Size) > left {
		return info, s.corrupt(fmt.Errorf("batch of %d bytes, want at most the %d that are left", info.Size, left))
	}
	s.pos += int64(info.Size)
	s.size = info.Size
	return info, nil
}

// batch is header with the whole batch, its checksum checked. The bytes are
// valid until the next call.
func (s *batchScanner) batch() (BatchInfo, []byte, error) {
	s.size = 0 // all bytes are wanted
	info, err := s.header()
	if err != nil {
		return info, nil, err
	}
	s.pos -= int64(info.Size)
	b, err := s.view(info.Size, scanBytes)
	if err != nil {
		return info, nil, err
	}
	if len(b) < info.Size {
		return info, nil, s.corrupt(fmt.Errorf("%d bytes, want %d", len(b), info.Size))
	}
	if got := crc32.Checksum(b[batchAttributesPos:], castagnoli); got != info.CRC {
		return info, nil, s.corrupt(fmt.Errorf("crc %08x, want %08x", got, info.CRC))
	}
	s.pos += int64(info.Size)
	return info, b, nil
}

// corrupt is an error about the batch at pos.
func (s *batchScanner) corrupt(err error) error {
	return &damageAt{s.name, s.pos, err}
}
