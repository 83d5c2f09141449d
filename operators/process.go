package operators

import (
	"bytes"
	"fmt"
	"time"

	"github.com/gretestream/grete/log"
	"github.com/gretestream/grete/state"
	"github.com/gretestream/grete/state/codec"
)

// Processor is a step of a user's own: it sees one record at a time, keeps a
// value of type S for each key, sets timers, and emits any number of results.
//
// One Processor serves all tasks, each from its own goroutine, so it holds no
// state itself: that is what Context.State is for.
type Processor[K, V, S, L, W any] interface {
	Process(c *Context[K, S, L, W], r Record[K, V]) error
}

// TimerHandler is what a Processor that sets timers has as well. at is the time
// that the timer was set for; the context is that of the timer's key.
type TimerHandler[K, S, L, W any] interface {
	OnTimer(c *Context[K, S, L, W], at time.Time) error
}

// Processing tunes Process. The zero value is useful.
type Processing struct {
	// Lag is how far a result's time may lie behind the watermark; later steps
	// wait so much longer. Default: 0.
	Lag time.Duration
}

// Process runs a Processor over a stream by key. State and timers are kept in the
// store of that name and survive a restart. Records without a key are dropped and
// counted; those without a value are handed over with the zero value and
// NullValue set in the Context.
//
// A timer in event time fires when the watermark reaches it; a bounded run fires,
// at its end, those that are set by then.
func Process[K, V, S, L, W any](s Stream[K, V], name string, p Processor[K, V, S, L, W], options ...Processing) Stream[L, W] {
	in := of(s)
	st := in.g.add("process", name, in.step)
	st.wants(p != nil, "the processor")
	st.durable()
	var o Processing
	if len(options) > 0 {
		o = options[0]
	}
	if o.Lag < 0 {
		in.g.mistake(st.at, "%s: got Lag %s, want 0 or more", st, o.Lag)
	}
	st.usesKey, st.usesValue, st.rekeys, st.keyed, st.timed, st.holds = true, true, true, true, true, true
	st.lag = o.Lag.Milliseconds()
	_, st.single = p.(TimerHandler[K, S, L, W]) // a timer set at one record may fire before the next
	st.store = &StoreDecl{Name: name, Kind: "keyed"}
	st.keyCodec = func() (string, error) { return codecName(in.key) }
	st.valueCodec = func() (string, error) { return codecName[S](nil) }
	st.extra = func() {
		key, _ := codecOf(in.key)
		value, _ := codecOf[S](nil)
		if key != nil && value != nil {
			st.store.Query = keyedQuery[K, S](name, key, value, []byte{processState})
		}
	}
	out := &node[L, W]{step: st}
	in.outs = append(in.outs, func(w *wiring) push[K, V] {
		return newProcessorStep(w, st, in, p, out.wire(w)).batch
	})
	return Stream[L, W]{out}
}

// What the store of a Process holds, by the first byte of the key:
//
//	0  key                               the state of the key, by the codec of S
//	1  8 event time, ms, ordered  key    a timer in event time; no value
//	2  8 wall time, ms, ordered   key    a timer in wall-clock time; no value
const (
	processState = iota
	processEventTimers
	processWallTimers
)

const timerHeader = 1 + 8 // bytes before the key

// timersPerCommit bounds how many timers one commit fires.
const timersPerCommit = 10_000

// Context is what a Processor acts through. It is valid during the call.
type Context[K, S, L, W any] struct {
	// Key is the record's or the timer's key. NullValue tells that the record
	// has no value.
	Key       K
	NullValue bool

	p     processorState[S]
	now   func() time.Time
	line  *timeline
	time  int64
	row   int32
	out   *Batch[L, W]
	fail  error
	state *S
}

// State is the value kept for the key, zero at first, to be changed in place.
func (c *Context[K, S, L, W]) State() *S {
	if c.state == nil {
		v, _, err := c.p.cache.Ref(c.p.stateKey())
		if err != nil {
			c.fail = err
			v = new(S)
		}
		c.state = v
	}
	return c.state
}

// Forget removes the value kept for the key.
func (c *Context[K, S, L, W]) Forget() {
	c.state = nil
	if err := c.p.cache.Delete(c.p.stateKey()); err != nil {
		c.fail = err
	}
}

// Emit hands a result on, at the time of the record or timer.
func (c *Context[K, S, L, W]) Emit(key L, value W) { c.out.put(key, value, c.time, 0, c.row) }

// EmitAt hands a result on at a time of its own.
func (c *Context[K, S, L, W]) EmitAt(at time.Time, key L, value W) {
	c.out.put(key, value, at.UnixMilli(), 0, c.row)
}

// SetTimer sets a timer for the key in event time. A second one for the same
// time is the same timer; one that is due already fires at once, after the call.
func (c *Context[K, S, L, W]) SetTimer(at time.Time) {
	c.p.set(processEventTimers, at.UnixMilli(), &c.p.nextEvent)
}

// SetWallTimer sets a timer for the key in wall-clock time.
func (c *Context[K, S, L, W]) SetWallTimer(at time.Time) {
	c.p.set(processWallTimers, at.UnixMilli(), &c.p.nextWall)
}

// ClearTimer takes a timer in event time back; ClearWallTimer one in wall-clock
// time. It does not matter whether it is set.
func (c *Context[K, S, L, W]) ClearTimer(at time.Time) {
	c.p.store.Delete(c.p.timerKey(processEventTimers, at.UnixMilli()))
}

// ClearWallTimer: see ClearTimer.
func (c *Context[K, S, L, W]) ClearWallTimer(at time.Time) {
	c.p.store.Delete(c.p.timerKey(processWallTimers, at.UnixMilli()))
}

// Watermark is the event time up to which the input is believed complete; ok is
// false while there is none.
func (c *Context[K, S, L, W]) Watermark() (w time.Time, ok bool) {
	if c.line == nil || c.line.w == noTime {
		return time.Time{}, false
	}
	return time.UnixMilli(c.line.w).UTC(), true
}

// Now is the task's wall clock: the one clock a job may ask.
func (c *Context[K, S, L, W]) Now() time.Time { return c.now() }

// processorState is what a task keeps for a Process step.
type processorState[S any] struct {
	store     *state.Store
	cache     *state.Cache[S] // under the prefix processState
	key       []byte          // encoded, of the record or timer in hand
	buf       []byte
	nextEvent int64 // no timer in event time is set before; maxTime: none at all
	nextWall  int64
}

func (p *processorState[S]) stateKey() []byte { return p.key }

func (p *processorState[S]) timerKey(kind byte, at int64) []byte {
	p.buf = append(codec.AppendOrderedInt64(append(p.buf[:0], kind), at), p.key...)
	return p.buf
}

func (p *processorState[S]) set(kind byte, at int64, next *int64) {
	p.store.Put(p.timerKey(kind, at), nil)
	*next = min(*next, at)
}

// timerEntry is a timer that is set.
type timerEntry struct {
	at  int64
	key []byte // in the store
}

// scan calls fn for the timers of a kind, the earliest first, until it returns
// false. The key is valid during the call. A key that no timer has, such as
// another writer's record in the changelog brings, is an error.
func (p *processorState[S]) scan(kind byte, fn func(t timerEntry) bool) error {
	lo, hi := prefixRange([]byte{kind})
	var bad error
	err := p.store.Scan(lo, hi, func(key, _ []byte) bool {
		at, _, err := codec.OrderedInt64(key[1:])
		if err != nil {
			bad = fmt.Errorf("store %q: key %x is that of no timer: %w", p.store.Name(), key, err)
			return false
		}
		return fn(timerEntry{at, key})
	})
	if err != nil {
		return err
	}
	return bad
}

// due returns up to max timers that are set for w or before, with the time of
// the first that is left (maxTime: none).
func (p *processorState[S]) due(kind byte, w int64, max int) (timers []timerEntry, next int64, err error) {
	next = maxTime
	err = p.scan(kind, func(t timerEntry) bool {
		if t.at > w || len(timers) == max {
			next = t.at
			return false
		}
		timers = append(timers, timerEntry{t.at, bytes.Clone(t.key)})
		return true
	})
	return timers, next, err
}

// processorStep runs a Processor in a task.
type processorStep[K, V, S, L, W any] struct {
	guard
	passive
	p       Processor[K, V, S, L, W]
	onTimer TimerHandler[K, S, L, W] // nil: the Processor has none
	keyOf   Codec[K]
	c       Context[K, S, L, W]
	in      *Batch[K, V]
	result  Batch[L, W]
	out     push[L, W]
	late    bool // timers that are due wait for the next commit
	fired   int  // timers since the last drain
	w       int64
	end     int64 // of a bounded run: the last timer that it fires; noTime: not at the end

	nullKeys *int64
}

func newProcessorStep[K, V, S, L, W any](w *wiring, st *step, in *node[K, V], p Processor[K, V, S, L, W], out push[L, W]) *processorStep[K, V, S, L, W] {
	key, err := codecOf(in.key)
	w.fail(st, err)
	value, err := codecOf[S](nil)
	w.fail(st, err)
	s := &processorStep[K, V, S, L, W]{guard: newGuard(w, st), p: p, keyOf: key, out: out, w: noTime, end: noTime, nullKeys: w.flow.counter(st, dropNullKey)}
	s.onTimer, _ = p.(TimerHandler[K, S, L, W])
	s.loop = s.each
	s.c.now, s.c.line, s.c.out = w.env.Now, w.line(st), &s.result
	s.c.p.nextEvent, s.c.p.nextWall = noTime, noTime // unknown: the first look tells
	if store := w.store(st); store != nil {
		s.c.p.store = store
		s.c.p.cache = state.NewCache(store, []byte{processState}, value, false)
	}
	w.operate(st, s)
	return s
}

func (s *processorStep[K, V, S, L, W]) batch(b *Batch[K, V]) error {
	s.in = b
	s.result.clear(b.src)
	s.run(b.Len())
	if s.c.fail != nil {
		return s.c.fail
	}
	if err := bury(&s.guard, b); err != nil {
		return err
	}
	if err := s.flush(); err != nil {
		return err
	}
	line := s.c.line
	if line == nil || s.onTimer == nil {
		return nil
	}
	if line.w != noTime && s.c.p.nextEvent <= line.w {
		if err := s.fire(processEventTimers, line.w, &s.c.p.nextEvent); err != nil {
			return err
		}
	}
	line.lower(s.next())
	return nil
}

func (s *processorStep[K, V, S, L, W]) each() {
	b := s.in
	for i := s.at; i < len(b.Times) && s.c.fail == nil; i++ {
		s.at = i
		if b.Flags[i]&NullKey != 0 {
			*s.nullKeys++
			continue
		}
		key, err := s.keyOf.Append(s.c.p.key[:0], b.Keys[i])
		if err != nil {
			s.note(fmt.Errorf("encode the key: %w", err))
			continue
		}
		s.c.p.key = key
		s.c.Key, s.c.NullValue, s.c.time, s.c.row, s.c.state = b.Keys[i], b.Flags[i]&NullValue != 0, b.Times[i], b.Rows[i], nil
		r := Record[K, V]{Key: b.Keys[i], Value: b.Values[i], Time: time.UnixMilli(b.Times[i]).UTC()}
		if err := s.p.Process(&s.c, r); err != nil {
			s.note(err)
		}
	}
}

// flush hands the results on.
func (s *processorStep[K, V, S, L, W]) flush() error {
	if s.result.Len() == 0 {
		return nil
	}
	err := s.out(&s.result)
	s.result.clear(nil)
	return err
}

// fire runs the timers that are due at w, the earliest first, as many as a
// commit may.
func (s *processorStep[K, V, S, L, W]) fire(kind byte, w int64, next *int64) error {
	for *next <= w {
		left := timersPerCommit - s.fired
		if left <= 0 {
			s.late = true
			return nil
		}
		timers, after, err := s.c.p.due(kind, w, left)
		if err != nil {
			return err
		}
		*next = after
		if err := s.runTimers(timers, next); err != nil {
			return err
		}
	}
	return nil
}

// runTimers calls OnTimer for each timer, and removes it. It stops where
// OnTimer has set an earlier one than the next, so that they fire in order.
func (s *processorStep[K, V, S, L, W]) runTimers(timers []timerEntry, next *int64) error {
	s.result.clear(nil)
	for _, t := range timers {
		if *next < t.at {
			break
		}
		s.fired++
		s.c.p.store.Delete(t.key)
		if s.onTimer == nil {
			continue
		}
		s.c.p.key = append(s.c.p.key[:0], t.key[timerHeader:]...)
		s.c.NullValue, s.c.time, s.c.row, s.c.state = false, t.at, -1, nil
		if err := s.keyOf.Decode(&s.c.Key, s.c.p.key, nil); err != nil {
			return fmt.Errorf("%s: decode the key of a timer: %w", s.step, err)
		}
		if err := s.call(t.at); err != nil {
			if s.c.fail != nil {
				return s.c.fail
			}
			*s.flow.counter(s.step, reasonOf(err))++
			s.flow.dead = append(s.flow.dead, s.deadTimer(t.at, err))
		}
	}
	return s.flush()
}

func (s *processorStep[K, V, S, L, W]) call(at int64) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("the function panicked: %v", r)
		}
		if s.c.fail != nil {
			err = s.c.fail
		}
	}()
	return s.onTimer.OnTimer(&s.c, time.UnixMilli(at).UTC())
}

func (s *processorStep[K, V, S, L, W]) advance(w int64) error {
	s.w = w
	return s.fire(processEventTimers, w, &s.c.p.nextEvent)
}

func (s *processorStep[K, V, S, L, W]) next() int64 {
	if s.c.p.nextEvent == noTime {
		return addTime(s.w, 1)
	}
	return max(s.c.p.nextEvent, addTime(s.w, 1))
}

func (s *processorStep[K, V, S, L, W]) earliest() int64 {
	if s.late {
		return s.c.p.nextEvent
	}
	return maxTime
}

// finish lets the watermark run, for timers only, to the last timer that is set:
// a timer that sets itself again ends there.
func (s *processorStep[K, V, S, L, W]) finish() error {
	s.end = noTime
	err := s.c.p.scan(processEventTimers, func(t timerEntry) bool {
		s.end = t.at
		return true
	})
	if err != nil || s.end == noTime {
		return err
	}
	s.c.p.nextEvent = noTime
	return s.fire(processEventTimers, s.end, &s.c.p.nextEvent)
}

func (s *processorStep[K, V, S, L, W]) busy() bool { return s.late }

func (s *processorStep[K, V, S, L, W]) resume() error {
	s.late = false
	return s.fire(processEventTimers, max(s.w, s.end), &s.c.p.nextEvent)
}

func (s *processorStep[K, V, S, L, W]) tick(now time.Time) error {
	return s.fire(processWallTimers, now.UnixMilli(), &s.c.p.nextWall)
}

func (s *processorStep[K, V, S, L, W]) drain() error {
	s.fired = 0
	return s.c.p.cache.Drain()
}

func (s *processorStep[K, V, S, L, W]) staging() int64 { return changedBytes(s.c.p.cache) }
func (s *processorStep[K, V, S, L, W]) used() int64    { return s.c.p.cache.Bytes() }

func (s *processorStep[K, V, S, L, W]) evict(n int64) {
	s.c.p.cache.Evict(max(0, s.c.p.cache.Bytes()-n))
}

func (s *processorStep[K, V, S, L, W]) deadTimer(at int64, err error) DeadLetter {
	return DeadLetter{Input: -1, Offset: -1, Timestamp: log.Timestamp(at), Operator: s.step.String(),
		Err: fmt.Errorf("timer of key %v: %w", s.c.Key, err)}
}
