package bench

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/gretestream/grete/jobs"
	"github.com/gretestream/grete/log"
	op "github.com/gretestream/grete/operators"
)

var (
	clicks   = op.NewTopic("clicks", op.Bytes, op.Bytes)
	rerouted = op.NewTopic("clicks-by-user", op.Int64, op.Bytes)
)

// appendEvery is how often a writer appends what has become due.
const appendEvery = 2 * time.Millisecond

// rerouteClicks gives records the key that stands in their value.
func rerouteClicks(g *op.Graph) {
	byUser := op.KeyBy(op.From(g, clicks), "clicks-by-user", userOf)
	op.To(byUser, rerouted)
}

// A click of the latency workload is 100 bytes: when it was due, in ns since the
// start; its user; its number.
func userOf(click []byte) int64 { return int64(binary.LittleEndian.Uint64(click[8:])) }
func dueOf(click []byte) time.Duration {
	return time.Duration(binary.LittleEndian.Uint64(click))
}

// runLatency sends clicks at an even pace through a job with one KeyBy and
// notes how long after it was due each one reaches a reader of the output. A
// writer that falls behind makes its records late: nothing is left out.
func runLatency(ctx context.Context, t *task) (*Result, error) {
	name := fmt.Sprintf("latency-%d", t.Run)
	l, err := t.openLog(name, log.SyncGroup)
	if err != nil {
		return nil, err
	}
	c, err := t.startJob(ctx, l, jobs.Job{Name: name, Build: rerouteClicks})
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	var r *Result
	if err = c.ready(ctx); err == nil {
		r, err = t.measureLatency(ctx, l)
	}
	err = errors.Join(err, c.Close(), l.Close(), os.RemoveAll(t.stateDir(name)))
	return r, err
}

func (t *task) measureLatency(ctx context.Context, l log.Log) (*Result, error) {
	m, err := startMeter()
	if err != nil {
		return nil, err
	}
	perWriter := int64(float64(t.Rate) * (t.Warmup + t.Duration).Seconds() / partitions)
	n := perWriter * partitions
	start := time.Now()

	// The readers end when they have seen all records.
	var seen [partitions]histogram
	seenAll := make(chan error, 1)
	arrived := make(chan int64, 64)
	readCtx, stop := context.WithTimeout(ctx, t.Warmup+t.Duration+time.Minute)
	defer stop()
	go func() {
		seenAll <- eachPartition(func(p int64) error {
			return t.readClicks(readCtx, l, int32(p), start, &seen[p], arrived)
		})
	}()
	counted := make(chan struct{})
	go func() {
		defer close(counted)
		for left := n; left > 0; {
			select {
			case k := <-arrived:
				left -= k
			case <-readCtx.Done():
				return
			}
		}
		stop()
	}()

	err = eachPartition(func(p int64) error { return t.writeClicks(ctx, l, int32(p), perWriter, start) })
	if err != nil {
		stop()
	}
	err = errors.Join(err, <-seenAll)
	<-counted
	if err != nil {
		return nil, err
	}
	m.worked()
	all := new(histogram)
	for p := range seen {
		all.merge(&seen[p])
	}
	r, err := m.result(n)
	if err != nil {
		return nil, err
	}
	if want := int64(float64(t.Rate) * t.Duration.Seconds()); all.total < want*99/100 {
		return nil, fmt.Errorf("%d records arrived after the warm-up, want %d", all.total, want)
	}
	r.Latency = all.latency()
	return r, nil
}

// writeClicks appends n records to a partition, each when it is due.
func (t *task) writeClicks(ctx context.Context, l log.Log, p int32, n int64, start time.Time) error {
	var b log.Builder
	value := make([]byte, valueBytes)
	tp := log.TopicPartition{Topic: clicks.Name, Partition: p}
	gap := float64(time.Second) * partitions / float64(t.Rate)
	tick := time.NewTicker(appendEvery)
	defer tick.Stop()
	for next := int64(0); next < n; {
		now := time.Now()
		b.Reset()
		for ; next < n && time.Duration(float64(next)*gap) <= now.Sub(start); next++ {
			binary.LittleEndian.PutUint64(value, uint64(float64(next)*gap))
			binary.LittleEndian.PutUint64(value[8:], scramble(uint64(next)*partitions+uint64(p))%100_000)
			binary.LittleEndian.PutUint64(value[16:], uint64(next))
			b.Append(log.TimestampOf(now), nil, value)
		}
		if b.Len() > 0 {
			if _, err := l.Append(ctx, tp, b.Bytes()); err != nil {
				return fmt.Errorf("append to %v: %w", tp, err)
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// readClicks notes what arrives in a partition of the output until ctx ends.
func (t *task) readClicks(ctx context.Context, l log.Log, p int32, start time.Time, h *histogram, arrived chan<- int64) error {
	tp := log.TopicPartition{Topic: rerouted.Name, Partition: p}
	r, err := l.OpenReader(tp, 0, log.ReaderOptions{})
	if err != nil {
		return err
	}
	defer r.Close()
	for {
		recs, err := r.Next(ctx)
		if errors.Is(err, context.Canceled) {
			return nil // all have been seen
		}
		if err != nil {
			return fmt.Errorf("read %v: %w", tp, err)
		}
		now := time.Since(start)
		for i := range recs {
			if due := dueOf(recs[i].Value); due >= t.Warmup {
				h.add(now - due)
			}
		}
		select {
		case arrived <- int64(len(recs)):
		case <-ctx.Done():
		}
	}
}
