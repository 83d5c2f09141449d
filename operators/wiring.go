package operators

import (
	"fmt"
	"slices"
	"time"
)

// wiring is the making of one Flow: it goes from the sources through the typed
// factories that the steps left in their inputs' nodes, and collects what the
// Flow drives.
type wiring struct {
	env   Env
	stage *Stage
	flow  *Flow
	memo  map[*step]any // what a step with several inputs made at the first
}

// once returns what the step's factory made for this wiring, making it at the
// first call: a merge has one copy however many inputs wire it.
func once[T any](w *wiring, s *step, build func() T) T {
	if have, ok := w.memo[s]; ok {
		return have.(T)
	}
	made := build()
	w.memo[s] = made
	return made
}

// operator is a step that keeps something between batches: it is driven by the
// watermark, or has state to save. Embed passive for what does not apply.
type operator interface {
	// advance fires what is due at watermark w and no later.
	advance(w int64) error
	// next is the least watermark above the last at which something will be due
	// or a record's fate will change; maxTime if there is none.
	next() int64
	// finish fires everything as if the watermark were infinite.
	finish() error
	// earliest is a bound on the times of results that are due and were held
	// back for a later commit; maxTime if there are none.
	earliest() int64
	// busy tells that work was held back; resume goes on with it.
	busy() bool
	resume() error
	// tick hears the wall clock.
	tick(now time.Time) error
	// drain writes changed state to the stores; applied tells that it is durable.
	drain() error
	applied()
	// staging is about how many bytes drain will stage.
	staging() int64
	// used is how much memory hot state takes, in bytes; evict frees about so
	// much of what is durable.
	used() int64
	evict(bytes int64)
}

// passive does nothing, for operators to embed.
type passive struct{}

func (passive) advance(int64) error  { return nil }
func (passive) next() int64          { return maxTime }
func (passive) finish() error        { return nil }
func (passive) earliest() int64      { return maxTime }
func (passive) busy() bool           { return false }
func (passive) resume() error        { return nil }
func (passive) tick(time.Time) error { return nil }
func (passive) drain() error         { return nil }
func (passive) applied()             {}
func (passive) staging() int64       { return 0 }
func (passive) used() int64          { return 0 }
func (passive) evict(int64)          {}

// wired is an operator with the step that it runs.
type wired struct {
	operator
	step *step
}

// operate adds an operator to the flow and to the timeline of its step.
func (w *wiring) operate(s *step, o operator) {
	w.flow.operators = append(w.flow.operators, wired{o, s})
}

// line returns the timeline that the step hears, or nil.
func (w *wiring) line(s *step) *timeline {
	if s.line < 0 {
		return nil
	}
	return w.flow.lines[s.line]
}

// clockOf returns the clock of a source or EventTime step for an input of the
// stage, or nil if nothing hears it.
func (w *wiring) clockOf(s *step, input int) *clock {
	for _, c := range w.flow.clocks {
		if c.step == s && c.input == input {
			return c.clock
		}
	}
	return nil
}

// stepClock is a clock with the step that drives it.
type stepClock struct {
	*clock
	step *step
}

// newFlow makes clocks and timelines, then wires the sources.
func newFlow(s *Stage, env Env) (*Flow, error) {
	f := &Flow{stage: s, env: env, outputs: make([]*output, len(s.Outputs)), drops: make(map[dropKey]*int64)}
	w := &wiring{env: env, stage: s, flow: f, memo: make(map[*step]any)}
	for _, l := range s.lines {
		line := &timeline{key: l.key, w: noTime, next: noTime}
		for _, d := range l.feeds {
			fd := &feed{clock: f.clock(d), line: line, lag: d.lag}
			line.feeds = append(line.feeds, fd)
			fd.clock.feeds = append(fd.clock.feeds, fd)
		}
		f.lines = append(f.lines, line)
	}
	for i, spec := range s.Outputs {
		f.outputs[i] = newOutput(i, spec, env)
	}
	for _, st := range s.steps {
		if st.source != nil {
			f.sources = append(f.sources, st.source.wire(w))
		}
	}
	if f.err != nil {
		return nil, f.err
	}
	slices.SortStableFunc(f.operators, func(a, b wired) int { return a.step.id - b.step.id })
	for _, o := range f.operators {
		if line := w.line(o.step); line != nil {
			line.members = append(line.members, o.operator)
		}
	}
	for i, l := range s.lines {
		for _, h := range l.holders {
			for _, o := range f.operators {
				if o.step == h {
					f.lines[i].holders = append(f.lines[i].holders, o.operator)
				}
			}
		}
		f.lines[i].setLimits()
	}
	return f, nil
}

// clock returns the flow's clock for a declared feed, making it at first use.
func (f *Flow) clock(d feedDecl) *clock {
	for _, c := range f.clocks {
		if c.step == d.clock && c.input == d.input {
			return c.clock
		}
	}
	in := f.stage.Inputs[d.input]
	c := &clock{label: f.stage.clockLabel(d), input: d.input, max: noTime, value: noTime, limit: maxTime}
	if !in.Repartition {
		c.bound = in.Options.OutOfOrder.Milliseconds()
	}
	if d.clock.clock {
		c.skipAfter = in.Options.skipAfter()
	}
	f.clocks = append(f.clocks, stepClock{c, d.clock})
	return c
}

// skipAfter is how long an EventTime may see no records before it stops
// counting; 0: it always counts.
func (in Input) skipAfter() time.Duration {
	switch in.Idle.Kind {
	case IdleHold, IdleFollow:
		return 0
	case IdleSkip:
		return in.Idle.After
	}
	return defaultSkipAfter
}

// defaultSkipAfter is how long an input stands at its end before it stops
// counting, unless told otherwise.
const defaultSkipAfter = 30 * time.Second

// fail notes an error of wiring, which has no other way out of the factories.
func (w *wiring) fail(s *step, err error) {
	if err != nil && w.flow.err == nil {
		w.flow.err = fmt.Errorf("wire stage %s: %s: %w", w.stage.Name, s, err)
	}
}
