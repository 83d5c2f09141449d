package sim

import (
	"time"

	"github.com/gretestream/grete/jobs"
	op "github.com/gretestream/grete/operators"
)

// Names of what the simulated job reads, writes and keeps.
const (
	viewsTopic  = "views"
	copyTopic   = "views-copy"
	updateTopic = "view-counts-running"
	finalTopic  = "view-counts"
	countStore  = "views-per-page"
)

var (
	views       = op.NewTopic(viewsTopic, op.String, op.String)
	viewsCopy   = op.NewTopic(copyTopic, op.String, op.String)
	viewUpdates = op.NewTopic(updateTopic, op.WindowKey(op.String), op.Int64)
	viewFinals  = op.NewTopic(finalTopic, op.WindowKey(op.String), op.Int64)
)

// job counts views per page and minute across a repartition and copies its
// input.
var job = jobs.Job{
	Name:    "sim",
	Build:   graph(func(page string) string { return page }),
	Options: jobs.Options{CommitInterval: 2 * time.Millisecond},
}

// graph is the job's, with the function that gives a view its key. Nothing is
// late: grace is longer than the history.
func graph(key func(string) string) func(*op.Graph) {
	return func(g *op.Graph) {
		in := op.From(g, views)
		op.To(in, viewsCopy)
		byPage := op.KeyBy(in, "by-page", key)
		counts := op.Count(op.Window(byPage, op.Tumbling{Size: time.Minute, Grace: 1000 * time.Hour}), countStore)
		op.To(counts.Updates(), viewUpdates)
		op.To(counts.Final(), viewFinals)
	}
}
