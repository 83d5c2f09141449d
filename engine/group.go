package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gretestream/grete/jobs"
	"github.com/gretestream/grete/log"
)

const (
	// retakeAfter is how long a task that was fenced is left alone while the
	// group still assigns it to this container: long enough to be told that
	// another one has it, if that is so.
	retakeAfter = 10 * time.Second
	// watchEvery is how long the search for a newer generation pauses after an
	// error.
	watchEvery = time.Second
)

// hold is a task's stay in a container: from being assigned to being let go of.
type hold struct {
	task    *task
	tp      log.TopicPartition // what stands for the task in the group
	work    context.Context
	giveUp  context.CancelCauseFunc // of work
	stop    chan struct{}           // closed: commit and end
	ended   chan struct{}           // closed: the task's goroutine has ended, with what follows
	err     error
	failed  bool // err ends the job
	batch   *batch
	arrived atomic.Bool // it processes
	done    atomic.Bool // it is through with a bounded run

	// Of the keeper.
	lost    bool // it is to be let go of; set before stop is closed
	stopped bool // stop is closed
}

// batch is tasks that were assigned together: their last lives are fenced, and
// their checkpoints found, in one go.
type batch struct {
	ready chan struct{} // closed: the tasks' epoch, saved and until are set, or err says why not
	err   error
}

// keeper takes the tasks that the group assigns to a container, and lets go of
// those that it takes away. It belongs to the goroutine of Run.
type keeper struct {
	c      *Container
	member log.Member
	tasks  map[log.TopicPartition][]*task // by what stands for them in the group
	holds  map[*task]*hold
	fenced map[*task]time.Time // not to be taken again before

	work      context.Context // ends when it is given up
	giveUp    context.CancelCauseFunc
	preparing context.Context // ends when the container stops
	unprepare context.CancelFunc
	running   sync.WaitGroup
	ends      chan *hold
	wake      chan struct{} // one token: a task has arrived or is done

	stopping bool
	overdue  <-chan time.Time // when stopping has taken too long
	failures []error
}

func newKeeper(c *Container, work context.Context, giveUp context.CancelCauseFunc) *keeper {
	k := &keeper{
		c: c, work: work, giveUp: giveUp,
		tasks: map[log.TopicPartition][]*task{}, holds: map[*task]*hold{}, fenced: map[*task]time.Time{},
		ends: make(chan *hold), wake: make(chan struct{}, 1),
	}
	k.preparing, k.unprepare = context.WithCancel(work)
	for _, t := range c.tasks {
		tp := t.groupPartition()
		k.tasks[tp] = append(k.tasks[tp], t)
	}
	return k
}

// groupPartition stands for the task in the group.
func (t *task) groupPartition() log.TopicPartition {
	return log.TopicPartition{Topic: t.plan.AssignedBy, Partition: t.partition}
}

// run joins the group and runs what it assigns, until ctx ends, a task fails, a
// newer generation is current, or a bounded run is through. All of its
// goroutines have ended when it returns.
func (k *keeper) run(ctx context.Context) error {
	defer k.unprepare()
	member, err := k.c.opts.Log.Join(ctx, log.GroupSpec{
		Group:  jobs.TaskGroup(k.c.plan.Job, k.c.plan.Generation),
		Topics: k.c.plan.GroupTopics(),
	})
	if err != nil {
		k.c.move(Stopping, nil)
		if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
			return nil
		}
		return fmt.Errorf("join the containers of the job: %w", err)
	}
	k.member = member
	superseded := make(chan int64, 1)
	k.running.Go(func() { k.awaitGeneration(superseded) })

	k.keep(ctx, superseded)
	k.running.Wait()
	if err := member.Close(); err != nil && !errors.Is(err, log.ErrClosed) {
		k.failures = append(k.failures, fmt.Errorf("leave the containers of the job: %w", err))
	}
	return errors.Join(k.failures...)
}

// keep does what the group says until the container stops and all tasks have
// ended.
func (k *keeper) keep(ctx context.Context, superseded <-chan int64) {
	end := ctx.Done()
	for !k.stopping || len(k.holds) > 0 {
		changed, retake := k.follow()
		k.noteRunning()
		if !k.stopping && k.through() {
			k.halt()
			continue
		}
		select {
		case <-changed:
		case <-retake:
		case <-k.wake:
		case h := <-k.ends:
			k.ended(h)
		case generation := <-superseded:
			k.fail(fmt.Errorf("%w: generation %d", ErrSuperseded, generation))
		case <-end:
			end = nil
			k.halt()
		case <-k.overdue:
			k.giveUp(fmt.Errorf("tasks did not stop within %v", k.c.opts.StopTimeout))
			k.overdue = nil
		}
	}
}

// follow takes and lets go of tasks as the group says. It returns what to wait
// for before it is called again.
func (k *keeper) follow() (changed <-chan struct{}, retake <-chan time.Time) {
	if k.stopping {
		return nil, nil
	}
	tps, changed := k.member.Assignment()
	for t, h := range k.holds {
		if !h.stopped && !slices.Contains(tps, h.tp) {
			k.lose(t, h)
		}
	}
	for t := range k.fenced {
		if !slices.Contains(tps, t.groupPartition()) {
			delete(k.fenced, t) // it is another's by now; should it come back, it is ours
		}
	}
	var take []*task
	now, wait := time.Now(), time.Duration(0)
	for _, tp := range tps {
		for _, t := range k.tasks[tp] {
			if k.holds[t] != nil {
				continue
			}
			if left := k.fenced[t].Sub(now); left > 0 {
				wait = sooner(wait, left)
				continue
			}
			take = append(take, t)
		}
	}
	k.take(take)
	if wait > 0 {
		return changed, time.After(wait)
	}
	return changed, nil
}

// take runs tasks.
func (k *keeper) take(tasks []*task) {
	if len(tasks) == 0 {
		return
	}
	b := &batch{ready: make(chan struct{})}
	for _, t := range tasks {
		delete(k.fenced, t)
		h := &hold{
			task: t, tp: t.groupPartition(), batch: b,
			stop: make(chan struct{}), ended: make(chan struct{}),
		}
		h.work, h.giveUp = context.WithCancelCause(k.work)
		k.holds[t] = h
		t.enter(h)
	}
	k.changedHands()
	k.running.Go(func() {
		b.err = k.c.prepare(k.preparing, tasks)
		k.c.moves.Add(1) // now that it is known from where on they listen
		close(b.ready)
	})
	for _, t := range tasks {
		h := k.holds[t]
		k.running.Go(func() { k.runTask(h) })
	}
}

// runTask is the goroutine of a task that is held.
func (k *keeper) runTask(h *hold) {
	ready := h.batch.ready
	err := h.task.run(h, k.poke)
	<-ready // or an owner that comes after could be fenced
	h.giveUp(nil)
	lost := false
	select {
	case <-h.stop:
		lost = h.lost
	default:
	}
	if lost {
		err = errors.Join(err, h.task.close())
	}
	h.err, h.failed = err, err != nil && !lost && !errors.Is(err, log.ErrFenced)
	close(h.ended)
	k.ends <- h
}

func (k *keeper) poke() {
	select {
	case k.wake <- struct{}{}:
	default:
	}
}

// lose lets a task commit what it has processed, and end: the group wants to
// give it to another container, or has done so.
func (k *keeper) lose(t *task, h *hold) {
	h.lost = true
	k.stop(h)
	k.c.logger.Info("task goes to another container", "task", t.name)
	timer := time.AfterFunc(k.c.opts.StopTimeout, func() {
		h.giveUp(fmt.Errorf("task did not stop within %v", k.c.opts.StopTimeout))
	})
	k.running.Go(func() {
		<-h.ended
		timer.Stop()
	})
	k.changedHands()
}

func (k *keeper) stop(h *hold) {
	if !h.stopped {
		h.stopped = true
		close(h.stop)
	}
}

// ended takes leave of a task whose goroutine has ended.
func (k *keeper) ended(h *hold) {
	defer k.c.notify()
	t := h.task
	delete(k.holds, t)
	switch {
	case errors.Is(h.err, log.ErrFenced):
		k.c.logger.Warn("task was fenced: another container has it, or the job was deployed anew", "task", t.name)
		k.fenced[t] = time.Now().Add(k.c.opts.retakeAfter)
		t.leave(h.err)
		k.changedHands()
	case h.lost:
		if h.err != nil {
			k.c.logger.Warn("task was let go of with an error", "task", t.name, "err", h.err)
		}
		t.leave(nil)
	case h.err != nil:
		k.fail(h.err)
	}
	for _, t := range k.tasks[h.tp] {
		if k.holds[t] != nil {
			return // the partition stands for that one too
		}
	}
	k.member.Release(h.tp)
}

// fail ends the container because of err. That another generation is current, all
// tasks may find out: it is told once.
func (k *keeper) fail(err error) {
	superseded := func(err error) bool { return errors.Is(err, ErrSuperseded) }
	if !superseded(err) || !slices.ContainsFunc(k.failures, superseded) {
		k.failures = append(k.failures, err)
	}
	k.halt()
}

// halt stops all tasks.
func (k *keeper) halt() {
	if k.stopping {
		return
	}
	k.stopping = true
	k.unprepare()
	k.c.move(Stopping, nil)
	for _, h := range k.holds {
		k.stop(h)
	}
	k.overdue = time.After(k.c.opts.StopTimeout)
}

// changedHands notes whether all tasks are here, and tells them that some were
// taken or lost: see life.speakUp.
func (k *keeper) changedHands() {
	n := 0
	for _, h := range k.holds {
		if !h.lost {
			n++
		}
	}
	k.c.whole.Store(n == len(k.c.tasks))
	k.c.moves.Add(1)
}

// noteRunning notes that all tasks of the container process, the first time that
// they do.
func (k *keeper) noteRunning() {
	if k.stopping || len(k.holds) == 0 {
		return
	}
	for _, h := range k.holds {
		if !h.arrived.Load() {
			return
		}
	}
	if k.c.move(Running, nil) {
		close(k.c.ran)
		k.c.notify()
	}
}

// through tells that a bounded run has nothing left for this container.
func (k *keeper) through() bool {
	if k.c.run == "" || len(k.holds) == 0 {
		return false
	}
	for _, h := range k.holds {
		if !h.done.Load() {
			return false
		}
	}
	return true
}

// awaitGeneration tells when a newer generation of the job has become current.
func (k *keeper) awaitGeneration(superseded chan<- int64) {
	c := k.c
	for {
		generation, err := jobs.AwaitGeneration(k.preparing, c.opts.Log, c.plan.Job, c.plan.Generation)
		if err == nil {
			superseded <- generation
			return
		}
		if k.preparing.Err() != nil || errors.Is(err, log.ErrClosed) {
			return
		}
		c.logger.Warn("cannot see whether the job is deployed anew", "err", err)
		if !sleepFor(k.preparing, nil, watchEvery) {
			return
		}
	}
}
