package connect

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

const (
	// DefaultMaxLine is the bound on a line unless told otherwise.
	DefaultMaxLine = 1 << 20 // bytes

	readBuffer = 256 << 10 // bytes: what one read asks for
	keptOfLong = 4 << 10   // bytes: how much of a line above the bound is kept to show
)

// Position is a place in a stream of text, behind a line.
type Position struct {
	Line int64 // number of lines before it
	Byte int64 // number of bytes before it, after decompression
}

// Lines cuts a stream into lines. It is owned by one goroutine.
type Lines struct {
	in      io.Reader
	max     int // bytes
	pos     Position
	scanned int64 // bytes of the stream before buf
	partial bool  // the last line returned had no line feed

	buf  []byte // what was read and not yet returned is buf[from:to]
	from int
	to   int
	err  error // of the last read; kept until the lines before it are returned
}

// Line is one line, without its end. Text stops being valid at the next call of
// Next.
type Line struct {
	Number int64  // from 1
	Text   []byte // of a line above the bound: its first bytes
	Length int64  // bytes; above the bound if the line is too long
}

// NewLines reads text from in, plain or compressed by gzip or zstd, which it
// tells by the first bytes. max bounds a line, in bytes; 0 means DefaultMaxLine.
// The caller closes in.
func NewLines(in io.Reader, max int) (*Lines, error) {
	if max <= 0 {
		max = DefaultMaxLine
	}
	text, err := decompress(in)
	if err != nil {
		return nil, err
	}
	l := &Lines{in: text, max: max, buf: make([]byte, readBuffer)}
	// A byte order mark says nothing about the first line.
	for l.to < len(byteOrderMark) && l.err == nil {
		l.fill()
	}
	if bytes.HasPrefix(l.buf[:l.to], byteOrderMark) {
		l.from = len(byteOrderMark)
		l.pos.Byte = int64(len(byteOrderMark))
	}
	return l, nil
}

var (
	byteOrderMark = []byte("\xef\xbb\xbf")
	gzipMagic     = []byte{0x1f, 0x8b}
	zstdMagic     = []byte{0x28, 0xb5, 0x2f, 0xfd}
)

// otherMagics are compressions that are recognised to be refused in words,
// rather than being read as text of which no line makes sense.
var otherMagics = map[string]string{
	"bzip2": "BZh",
	"xz":    "\xfd7zXZ\x00",
	"lz4":   "\x04\x22\x4d\x18",
	"zip":   "PK\x03\x04",
}

// decompress returns the text in in. Several compressed members one after the
// other, as log rotation makes them, are one text.
func decompress(in io.Reader) (io.Reader, error) {
	b := bufio.NewReaderSize(in, readBuffer)
	head, err := b.Peek(6)
	if err != nil && err != io.EOF {
		return nil, err
	}
	for name, magic := range otherMagics {
		if bytes.HasPrefix(head, []byte(magic)) {
			return nil, fmt.Errorf("text is compressed by %s, want plain, gzip or zstd: decompress it and pipe it in", name)
		}
	}
	switch {
	case bytes.HasPrefix(head, gzipMagic):
		return gzip.NewReader(b)
	case bytes.HasPrefix(head, zstdMagic):
		const maxWindow = 128 << 20 // bytes: what zstd --long=27 needs, and no hostile header more
		z, err := zstd.NewReader(b, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxWindow), zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return nil, err
		}
		return z, nil
	}
	return b, nil
}

// head returns some of the text at the present position, without taking it.
func (l *Lines) head() []byte {
	if l.from == l.to && l.err == nil {
		l.fill()
	}
	return l.buf[l.from:l.to]
}

// hasLine tells whether Next would return without reading.
func (l *Lines) hasLine() bool {
	return l.err != nil || bytes.IndexByte(l.buf[l.from:l.to], '\n') >= 0
}

// Position is where the next line begins.
func (l *Lines) Position() Position { return l.pos }

// Next returns the next line, io.EOF after the last. A final line need not end
// in a line feed; a carriage return before one is taken off. If the stream
// breaks (a truncated gzip file, say), Next returns all whole lines before the
// break, then an error that says where it is; a line cut by the break is not
// returned.
func (l *Lines) Next() (Line, error) {
	looked := 0 // bytes from l.from on that hold no line feed
	for {
		if i := bytes.IndexByte(l.buf[l.from+looked:l.to], '\n'); i >= 0 {
			return l.cut(looked+i, 1), nil
		}
		looked = l.to - l.from
		switch {
		case looked > l.max+len("\r"): // too long even if a carriage return comes off
			return l.tooLong()
		case l.err == io.EOF && looked > 0:
			return l.cut(looked, 0), nil
		case l.err != nil:
			return Line{}, l.broken()
		}
		l.fill()
	}
}

// cut returns the next n bytes as a line, and takes end more off the stream.
func (l *Lines) cut(n, end int) Line {
	text := l.buf[l.from : l.from+n]
	l.from += n + end
	l.partial = end == 0
	l.pos.Line++
	l.pos.Byte += int64(n + end)
	if k := len(text) - 1; k >= 0 && text[k] == '\r' {
		text = text[:k]
	}
	line := Line{Number: l.pos.Line, Text: text, Length: int64(len(text))}
	if len(text) > l.max {
		line.Text = text[:min(l.max, keptOfLong)]
	}
	return line
}

// tooLong passes over a line above the bound in bounded memory.
func (l *Lines) tooLong() (Line, error) {
	kept := bytes.Clone(l.buf[l.from : l.from+min(keptOfLong, l.max)])
	length := int64(0)
	for {
		i := bytes.IndexByte(l.buf[l.from:l.to], '\n')
		if i >= 0 {
			length += int64(i)
			l.from += i + 1
			l.pos.Byte++
			break
		}
		length += int64(l.to - l.from)
		l.from = l.to
		if l.err == io.EOF {
			l.partial = true
			break
		}
		if l.err != nil {
			return Line{}, l.broken()
		}
		l.fill()
	}
	l.pos.Line++
	l.pos.Byte += length
	return Line{Number: l.pos.Line, Text: kept, Length: length}, nil
}

// broken says where the stream ended, and whether it was meant to.
func (l *Lines) broken() error {
	if l.err == io.EOF {
		return io.EOF
	}
	return fmt.Errorf("read text after line %d, at byte %d after decompression: %w", l.pos.Line, l.scanned+int64(l.to), l.err)
}

// fill reads more into the buffer, moving or growing it if it is full.
func (l *Lines) fill() {
	if l.from > 0 && l.to == len(l.buf) {
		l.scanned += int64(l.from)
		l.to = copy(l.buf, l.buf[l.from:l.to])
		l.from = 0
	}
	if l.to == len(l.buf) {
		l.buf = append(l.buf, make([]byte, len(l.buf))...)
	}
	n, err := l.in.Read(l.buf[l.to:])
	l.to += n
	if err == io.ErrUnexpectedEOF {
		err = errors.New("compressed stream ends in the middle: the file is truncated")
	}
	l.err = err
}

// Skip moves to a position that an earlier reading of the same text reached. One
// that lies behind already is left alone.
func (l *Lines) Skip(to Position) error {
	if to.Byte <= l.pos.Byte {
		return nil
	}
	for l.pos.Byte < to.Byte {
		n := min(int64(l.to-l.from), to.Byte-l.pos.Byte)
		l.from += int(n)
		l.pos.Byte += n
		if l.pos.Byte == to.Byte {
			break
		}
		if l.err == io.EOF {
			return fmt.Errorf("text ends at byte %d, want at least %d, where the last reading stood", l.pos.Byte, to.Byte)
		}
		if l.err != nil {
			return l.broken()
		}
		l.fill()
	}
	l.pos.Line = to.Line
	return nil
}
