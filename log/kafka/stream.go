package kafka

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"github.com/gretestream/grete/log"
)

const (
	// copyBytes is the answer up to which batches are copied into the buffer of
	// the rest: sending from a file costs some more calls.
	copyBytes = 64 << 10
	// chunkBytes is how much a client must take within Options.MaxWrite.
	chunkBytes = 1 << 20
)

// chunks lends buffers to connections that cannot be sent to from files;
// whoever takes one gives it back.
var chunks = sync.Pool{New: func() any { b := make([]byte, copyBytes); return &b }}

// sendFetch encodes and sends the answer to a Fetch.
func (c *conn) sendFetch(r *request, f *fetching) error {
	b := append(c.out[:0], 0, 0, 0, 0)
	b = binary.BigEndian.AppendUint32(b, uint32(r.correlation))
	if r.body.IsFlexible() {
		b = append(b, 0) // no tags
	}
	b, c.pieces = f.appendTo(b, c.pieces[:0])
	size := len(b) + f.bytes
	binary.BigEndian.PutUint32(b, uint32(size-4))
	c.keep(b)
	var err error
	if size <= copyBytes {
		err = c.sendCopied(b, size)
	} else {
		err = c.sendPieces(b)
	}
	clear(c.pieces)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return refusef("slow-reader", "write %d bytes of an answer, each MiB within %v: %w", size, c.s.opts.MaxWrite, err)
	}
	if err == nil {
		c.s.m.bytesOut.Inc(int64(size))
	}
	return err
}

// sendCopied sends a small answer at once.
func (c *conn) sendCopied(b []byte, size int) error {
	whole := b
	if size > len(b) {
		buf := chunks.Get().(*[]byte)
		defer chunks.Put(buf)
		whole = (*buf)[:0]
		from := 0
		for _, p := range c.pieces {
			whole = append(whole, b[from:p.end]...)
			from = p.end
			if p.span != nil {
				n := len(whole)
				whole = whole[:n+p.span.Size]
				if err := readSpan(p.span, whole[n:], 0); err != nil {
					return err
				}
			}
		}
	}
	if err := c.nc.SetWriteDeadline(time.Now().Add(c.s.opts.MaxWrite)); err != nil {
		return err
	}
	_, err := c.nc.Write(whole)
	return err
}

// sendPieces sends an answer piece by piece, batches right from their files
// where the connection allows it.
func (c *conn) sendPieces(b []byte) error {
	out := newFileSender(c.nc)
	from := 0
	for _, p := range c.pieces {
		if err := c.nc.SetWriteDeadline(time.Now().Add(c.s.opts.MaxWrite)); err != nil {
			return err
		}
		if err := out.write(b[from:p.end], p.span != nil); err != nil {
			return err
		}
		from = p.end
		if p.span == nil {
			continue
		}
		if err := c.sendSpan(out, p.span); err != nil {
			return err
		}
	}
	return nil
}

func (c *conn) sendSpan(out *fileSender, sp *log.Span) error {
	for at := 0; at < sp.Size; {
		n := min(sp.Size-at, chunkBytes)
		if err := c.nc.SetWriteDeadline(time.Now().Add(c.s.opts.MaxWrite)); err != nil {
			return err
		}
		if fd, pos, ok := sp.File(); ok && out.raw != nil {
			if err := out.sendFile(fd, pos+int64(at), n); err != nil {
				return err
			}
			at += n
			continue
		}
		n, err := copySpan(c.nc, sp, at)
		if err != nil {
			return err
		}
		at += n
	}
	return nil
}

// copySpan sends some of a span through memory.
func copySpan(nc net.Conn, sp *log.Span, at int) (int, error) {
	buf := chunks.Get().(*[]byte)
	defer chunks.Put(buf)
	b := (*buf)[:min(sp.Size-at, len(*buf))]
	if err := readSpan(sp, b, at); err != nil {
		return 0, err
	}
	return nc.Write(b)
}

// readSpan fills b with what lies at a place in a span.
func readSpan(sp *log.Span, b []byte, at int) error {
	if n, err := sp.ReadAt(b, int64(at)); n < len(b) {
		return fmt.Errorf("read %d bytes of batches at %d: got %d: %w", len(b), at, n, errors.Join(err, io.ErrUnexpectedEOF))
	}
	return nil
}
