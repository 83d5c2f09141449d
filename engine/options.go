package engine

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/rcrowley/go-metrics"

	"github.com/gretestream/grete/jobs"
	"github.com/gretestream/grete/log"
)

const (
	// DefaultMemory is Options.Memory where it is 0.
	DefaultMemory = 1 << 30
	// DefaultPartitions is Options.Partitions where it is 0.
	DefaultPartitions = 4
	// minMemory is what one task needs to get along.
	minMemory = 16 << 20

	defaultStopTimeout = 30 * time.Second
)

// Options say which job a container runs, and on what. Job, Log and Dir must be
// set.
type Options struct {
	// Job is what to run. Settings are the values given for this run; those
	// stored with the plan fill in the rest.
	Job      jobs.Job
	Settings map[string]string

	// Log holds the job's topics. It belongs to the caller, who closes it after
	// Run has returned.
	Log log.Log

	// Dir is the root of the state of all jobs: this one keeps each task's
	// database in <Dir>/<job>/<generation>/<task>.
	Dir string
	// FS is the disk under Dir. Default: the real one.
	FS log.FS

	// Memory is what hot state, block cache and memtables of all tasks take up
	// together, in bytes. Default: 1 GiB; at least 16 MiB.
	Memory int64

	// UntilEnd makes a bounded run: it processes what the inputs hold when it
	// starts, closes all windows and ends. Several containers may share one; those
	// that run for good must have ended.
	UntilEnd bool

	// CreateTopics makes input topics that do not exist, with Partitions.
	CreateTopics bool
	// Partitions of topics that are made. Default: 4.
	Partitions int

	// Progress, if set, is called about four times a second while a container
	// restores or makes a bounded run, from a goroutine of its own.
	Progress func(Progress)

	// StopTimeout bounds how long a stop waits for commits under way.
	// Default: 30 s.
	StopTimeout time.Duration

	keepRepartition bool          // for tests that read marks: nothing is purged
	retakeAfter     time.Duration // default: the constant

	// Now is the wall clock of the tasks. Default: time.Now.
	Now func() time.Time
	// Logger gets what an operator of the job should know. Default: none.
	Logger hclog.Logger
	// Metrics is where counters and gauges go. Default: a registry of its own.
	Metrics metrics.Registry
}

// EnsureDefaults fills in what is not set.
func (o *Options) EnsureDefaults() {
	if o.Memory == 0 {
		o.Memory = DefaultMemory
	}
	if o.Partitions == 0 {
		o.Partitions = DefaultPartitions
	}
	if o.StopTimeout == 0 {
		o.StopTimeout = defaultStopTimeout
	}
	if o.retakeAfter == 0 {
		o.retakeAfter = retakeAfter
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = hclog.NewNullLogger()
	}
	if o.Metrics == nil {
		o.Metrics = metrics.NewRegistry()
	}
	o.Job.Options.EnsureDefaults()
}

// Validate reports all that is wrong, by field.
func (o *Options) Validate() error {
	var list []string
	if err := o.Job.Validate(); err != nil {
		list = append(list, "Job: "+err.Error())
	}
	if o.Log == nil {
		list = append(list, "Log is not set")
	}
	if o.Dir == "" {
		list = append(list, "Dir is not set: a job keeps its state in a directory")
	}
	if o.Memory < minMemory {
		list = append(list, fmt.Sprintf("Memory is %d bytes, want at least %d (16 MiB)", o.Memory, minMemory))
	}
	if o.Partitions < 0 {
		list = append(list, fmt.Sprintf("Partitions is %d, want at least 1", o.Partitions))
	}
	if o.StopTimeout < 0 {
		list = append(list, fmt.Sprintf("StopTimeout is %v, want at least 0", o.StopTimeout))
	}
	if len(list) == 0 {
		return nil
	}
	return errors.New("engine options: " + strings.Join(list, "; "))
}
