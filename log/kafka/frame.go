package kafka

import (
	"errors"
	"io"
	"os"
	"time"
)

const (
	// frameStep is how much of a frame is paid for and allocated before it comes:
	// who only announces a large one gets no more of the memory that is shared.
	frameStep = 1 << 20
	// frameSpeed is how fast a frame has to come at least, in bytes a second,
	// after the time that Options.MaxWrite gives it anyway.
	frameSpeed = 1 << 20
)

// readFrame reads the n bytes of a frame. They count as queued from then on,
// until the request is released. Who sends slowly is cut off, since others may
// wait for that memory.
func (c *conn) readFrame(n int) ([]byte, error) {
	if n > c.in.Buffered() {
		limit := c.s.opts.MaxWrite + time.Duration(n)*time.Second/frameSpeed
		if err := c.nc.SetReadDeadline(time.Now().Add(limit)); err != nil {
			return nil, err
		}
		if c.s.isStopping() {
			return nil, os.ErrDeadlineExceeded // that deadline was for those who are to end
		}
	}
	var frame []byte
	for len(frame) < n {
		// Twice as much each time: each byte is copied once or twice.
		next := min(n, max(2*len(frame), frameStep))
		if err := c.s.queued.Acquire(c.ctx, int64(next-len(frame))); err != nil {
			c.s.queued.Release(int64(len(frame)))
			return nil, err
		}
		grown := make([]byte, next)
		copy(grown, frame)
		if _, err := io.ReadFull(c.in, grown[len(frame):]); err != nil {
			c.s.queued.Release(int64(next))
			if errors.Is(err, os.ErrDeadlineExceeded) && !c.s.isStopping() {
				return nil, refusef("slow-writer", "frame of %d bytes did not come in time: %w", n, err)
			}
			return nil, err
		}
		frame = grown
	}
	return frame, nil
}

// release gives back what a request that is done with has taken of the shared
// memory.
func (r *request) release() {
	r.conn.s.queued.Release(int64(len(r.frame)))
	r.conn.s.decoded.Release(r.decoded)
}
