package engine

import (
	"context"
	"fmt"
	"time"

	"github.com/gretestream/grete/jobs"
	"github.com/gretestream/grete/log"
	op "github.com/gretestream/grete/operators"
)

// loop runs the task until stop is closed and everything processed is committed.
// When a bounded run has nothing left for it, it calls through, and goes on:
// others may still want to hear from the task. It costs nothing while nothing
// happens, but for one look a second at the wall clock.
func (l *life) loop(ctx context.Context, stop <-chan struct{}, through func()) error {
	for {
		select {
		case a := <-l.answers:
			if err := l.committed(a); err != nil {
				return err
			}
		case <-stop:
			return l.stopNow(ctx)
		default:
		}
		now := time.Now()
		worked, wait, err := l.step(ctx, now)
		if err != nil {
			return err
		}
		if l.ended && !l.inFlight && !l.through {
			l.through = true
			through()
		}
		cut, left, err := l.commitIfDue(now)
		if err != nil {
			return err
		}
		if worked || cut {
			continue
		}
		if err := l.sleep(ctx, stop, sooner(wait, left)); err != nil {
			return err
		}
	}
}

// stopNow commits what was processed.
func (l *life) stopNow(ctx context.Context) error {
	if err := l.answerOf(ctx); err != nil || !l.dirty {
		return err
	}
	return l.commitNow(ctx)
}

// sooner is the lesser of two waits; 0 is none.
func sooner(a, b time.Duration) time.Duration {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

// sleep waits for records, an answer, the stop, or d (0: for ever, but for the
// next tick).
func (l *life) sleep(ctx context.Context, stop <-chan struct{}, d time.Duration) error {
	d = sooner(d, max(time.Millisecond, tickEvery-time.Since(l.lastTick)))
	l.timer.Reset(d)
	defer l.timer.Stop()
	select {
	case <-l.wake:
	case a := <-l.answers:
		return l.committed(a)
	case <-l.t.nudge:
		l.dirty = true // write the checkpoint again: see janitor
	case answer := <-l.t.settle:
		return l.settleNow(ctx, answer)
	case <-stop:
	case <-l.timer.C:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	return nil
}

// size is what the interval takes up so far, in bytes of its commit.
func (l *life) size() int64 { return int64(l.flow.OutputBytes() + l.db.Staged()) }

// full tells that the interval is as large as a commit shall be. Changed state
// counts only when it is about to make the commit too large: a key that changes
// again before the commit is written once.
func (l *life) full() bool {
	size := l.size()
	return size >= l.c.opts.Job.Options.CommitBytes || size+int64(l.flow.StateBytes()) >= jobs.MaxCommitBytes/2
}

// commitIfDue cuts if the interval is over or full. Else it tells how long it
// takes until it is over; 0: there is nothing to commit.
func (l *life) commitIfDue(now time.Time) (cut bool, left time.Duration, err error) {
	if !l.dirty || l.inFlight {
		return false, 0, nil
	}
	o := &l.c.opts.Job.Options
	left = o.CommitInterval - now.Sub(l.lastCut)
	if left > 0 && !l.full() {
		return false, left, nil
	}
	return true, 0, l.cut()
}

// step does the next piece of work, if there is any: a run of records, a part of
// a long close, the end of a bounded run, timers. wait is when to look again at
// the latest; 0: when something arrives.
func (l *life) step(ctx context.Context, now time.Time) (worked bool, wait time.Duration, err error) {
	if l.inFlight && l.full() {
		return false, 0, nil // both intervals are full: the log sets the pace
	}
	if l.flow.Busy() {
		return l.resume()
	}
	if l.ended {
		if now.Sub(l.lastTick) >= tickEvery {
			l.lastTick = now
			l.speakUp(now)
		}
		return false, 0, nil
	}
	if now.Sub(l.lastTick) >= tickEvery {
		if err := l.tick(now); err != nil {
			return false, 0, err
		}
	}
	if l.finished {
		return l.end()
	}
	worked, wait, err = l.next(now)
	if err != nil || worked {
		return worked, 0, err
	}
	idle, err := l.checkIdle(ctx)
	if err != nil {
		return false, 0, err
	}
	if l.c.run != "" && l.done() {
		l.finished, l.dirty = true, true
		if err := l.flow.Finish(); err != nil {
			return false, 0, fmt.Errorf("finish: %w", err)
		}
		return true, 0, nil
	}
	return false, sooner(wait, idle), nil
}

// resume goes on with closing or expiring windows, one commit at a time.
func (l *life) resume() (worked bool, wait time.Duration, err error) {
	if l.inFlight {
		return false, 0, nil
	}
	if err := l.cut(); err != nil {
		return false, 0, err
	}
	l.dirty = true
	if err := l.flow.Resume(); err != nil {
		return false, 0, fmt.Errorf("close windows: %w", err)
	}
	return true, 0, nil
}

// end cuts the last commit of a bounded run: its marks tell the readers of this
// task's output that it is complete.
func (l *life) end() (worked bool, wait time.Duration, err error) {
	if l.inFlight {
		return false, 0, nil
	}
	l.ended = true
	return true, 0, l.cut()
}

// tick fires timers in wall-clock time.
func (l *life) tick(now time.Time) error {
	l.lastTick = now
	l.speakUp(now)
	before := l.size()
	w, ok := l.flow.Watermark()
	if err := l.flow.Tick(l.c.opts.Now()); err != nil {
		return fmt.Errorf("timers: %w", err)
	}
	if w2, ok2 := l.flow.Watermark(); l.size() != before || w2 != w || ok2 != ok || l.flow.Busy() || l.outgoingChanged() {
		l.dirty = true
	}
	return nil
}

// speakAgain is how long an idle task is silent while it is not known who is
// there to have heard it.
const speakAgain = 5 * time.Second

// speakUp repeats that this task is idle, caught up or at its end. A task that has come to
// another container believes only what was said since then, and one that has
// nothing new to say would keep it waiting: so all say it again when tasks have
// come to this container or gone, and now and then while others have some.
func (l *life) speakUp(now time.Time) {
	moves := l.c.moves.Load()
	for i := range l.outputs {
		o := &l.outputs[i]
		if !o.last.Idle && !o.last.CaughtUp && o.last.Ended == "" {
			continue
		}
		if moves != l.moves || !l.c.whole.Load() && now.Sub(o.said) >= speakAgain {
			o.again, l.dirty = true, true
		}
	}
	l.moves = moves
}

// outgoingChanged tells that a repartition output has something new to say.
func (l *life) outgoingChanged() bool {
	for i := range l.outputs {
		o := &l.outputs[i]
		if !o.plan.Repartition {
			continue
		}
		if w, ok, idle := l.flow.Outgoing(i); idle != o.last.Idle || ok && w > o.last.Watermark {
			return true
		}
	}
	return false
}

// next polls the inputs and processes one run of records of the one whose turn
// it is.
func (l *life) next(now time.Time) (worked bool, wait time.Duration, err error) {
	ready := 0
	for i := range l.inputs {
		in := &l.inputs[i]
		before := in.offset
		if err := in.poll(l.c.run != ""); err != nil {
			return false, 0, err
		}
		l.dirty = l.dirty || in.offset != before // who waits for the end waits for that
		if in.plan.Repartition {
			marks, err := l.takeMarks(in)
			if err != nil {
				return false, 0, err
			}
			worked = worked || marks
		}
		if len(in.pending) > 0 {
			ready++
		}
	}
	if ready == 0 {
		return worked, 0, l.settle()
	}
	i, until := 0, log.Timestamp(maxTimestamp)
	if len(l.inputs) > 1 {
		c := choose(l.offer(now))
		if c.Input < 0 {
			return worked, c.Wait, l.settle()
		}
		i, until = c.Input, c.Until
	}
	in := &l.inputs[i]
	if err := l.process(in, runLength(in.pending, until)); err != nil {
		return false, 0, err
	}
	return true, 0, l.settle()
}

const maxTimestamp = 1<<63 - 1

// runLength is how many records come before the first later than until, and at
// least one.
func runLength(recs []log.Record, until log.Timestamp) int {
	if until == maxTimestamp {
		return len(recs)
	}
	for n := 1; n < len(recs); n++ {
		if recs[n].Timestamp > until && !isMark(&recs[n]) {
			return n
		}
	}
	return len(recs)
}

// offer tells the chooser where each input stands.
func (l *life) offer(now time.Time) []candidate {
	for i := range l.inputs {
		in, c := &l.inputs[i], &l.candidates[i]
		*c = candidate{
			Ready:    len(in.pending) > 0,
			Done:     in.absent() || in.done(l.c.run != ""),
			First:    in.first(),
			Priority: in.spec.Options.Priority,
			Awaited:  !in.caughtUp(),
			MaxWait:  in.spec.Options.MaxWait,
		}
		switch {
		case c.Ready:
			c.Time = in.pending[0].Timestamp
			in.awaits = time.Time{}
		case in.awaits.IsZero():
			in.awaits = now
		default:
			c.Waited = now.Sub(in.awaits)
		}
	}
	return l.candidates
}

// process runs the first n pending records of an input through the graph.
func (l *life) process(in *input, n int) error {
	recs := in.pending[:n]
	in.stands = time.Time{}
	l.dirty = true
	if in.plan.Repartition {
		if err := l.processMarked(in, recs); err != nil {
			return err
		}
		in.consumed(n, l.c.run != "")
		return nil
	}
	if err := l.setIdle(in, false); err != nil {
		return err
	}
	if in.spec.Keyed && in.spec.Options.Partitioner == op.Murmur2 {
		if err := in.keys.check(in, recs); err != nil {
			return err
		}
	}
	if err := l.flow.Process(in.index, recs); err != nil {
		return fmt.Errorf("process %s: %w", in.tp, err)
	}
	l.read += int64(n)
	in.consumed(n, l.c.run != "")
	return nil
}

// processMarked is process for a repartition input: marks in between the records
// move the watermark exactly where they stand.
func (l *life) processMarked(in *input, recs []log.Record) error {
	for len(recs) > 0 {
		n := 0
		for n < len(recs) && !isMark(&recs[n]) {
			n++
		}
		if n > 0 {
			if err := l.flow.Process(in.index, recs[:n]); err != nil {
				return fmt.Errorf("process %s: %w", in.tp, err)
			}
			l.read += int64(n)
		}
		if n < len(recs) {
			if err := l.observe(in, &recs[n]); err != nil {
				return err
			}
			n++
		}
		recs = recs[n:]
	}
	return nil
}

// takeMarks observes the marks that the pending records begin with, which have
// no turn to wait for.
func (l *life) takeMarks(in *input) (any bool, err error) {
	n := 0
	for n < len(in.pending) && isMark(&in.pending[n]) {
		if err := l.observe(in, &in.pending[n]); err != nil {
			return false, err
		}
		n++
	}
	if n > 0 {
		in.consumed(n, l.c.run != "")
		l.dirty = true
	}
	return n > 0, nil
}

// observe takes in one mark and moves the input's watermark to what follows.
func (l *life) observe(in *input, r *log.Record) error {
	m, err := decodeMark(r.Headers[0].Value)
	if err != nil {
		return fmt.Errorf("record %s of %s: %w", r.Offset, in.tp, err)
	}
	if m.Tasks != len(in.up.tasks) || m.Generation != l.c.plan.Generation {
		return fmt.Errorf("record %s of %s: mark of %d tasks of generation %d, want %d of %d", r.Offset, in.tp, m.Tasks, m.Generation, len(in.up.tasks), l.c.plan.Generation)
	}
	if r.Offset < in.until {
		// Whoever was not to be waited for then may have had to stop since, and
		// have records to read by now. Those who go on say so again.
		m.Idle, m.CaughtUp, m.Ended = false, false, ""
	}
	if m.Idle {
		// How far the task came counts before it leaves, however much of what it
		// did one commit holds: else the watermark would depend on the pace.
		before := m
		before.Idle = false
		if err := l.follow(in, &before); err != nil {
			return err
		}
	}
	return l.follow(in, &m)
}

// follow moves the watermark of a repartition input to what a mark brings.
func (l *life) follow(in *input, m *mark) error {
	in.up.observe(m)
	w, ok, idle := in.up.watermark()
	if l.c.run != "" && in.up.ended() {
		w, ok = in.up.furthest()
		idle = !ok
	}
	if idle {
		return l.setIdle(in, true)
	}
	if ok {
		if err := l.flow.Advance(in.index, w); err != nil {
			return fmt.Errorf("advance to %s: %w", log.Timestamp(w), err)
		}
	}
	return l.setIdle(in, false)
}

// setIdle takes an input out of the watermark's minimum, or back in.
func (l *life) setIdle(in *input, idle bool) error {
	if in.idle == idle {
		return nil
	}
	in.idle = idle
	l.dirty = true
	if err := l.flow.SetIdle(in.index, idle); err != nil {
		return fmt.Errorf("watermark of %s: %w", in.tp, err)
	}
	return nil
}

// settle takes inputs out of the minimum that a bounded run has read to their
// ends.
func (l *life) settle() error {
	if l.c.run == "" {
		return nil
	}
	for i := range l.inputs {
		if in := &l.inputs[i]; !in.idle && in.done(l.c.run != "") {
			if err := l.setIdle(in, true); err != nil {
				return err
			}
		}
	}
	return nil
}

// checkIdle applies the idle policies to the inputs at whose end the task
// stands. It returns how long until the next one acts; 0: none will.
func (l *life) checkIdle(ctx context.Context) (wait time.Duration, err error) {
	if l.c.run != "" {
		return 0, nil
	}
	now := l.c.opts.Now()
	for i := range l.inputs {
		in := &l.inputs[i]
		after := in.idleAfter()
		if in.absent() || in.plan.Repartition || after <= 0 {
			continue
		}
		if !in.atEnd() {
			in.stands = time.Time{}
			continue
		}
		if in.stands.IsZero() {
			in.stands = now
		}
		if in.idle {
			continue
		}
		if left := after - now.Sub(in.stands); left > 0 {
			wait = sooner(wait, left)
			continue
		}
		follow := in.spec.Options.Idle.Kind == op.IdleFollow
		if left := followEvery - now.Sub(in.followed); follow && left > 0 {
			wait = sooner(wait, left)
			continue
		}
		silent, err := in.silent(ctx, l.c.opts.Log)
		if err != nil {
			return 0, err
		}
		switch {
		case !silent:
			in.stands = now
			wait = sooner(wait, after)
		case follow:
			in.followed = now
			if err := l.followClock(in, now.Add(-after)); err != nil {
				return 0, err
			}
			wait = sooner(wait, followEvery)
		default:
			if err := l.setIdle(in, true); err != nil {
				return 0, err
			}
		}
	}
	return wait, nil
}

// followClock moves the watermark of a silent input to w.
func (l *life) followClock(in *input, w time.Time) error {
	before, _ := l.flow.Watermark()
	if err := l.flow.FollowClock(in.index, w.UnixMilli()); err != nil {
		return fmt.Errorf("watermark of %s: %w", in.tp, err)
	}
	if after, _ := l.flow.Watermark(); after != before || l.outgoingChanged() {
		l.dirty = true
	}
	return nil
}
