package operators

import (
	"cmp"
	"fmt"
	"reflect"
	"slices"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/rcrowley/go-metrics"

	"github.com/gretestream/grete/log"
	"github.com/gretestream/grete/state"
)

// Stage is a part of a graph that runs without a repartition: what one task
// copies and runs over one partition. Jobs plans with it, the engine wires it.
type Stage struct {
	Name     string       // the KeyBy that feeds it, or "source"
	Inputs   []InputSpec  // what its tasks read, in the order of declaration
	Outputs  []OutputSpec // what its tasks write
	Stores   []StoreDecl  // what its tasks keep
	Together [][]int      // groups of Inputs (indices) that must have equal partition counts and partitioning: joins, merges before a keyed step

	steps  []*step
	lines  []lineDecl
	single []bool // by input: branches of it meet again, so it is taken record by record
}

// InputSpec is one input of a stage.
type InputSpec struct {
	Topic       string // a topic of the user's, or the name of a KeyBy (Repartition)
	Repartition bool   // read from the internal repartition topic of that name
	Table       bool   // a table: read to its captured end before the streams
	Keyed       bool   // feeds a keyed step straight: keys must be partitioned as Java clients do
	Options     Input
	KeyCodec    string
	ValueCodec  string
}

// OutputSpec is one output of a stage.
type OutputSpec struct {
	Topic       string // a topic of the user's, or the name of a KeyBy/Top (Repartition)
	Repartition bool
	Partitions  int // wanted for a new topic; 0: as the job's inputs
	KeyCodec    string
	ValueCodec  string
}

// StoreDecl is one store that a stage keeps.
type StoreDecl struct {
	Name       string
	Kind       string // "window", "table", "keyed"
	KeyCodec   string
	ValueCodec string
	Window     string // text form of the window, for "window"
	Retain     time.Duration
	Query      *StoreQuery
}

// Env is what the engine gives to a task when it wires a stage.
type Env struct {
	Job        string
	Generation int64
	Partition  int32                // of the task
	DB         *state.DB            // holds the Stores of the stage
	Partitions func(output int) int // partition count of Outputs[i]
	Now        func() time.Time     // the task's clock
	Memory     int64                // bytes that hot state of this task may take
	Metrics    metrics.Registry
	Logger     hclog.Logger
}

// Flow is one wired copy of a stage: what a task runs. It is owned by the
// task's goroutine.
type Flow struct {
	stage     *Stage
	env       Env
	sources   []source // as the stage's Inputs
	outputs   []*output
	clocks    []stepClock
	lines     []*timeline // upstream ones first
	operators []wired     // in graph order
	dead      []DeadLetter
	deadBytes int
	drops     map[dropKey]*int64
	closed    int   // bytes of state written by closing windows since the last Drain
	err       error // of wiring
}

// Wire makes a task's copy of the stage and reads back what its operators keep
// in env.DB: open windows, closed ones awaiting expiry, timers. saved is what
// Save returned at the checkpoint that the task restarts from, or nil.
func (s *Stage) Wire(env Env, saved []byte) (*Flow, error) {
	f, err := newFlow(s, env)
	if err != nil {
		return nil, err
	}
	if err := f.restore(saved); err != nil {
		return nil, fmt.Errorf("wire stage %s: read its checkpoint: %w", s.Name, err)
	}
	return f, nil
}

// Process runs records of Inputs[input] through the graph, in order: decodes
// them, advances the clocks record by record (so results do not depend on how
// records are cut into batches), closes windows as the watermark passes, and
// collects outputs. Records and their bytes may be reused when it returns. An
// error is the job's end (OnError: Stop, a full disk …); bad records are not
// errors: they become dead letters.
func (f *Flow) Process(input int, records []log.Record) error {
	for _, c := range f.clocks {
		if c.input == input && c.atEnd {
			if err := c.setIdle(false, c.quiet); err != nil {
				return err
			}
		}
	}
	return f.sources[input].process(records)
}

// Advance sets the watermark of a repartition input, as its upstream tasks
// declared it, and fires what it closes. Lower values than before are ignored.
func (f *Flow) Advance(input int, watermark int64) error {
	for _, c := range f.clocks {
		if c.input == input && !c.step.clock {
			if err := c.set(watermark); err != nil {
				return err
			}
		}
	}
	return nil
}

// SetIdle takes an input out of the watermark's minimum, or back in: a resumed
// input counts again only when it has caught up.
func (f *Flow) SetIdle(input int, idle bool) error {
	for _, c := range f.clocks {
		if c.input == input {
			if err := c.setIdle(idle, c.quiet); err != nil {
				return err
			}
		}
	}
	return nil
}

// FollowClock moves an idle input's watermark to w (IdlePolicy FollowClock).
func (f *Flow) FollowClock(input int, w int64) error {
	for _, c := range f.clocks {
		if c.input == input {
			if err := c.set(w); err != nil {
				return err
			}
		}
	}
	return nil
}

// Tick fires timers in wall-clock time and time-collapsed updates.
func (f *Flow) Tick(now time.Time) error {
	for _, c := range f.clocks {
		if c.skipAfter <= 0 {
			continue
		}
		if c.passed || c.lastSeen.IsZero() {
			c.passed, c.lastSeen = false, now
		}
		if quiet := now.Sub(c.lastSeen) >= c.skipAfter; quiet && !c.quiet {
			if err := c.setIdle(c.atEnd, true); err != nil {
				return err
			}
		}
	}
	for _, o := range f.operators {
		if err := o.tick(now); err != nil {
			return err
		}
	}
	return nil
}

// Finish ends a bounded run: every open window is closed as if the watermark
// were infinite, without moving the watermarks that Save and Outgoing report.
func (f *Flow) Finish() error {
	for _, o := range f.operators { // upstream first: results reach the next before it finishes
		if err := o.finish(); err != nil {
			return err
		}
	}
	return nil
}

// Busy tells that closing or expiring windows has work left which did not fit
// in this commit (its cursor is in the stores); Resume goes on with it after a
// commit.
func (f *Flow) Busy() bool {
	for _, o := range f.operators {
		if o.busy() {
			return true
		}
	}
	return false
}

// Resume goes on with what Busy told of.
func (f *Flow) Resume() error {
	for _, o := range f.operators {
		if !o.busy() {
			continue
		}
		if err := o.resume(); err != nil {
			return err
		}
	}
	for _, l := range f.lines {
		if err := l.update(); err != nil {
			return err
		}
	}
	return nil
}

// Watermark is the minimum over the active inputs; ok is false while an input
// has not been heard from. In a stage with several watermarks (an EventTime of
// one of two inputs, windows of windows) it is the least of those that drive
// operators, or of the outputs' if none does.
func (f *Flow) Watermark() (w int64, ok bool) {
	w, ok = noTime, false
	for _, driving := range []bool{true, false} {
		for i, l := range f.lines {
			if driving && len(l.members) == 0 || len(f.stage.lines[i].holders) > 0 {
				continue
			}
			if l.w == noTime {
				return noTime, false
			}
			if !ok || l.w < w {
				w, ok = l.w, true
			}
		}
		if ok {
			return w, true
		}
	}
	return w, ok
}

// Outgoing is the earliest result time still possible on Outputs[output], which
// the engine passes on through repartition topics; ok is false while there is no
// watermark, idle is true while none of its inputs counts.
func (f *Flow) Outgoing(output int) (w int64, ok, idle bool) {
	w, idle = maxTime, true
	for _, s := range f.stage.steps {
		if s.sink == nil || s.output != output || s.line < 0 {
			continue
		}
		l := f.lines[s.line]
		w = min(w, l.w)
		idle = idle && l.idle()
	}
	if w == noTime || w == maxTime {
		return noTime, false, idle
	}
	return w, true, idle
}

// Drain writes changed state into env.DB, to be frozen by the caller.
func (f *Flow) Drain() error {
	f.closed = 0
	for _, o := range f.operators {
		if err := o.drain(); err != nil {
			return err
		}
	}
	return nil
}

// Writes freezes the output records collected since the last call: encoded
// batches for partition p of Outputs[i]. The buffers are valid until the call
// after the next one, so that one commit may be under way.
func (f *Flow) Writes(visit func(output int, partition int32, b *log.Builder)) {
	for i, o := range f.outputs {
		o.freeze(func(partition int32, b *log.Builder) { visit(i, partition, b) })
	}
}

// OutputBytes is the number of encoded bytes collected and not yet frozen, dead
// letters included.
func (f *Flow) OutputBytes() int {
	n := f.deadBytes
	for _, o := range f.outputs {
		n += o.size()
	}
	return n
}

// StateBytes is about how many bytes of changed state the next Drain will stage,
// so that a commit can be made before it grows too large.
func (f *Flow) StateBytes() int {
	n := int64(0)
	for _, o := range f.operators {
		n += o.staging()
	}
	return int(n)
}

// changedBytes guesses at the encoded size of what a cache has changed by the
// size of its entries in memory.
func changedBytes[V any](c *state.Cache[V]) int64 {
	dirty := c.Dirty()
	if dirty == 0 {
		return 0
	}
	return int64(float64(dirty) * float64(c.Bytes()) / float64(max(dirty, c.Len())))
}

// DeadLetters freezes the dead letters collected since the last call.
func (f *Flow) DeadLetters() []DeadLetter {
	dead := f.dead
	f.dead, f.deadBytes = nil, 0
	return dead
}

// Applied tells that the interval of the last Drain is durable and applied to
// env.DB: its entries may be evicted.
func (f *Flow) Applied() {
	total := int64(0)
	for _, o := range f.operators {
		o.applied()
		total += o.used()
	}
	if f.env.Memory <= 0 || total <= f.env.Memory {
		return
	}
	// Each gives up the same share, and a tenth more, so that the next
	// interval does not evict again.
	over := total - f.env.Memory*9/10
	for _, o := range f.operators {
		if u := o.used(); u > 0 {
			o.evict(int64(float64(over) * float64(u) / float64(total)))
		}
	}
}

// dropKey names a reason why records of a step do not contribute.
type dropKey struct {
	step   int
	reason string
}

// Reasons of drops.
const (
	dropLate        = "late"
	dropUndecodable = "undecodable"
	dropNullKey     = "null key"
	dropNullValue   = "null value"
	dropRejected    = "rejected"
	dropFailed      = "failed" // a function returned an error or panicked
	dropFuture      = "future"
	dropNoWindow    = "no window" // between windows with AllowGaps
	dropNoMatch     = "no match"  // its key is not in the table
)

// counter returns the count of a step's records dropped for a reason.
func (f *Flow) counter(s *step, reason string) *int64 {
	k := dropKey{s.id, reason}
	if f.drops[k] == nil {
		f.drops[k] = new(int64)
	}
	return f.drops[k]
}

// Drops counts the records that did not contribute, by operator and reason,
// since the Flow was wired.
func (f *Flow) Drops() []Drop {
	var drops []Drop
	for k, n := range f.drops {
		if *n == 0 {
			continue
		}
		for _, s := range f.stage.steps {
			if s.id == k.step {
				drops = append(drops, Drop{Operator: s.String(), Reason: k.reason, Count: *n})
			}
		}
	}
	slices.SortFunc(drops, func(a, b Drop) int {
		return cmp.Or(cmp.Compare(a.Operator, b.Operator), cmp.Compare(a.Reason, b.Reason))
	})
	return drops
}

// DeadLetter is a record that could not be handled, with its origin.
type DeadLetter struct {
	Input      int // of the stage
	Offset     log.Offset
	Timestamp  log.Timestamp
	Key, Value []byte
	Headers    []log.Header
	Operator   string
	Err        error
}

// Drop counts records dropped by one operator for one reason.
type Drop struct {
	Operator string
	Reason   string // "late", "undecodable", "null key", "null value", "rejected", "failed", "future", "no window", "no match"
	Count    int64
}

// StoreQuery reads a store's entries for queries, from a View of any task that
// keeps it, in any goroutine.
type StoreQuery struct {
	Windowed bool
	KeyType  reflect.Type // what Row.Key holds
	RowType  reflect.Type // what Row.Value holds

	// ParseKey turns a key's text form, as a user types it, into its encoding.
	ParseKey func(text string) ([]byte, error)
	// Scan calls f for each row in the range, ordered by window start, then key
	// bytes. Open windows of several slices are merged while reading.
	Scan func(v *state.View, r Range, f func(Row) error) error
}

// Range is a part of a store. The zero value is all of it.
type Range struct {
	Key        []byte // encoded; nil: all keys
	From, To   int64  // window starts in [From, To), ms; To 0: no end
	HideBefore int64  // windows that end at or before this have expired: W - Retain
}

// Row is one entry of a store. Start and End are 0 where it is not windowed.
type Row struct {
	Start, End int64 // ms since 1970 UTC, End exclusive
	Closed     bool  // the final was emitted and the value will not change
	RawKey     []byte
	Key        any
	Value      any
}
