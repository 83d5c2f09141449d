package cli

import (
	"strings"

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
		{Name: "latest", Doc: "keeps the latest line of each key", Build: func(g *op.Graph) {
			lines := op.TableFrom(g, op.NewTopic("prefixes", op.String, op.String), "prefixes")
			op.To(op.Join(op.From(g, linesTopic), lines, func(l, prefix string) string { return prefix + l }), op.NewTopic("prefixed", op.String, op.String))
		}},
	}
}
