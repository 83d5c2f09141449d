package operators_test

import (
	"fmt"
	"testing"
	"time"

	op "github.com/gretestream/grete/operators"
)

// values lists a topic's records as "time value".
func (r *runner) values(topic string) []string {
	var all []string
	for _, rec := range r.out[topic] {
		all = append(all, fmt.Sprintf("%d %s", rec.Timestamp, rec.Value))
	}
	return all
}

func TestTop(t *testing.T) {
	best := op.NewTopic("best", op.SpanKey, op.JSON[[]op.Ranked[string, int64]]())
	r := start(t, func(g *op.Graph) {
		perMinute := op.Window(op.From(g, clicks), op.Tumbling{Size: time.Minute})
		op.To(op.Top(op.Count(perMinute, "counts").Final(), "leaders", 2), best)
	})
	r.send("clicks", rec(1, "b", "x"), rec(2, "a", "x"), rec(3, "c", "x"), rec(4, "c", "x"), rec(5, "d", "x"))
	r.send("clicks", rec(60_000, "d", "x"))
	r.send("clicks", rec(120_000, "d", "x"))
	r.same("best", r.values("best"), []string{
		`59999 [{"key":"c","value":2},{"key":"a","value":1}]`,
		`119999 [{"key":"d","value":1}]`,
	})
	r.finish()
	r.same("best", r.values("best")[2:], []string{`179999 [{"key":"d","value":1}]`})
	r.rows("leaders", "0 60000  [{c 2} {a 1}]", "60000 120000  [{d 1}]", "120000 180000  [{d 1}]")
	// The window that only the end of the run closed takes more, and is corrected.
	r.send("clicks", rec(120_001, "a", "x"), rec(120_002, "a", "x"))
	r.finish()
	r.same("best", r.values("best")[3:], []string{`179999 [{"key":"a","value":2},{"key":"d","value":1}]`})
	r.finish()
	if n := len(r.values("best")); n != 4 {
		t.Errorf("a second finish emitted %d more", n-4)
	}
}
