package engine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/gretestream/grete/jobs"
	"github.com/gretestream/grete/log"
	op "github.com/gretestream/grete/operators"
	"github.com/gretestream/grete/state"
)

const (
	// tickEvery is how often a task looks at its wall-clock timers.
	tickEvery = time.Second
	// followEvery is how often an input that follows the clock moves.
	followEvery = time.Second
)

// life is a task from one restore to the next: all that is thrown away and read
// back from the log when a commit fails. It is owned by the task's goroutine.
//
//	open ──► announce ──► loop
//
// The loop processes one run of records after the other. When the commit
// interval is over, it cuts what was done off and hands it to the commit
// goroutine, and goes on with the next interval; the answer is taken in between
// two runs.
type life struct {
	c     *Container
	t     *task
	stage *op.Stage
	plan  *jobs.StagePlan
	epoch log.Epoch // under which it commits; it signs with task.term

	db   *state.DB
	flow *op.Flow

	inputs     []input
	candidates []candidate // scratch of next
	outputs    []output

	groupOffsets  []log.Offset // per input: as last committed
	changelogEnds []log.Offset // per store
	wake          chan struct{}
	timer         *time.Timer

	interval      interval
	work          chan *interval
	answers       chan answer
	committerDone chan struct{}
	committing    bool // the commit goroutine was started

	moves     int64 // of the container, when this task last spoke up
	announced bool  // the readers of this task's output know that it is back
	inFlight  bool  // a commit is under way
	dirty     bool  // something is to be committed
	finished  bool  // Flow.Finish was called
	ended     bool  // all of the bounded run is written: the end marks are cut
	through   bool  // and committed
	lastCut   time.Time
	lastTick  time.Time
	read      int64 // records
}

// open reads back the task's state and position. If the checkpoint is not of the
// container that has the task now, every input counts until it has stood still
// again.
func (t *task) open(ctx context.Context, epoch log.Epoch, saved *jobs.Checkpoint) (*life, error) {
	fresh := saved == nil || saved.Epoch < t.taken
	l := &life{
		c: t.c, t: t, stage: t.stage, plan: t.plan, epoch: epoch,
		wake:          make(chan struct{}, 1),
		work:          make(chan *interval, 1),
		answers:       make(chan answer, 1),
		committerDone: make(chan struct{}),
		timer:         time.NewTimer(time.Hour),
		announced:     !fresh,
		moves:         t.c.moves.Load(),
	}
	l.timer.Stop()
	if err := l.restore(ctx, saved); err != nil {
		return nil, errors.Join(err, l.close())
	}
	if err := l.openInputs(ctx, saved, fresh); err != nil {
		return nil, errors.Join(err, l.close())
	}
	l.openOutputs(saved)
	l.committing = true
	go l.commitLoop(ctx)
	return l, nil
}

// restore opens the state and wires the operators to it.
func (l *life) restore(ctx context.Context, saved *jobs.Checkpoint) error {
	db, err := state.Open(ctx, l.c.opts.Log, l.c.spec(l.plan, l.t), l.c.stateOptions(l.t))
	if err != nil {
		err = fmt.Errorf("restore: %w", err)
		if errors.Is(err, state.ErrInUse) {
			return &transient{err: err} // by a container that had the task, and is about to let go
		}
		if errors.As(mayPass(err), new(*transient)) {
			return &transient{err, stateTries}
		}
		return err
	}
	l.db = db
	var flow []byte
	if saved != nil {
		flow = saved.Flow
		if err := db.SetMeta(saved.AppendTo(nil)); err != nil {
			return &transient{err, stateTries}
		}
	}
	l.changelogEnds = make([]log.Offset, len(l.plan.Stores))
	for i := range l.plan.Stores {
		tp := log.TopicPartition{Topic: l.plan.Stores[i].Changelog, Partition: l.t.partition}
		b, err := l.c.opts.Log.Bounds(ctx, tp)
		if err != nil {
			return mayPass(fmt.Errorf("bounds of %s: %w", tp, err))
		}
		l.changelogEnds[i] = b.End
	}
	l.flow, err = l.stage.Wire(op.Env{
		Job:        l.c.plan.Job,
		Generation: l.c.plan.Generation,
		Partition:  l.t.partition,
		DB:         db,
		Partitions: func(output int) int { return l.plan.Outputs[output].Partitions },
		Now:        l.c.opts.Now,
		Memory:     l.c.budget.hot,
		Metrics:    l.c.opts.Metrics,
		Logger:     l.t.logger,
	}, flow)
	if err != nil {
		return fmt.Errorf("wire: %w", err)
	}
	return nil
}

func (l *life) openInputs(ctx context.Context, saved *jobs.Checkpoint, fresh bool) error {
	l.inputs = make([]input, len(l.plan.Inputs))
	l.candidates = make([]candidate, len(l.plan.Inputs))
	l.groupOffsets = make([]log.Offset, len(l.plan.Inputs))
	for i := range l.inputs {
		in := &l.inputs[i]
		in.index, in.spec, in.plan = i, &l.stage.Inputs[i], &l.plan.Inputs[i]
		in.tp = log.TopicPartition{Topic: in.plan.Topic, Partition: l.t.partition}
		in.until = l.t.until[i]
		if err := in.open(ctx, l.c.opts.Log, savedInput(saved, in.plan.Topic), l.c.from, l.wake); err != nil {
			return err
		}
		l.groupOffsets[i] = -1
		if fresh {
			in.idle = false
			in.up.forget()
		}
		if in.absent() {
			in.idle = true
		}
		if err := l.flow.SetIdle(i, in.idle); err != nil {
			return err
		}
	}
	return nil
}

// savedInput is what the checkpoint knows of a topic, or nil.
func savedInput(saved *jobs.Checkpoint, topic string) *jobs.InputCheckpoint {
	if saved == nil {
		return nil
	}
	for i := range saved.Inputs {
		if saved.Inputs[i].Topic == topic {
			return &saved.Inputs[i]
		}
	}
	return nil
}

func (l *life) openOutputs(saved *jobs.Checkpoint) {
	l.outputs = make([]output, len(l.plan.Outputs))
	for i := range l.outputs {
		o := &l.outputs[i]
		o.plan = &l.plan.Outputs[i]
		o.last = unheard
		for j := range l.plan.Outputs {
			o.shared = o.shared || j != i && l.plan.Outputs[j].Topic == o.plan.Topic
		}
		if !o.plan.Repartition {
			continue
		}
		o.marked = make([]bool, o.plan.Partitions)
		if saved == nil || i >= len(saved.Marks) || len(saved.Marks[i]) == 0 {
			continue
		}
		// A mark that cannot be read is written again, which does no harm.
		if m, err := decodeMark(saved.Marks[i]); err == nil {
			o.last, o.encoded = m, saved.Marks[i]
			o.last.Ended = "" // of an earlier run
		}
	}
}

// announce takes back what this task last said, under an earlier owner, of being
// idle or caught up: else records that it has yet to read could be overtaken. It
// commits only if there is something to take back.
func (l *life) announce(ctx context.Context) error {
	if l.announced {
		return nil
	}
	for i := range l.outputs {
		if o := &l.outputs[i]; o.last.Idle || o.last.CaughtUp {
			l.dirty = true
		}
	}
	if l.dirty {
		if err := l.commitNow(ctx); err != nil {
			return err
		}
	}
	l.announced = true
	// Now tell the truth: a task with nothing to read has caught up at once.
	for i := range l.outputs {
		l.dirty = l.dirty || l.outputs[i].plan.Repartition && l.caughtUp()
	}
	return nil
}

// commitNow cuts, and waits for the answer.
func (l *life) commitNow(ctx context.Context) error {
	if err := l.answerOf(ctx); err != nil {
		return err
	}
	if err := l.cut(); err != nil {
		return err
	}
	return l.answerOf(ctx)
}

// answerOf waits for the commit under way, if there is one.
func (l *life) answerOf(ctx context.Context) error {
	if !l.inFlight {
		return nil
	}
	select {
	case a := <-l.answers:
		return l.committed(a)
	case <-ctx.Done():
		return fmt.Errorf("wait for a commit: %w", context.Cause(ctx))
	}
}

// caughtUp tells that the task has read what its inputs held when the container
// started.
func (l *life) caughtUp() bool {
	for i := range l.inputs {
		if !l.inputs[i].caughtUp() {
			return false
		}
	}
	return true
}

// done tells that the bounded run has nothing left for the task.
func (l *life) done() bool {
	for i := range l.inputs {
		if !l.inputs[i].done(l.c.run != "") {
			return false
		}
	}
	return true
}

// close ends the life: it waits for the commit goroutine and gives back what was
// opened. What was not committed is forgotten.
func (l *life) close() error {
	var errs []error
	for i := range l.inputs {
		errs = append(errs, l.inputs[i].close())
	}
	if l.committing {
		close(l.work)
		<-l.committerDone
	}
	if l.db != nil {
		errs = append(errs, l.db.Close())
	}
	return errors.Join(errs...)
}

func (l *life) nowTimestamp() log.Timestamp { return log.TimestampOf(l.c.opts.Now()) }
