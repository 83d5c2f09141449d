package engine

import (
	"fmt"
	"testing"

	"github.com/gretestream/grete/jobs"
	"github.com/gretestream/grete/log"
	op "github.com/gretestream/grete/operators"
)

// passJob moves views through a repartition by page.
var passJob = jobs.Job{Name: "pass", Build: func(g *op.Graph) {
	in := op.From(g, op.NewTopic("views", op.String, op.String))
	byPage := op.KeyBy(in, "by-page", func(page string) string { return page })
	op.To(byPage, op.NewTopic("pages", op.String, op.String))
}}

// TestRepartition passes records through two stages: each exactly once, equal
// keys in order in one partition.
func TestRepartition(t *testing.T) {
	n := newNode(t)
	n.create("views", 3)
	for i := range 3000 {
		n.append("views", i%3, log.Record{Timestamp: log.Timestamp(i), Value: fmt.Appendf(nil, "page %d", i%7)})
	}
	n.runUntilEnd(passJob)
	check := func(want int) {
		t.Helper()
		perPage := map[string]int{}
		for _, r := range n.read("pages") {
			if string(r.Key) != string(r.Value) {
				t.Fatalf("got key %q, value %q", r.Key, r.Value)
			}
			perPage[string(r.Key)]++
		}
		total := 0
		for _, c := range perPage {
			total += c
		}
		if len(perPage) != 7 || total != want {
			t.Fatalf("got %d pages, %d records, want 7 and %d", len(perPage), total, want)
		}
	}
	check(3000)
	n.runUntilEnd(passJob)
	check(3000)
	r := n.start(passJob)
	r.until("readiness", func() bool { s := r.Status(); return s.Ready() })
	for i := range 300 {
		n.append("views", i%3, log.Record{Timestamp: log.Timestamp(i), Value: fmt.Appendf(nil, "page %d", i%7)})
	}
	r.caughtUp(600)
	check(3300)
	r.stop()
}
