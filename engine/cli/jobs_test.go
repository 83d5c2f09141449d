package cli

import (
	"strings"
	"time"

	"github.com/gretestream/grete/jobs"
	op "github.com/gretestream/grete/operators"
)

var (
	linesTopic = op.NewTopic("lines", op.String, op.String)
	upperTopic = op.NewTopic("upper", op.String, op.String)
)

// testJobs are what the binary of these tests has.
func testJobs() []jobs.Job {
	return []jobs.Job{
		{Name: "shout", Doc: "writes every line in capitals", Build: func(g *op.Graph) {
			op.To(op.Map(op.From(g, linesTopic), strings.ToUpper), upperTopic)
		}},
		{Name: "count", Doc: "counts equal lines, each minute", Build: func(g *op.Graph) {
			byLine := op.KeyBy(op.From(g, linesTopic), "by-line", func(l string) string { return l })
			perMinute := op.Window(byLine, op.Tumbling{Size: time.Minute, Grace: 10 * time.Second, Retain: 100 * 365 * 24 * time.Hour})
			op.To(op.Count(perMinute, "counts").Final(), op.NewTopic("line-counts", op.WindowKey(op.String), op.Int64))
		}},
		{Name: "latest", Doc: "keeps the latest line of each key", Build: func(g *op.Graph) {
			lines := op.TableFrom(g, op.NewTopic("prefixes", op.String, op.String), "prefixes")
			op.To(op.Join(op.From(g, linesTopic), lines, func(l, prefix string) string { return prefix + l }), op.NewTopic("prefixed", op.String, op.String))
		}},
	}
}
