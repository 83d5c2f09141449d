package cluster

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gretestream/grete/log"
)

// reader implements log.Reader on one partition. A goroutine of its own fetches
// ahead, up to what chunks holds; the owner decodes.
type reader struct {
	l    *Log
	tp   log.TopicPartition
	opts log.ReaderOptions

	pos    log.Offset // of the next record to be returned
	cur    *decoding  // what is left of the chunk being read; nil: nothing
	recs   []log.Record
	err    error // for good, until Seek
	closed bool

	end   atomic.Int64 // last stable offset, as last seen
	fetch *fetcher
}

// fetcher is one run of the goroutine: from an offset to the next Seek or Close.
type fetcher struct {
	chunks chan chunk
	cancel context.CancelFunc
	done   chan struct{}
}

// chunk is what one fetch brought, or how fetching ended.
type chunk struct {
	batches []byte
	aborted []abortedTxn
	next    log.Offset // position behind it
	empty   log.Offset // where the partition ended when nothing was found
	err     error
}

const (
	// aheadChunks is how many fetches are kept for a reader beside the one that is
	// being read and the one on its way.
	aheadChunks = 1
	// maxFetchBytes bounds what is asked for at a time: a batch that is larger is
	// no batch.
	maxFetchBytes = 64 << 20
	// fetchWait is how long a broker holds a fetch that finds nothing.
	fetchWait = 5 * time.Second
	// unknownFor is how long a topic may be unknown to its broker before a reader
	// believes it.
	unknownFor = 5 * time.Second
)

// OpenReader implements log.Log.
func (l *Log) OpenReader(tp log.TopicPartition, from log.Offset, opts log.ReaderOptions) (log.Reader, error) {
	if opts.MaxBytes <= 0 {
		opts.MaxBytes = l.opts.FetchBytes
	}
	opts.MaxBytes = min(opts.MaxBytes, maxFetchBytes)
	r := &reader{l: l, tp: tp, opts: opts}
	if err := r.Seek(from); err != nil {
		return nil, fmt.Errorf("open reader: %w", err)
	}
	return r, nil
}

// Position implements log.Reader.
func (r *reader) Position() log.Offset { return r.pos }

// End implements log.Reader.
func (r *reader) End() log.Offset { return log.Offset(r.end.Load()) }

// Seek implements log.Reader. It asks for the bounds first.
func (r *reader) Seek(to log.Offset) error {
	if r.closed {
		return log.ErrClosed
	}
	b, err := r.l.Bounds(r.l.ctx, r.tp)
	if err != nil {
		return err
	}
	if to < b.Start || to > b.End {
		return fmt.Errorf("read %s: %w: %d, want %d to %d", r.tp, log.ErrOffsetOutOfRange, to, b.Start, b.End)
	}
	cl, err := r.l.take()
	if err != nil {
		return err
	}
	r.stop()
	r.pos, r.cur, r.err = to, nil, nil
	end := b.Stable
	if r.opts.Uncommitted {
		end = b.End
	}
	r.end.Store(int64(end))
	ctx, cancel := context.WithCancel(r.l.ctx)
	f := &fetcher{chunks: make(chan chunk, aheadChunks), cancel: cancel, done: make(chan struct{})}
	r.fetch = f
	go func() {
		defer close(f.done)
		err := r.fetchFrom(ctx, f, cl, to)
		r.l.pool.give(cl)
		if ctx.Err() == nil {
			r.deliver(ctx, f, chunk{err: err})
		}
	}()
	return nil
}

// stop ends the goroutine.
func (r *reader) stop() {
	if r.fetch != nil {
		r.fetch.cancel()
		<-r.fetch.done
		r.fetch = nil
	}
}

// Close implements log.Reader.
func (r *reader) Close() error {
	if r.closed {
		return nil
	}
	r.closed = true
	r.stop()
	r.cur, r.recs = nil, nil
	return nil
}

// Poll implements log.Reader.
func (r *reader) Poll() ([]log.Record, error) {
	for {
		if recs, err := r.ready(); len(recs) > 0 || err != nil {
			return recs, err
		}
		select {
		case c := <-r.fetch.chunks:
			r.open(c)
		default:
			return nil, r.l.usable()
		}
	}
}

// Next implements log.Reader.
func (r *reader) Next(ctx context.Context) ([]log.Record, error) {
	for from := r.pos; ; {
		if recs, err := r.ready(); len(recs) > 0 || err != nil || r.pos > from {
			return recs, err
		}
		select {
		case c := <-r.fetch.chunks:
			r.open(c)
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-r.l.ctx.Done():
			return nil, log.ErrClosed
		}
	}
}

// open begins with a chunk.
func (r *reader) open(c chunk) {
	if c.err != nil {
		r.err = fmt.Errorf("read %s: %w", r.tp, explain(c.err))
		return
	}
	r.cur = &decoding{rest: c.batches, aborted: c.aborted, next: c.next}
}

// ready returns what is left of the chunk. None: the next one is needed.
func (r *reader) ready() ([]log.Record, error) {
	switch {
	case r.closed:
		return nil, log.ErrClosed
	case r.cur == nil:
		return nil, r.err
	}
	recs, err := r.cur.decode(r.recs[:0], r.pos)
	r.recs = recs
	r.l.m.skipped.Inc(r.cur.skipped)
	if err != nil {
		r.err = fmt.Errorf("read %s: %w", r.tp, err)
		if len(recs) > 0 {
			r.pos = recs[len(recs)-1].Offset + 1
			r.cur = nil
			return recs, nil // the next call returns the error
		}
		r.cur = nil
		return nil, r.err
	}
	r.pos = max(r.pos, r.cur.next)
	r.cur = nil
	return recs, nil
}

// fetchFrom asks for what comes from an offset on, until ctx ends or the cluster
// says that it cannot be had.
func (r *reader) fetchFrom(ctx context.Context, f *fetcher, cl *kgo.Client, from log.Offset) error {
	maxBytes := int32(r.opts.MaxBytes)
	first, err := r.l.placeAgain(ctx, r.tp)
	if err != nil {
		return err
	}
	var unknown time.Time // since when the broker does not know the topic
	var hole log.Offset   // beyond from: nothing was found up to there
	for failures := 0; ; {
		wait := fetchWait
		if hole > from {
			wait = 0
		}
		c, err := r.fetchOnce(ctx, cl, from, maxBytes, wait, first.id)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err == nil:
			failures, unknown = 0, time.Time{}
		case isUnknown(err) && (unknown.IsZero() || time.Since(unknown) < unknownFor), mayPass(err):
			if !isUnknown(err) {
				unknown = time.Time{}
			} else if unknown.IsZero() {
				unknown = time.Now()
			}
			failures++
			r.l.forget(r.tp.Topic)
			r.l.m.retries.Inc(1)
			r.l.logger.Debug("fetch is sent again", "partition", r.tp, "offset", from, "failures", failures, "err", err)
			pause(ctx, backoff(failures))
			continue
		default:
			return err
		}
		if c.next == from {
			if len(c.batches) > 0 { // a batch is larger than what was asked for
				if maxBytes >= maxFetchBytes {
					return fmt.Errorf("%w: batch at offset %d has more than %d bytes", log.ErrTooLarge, from, maxFetchBytes)
				}
				maxBytes = min(maxFetchBytes, 2*maxBytes)
				continue
			}
			if hole <= from {
				hole = c.empty
				continue
			}
			// Nothing twice, though the partition went on: compaction has emptied
			// what lies in between. Once would not do, for records may have come
			// between the look for them and the look at the end.
			c.next = hole
		}
		from = c.next
		if !r.deliver(ctx, f, c) {
			return ctx.Err()
		}
	}
}

// deliver hands a chunk over and wakes the owner.
func (r *reader) deliver(ctx context.Context, f *fetcher, c chunk) bool {
	select {
	case f.chunks <- c:
	case <-ctx.Done():
		return false
	}
	if r.opts.Wake != nil {
		select {
		case r.opts.Wake <- struct{}{}:
		default:
		}
	}
	return true
}

func isUnknown(err error) bool {
	return errors.Is(err, log.ErrUnknownTopic) || errors.Is(err, kerr.UnknownTopicOrPartition) || errors.Is(err, kerr.UnknownTopicID)
}

// placeAgain is place that goes on asking.
func (l *Log) placeAgain(ctx context.Context, tp log.TopicPartition) (at place, err error) {
	err = l.again(ctx, func(ctx context.Context) error {
		at, err = l.place(ctx, tp)
		return err
	})
	return at, err
}

// fetchOnce asks once for what comes from an offset on, and waits a while for it.
// The topic must still have the id.
func (r *reader) fetchOnce(ctx context.Context, cl *kgo.Client, from log.Offset, maxBytes int32, wait time.Duration, id log.TopicID) (chunk, error) {
	at, err := r.l.place(ctx, r.tp)
	if err != nil {
		return chunk{}, err
	}
	if at.id != id {
		return chunk{}, fmt.Errorf("%w %q: it was deleted and made anew", log.ErrUnknownTopic, r.tp.Topic)
	}
	req := kmsg.NewPtrFetchRequest()
	req.ReplicaID = -1
	req.MaxWaitMillis, req.MinBytes, req.MaxBytes = int32(wait.Milliseconds()), 1, maxBytes
	if !r.opts.Uncommitted {
		req.IsolationLevel = readCommitted
	}
	req.SessionID, req.SessionEpoch = 0, -1
	t := kmsg.NewFetchRequestTopic()
	t.Topic, t.TopicID = r.tp.Topic, at.id
	p := kmsg.NewFetchRequestTopicPartition()
	p.Partition, p.FetchOffset, p.PartitionMaxBytes = r.tp.Partition, int64(from), maxBytes
	p.CurrentLeaderEpoch, p.LastFetchedEpoch, p.LogStartOffset = -1, -1, -1
	t.Partitions = append(t.Partitions, p)
	req.Topics = append(req.Topics, t)
	resp, err := req.RequestWith(ctx, cl.Broker(at.leader))
	if err != nil {
		return chunk{}, err
	}
	if err := kerr.ErrorForCode(resp.ErrorCode); err != nil {
		return chunk{}, err
	}
	r.l.m.fetches.Inc(1)
	if len(resp.Topics) == 0 {
		return chunk{next: from}, nil // nothing, as some brokers say it
	}
	if len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != 1 {
		return chunk{}, fmt.Errorf("got an answer about %d topics, want one partition", len(resp.Topics))
	}
	return r.fetched(&resp.Topics[0].Partitions[0], from)
}

// fetched judges an answer.
func (r *reader) fetched(p *kmsg.FetchResponseTopicPartition, from log.Offset) (chunk, error) {
	if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
		if errors.Is(err, kerr.OffsetOutOfRange) {
			err = fmt.Errorf("%w: %d, want %d to %d", err, from, p.LogStartOffset, p.LastStableOffset)
		}
		return chunk{}, err
	}
	stable := p.LastStableOffset
	if stable < 0 || r.opts.Uncommitted {
		stable = p.HighWatermark
	}
	r.end.Store(max(stable, r.end.Load()))
	r.l.m.bytesOut.Inc(int64(len(p.RecordBatches)))
	c := chunk{next: from}
	if len(p.RecordBatches) == 0 {
		c.empty = log.Offset(stable)
		return c, nil
	}
	whole, next, err := wholeBatches(p.RecordBatches)
	if err != nil {
		return chunk{}, err
	}
	c.batches, c.next = p.RecordBatches, from
	if len(whole) > 0 {
		c.batches, c.next = whole, max(from, next)
	}
	for _, a := range p.AbortedTransactions {
		c.aborted = append(c.aborted, abortedTxn{a.ProducerID, log.Offset(a.FirstOffset)})
	}
	return c, nil
}
