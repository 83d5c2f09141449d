package operators

import (
	"math"
	"time"
)

// EventTime takes each record's time from its value. It starts a clock of its
// own: the watermark behind it follows the largest time seen here, less the
// input's OutOfOrder bound. A record without a value keeps the time it had and
// moves no clock; one whose time is the zero time.Time, or further ahead of the
// wall clock than the input's FutureBound, goes to the dead letters.
func EventTime[K, V any](s Stream[K, V], f func(V) time.Time) Stream[K, V] {
	in := of(s)
	st := in.g.add("event-time", "", in.step)
	st.wants(f != nil, "the function")
	st.usesValue, st.keepsKey, st.keepsValue = true, true, true
	st.clock = true
	out := newNode(st, in.key, in.value)
	in.outs = append(in.outs, func(w *wiring) push[K, V] {
		t := &timer[K, V]{guard: newGuard(w, st), f: f, out: out.wire(w), inputs: make([]timerInput, len(w.stage.Inputs))}
		for _, i := range st.inputs {
			t.inputs[i] = timerInput{w.clockOf(st, i), w.stage.Inputs[i].Options.futureBound()}
		}
		t.loop = t.each
		return t.batch
	})
	return Stream[K, V]{out}
}

// timer replaces the column of times and drives the clocks of its step.
type timer[K, V any] struct {
	guard
	f       func(V) time.Time
	inputs  []timerInput // by input of the stage
	horizon int64
	in      *Batch[K, V]
	result  Batch[K, V]
	rest    Batch[K, V]
	part    Batch[K, V]
	out     push[K, V]
}

type timerInput struct {
	clock *clock // nil: nothing hears it
	bound int64  // ms ahead of the wall clock; maxTime: any
}

func (t *timer[K, V]) batch(b *Batch[K, V]) error {
	input := &t.inputs[b.src.input]
	t.in = b
	t.horizon = maxTime
	if input.bound != maxTime {
		t.horizon = addTime(t.flow.env.Now().UnixMilli(), input.bound)
	}
	r := &t.result
	r.Keys, r.Values, r.Flags, r.Rows, r.src = b.Keys, b.Values, b.Flags, b.Rows, b.src
	r.Times = column(r.Times, b.Len())
	t.run(b.Len())
	good, err := settle(&t.guard, r, &t.rest)
	if err != nil {
		return err
	}
	c := input.clock
	if c != nil {
		c.passed = true
		if c.quiet {
			if err := c.setIdle(c.atEnd, false); err != nil {
				return err
			}
		}
	}
	return drive(c, good, &t.part, NullValue, t.out)
}

func (t *timer[K, V]) each() {
	values, flags, times := t.in.Values, t.in.Flags, t.result.Times
	for i := t.at; i < len(values); i++ {
		t.at = i
		if flags[i]&NullValue != 0 {
			times[i] = t.in.Times[i]
			continue
		}
		at := t.f(values[i])
		ms := at.UnixMilli()
		times[i] = ms
		if ms > t.horizon || ms == zeroTimeMillis {
			t.refuse(at, ms)
		}
	}
}

// zeroTimeMillis is what a time that was never set comes to.
var zeroTimeMillis = time.Time{}.UnixMilli()

func (t *timer[K, V]) refuse(at time.Time, ms int64) {
	switch {
	case ms > t.horizon:
		bound := t.inputs[t.in.src.input].bound
		t.note(futureError(ms, addTime(t.horizon, -bound), time.Duration(min(bound, math.MaxInt64/1_000_000))*time.Millisecond))
	case at.IsZero():
		t.note(errNoTime)
	}
}
