package operators_test

import (
	"testing"
	"time"

	op "github.com/gretestream/grete/operators"
)

// TestWindowedCountDoesNotAllocate holds decoding, EventTime, Window and Count to
// 0.00 allocations per record: what is left is an arena block of strings every
// couple of thousand records.
func TestWindowedCountDoesNotAllocate(t *testing.T) {
	r := start(t, func(g *op.Graph) {
		in := op.EventTime(op.From(g, pageViews), pageView.Time)
		op.Count(op.Window(in, op.Tumbling{Size: time.Hour}), "counts")
	})
	const batch = 1000
	records := views(100*batch, 10_000, 0)
	at := 0
	next := func() {
		r.must(r.flows[0].Process(0, records[at:at+batch]))
		at = (at + batch) % len(records)
	}
	for range len(records) / batch {
		next() // all keys are in memory
	}
	if per := testing.AllocsPerRun(200, next) / batch; per >= 0.005 {
		t.Errorf("got %.4f allocations per record, want 0.00", per)
	}
}
