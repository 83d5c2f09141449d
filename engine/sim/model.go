package sim

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/gretestream/grete/engine"
	"github.com/gretestream/grete/log"
	op "github.com/gretestream/grete/operators"
)

// window is one page in one minute.
type window struct {
	start int64 // ms
	page  string
}

func (w window) String() string { return fmt.Sprintf("%s at %s", w.page, log.Timestamp(w.start)) }

// model is what the job must have computed from what the log holds.
type model struct {
	views  map[string]int // "timestamp page" → how often
	counts map[window]int64
	// atLeast: more is right, too; again counts how often there was more.
	atLeast bool
	again   int
}

// right holds a count against what it has to be.
func (m *model) right(got, want int64) bool {
	if m.atLeast && got > want {
		m.again++
		return true
	}
	return got == want
}

// model reads the input, which is the truth, after checking that all that was
// acknowledged is in it.
func (s *simulation) model(ctx context.Context, l log.Log) (*model, error) {
	m := &model{views: map[string]int{}, counts: map[window]int64{}}
	left := 0
	for _, offsets := range s.acked {
		left += len(offsets)
	}
	err := each(ctx, l, viewsTopic, func(tp log.TopicPartition, r *log.Record) error {
		s.report.Views++
		m.views[viewID(r)]++
		m.counts[window{int64(r.Timestamp) - int64(r.Timestamp)%60_000, string(r.Value)}]++
		if page, ok := s.acked[tp][r.Offset]; ok {
			left--
			if page != string(r.Value) {
				return fmt.Errorf("%s offset %s: got %q, acknowledged was %q", tp, r.Offset, r.Value, page)
			}
		}
		return nil
	})
	if err == nil && left > 0 {
		err = fmt.Errorf("%d acknowledged views are not in the log", left)
	}
	return m, err
}

func viewID(r *log.Record) string { return fmt.Sprintf("%d %s", int64(r.Timestamp), r.Value) }

// checkCopy holds the copy against the input, record by record.
func (m *model) checkCopy(ctx context.Context, l log.Log) error {
	got := map[string]int{}
	err := each(ctx, l, copyTopic, func(_ log.TopicPartition, r *log.Record) error {
		got[viewID(r)]++
		return nil
	})
	for id, want := range m.views {
		if !m.right(int64(got[id]), int64(want)) {
			err = errors.Join(err, fmt.Errorf("copy: got view %q %d times, want %d", id, got[id], want))
		}
		delete(got, id)
	}
	for id := range got {
		err = errors.Join(err, fmt.Errorf("copy: got view %q, which the input does not hold", id))
	}
	return err
}

// checkUpdates wants the running counts of every window to be 1, 2, 3 … in the
// order of their partition.
func (m *model) checkUpdates(ctx context.Context, l log.Log) error {
	last := map[window]int64{}
	var errs []error
	err := eachCount(ctx, l, viewUpdates, func(w window, n int64, r *log.Record) {
		if n != last[w]+1 && !m.atLeast {
			errs = append(errs, fmt.Errorf("running counts: %s: got %d after %d at offset %s", w, n, last[w], r.Offset))
		}
		last[w] = n
	})
	return errors.Join(err, errors.Join(errs...), m.compare("running counts", last))
}

// checkFinals wants the last final of every window to be its count. A window
// that a bounded run closed may have been corrected since; none may go down.
func (m *model) checkFinals(ctx context.Context, l log.Log) error {
	last := map[window]int64{}
	var errs []error
	err := eachCount(ctx, l, viewFinals, func(w window, n int64, r *log.Record) {
		if n <= last[w] && !m.atLeast {
			errs = append(errs, fmt.Errorf("finals: %s: got %d after %d at offset %s", w, n, last[w], r.Offset))
		}
		last[w] = n
	})
	return errors.Join(err, errors.Join(errs...), m.compare("finals", last))
}

// checkStore reads the counts out of the state.
func (m *model) checkStore(ctx context.Context, o engine.Options) error {
	i, err := engine.Inspect(ctx, o)
	if err != nil {
		return err
	}
	got := map[window]int64{}
	err = func() error {
		query := i.Stores()[slices.IndexFunc(i.Stores(), func(s engine.StoreInfo) bool { return s.Name == countStore })].Query
		views, err := i.Views(countStore)
		if err != nil {
			return err
		}
		for k := range views {
			serr := query.Scan(views[k].View, op.Range{}, func(r op.Row) error {
				got[window{r.Start, r.Key.(string)}] += r.Value.(int64)
				return nil
			})
			err = errors.Join(err, serr, views[k].Close())
		}
		return err
	}()
	return errors.Join(err, i.Close(), m.compare("store", got))
}

func (m *model) compare(what string, got map[window]int64) error {
	var errs []error
	for w, want := range m.counts {
		if !m.right(got[w], want) {
			errs = append(errs, fmt.Errorf("%s: %s: got %d, want %d", what, w, got[w], want))
		}
	}
	for w := range got {
		if _, ok := m.counts[w]; !ok {
			errs = append(errs, fmt.Errorf("%s: %s: got %d, want no such window", what, w, got[w]))
		}
	}
	return errors.Join(errs...)
}

// eachCount decodes a topic of counts per window.
func eachCount(ctx context.Context, l log.Log, t op.Topic[op.Windowed[string], int64], f func(w window, n int64, r *log.Record)) error {
	return each(ctx, l, t.Name, func(tp log.TopicPartition, r *log.Record) error {
		var k op.Windowed[string]
		var n int64
		if err := errors.Join(t.Key.Decode(&k, r.Key, nil), t.Value.Decode(&n, r.Value, nil)); err != nil {
			return fmt.Errorf("%s offset %s: %w", tp, r.Offset, err)
		}
		f(window{k.Start, k.Key}, n, r)
		return nil
	})
}

// each calls f for every record of a topic, partition by partition.
func each(ctx context.Context, l log.Log, topic string, f func(log.TopicPartition, *log.Record) error) error {
	t, err := l.Topic(ctx, topic)
	if err != nil {
		return err
	}
	for p := range int32(t.Partitions) {
		if err := eachIn(ctx, l, log.TopicPartition{Topic: topic, Partition: p}, f); err != nil {
			return err
		}
	}
	return nil
}

func eachIn(ctx context.Context, l log.Log, tp log.TopicPartition, f func(log.TopicPartition, *log.Record) error) error {
	b, err := l.Bounds(ctx, tp)
	if err != nil {
		return err
	}
	r, err := l.OpenReader(tp, b.Start, log.ReaderOptions{})
	if err != nil {
		return err
	}
	defer r.Close()
	for r.Position() < b.End {
		recs, err := r.Next(ctx)
		if err != nil {
			return fmt.Errorf("read %s: %w", tp, err)
		}
		for i := range recs {
			if err := f(tp, &recs[i]); err != nil {
				return err
			}
		}
	}
	return nil
}
