package connect

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync/atomic"
)

// Source is a text to be read from its beginning: File or Stream.
type Source struct {
	name   string // the absolute path, or what the caller calls the stream
	file   bool
	stream io.Reader
}

// File is the text in a file, plain or compressed by gzip or zstd. How far it
// was ingested is remembered.
func File(path string) (Source, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return Source{}, fmt.Errorf("find the absolute path of %s: %w", path, err)
	}
	return Source{name: abs, file: true}, nil
}

// Stream is the text that comes from r, such as standard input. It can be read
// once, so nothing is remembered about it. Ingest does not close r; if it is
// stopped while a Read blocks, one goroutine stays with that Read until it
// returns.
func Stream(name string, r io.Reader) Source { return Source{name: name, stream: r} }

// Name is the absolute path of a file, or the name of a stream.
func (s Source) Name() string { return s.name }

// hashedHead is how much of the start of a file tells it from another under the
// same path: log rotation moves files, so the path alone does not.
const hashedHead = 64 << 10 // bytes, as they are in the file, before decompression

// opened is a Source being read.
type opened struct {
	io.Reader
	read  atomic.Int64 // bytes so far, before decompression
	size  int64        // bytes, before decompression; 0 if not known
	id    string       // what tells the file from others; empty for a stream
	close func() error
}

// open opens the source at its beginning.
func (s Source) open() (*opened, error) {
	o := &opened{close: func() error { return nil }}
	if !s.file {
		o.Reader = &countingReader{s.stream, &o.read}
		return o, nil
	}
	f, err := os.Open(s.name)
	if err != nil {
		return nil, err
	}
	if err := o.identify(s.name, f); err != nil {
		f.Close()
		return nil, fmt.Errorf("identify %s: %w", s.name, err)
	}
	o.Reader, o.close = &countingReader{f, &o.read}, f.Close
	return o, nil
}

// identify sets id and size.
func (o *opened) identify(path string, f *os.File) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("got %v, want a regular file: pipe others into standard input", info.Mode().Type())
	}
	o.size = info.Size()
	head := make([]byte, min(hashedHead, o.size))
	if _, err := io.ReadFull(io.NewSectionReader(f, 0, o.size), head); err != nil {
		return err
	}
	h := sha256.New()
	h.Write([]byte(path))
	h.Write([]byte{0}) // no path holds one
	sum := sha256.Sum256(head)
	h.Write(sum[:])
	o.id = hex.EncodeToString(h.Sum(nil)[:16])
	return nil
}

// countingReader counts the bytes that pass.
type countingReader struct {
	io.Reader
	n *atomic.Int64
}

func (r *countingReader) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	r.n.Add(int64(n))
	return n, err
}
