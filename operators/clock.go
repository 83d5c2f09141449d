package operators

import (
	"math"
	"time"
)

const (
	noTime  = math.MinInt64 // before all times
	maxTime = math.MaxInt64 // after all times
)

// A clock tells how far event time has come on one input: a source's, driven by
// the log's timestamps or by its upstream tasks' marks, or an EventTime's. A
// timeline is the watermark that a set of steps share: the minimum over the
// clocks that they hear.
//
//	clock ──feed──► timeline ──advance(W)──► operators driven by time
//	                   ▲
//	clock ──feed───────┘
//
// What a window makes of a record depends on W at that very record. Instead of
// asking per record, a clock knows its limit: the smallest record time that
// would take some timeline across its next boundary (a window's end plus grace).
// It scans the times of a batch against the limit and only there cuts the batch:
// the records before go on, the timelines advance and fire, the rest follows.
// Between two cuts no answer changes, so results never depend on how records
// were cut into batches, and a record costs one comparison.
type clock struct {
	label  string
	input  int
	bound  int64 // OutOfOrder, ms
	max    int64 // largest time seen; noTime: none
	value  int64 // the clock's watermark; noTime: not heard from
	limit  int64 // smallest record time that must be told at once
	feeds  []*feed
	atEnd  bool // the engine took the input out of the minimum
	quiet  bool // an EventTime that saw no records for skipAfter
	passed bool // has seen records since the last tick

	skipAfter time.Duration // of an EventTime; 0: never
	lastSeen  time.Time
}

// feed is a clock as one timeline hears it.
type feed struct {
	clock   *clock
	line    *timeline
	lag     int64 // ms that the timeline stays behind
	waiting bool  // the clock was idle and has to catch up before it counts
}

func (f *feed) at() int64 {
	if f.clock.value == noTime {
		return noTime
	}
	return addTime(f.clock.value, -f.lag)
}

func (c *clock) idle() bool { return c.atEnd || c.quiet }

// see raises the clock to a record's time.
func (c *clock) see(t int64) error {
	if t <= c.max {
		return nil
	}
	c.max = t
	return c.set(addTime(t, -c.bound))
}

// set raises the clock's watermark and fires what that brings.
func (c *clock) set(w int64) error {
	if w <= c.value {
		return nil
	}
	c.value = w
	return c.tell()
}

// setIdle takes the clock out of the minimum, or lets it catch up.
func (c *clock) setIdle(atEnd, quiet bool) error {
	before := c.idle()
	c.atEnd, c.quiet = atEnd, quiet
	if c.idle() == before {
		return nil
	}
	for _, f := range c.feeds {
		f.waiting = true // counts again once it has caught up: see combine
	}
	return c.tell()
}

// tell updates all timelines that hear the clock, those upstream first.
func (c *clock) tell() error {
	for _, f := range c.feeds {
		if err := f.line.update(); err != nil {
			return err
		}
	}
	return nil
}

// timeline is one watermark and what it drives.
type timeline struct {
	key     string
	feeds   []*feed
	members []operator // in graph order
	holders []operator // upstream, whose results may be late
	w       int64      // the watermark; noTime: none yet. Never goes back
	next    int64      // where something is due, or a record's fate changes
}

// combine returns the minimum over the clocks that count; ok is false while one
// has not been heard from, or none counts.
func (l *timeline) combine() (w int64, ok bool) {
	w = maxTime
	for _, f := range l.feeds {
		if f.clock.idle() {
			continue
		}
		at := f.at()
		if f.waiting {
			if at < l.w || at == noTime && l.w != noTime {
				continue
			}
			f.waiting = false
		}
		if at == noTime {
			return noTime, false
		}
		w = min(w, at)
		ok = true
	}
	for _, h := range l.holders {
		w = min(w, h.earliest())
	}
	return w, ok
}

// idle tells whether no clock counts: W stays where it is.
func (l *timeline) idle() bool {
	for _, f := range l.feeds {
		if !f.clock.idle() {
			return false
		}
	}
	return true
}

// update raises the watermark to what the clocks say and fires what is due.
func (l *timeline) update() error {
	if w, ok := l.combine(); ok && w > l.w {
		l.w = w
		if w >= l.next {
			if err := l.fire(); err != nil {
				return err
			}
		}
	}
	l.setLimits()
	return nil
}

func (l *timeline) fire() error {
	next := int64(maxTime)
	for _, m := range l.members {
		if err := m.advance(l.w); err != nil {
			return err
		}
		next = min(next, m.next())
	}
	l.next = next
	return nil
}

// lower tells that something will be due at watermark w, sooner than was known.
func (l *timeline) lower(w int64) {
	if w < l.next {
		l.next = w
		l.setLimits()
	}
}

// setLimits tells each clock when the timeline needs to know of it next. A clock
// that is not alone at the minimum cannot move it.
func (l *timeline) setLimits() {
	for _, f := range l.feeds {
		f.clock.setLimit()
	}
}

func (c *clock) setLimit() {
	c.limit = maxTime
	if c.idle() {
		return
	}
	for _, f := range c.feeds {
		c.limit = min(c.limit, f.limit())
	}
}

func (f *feed) limit() int64 {
	l := f.line
	if f.waiting || l.next == maxTime {
		return maxTime
	}
	for _, other := range l.feeds {
		if other == f || other.clock.idle() || other.waiting {
			continue
		}
		if at := other.at(); at == noTime || at < l.next {
			return maxTime // another one holds the watermark below the boundary
		}
	}
	return addTime(addTime(l.next, f.lag), f.clock.bound)
}

// addTime adds without wrapping around; the ends of time stay where they are.
func addTime(t, d int64) int64 {
	if t == noTime || t == maxTime {
		return t
	}
	s := t + d
	switch {
	case d > 0 && s < t:
		return maxTime
	case d < 0 && s > t:
		return noTime + 1
	}
	return s
}

// drive sends a batch through a clock: on to out, cut where the clock's
// timelines have to advance between two records. Records without a value move
// no clock that reads its times from values.
func drive[K, V any](c *clock, b, part *Batch[K, V], skip uint8, out push[K, V]) error {
	if c == nil {
		return out(b)
	}
	from, top, limit := 0, c.max, c.limit
	for i, t := range b.Times {
		if t <= top || skip != 0 && b.Flags[i]&skip != 0 {
			continue
		}
		top = t
		if t < limit {
			continue
		}
		if i > from {
			part.cut(b, from, i)
			if err := out(part); err != nil {
				return err
			}
			from = i
		}
		if err := c.see(t); err != nil {
			return err
		}
		limit = c.limit
	}
	if from == 0 {
		part = b
	} else {
		part.cut(b, from, len(b.Times))
	}
	if err := out(part); err != nil {
		return err
	}
	return c.see(top)
}
