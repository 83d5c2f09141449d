package jobs

import (
	"fmt"
	"regexp"
	"strings"
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

// Options of a job. The zero value is useful.
type Options struct {
	// CommitInterval is how long results wait to be committed at most.
	// Default: 100 ms.
	CommitInterval time.Duration
	// CommitBytes is how many bytes of results a task collects before it
	// commits early. Default: 4 MiB; at most MaxCommitBytes.
	CommitBytes int64
	Guarantee   Guarantee // default ExactlyOnce
	DeadLetters string    // topic; default <job>.dead-letters
}

const (
	// DefaultCommitInterval is Options.CommitInterval where it is 0.
	DefaultCommitInterval = 100 * time.Millisecond
	// DefaultCommitBytes is Options.CommitBytes where it is 0.
	DefaultCommitBytes = 4 << 20
	// MaxCommitBytes bounds the records of one commit.
	MaxCommitBytes = 16 << 20
)

// Guarantee says how often a record counts after a crash.
type Guarantee uint8

const (
	ExactlyOnce Guarantee = iota
	AtLeastOnce
)

func (g Guarantee) String() string {
	if g == AtLeastOnce {
		return "at-least-once"
	}
	return "exactly-once"
}

var namePattern = regexp.MustCompile(`^[a-z0-9][a-z0-9-]*$`)

// EnsureDefaults fills in what is 0.
func (o *Options) EnsureDefaults() {
	if o.CommitInterval == 0 {
		o.CommitInterval = DefaultCommitInterval
	}
	if o.CommitBytes == 0 {
		o.CommitBytes = DefaultCommitBytes
	}
}

// Mistakes is everything that is wrong with a job or its plan, in words, one
// mistake each. It is the error of Validate, Compile and New.
type Mistakes struct {
	Job  string
	List []string
}

func (m *Mistakes) Error() string {
	if len(m.List) == 1 {
		return fmt.Sprintf("job %q: %s", m.Job, m.List[0])
	}
	return fmt.Sprintf("job %q has %d mistakes:\n  - %s", m.Job, len(m.List), strings.Join(m.List, "\n  - "))
}

func (m *Mistakes) addf(format string, args ...any) {
	m.List = append(m.List, fmt.Sprintf(format, args...))
}

// err is nil if there are no mistakes.
func (m *Mistakes) err() error {
	if len(m.List) == 0 {
		return nil
	}
	return m
}

// Validate reports all that is wrong with the job's declaration, as *Mistakes.
// What is wrong inside the graph comes out of Compile.
func (j *Job) Validate() error {
	m := &Mistakes{Job: j.Name}
	if !namePattern.MatchString(j.Name) {
		m.addf("name is %q, want lower-case letters, digits and dashes, beginning with a letter or digit", j.Name)
	}
	switch {
	case j.Build == nil && j.Configure == nil:
		m.addf("neither Build nor Configure is set: nothing says what the job does")
	case j.Build != nil && j.Configure != nil:
		m.addf("both Build and Configure are set: Configure returns the Build to use, so leave Build out")
	}
	j.validateSettings(m)
	o := &j.Options
	if o.CommitInterval < 0 {
		m.addf("Options.CommitInterval is %v, want 0 (100 ms) or more", o.CommitInterval)
	}
	if o.CommitBytes < 0 || o.CommitBytes > MaxCommitBytes {
		m.addf("Options.CommitBytes is %d, want 0 (4 MiB) to %d (16 MiB)", o.CommitBytes, MaxCommitBytes)
	}
	if o.Guarantee > AtLeastOnce {
		m.addf("Options.Guarantee is %d, want ExactlyOnce or AtLeastOnce", o.Guarantee)
	}
	return m.err()
}

func (j *Job) validateSettings(m *Mistakes) {
	seen := map[string]bool{}
	for _, s := range j.Settings {
		switch {
		case s.Name == "" || strings.ContainsAny(s.Name, "= "):
			m.addf("setting %q: a name has at least one letter and neither %q nor blanks", s.Name, "=")
		case seen[s.Name]:
			m.addf("setting %q is declared twice", s.Name)
		case s.Required && s.Default != "":
			m.addf("setting %q is required and has the default %q: one of them is too much", s.Name, s.Default)
		}
		seen[s.Name] = true
	}
	if len(j.Settings) > 0 && j.Configure == nil {
		m.addf("has settings but no Configure that reads them")
	}
}
