// Package examples lists the jobs that are linked into the grete command.
package examples

import "github.com/gretestream/grete/jobs"

// Jobs returns the example jobs.
func Jobs() []jobs.Job { return nil }
