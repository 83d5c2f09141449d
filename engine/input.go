package engine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/gretestream/grete/jobs"
	"github.com/gretestream/grete/log"
	op "github.com/gretestream/grete/operators"
)

// defaultSkipAfter is how long an input stands at its end before it stops
// counting, unless its IdlePolicy says otherwise.
const defaultSkipAfter = 30 * time.Second

// input is one input of a task: the partition it reads and how far it has come.
// It is owned by the task's goroutine.
type input struct {
	index int // in the stage's Inputs
	spec  *op.InputSpec
	plan  *jobs.InputPlan
	tp    log.TopicPartition

	reader  log.Reader   // nil: the task has no partition of this input
	pending []log.Record // polled, not yet processed; valid until the next Poll
	offset  log.Offset   // next to process: what the next checkpoint says
	// captured is the end when the generation first read the input: a table or
	// bootstrap input is read this far before anything else, what a transaction that
	// was open then commits included; in a bounded run no further than until.
	captured log.Offset
	// until is the end when the container took the task. A bounded run ends
	// there; any other waits for the input below it. Marks below it are of a time
	// in which this task did not run here, open transactions or not: see
	// life.observe.
	until log.Offset

	up upstream // of a repartition input

	idle     bool      // taken out of the watermark's minimum
	stands   time.Time // since when the task stands at the input's end; zero: it does not
	followed time.Time // when it moved with the clock last
	awaits   time.Time // since when others have records and this one has none; zero: not so
	keys     keyCheck
}

// absent tells that the input has fewer partitions than the stage has tasks and
// none for this one.
func (in *input) absent() bool { return in.reader == nil }

// first tells that the input is to be read before the others.
func (in *input) first() bool {
	return (in.spec.Table || in.spec.Options.Bootstrap) && !in.plan.Repartition && in.offset < in.captured
}

// caughtUp tells that the input has been read to where it ended when the
// container started or, if tasks write it, that they have all got there.
func (in *input) caughtUp() bool {
	switch {
	case in.absent():
		return true
	case in.plan.Repartition:
		return in.up.caughtUp()
	}
	return in.offset >= in.until
}

// done tells that nothing more will come in the bounded run.
func (in *input) done(bounded bool) bool {
	switch {
	case !bounded:
		return false
	case in.absent():
		return true
	case in.plan.Repartition:
		return len(in.pending) == 0 && in.up.ended()
	}
	return in.offset >= in.until
}

// poll fetches the next records if none are pending. In a bounded run it stops
// at the captured end.
func (in *input) poll(bounded bool) error {
	if in.reader == nil || len(in.pending) > 0 {
		return nil
	}
	stop := bounded && !in.plan.Repartition
	if stop && in.offset >= in.until {
		return nil
	}
	recs, err := in.reader.Poll()
	if err != nil {
		return in.readError(err)
	}
	if stop {
		for len(recs) > 0 && recs[len(recs)-1].Offset >= in.until {
			recs = recs[:len(recs)-1]
		}
	}
	in.pending = recs
	in.pass(bounded)
	return nil
}

// consumed tells that the first n pending records have been processed.
func (in *input) consumed(n int, bounded bool) {
	last := in.pending[n-1].Offset
	in.pending = in.pending[n:]
	in.offset = last + 1
	in.pass(bounded)
}

// pass leaves offsets behind that compaction or control batches left empty, once
// there is nothing before them; in a bounded run not those behind its end, where
// there may be records that it did not take.
func (in *input) pass(bounded bool) {
	if len(in.pending) > 0 {
		return
	}
	to := in.reader.Position()
	if bounded && !in.plan.Repartition {
		to = min(to, in.until)
	}
	in.offset = max(in.offset, to)
}

// atEnd tells that the task stands at the end of the input, nothing buffered.
func (in *input) atEnd() bool {
	return len(in.pending) == 0 && in.reader.Position() >= in.reader.End()
}

// silent tells that nobody has begun to write behind the task either: what an open
// transaction has written is not to be read yet, but it is there.
func (in *input) silent(ctx context.Context, l log.Log) (bool, error) {
	b, err := l.Bounds(ctx, in.tp)
	if err != nil {
		return false, mayPass(fmt.Errorf("bounds of %s: %w", in.tp, err))
	}
	return in.reader.Position() >= b.Stable && b.Stable >= b.End, nil
}

// idleAfter is how long the input stands at its end before it is taken out of
// the minimum, or follows the clock; 0: never.
func (in *input) idleAfter() time.Duration {
	p := in.spec.Options.Idle
	switch p.Kind {
	case op.IdleHold:
		return 0
	case op.IdleSkip, op.IdleFollow:
		return p.After
	}
	return defaultSkipAfter
}

func (in *input) readError(err error) error {
	err = fmt.Errorf("read %s at %s: %w", in.tp, in.reader.Position(), err)
	if in.plan.Repartition && errors.Is(err, log.ErrOffsetOutOfRange) {
		// Only the owner of a task deletes what lies behind its checkpoint (janitor.go).
		return fmt.Errorf("%w: another container has processed what this one was to read: %w", log.ErrFenced, err)
	}
	return mayPass(err)
}

// open decides where reading begins and opens the reader. saved is nil if the
// task has no checkpoint, or one from before the input was added.
func (in *input) open(ctx context.Context, l log.Log, saved *jobs.InputCheckpoint, from log.Timestamp, wake chan<- struct{}) error {
	if int(in.tp.Partition) >= in.plan.Partitions {
		return nil
	}
	bounds, err := l.Bounds(ctx, in.tp)
	if err != nil {
		return mayPass(fmt.Errorf("bounds of %s: %w", in.tp, err))
	}
	if err := in.position(ctx, l, bounds, saved, from); err != nil {
		return err
	}
	if in.plan.Repartition {
		in.up = newUpstream(in.plan.UpstreamTasks, nil)
		if saved != nil {
			in.up = newUpstream(in.plan.UpstreamTasks, saved.Upstream)
		}
	}
	in.reader, err = l.OpenReader(in.tp, in.offset, log.ReaderOptions{Wake: wake})
	if err != nil {
		return mayPass(fmt.Errorf("open %s at %s: %w", in.tp, in.offset, err))
	}
	return nil
}

// position sets offset and captured.
func (in *input) position(ctx context.Context, l log.Log, bounds log.Bounds, saved *jobs.InputCheckpoint, from log.Timestamp) error {
	if saved == nil {
		in.offset, in.captured = bounds.Start, bounds.End
		if from == log.NoTimestamp || in.plan.Repartition || in.spec.Table || in.spec.Options.Bootstrap {
			return nil
		}
		o, _, err := l.OffsetFor(ctx, in.tp, from)
		if err != nil {
			return mayPass(fmt.Errorf("find %s in %s: %w", from, in.tp, err))
		}
		in.offset = max(o, bounds.Start)
		return nil
	}
	in.offset, in.captured, in.idle = saved.Offset, saved.Captured, saved.Idle
	if in.offset > bounds.End {
		return fmt.Errorf("%s ends at %s, but the job has read it up to %s: the topic was made anew or its log was restored from a backup; start again with grete reprocess",
			in.tp, bounds.End, in.offset)
	}
	if in.offset >= bounds.Start {
		return nil
	}
	if in.plan.Repartition || in.spec.Options.OnGap != op.Continue {
		return &GapError{TopicPartition: in.tp, From: in.offset, To: bounds.Start}
	}
	in.offset = bounds.Start
	return nil
}

func (in *input) close() error {
	if in.reader == nil {
		return nil
	}
	err := in.reader.Close()
	in.reader, in.pending = nil, nil
	if errors.Is(err, log.ErrClosed) {
		return nil
	}
	return err
}

// keyCheck holds the keys of an input that feeds a keyed step against the
// partition that they were written to: equal keys must meet in one task.
type keyCheck struct {
	seen int
}

// keysChecked is how many keys are looked at one by one; after that one of each
// run of records is.
const keysChecked = 1000

// check looks at the keys of a run of records.
func (k *keyCheck) check(in *input, recs []log.Record) error {
	n := 1
	if k.seen < keysChecked {
		n = len(recs)
	}
	k.seen += n
	for i := range recs[:n] {
		key := recs[i].Key
		if key == nil {
			continue
		}
		if want := log.PartitionFor(key, in.plan.Partitions); want != in.tp.Partition {
			return fmt.Errorf("topic %s: record %s of partition %d has a key that belongs into partition %d by Java's partitioner (murmur2), so equal keys need not meet; "+
				"its writer partitions otherwise (librdkafka does by default): put op.KeyBy before the step, or say op.Input{Partitioner: op.AnyPartitioner} if equal keys do meet",
				in.tp.Topic, recs[i].Offset, in.tp.Partition, want)
		}
	}
	return nil
}
