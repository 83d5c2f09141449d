package bench

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"

	"github.com/gretestream/grete/log"
)

const (
	partitions   = 4
	batchRecords = 1_000
	valueBytes   = 100

	recordsTopic = "records"
	viewsTopic   = "page-views"

	pageCount     = 10_000
	manyPageCount = 10_000_000

	// Event times of page views: a million a minute, from firstView on.
	viewsPerMinute = 1_000_000
	firstView      = 1_700_000_040_000 // ms since 1970 UTC; a minute begins
	disorder       = 2_000             // ms by which one view in twenty is late
)

// openLog opens the log of the task's workload that is kept under name.
func (t *task) openLog(name string, sync log.SyncMode) (log.Log, error) {
	return log.Open(filepath.Join(t.Dir, name), log.Options{Sync: log.SyncPolicy{Mode: sync}})
}

// inputDone is the file that tells that an input is complete.
func (t *task) inputDone(name string) string { return filepath.Join(t.Dir, name+".done") }

// prepare writes an input unless it is there: a log of its own, so that a run
// finds it in sealed order and nothing else.
func (t *task) prepare(ctx context.Context, name, topic string, fill func(context.Context, log.Log) error) error {
	done, want := t.inputDone(name), strconv.FormatInt(t.Records, 10)
	if got, err := os.ReadFile(done); err == nil && string(got) == want {
		return nil
	}
	if err := os.RemoveAll(filepath.Join(t.Dir, name)); err != nil {
		return fmt.Errorf("remove input %s: %w", name, err)
	}
	l, err := t.openLog(name, log.SyncNone)
	if err != nil {
		return err
	}
	_, err = l.CreateTopic(ctx, log.TopicSpec{Name: topic, Partitions: partitions})
	if err == nil {
		err = fill(ctx, l)
	}
	if err := errors.Join(err, l.Close()); err != nil {
		return fmt.Errorf("write input %s: %w", name, err)
	}
	if err := os.WriteFile(done, []byte(want), 0o600); err != nil {
		return fmt.Errorf("write input %s: %w", name, err)
	}
	return nil
}

func prepareRecords(ctx context.Context, t *task) error {
	return t.prepare(ctx, "records", recordsTopic, func(ctx context.Context, l log.Log) error {
		return appendRecords(ctx, l, t.Records)
	})
}

func prepareViews(ctx context.Context, t *task) error {
	return t.prepare(ctx, "views", viewsTopic, func(ctx context.Context, l log.Log) error {
		return appendViews(ctx, l, t.Records, viewsPerMinute, func(i uint64) uint64 { return scramble(i) % pageCount })
	})
}

// prepareManyViews meets every page once and then pages at random, all within
// one minute.
func prepareManyViews(ctx context.Context, t *task) error {
	pages := uint64(min(manyPageCount, t.Records))
	return t.prepare(ctx, "many-views", viewsTopic, func(ctx context.Context, l log.Log) error {
		return appendViews(ctx, l, t.Records, t.Records+1, func(i uint64) uint64 {
			if i < pages {
				// A multiplication by a number without common factors visits
				// every page, in no order.
				return i * 7_368_787 % pages
			}
			return scramble(i) % pages
		})
	})
}

// appendRecords appends n records of 100 bytes in batches of 1,000, from one
// writer per partition at a time.
func appendRecords(ctx context.Context, l log.Log, n int64) error {
	return eachPartition(func(p int64) error {
		var b log.Builder
		value := make([]byte, valueBytes)
		tp := log.TopicPartition{Topic: recordsTopic, Partition: int32(p)}
		for left := share(n, p); left > 0; left -= batchRecords {
			b.Reset()
			for i := range min(left, batchRecords) {
				binary.LittleEndian.PutUint64(value, scramble(uint64(left-i)))
				b.Append(firstView+log.Timestamp(i), nil, value)
			}
			if _, err := l.Append(ctx, tp, b.Bytes()); err != nil {
				return err
			}
		}
		return nil
	})
}

// share is how many of n records go to partition p.
func share(n, p int64) int64 { return n/partitions + btoi(p < n%partitions) }

func btoi(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

// eachPartition calls f for all partitions at the same time.
func eachPartition(f func(p int64) error) error {
	errs := make([]error, partitions)
	var group sync.WaitGroup
	for p := range errs {
		group.Go(func() { errs[p] = f(int64(p)) })
	}
	group.Wait()
	return errors.Join(errs...)
}

// appendViews appends n page views, keyed by page.
func appendViews(ctx context.Context, l log.Log, n, perMinute int64, page func(i uint64) uint64) error {
	var builders [partitions]log.Builder
	var v viewEncoder
	flush := func(p int32) error {
		b := &builders[p]
		if b.Len() == 0 {
			return nil
		}
		_, err := l.Append(ctx, log.TopicPartition{Topic: viewsTopic, Partition: p}, b.Bytes())
		b.Reset()
		return err
	}
	for i := range uint64(n) {
		arrived := firstView + int64(i)*60_000/perMinute
		happened := arrived
		if r := scramble(^i); r%20 == 0 {
			happened = max(firstView, arrived-int64(r>>32%disorder))
		}
		key, value := v.encode(page(i), i, happened)
		p := log.PartitionFor(key, partitions)
		if builders[p].Append(log.Timestamp(arrived), key, value); builders[p].Len() == batchRecords {
			if err := flush(p); err != nil {
				return err
			}
		}
	}
	for p := range int32(partitions) {
		if err := flush(p); err != nil {
			return err
		}
	}
	return nil
}

// viewEncoder makes page views of exactly 100 bytes.
type viewEncoder struct{ key, value []byte }

// encode returns the key and value of a view; they are valid until the next one.
func (e *viewEncoder) encode(page, user uint64, happened int64) (key, value []byte) {
	e.key = appendPage(e.key[:0], page)
	b := append(e.value[:0], `{"user":"u`...)
	b = appendDigits(b, scramble(user)%1_000_000, 6)
	b = append(b, `","page":"`...)
	b = append(b, e.key...)
	b = append(b, `","status":200,"time":`...)
	b = strconv.AppendInt(b, happened, 10)
	b = append(b, `,"agent":"`...)
	for len(b) < valueBytes-2 {
		b = append(b, "Mozilla/5.0 (X11; Linux)"[len(b)%24])
	}
	e.value = append(b, `"}`...)
	return e.key, e.value
}

func appendPage(b []byte, page uint64) []byte {
	return appendDigits(append(b, "/page/"...), page, 8)
}

// appendDigits writes n with leading zeros.
func appendDigits(b []byte, n uint64, digits int) []byte {
	start := len(b)
	for range digits {
		b = append(b, '0')
	}
	for i := len(b) - 1; i >= start; i-- {
		b[i] = byte('0' + n%10)
		n /= 10
	}
	return b
}

// scramble makes a random number of i (the last step of splitmix64).
func scramble(i uint64) uint64 {
	i += 0x9e3779b97f4a7c15
	i = (i ^ i>>30) * 0xbf58476d1ce4e5b9
	i = (i ^ i>>27) * 0x94d049bb133111eb
	return i ^ i>>31
}
