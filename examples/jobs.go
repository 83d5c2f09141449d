// Package examples lists the jobs that are linked into the grete command.
package examples

import (
	"github.com/gretestream/grete/examples/ads"
	"github.com/gretestream/grete/examples/counts"
	"github.com/gretestream/grete/examples/keywords"
	"github.com/gretestream/grete/examples/pageviews"
	"github.com/gretestream/grete/jobs"
)

// Jobs returns the example jobs.
func Jobs() []jobs.Job {
	return []jobs.Job{pageviews.Job, keywords.Job, ads.Job, counts.Job}
}
