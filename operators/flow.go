package operators

import (
	"reflect"
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
	// contains unexported: the steps
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
type Flow struct{}

// Wire makes a task's copy of the stage and reads back what its operators keep
// in env.DB: open windows, closed ones awaiting expiry, timers. saved is what
// Save returned at the checkpoint that the task restarts from, or nil.
func (s *Stage) Wire(env Env, saved []byte) (*Flow, error) { panic("operators: being written") }

// Process runs records of Inputs[input] through the graph, in order: decodes
// them, advances the clocks record by record (so results do not depend on how
// records are cut into batches), closes windows as the watermark passes, and
// collects outputs. Records and their bytes may be reused when it returns. An
// error is the job's end (OnError: Stop, a full disk …); bad records are not
// errors: they become dead letters.
func (f *Flow) Process(input int, records []log.Record) error { return nil }

// Advance sets the watermark of a repartition input, as its upstream tasks
// declared it, and fires what it closes. Lower values than before are ignored.
func (f *Flow) Advance(input int, watermark int64) error { return nil }

// SetIdle takes an input out of the watermark's minimum, or back in: a resumed
// input counts again only when it has caught up.
func (f *Flow) SetIdle(input int, idle bool) error { return nil }

// FollowClock moves an idle input's watermark to w (IdlePolicy FollowClock).
func (f *Flow) FollowClock(input int, w int64) error { return nil }

// Tick fires timers in wall-clock time and time-collapsed updates.
func (f *Flow) Tick(now time.Time) error { return nil }

// Finish ends a bounded run: every open window is closed as if the watermark
// were infinite, without moving the watermarks that Save and Outgoing report.
func (f *Flow) Finish() error { return nil }

// Busy tells that closing or expiring windows has work left which did not fit
// in this commit (its cursor is in Save); Resume goes on with it after a commit.
func (f *Flow) Busy() bool    { return false }
func (f *Flow) Resume() error { return nil }

// Watermark is the minimum over the active inputs; ok is false while an input
// has not been heard from. Outgoing is the earliest result time still possible
// on Outputs[output], which the engine passes on through repartition topics.
func (f *Flow) Watermark() (w int64, ok bool)                { return 0, false }
func (f *Flow) Outgoing(output int) (w int64, ok, idle bool) { return 0, false, false }

// Drain writes changed state into env.DB, to be frozen by the caller.
func (f *Flow) Drain() error { return nil }

// Writes freezes the output records collected since the last call: encoded
// batches for partition p of Outputs[i]. The buffers are valid until the call
// after the next one, so that one commit may be under way.
func (f *Flow) Writes(visit func(output int, partition int32, b *log.Builder)) {}

// OutputBytes is the number of encoded bytes collected and not yet frozen.
func (f *Flow) OutputBytes() int { return 0 }

// DeadLetters freezes the dead letters collected since the last call.
func (f *Flow) DeadLetters() []DeadLetter { return nil }

// Save encodes clocks and cursors for the checkpoint. Appends to dst.
func (f *Flow) Save(dst []byte) []byte { return dst }

// Applied tells that the interval of the last Drain is durable and applied to
// env.DB: its entries may be evicted.
func (f *Flow) Applied() {}

// Drops counts the records that did not contribute, by operator and reason.
func (f *Flow) Drops() []Drop { return nil }

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
	Reason   string // "late", "undecodable", "null key", "null value", "rejected", "future"
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
