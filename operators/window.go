package operators

import (
	"fmt"
	"strings"
	"time"
)

// Grouped is a stream cut into windows, for Count and its kin to fold.
type Grouped[K, V any] struct {
	n *node[K, V]
	w fixed
}

// WindowKind is a way to cut time into windows: Tumbling, Hopping or Forever.
type WindowKind interface {
	// fixed returns the windows in numbers; mistakes are reported by the step.
	fixed(s *step) fixed
}

// Tumbling windows lie side by side: [start, start+Size), the starts being
// multiples of Size since 1970 UTC, plus Offset.
type Tumbling struct {
	Size   time.Duration // whole milliseconds
	Grace  time.Duration // how long after its end a window takes late records. Default: 0.
	Offset time.Duration // Default: 0.
	Retain time.Duration // how far behind the watermark closed windows can be queried. Default: 7 days.
}

// Hopping windows overlap: one of length Size begins at every multiple of Every
// since 1970 UTC, plus Offset. A record is folded once, whatever Size/Every is.
type Hopping struct {
	Size      time.Duration // whole milliseconds
	Every     time.Duration // whole milliseconds
	Grace     time.Duration // how long after its end a window takes late records. Default: 0.
	Offset    time.Duration // Default: 0.
	Retain    time.Duration // how far behind the watermark closed windows can be queried. Default: 7 days.
	AllowGaps bool          // Every may exceed Size; records between windows are dropped and counted
}

// Forever is one window that holds all of time: what is counted in it is counted
// for good. It never closes, so its values come as Updates, and as finals only at
// the end of a bounded run, with the key's largest event time.
type Forever struct{}

// defaultRetain is how long closed windows are kept, in event time.
const defaultRetain = 7 * 24 * time.Hour

// Window cuts a stream into windows of event time. A key's records must be in
// one task: that is so behind a KeyBy, and for topics written with their keys.
func Window[K, V any](s Stream[K, V], w WindowKind) Grouped[K, V] {
	in := of(s)
	st := in.g.add("window", "", in.step)
	st.keepsKey, st.keepsValue = true, true
	if w == nil {
		in.g.mistake(st.at, "window: the kind is nil; want op.Tumbling, op.Hopping or op.Forever")
		return Grouped[K, V]{newNode(st, in.key, in.value), fixed{size: 1, every: 1}}
	}
	f := w.fixed(st)
	st.detail = f.String()
	out := newNode(st, in.key, in.value)
	in.outs = append(in.outs, out.wire)
	return Grouped[K, V]{out, f}
}

func (t Tumbling) fixed(s *step) fixed {
	return newFixed(s, "tumbling", t.Size, t.Size, t.Grace, t.Offset, t.Retain, false)
}

func (h Hopping) fixed(s *step) fixed {
	return newFixed(s, "hopping", h.Size, h.Every, h.Grace, h.Offset, h.Retain, h.AllowGaps)
}

func (Forever) fixed(*step) fixed {
	return fixed{size: foreverSize, every: foreverSize, offset: -foreverSize / 2, forever: true}
}

// foreverSize is the length of the window of Forever, in ms: 146 million years,
// half of them before 1970.
const foreverSize = 1 << 62

// newFixed checks windows and puts them into milliseconds.
func newFixed(s *step, kind string, size, every, grace, offset, retain time.Duration, gaps bool) fixed {
	ok := true
	want := func(good bool, format string, args ...any) {
		if !good {
			ok = false
			s.g.mistake(s.at, "window %s: "+format, append([]any{kind}, args...)...)
		}
	}
	whole := func(d time.Duration) bool { return d%time.Millisecond == 0 }
	want(size > 0 && whole(size), "got Size %s, want whole milliseconds, more than 0", size)
	want(every > 0 && whole(every), "got Every %s, want whole milliseconds, more than 0", every)
	want(every <= size || gaps, "got Every %s above Size %s; records between windows would count nowhere; if you want that, set AllowGaps", every, size)
	want(grace >= 0 && whole(grace), "got Grace %s, want whole milliseconds, 0 or more", grace)
	want(whole(offset), "got Offset %s, want whole milliseconds", offset)
	want(retain >= 0, "got Retain %s, want 0 for the default, or more", retain)
	if retain == 0 {
		retain = defaultRetain
	}
	if !ok {
		return fixed{size: 1, every: 1}
	}
	f := fixed{
		size: size.Milliseconds(), every: every.Milliseconds(), grace: grace.Milliseconds(),
		offset: offset.Milliseconds(), retain: retain.Milliseconds(),
	}
	f.offset = f.offset % f.every
	if f.every < f.size {
		f.rest = f.size % f.every
	}
	return f
}

// fixed is windows of one size on a grid, in ms.
//
// Windows that overlap are kept as slices: the spans between any two neighbouring
// bounds of windows, of which there are at most two per Every, whatever the
// size. A record is folded into its slice alone, and a window is merged from its
// slices when it closes.
//
//	windows  |------ size ------|
//	              every  |------ size ------|
//	slices   |rest|      |rest|      |rest|        rest = size mod every
type fixed struct {
	size, every, grace, offset, retain int64
	rest                               int64 // where a slice ends within Every; 0: only at its end
	forever                            bool
}

// overlaps tells whether a record may belong to several windows.
func (f fixed) overlaps() bool { return f.every < f.size }

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}

// last returns the start of the last window that starts at or before t.
func (f fixed) last(t int64) int64 {
	return floorDiv(t-f.offset, f.every)*f.every + f.offset
}

// first returns the start of the first window that ends after t.
func (f fixed) first(t int64) int64 { return f.last(t-f.size) + f.every }

// slice returns the bounds of the slice around t. ok is false between windows.
func (f fixed) slice(t int64) (start, end int64, ok bool) {
	start = f.last(t)
	switch {
	case f.every >= f.size:
		if t-start >= f.size {
			return start + f.size, start + f.every, false
		}
		return start, start + f.size, true
	case f.rest == 0:
		return start, start + f.every, true
	case t-start < f.rest:
		return start, start + f.rest, true
	}
	return start + f.rest, start + f.every, true
}

// closes returns the watermark at which the window that starts at start closes.
func (f fixed) closes(start int64) int64 { return start + f.size + f.grace }

// openAt returns the start of the first window that is open at watermark w.
func (f fixed) openAt(w int64) int64 {
	if w == noTime {
		return noTime
	}
	return f.first(w - f.grace)
}

// String is the windows in the words of the plan: a change of them makes stored
// state unreadable.
func (f fixed) String() string {
	if f.forever {
		return "forever"
	}
	var b strings.Builder
	ms := func(n int64) time.Duration { return time.Duration(n) * time.Millisecond }
	if f.every == f.size {
		fmt.Fprintf(&b, "tumbling %s", short(ms(f.size)))
	} else {
		fmt.Fprintf(&b, "hopping %s every %s", short(ms(f.size)), short(ms(f.every)))
	}
	if f.grace != 0 {
		fmt.Fprintf(&b, " grace %s", short(ms(f.grace)))
	}
	if f.offset != 0 {
		fmt.Fprintf(&b, " offset %s", short(ms(f.offset)))
	}
	return b.String()
}

// short is a duration without zero parts: 1m, not 1m0s.
func short(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// Late returns the records that came too late for a window, once for each
// window that had closed, keyed by it.
func (g Grouped[K, V]) Late() Stream[Windowed[K], V] {
	in, f := g.n, g.w
	st := in.g.add("late", "", in.step)
	st.timed, st.keyed, st.usesKey, st.keepsValue = true, true, true, true
	out := newNode[Windowed[K], V](st, nil, in.value)
	in.outs = append(in.outs, func(w *wiring) push[K, V] {
		l := &lateness[K, V]{w: f, mark: noTime, out: out.wire(w)}
		w.operate(st, l)
		return l.batch
	})
	return Stream[Windowed[K], V]{out}
}

// lateness passes on what an aggregate over the same windows drops.
type lateness[K, V any] struct {
	passive
	w      fixed
	mark   int64 // the watermark when it last passed a bound
	result Batch[Windowed[K], V]
	out    push[Windowed[K], V]
}

func (l *lateness[K, V]) batch(b *Batch[K, V]) error {
	l.result.clear(b.src)
	for i, t := range b.Times {
		if b.Flags[i] != 0 {
			continue // counted as what it is by the aggregate
		}
		for start := l.w.first(t); start <= t && l.w.closes(start) <= l.mark; start += l.w.every {
			l.result.put(windowed(b.Keys[i], start, start+l.w.size), b.Values[i], t, b.Flags[i], b.Rows[i])
		}
	}
	if l.result.Len() == 0 {
		return nil
	}
	return l.out(&l.result)
}

func (l *lateness[K, V]) advance(w int64) error {
	l.mark = w
	return nil
}

func (l *lateness[K, V]) restore(w int64) error {
	l.mark = w
	return nil
}

func (l *lateness[K, V]) next() int64 {
	if l.mark == noTime {
		return noTime
	}
	return l.w.closes(l.w.openAt(l.mark))
}

func windowed[K any](key K, start, end int64) Windowed[K] {
	w := Windowed[K]{Key: key}
	w.Start, w.End = start, end
	return w
}
