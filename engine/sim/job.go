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
// input. Nothing is late: grace is longer than the history.
var job = jobs.Job{
	Name: "sim",
	Build: func(g *op.Graph) {
		in := op.From(g, views)
		op.To(in, viewsCopy)
		byPage := op.KeyBy(in, "by-page", func(page string) string { return page })
		counts := op.Count(op.Window(byPage, op.Tumbling{Size: time.Minute, Grace: 1000 * time.Hour}), countStore)
		op.To(counts.Updates(), viewUpdates)
		op.To(counts.Final(), viewFinals)
	},
	Options: jobs.Options{CommitInterval: 2 * time.Millisecond},
}
