package kafka

import (
	"context"
	"errors"
	"io"
	"math"
	"math/bits"
	"os"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
	"golang.org/x/sync/semaphore"
)

const (
	// frameStep is how much of a frame is paid for and allocated before it comes:
	// who only announces a large one gets no more of the memory that is shared.
	frameStep = 1 << 20
	// frameSpeed is how fast a frame has to come at least, in bytes a second,
	// after the time that Options.MaxWrite gives it anyway.
	frameSpeed = 1 << 20

	smallFrame = 64 << 10 // bytes; more than a heartbeat, a commit or a fetch takes
	smallShare = 4        // the part of MaxQueuedBytes that is for small frames alone: one in so many
)

// frameBudget bounds the bytes of all frames that have been read and not
// answered, or of what they decode to. Small frames have a share of their own, so
// that heartbeats pass by those who fill the rest.
type frameBudget struct {
	small, large *semaphore.Weighted
}

func newFrameBudget(bytes int64) frameBudget {
	return frameBudget{semaphore.NewWeighted(bytes / smallShare), semaphore.NewWeighted(bytes - bytes/smallShare)}
}

// of is the share that a frame of n bytes belongs to.
func (b *frameBudget) of(n int) *semaphore.Weighted {
	if n <= smallFrame {
		return b.small
	}
	return b.large
}

// acquire waits for room, for a while: those who wait hold room, too, and one of
// them has to give way.
func (c *conn) acquire(budget *semaphore.Weighted, n int64) error {
	if budget.TryAcquire(n) {
		return nil
	}
	ctx, cancel := context.WithTimeout(c.ctx, c.s.opts.MaxWrite)
	defer cancel()
	err := budget.Acquire(ctx, n)
	if err != nil && c.ctx.Err() == nil {
		return refusef("queue-full", "no room for %d bytes of a frame within %v: %w", n, c.s.opts.MaxWrite, err)
	}
	return err
}

// readFrame reads the n bytes of a frame. They count as queued from then on,
// until the request is released. Who sends slowly is cut off, since others may
// wait for that memory.
func (c *conn) readFrame(n int) ([]byte, error) {
	if n > c.in.Buffered() && c.authenticated() { // strangers have their own deadline
		limit := c.s.opts.MaxWrite + time.Duration(n)*time.Second/frameSpeed
		if err := c.nc.SetReadDeadline(time.Now().Add(limit)); err != nil {
			return nil, err
		}
		if c.s.isStopping() {
			return nil, os.ErrDeadlineExceeded // that deadline was for those who are to end
		}
	}
	// One connection waits for its own requests first, however many it sends ahead
	// while a quota holds up its answers: the rest of the memory is for others.
	if err := c.own.Acquire(c.ctx, int64(n)); err != nil {
		return nil, err
	}
	frame, err := c.takeFrame(n)
	if err != nil {
		c.own.Release(int64(n))
	}
	return frame, err
}

// takeFrame reads a frame within the budget of all.
func (c *conn) takeFrame(n int) ([]byte, error) {
	var frame []byte
	budget := c.s.queued.of(n)
	for len(frame) < n {
		// Twice as much each time: each byte is copied once or twice.
		next := min(n, max(2*len(frame), frameStep))
		if err := c.acquire(budget, int64(next-len(frame))); err != nil {
			budget.Release(int64(len(frame)))
			return nil, err
		}
		grown := makeFrame(next)
		copy(grown, frame)
		if _, err := io.ReadFull(c.in, grown[len(frame):]); err != nil {
			budget.Release(int64(next))
			if errors.Is(err, os.ErrDeadlineExceeded) && !c.s.isStopping() {
				return nil, refusef("slow-writer", "frame of %d bytes did not come in time: %w", n, err)
			}
			return nil, err
		}
		frame = grown
	}
	return frame, nil
}

// frames lends memory to the frames of Produce requests; release puts it back.
// New memory for each costs as much as taking it off the socket: it is cleared,
// and collected.
var frames sync.Pool

const (
	pooledFrom = 4 << 10   // bytes; smaller frames have memory of their own
	pooledUpTo = frameStep // larger ones as well
)

func makeFrame(n int) []byte {
	if n < pooledFrom || n > pooledUpTo {
		return make([]byte, n)
	}
	if b, ok := frames.Get().(*[]byte); ok && n <= cap(*b) {
		return (*b)[:n]
	}
	return make([]byte, n, 1<<bits.Len(uint(n-1)))
}

// release gives back what a request that is done with has taken of the shared
// memory.
func (r *request) release() {
	r.conn.own.Release(int64(len(r.frame)))
	r.conn.s.queued.of(len(r.frame)).Release(int64(len(r.frame)))
	r.conn.s.decoded.of(int(r.decoded)).Release(r.decoded)
	// What others keep of their frames, such as the subscriptions of members, is
	// theirs; Produce keeps nothing.
	if n := cap(r.frame); r.api != nil && r.key == kmsg.Produce && n >= pooledFrom && n <= pooledUpTo {
		frame := r.frame[:n]
		frames.Put(&frame)
	}
}

// forget gives back, before a request waits for others, what it has taken of the
// shared memory. Nothing of frame and body is there any more then.
func (r *request) forget() {
	r.release()
	r.frame, r.body, r.decoded = nil, nil, 0
}

// patience is how long a request may wait for records at most: for ever, unless
// it takes so much of the shared memory that others may wait for that.
func (r *request) patience() time.Duration {
	if len(r.frame) > smallFrame || r.decoded > smallFrame {
		return r.conn.s.opts.MaxWrite
	}
	return math.MaxInt64
}
