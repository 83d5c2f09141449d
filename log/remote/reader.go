package remote

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/gretestream/grete/log"
)

const (
	// defaultFetchBytes is ReaderOptions.MaxBytes unless told otherwise.
	defaultFetchBytes = 256 << 10
	// longPoll is how long one fetch waits at the other process.
	longPoll = 20 * time.Second
)

// reader reads a partition of another process. Poll and Next are owned by one
// goroutine. After a Poll that found nothing a second one waits for more, and
// leaves what it gets in waiting.
type reader struct {
	c    *client
	tp   log.TopicPartition
	opts log.ReaderOptions

	ctx    context.Context // ends with Close: of the goroutine that waits
	cancel context.CancelFunc

	position log.Offset
	end      log.Offset
	records  []log.Record
	waiting  chan fetched // nil: nobody waits; holds one answer
}

// fetched is the answer to a fetch.
type fetched struct {
	batches  []byte
	end      log.Offset
	position log.Offset // behind the records and what was passed over after them
	err      error
}

func (c *client) OpenReader(tp log.TopicPartition, from log.Offset, opts log.ReaderOptions) (log.Reader, error) {
	if opts.MaxBytes <= 0 {
		opts.MaxBytes = defaultFetchBytes
	}
	ctx, cancel := context.WithCancel(context.Background())
	r := &reader{c: c, tp: tp, opts: opts, ctx: ctx, cancel: cancel, position: from}
	b, err := c.Bounds(ctx, tp)
	if err != nil {
		cancel()
		return nil, fmt.Errorf("open reader of %v: %w", tp, err)
	}
	if r.end = b.Stable; opts.Uncommitted {
		r.end = b.End
	}
	return r, nil
}

// fetch asks for the records from offset on, waiting up to wait for the first.
func (r *reader) fetch(ctx context.Context, from log.Offset, wait time.Duration) (f fetched) {
	q := values(r.tp)
	q.Set("from", from.String())
	q.Set("max_bytes", strconv.Itoa(r.opts.MaxBytes))
	q.Set("wait_ms", strconv.FormatInt(wait.Milliseconds(), 10))
	if r.opts.Uncommitted {
		q.Set("uncommitted", "")
	}
	resp, err := r.c.do(ctx, http.MethodGet, "fetch", q, nil)
	if err != nil {
		return fetched{err: err}
	}
	defer resp.Body.Close()
	end, err := strconv.ParseInt(resp.Header.Get(headerEnd), 10, 64)
	if err != nil {
		return fetched{err: fmt.Errorf("fetch %v: header %s: %w", r.tp, headerEnd, err)}
	}
	position, err := strconv.ParseInt(resp.Header.Get(headerPosition), 10, 64)
	if err != nil {
		return fetched{err: fmt.Errorf("fetch %v: header %s: %w", r.tp, headerPosition, err)}
	}
	batches, err := io.ReadAll(resp.Body)
	if err != nil {
		return fetched{err: fmt.Errorf("fetch %v from %d: %w", r.tp, from, err)}
	}
	return fetched{batches: batches, end: log.Offset(end), position: log.Offset(position)}
}

// take turns an answer into records.
func (r *reader) take(f fetched) ([]log.Record, error) {
	if f.err != nil {
		return nil, f.err
	}
	r.end = f.end
	records, err := log.DecodeRecords(r.records[:0], f.batches)
	r.records = records
	if err != nil {
		return nil, fmt.Errorf("read %v at %d: %w", r.tp, r.position, err)
	}
	for len(records) > 0 && records[0].Offset < r.position {
		records = records[1:]
	}
	// Behind the last record there may be such as are passed over.
	r.position = max(r.position, f.position)
	return records, nil
}

func (r *reader) Poll() ([]log.Record, error) {
	if r.ctx.Err() != nil {
		return nil, log.ErrClosed
	}
	if r.waiting != nil {
		select {
		case f := <-r.waiting:
			r.waiting = nil
			if f.err != nil || len(f.batches) > 0 {
				return r.take(f)
			}
		default:
			return nil, nil
		}
	}
	records, err := r.take(r.fetch(r.ctx, r.position, 0))
	if err == nil && len(records) == 0 && r.opts.Wake != nil {
		r.wait()
	}
	return records, err
}

// wait starts a goroutine that gives the caller a token when there is more to
// read, or when asking fails. It ends with the answer or with Close.
func (r *reader) wait() {
	answer := make(chan fetched, 1)
	r.waiting = answer
	ctx, from := r.ctx, r.position
	go func() {
		for {
			f := r.fetch(ctx, from, longPoll)
			if f.err == nil && len(f.batches) == 0 {
				continue
			}
			answer <- f
			select {
			case r.opts.Wake <- struct{}{}:
			default:
			}
			return
		}
	}()
}

func (r *reader) Next(ctx context.Context) ([]log.Record, error) {
	for from := r.position; ; {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if r.ctx.Err() != nil {
			return nil, log.ErrClosed
		}
		var f fetched
		if r.waiting != nil {
			select {
			case f = <-r.waiting:
				r.waiting = nil
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		} else {
			f = r.fetch(ctx, r.position, longPoll)
		}
		if records, err := r.take(f); err != nil || len(records) > 0 || r.position > from {
			return records, err
		}
	}
}

func (r *reader) Position() log.Offset { return r.position }
func (r *reader) End() log.Offset      { return r.end }

func (r *reader) Seek(to log.Offset) error {
	if r.ctx.Err() != nil {
		return log.ErrClosed
	}
	if r.waiting != nil && to != r.position {
		// What is being waited for starts elsewhere: let it end on its own.
		r.cancel()
		r.ctx, r.cancel = context.WithCancel(context.Background())
		r.waiting = nil
	}
	r.position = to
	return nil
}

// Close ends the reader and whoever waits for it.
func (r *reader) Close() error {
	r.cancel()
	if r.waiting != nil {
		<-r.waiting // the goroutine has answered: it ends
		r.waiting = nil
	}
	return nil
}
