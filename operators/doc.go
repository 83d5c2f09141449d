// Package operators is the language that jobs are written in. Import it as op:
//
//	import op "github.com/gretestream/grete/operators"
//
// A job is a function that declares steps on a Graph, in straight-line Go:
//
//	var (
//		Views  = op.NewTopic("page-views", op.String, op.JSON[View]())
//		Counts = op.NewTopic("page-view-counts", op.WindowKey(op.String), op.Int64)
//	)
//
//	func CountViews(g *op.Graph) {
//		views := op.EventTime(op.From(g, Views), View.Time)
//		byPage := op.KeyBy(views, "views-by-page", View.Page)
//		perMinute := op.Window(byPage, op.Tumbling{Size: time.Minute})
//		counts := op.Count(perMinute, "views-per-page")
//		op.To(counts.Final(), Counts)
//	}
//
// Nothing runs while the function does: a Stream is a handle on a step. The
// engine copies the steps once per partition, into tasks, and runs records
// through them. Mistakes (a name used twice, a window of no size, a nil function)
// are collected, and reported all at once with the lines that made them; what
// the types can tell does not compile. Package engine/jobtest runs a job in a
// test, and every function below has an example.
//
// # Names
//
// A step takes a name if and only if it keeps something on disk: a store, or an
// internal topic. The name comes second, right after the stream; callbacks come
// last; options are one optional struct at the end. Renaming such a step loses
// what it kept, and the engine refuses that until told otherwise.
//
// # In and out
//
// From reads a topic, To writes one, both with the codecs of a Topic: String,
// Int64, Float64, Bytes, JSON, WindowKey. Codecs that no topic names (KeyBy's key,
// what a store keeps) follow from the type: strings, bytes and numbers as Kafka's
// serializers write them, everything else as JSON. Encoded says otherwise.
//
// # One to one
//
// Map changes the value, MapRecord key and time as well, TryMap may fail.
// EventTime takes the time of each record from its value and starts a clock.
// Functions are never called for a null value: it passes through Map, Filter and
// FlatMap as it is, and is dropped and counted where that makes no sense.
//
// # Fewer or more
//
// Filter keeps some records, FlatMap makes any number of each, Split sends them
// two ways, Merge brings streams together.
//
// # By key
//
// What counts or joins by key needs all records of a key in one task. That is so
// for a topic whose records were written with their keys; behind a changed key it
// takes a KeyBy, which ships each record, through an internal topic, to the task
// that owns its new key. What stands behind it is a stage of its own.
//
// # Over time
//
// Window cuts a stream into windows of event time: Tumbling side by side, Hopping
// overlapping, Forever a single one. A window closes when the watermark, the time
// before which every record is believed seen, reaches its end plus Grace. A record
// for a window that has closed is late: it is counted, and goes to Late, if that
// is read.
//
//	watermark = largest event time seen - OutOfOrder      of each input
//	          = the smallest of these                      of a task
//
// The watermark follows the records, not the wall clock, so a job that catches up
// or reprocesses gives the windows that live traffic gave.
//
// # Folding
//
// Count, Sum, Reduce and Aggregate fold the records of each key and window into a
// store, which can be queried while the job runs. Of what they return, Final is
// each window's values once, when it closes, in the order of window ends and then
// keys; Updates is every change. Top ranks finals.
//
// Aggregate takes two functions: add puts a value into an accumulator and merge
// joins two accumulators. Windows are put together from parts, so the result may
// not depend on which values went into which part, nor on their order.
//
// # Bringing together
//
// TableFrom keeps the latest value of each key of a topic; Join and LeftJoin look
// records up in it.
//
// # Anything else
//
// Process runs a Processor of your own, with a value per key and timers.
//
// # What becomes of bad records
//
// A record that cannot be decoded, whose function fails or panics, or whose time
// lies too far in the future becomes a dead letter with its bytes, its origin, the
// step and the error; OnError: Stop ends the job instead. Every record that does
// not contribute is counted, by step and reason. Nothing is dropped silently.
//
// # For those who run tasks
//
// Compile cuts a graph into Stages; Stage.Wire makes a Flow, a task's copy, which
// the engine feeds records, watermarks and the clock, and from which it takes what
// is to be committed. A Flow is owned by one goroutine. DESIGN.md tells how it
// works, cell.go and save.go draw what it keeps, and where.
package operators
