package jobs

import (
	"time"

	op "github.com/gretestream/grete/operators"
)

// Job is a named graph and its options: what a user hands to cli.Main.
type Job struct {
	Name  string // matches [a-z0-9][a-z0-9-]*
	Build func(*op.Graph)

	// Settings are the --set NAME=VALUE that the job understands; Configure, if
	// set, is called with all of them (defaults filled in) and returns the Build
	// to use. Settings are stored with the plan, so later commands need not
	// repeat them.
	Settings  []Setting
	Configure func(values map[string]string) (func(*op.Graph), error)

	Options Options
	Doc     string // one line for listings
}

// Setting is one value that a job can be configured with.
type Setting struct {
	Name, Default, Help string
	Required            bool
}

// Options of a job. The zero value is useful.
type Options struct {
	CommitInterval time.Duration // default 100 ms
	CommitBytes    int64         // a commit is made when so much has been collected; default 4 MiB, at most 16 MiB
	Guarantee      Guarantee     // default ExactlyOnce
	DeadLetters    string        // topic; default <job>.dead-letters
}

// Guarantee says how often a record counts after a crash.
type Guarantee uint8

const (
	ExactlyOnce Guarantee = iota
	AtLeastOnce
)
