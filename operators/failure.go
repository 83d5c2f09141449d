package operators

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	"github.com/gretestream/grete/log"
)

// guard runs a loop over a batch that calls a user's function, and survives its
// panics: the record at which it stood is noted and the loop goes on behind it.
// A deferred call per batch, none per record.
type guard struct {
	flow *Flow
	step *step
	at   int    // the record that the loop is at
	loop func() // goes from at to the end of the batch, keeping at up to date
	undo func() // if set: takes back what the failed record did
	bad  []int32
	errs []error
}

func newGuard(w *wiring, s *step) guard { return guard{flow: w.flow, step: s} }

// run calls the loop until all n records have been handled or noted.
func (g *guard) run(n int) {
	g.bad, g.errs = g.bad[:0], g.errs[:0]
	for g.at = 0; g.at < n; {
		g.once(n)
	}
}

func (g *guard) once(n int) {
	defer g.rescue()
	g.loop()
	g.at = n
}

func (g *guard) rescue() {
	if r := recover(); r != nil {
		g.note(fmt.Errorf("the function panicked: %v", r))
		if g.undo != nil {
			g.undo()
		}
		g.at++
	}
}

// note marks the present record as failed. Records are noted in order, each at
// most once.
func (g *guard) note(err error) {
	g.bad = append(g.bad, int32(g.at))
	g.errs = append(g.errs, err)
}

// settle makes dead letters of the records that failed, and returns what is
// left of b: b itself if none did.
func settle[K, V any](g *guard, b, rest *Batch[K, V]) (*Batch[K, V], error) {
	if len(g.bad) == 0 {
		return b, nil
	}
	if err := bury(g, b); err != nil {
		return nil, err
	}
	rest.without(b, g.bad)
	return rest, nil
}

// bury makes dead letters of the records that failed.
func bury[K, V any](g *guard, b *Batch[K, V]) error {
	for k, i := range g.bad {
		if err := deadLetter(g.flow, g.step, b, int(i), g.errs[k]); err != nil {
			return err
		}
	}
	return nil
}

// deadLetter hands record i of b over to the dead letters and counts it, or
// returns an error where its input says to stop.
func deadLetter[K, V any](f *Flow, s *step, b *Batch[K, V], i int, err error) error {
	if r := b.origin(i); r != nil {
		return f.deadRecord(s, b.src, r, err)
	}
	f.bury(s, DeadLetter{
		Input: -1, Offset: -1, Timestamp: log.Timestamp(b.Times[i]),
		Err: fmt.Errorf("%w (a result: key %v, value %v)", err, b.Keys[i], b.Values[i]),
	}, reasonOf(err))
	return nil
}

// deadRecord does the same for a record of the source's batch.
func (f *Flow) deadRecord(s *step, src *rows, r *log.Record, err error) error {
	if src.onError == Stop {
		return fmt.Errorf("%s: %s-%d at offset %d: %w", s, src.topic, f.env.Partition, r.Offset, err)
	}
	headers := make([]log.Header, len(r.Headers))
	for i, h := range r.Headers {
		headers[i] = log.Header{Key: h.Key, Value: bytes.Clone(h.Value)}
	}
	f.bury(s, DeadLetter{
		Input: src.input, Offset: r.Offset, Timestamp: r.Timestamp,
		Key: bytes.Clone(r.Key), Value: bytes.Clone(r.Value), Headers: headers,
		Err: err,
	}, reasonOf(err))
	return nil
}

// bury counts a dead letter of a step and keeps it for the commit.
func (f *Flow) bury(s *step, d DeadLetter, reason string) {
	*f.counter(s, reason)++
	d.Operator = s.String()
	f.dead = append(f.dead, d)
	f.deadBytes += len(d.Key) + len(d.Value) + deadLetterBytes
}

// deadLetterBytes is about what a dead letter takes beside key and value.
const deadLetterBytes = 200

// futureError says that a record claims to be from the future.
func futureError(t, now int64, bound time.Duration) error {
	return failure{dropFuture, fmt.Errorf("time %s is %s ahead of the clock, want at most %s",
		log.Timestamp(t), (time.Duration(t-now) * time.Millisecond).Round(time.Second), bound)}
}

// failure is why a record did not contribute, and under which reason it counts.
type failure struct {
	reason string
	err    error
}

func (f failure) Error() string { return f.err.Error() }
func (f failure) Unwrap() error { return f.err }

func reasonOf(err error) string {
	if f, ok := err.(failure); ok {
		return f.reason
	}
	return dropFailed
}

var errNoTime = errors.New("the value has no time: got the zero time.Time")
