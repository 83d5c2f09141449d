package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"
)

// Options say what to measure. The zero value measures everything.
type Options struct {
	// Which workloads to run, by name, in this order. Default: all of Names.
	Which []string

	// Dir is where inputs and logs are written; they are removed at the end.
	// It should lie on the disk that is to be measured: the syncs are real.
	// Default: a new directory among the temporary ones.
	Dir string

	// Records is how many input records each run takes. Default: what is usual
	// for the workload, 10 to 20 million.
	Records int64

	// Runs is how often each workload is run. Default: 3; latency and idle are
	// run once.
	Runs int

	// Memory is what a job may take up, in bytes. Default: 1 GiB.
	Memory int64

	// Rate, Warmup and Duration are those of latency. Default: 100,000 records/s,
	// 10 s and 60 s.
	Rate             int
	Warmup, Duration time.Duration

	// Command starts this program again so that it calls Run: each run is a
	// process of its own. Default: this executable with the argument "bench".
	Command []string
	// InProcess runs everything in this process instead: results then depend on
	// each other.
	InProcess bool

	// ProfileDir, if set, gets a CPU profile of each run: <workload>-<run>.pprof.
	ProfileDir string

	// Progress, if set, is told of each run before it begins.
	Progress func(Step)
}

// Step is what is about to be done.
type Step struct {
	Workload  string
	Prepare   bool // inputs are being written; nothing is measured
	Run, Runs int  // from 1
}

// EnsureDefaults fills in what is not set, but Which, Records and Dir.
func (o *Options) EnsureDefaults() {
	setDefault(&o.Runs, 3)
	setDefault(&o.Memory, 1<<30)
	setDefault(&o.Rate, 100_000)
	setDefault(&o.Warmup, 10*time.Second)
	setDefault(&o.Duration, 60*time.Second)
	if o.Progress == nil {
		o.Progress = func(Step) {}
	}
}

func setDefault[T int | int64 | time.Duration](field *T, value T) {
	if *field == 0 {
		*field = value
	}
}

// Validate reports all mistakes at once.
func (o *Options) Validate() error {
	var errs []error
	want := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	for _, name := range o.Which {
		want(lookup(name) != nil, "unknown workload %q; there are %s", name, strings.Join(Names(), ", "))
	}
	want(o.Records >= 0, "Records is %d, want 1 or more", o.Records)
	want(o.Runs > 0, "Runs is %d, want 1 or more", o.Runs)
	want(o.Memory >= 64<<20, "Memory is %d bytes, want at least 64 MiB", o.Memory)
	want(o.Rate >= 1_000, "Rate is %d records/s, want at least 1,000", o.Rate)
	want(o.Warmup > 0 && o.Duration > 0, "Warmup and Duration are %v and %v, want more than 0", o.Warmup, o.Duration)
	return errors.Join(errs...)
}

// Run measures and returns one result per workload, in the order of
// Options.Which. In a process that was started as a run (Options.Command) it
// does what it was started for and returns neither results nor an error.
func Run(ctx context.Context, opts Options) ([]Result, error) {
	if t, err := taskOfProcess(); t != nil || err != nil {
		if err == nil {
			err = t.serve(ctx)
		}
		return nil, err
	}
	opts.EnsureDefaults()
	if err := opts.Validate(); err != nil {
		return nil, fmt.Errorf("bench: %w", err)
	}
	if _, err := cpuTime(); err != nil {
		return nil, fmt.Errorf("bench: %w", err)
	}
	dir, err := os.MkdirTemp(opts.Dir, "grete-bench-")
	if err != nil {
		return nil, fmt.Errorf("bench: make a directory: %w", err)
	}
	results, err := runAll(ctx, &opts, dir)
	if e := os.RemoveAll(dir); e != nil && err == nil {
		err = fmt.Errorf("remove inputs: %w", e)
	}
	if err != nil {
		return results, fmt.Errorf("bench: %w", err)
	}
	return results, nil
}

func runAll(ctx context.Context, opts *Options, dir string) ([]Result, error) {
	names := opts.Which
	if len(names) == 0 {
		names = Names()
	}
	results := make([]Result, 0, len(names))
	for _, name := range names {
		r, err := runWorkload(ctx, opts, dir, lookup(name))
		if err != nil {
			return results, fmt.Errorf("%s: %w", name, err)
		}
		results = append(results, *r)
	}
	return results, nil
}

// runWorkload prepares the input of a workload, runs it as often as is wanted,
// and picks the median.
func runWorkload(ctx context.Context, opts *Options, dir string, w *workload) (*Result, error) {
	t := newTask(opts, dir, w)
	if w.prepare != nil {
		opts.Progress(Step{Workload: w.name, Prepare: true})
		t.Prepare = true
		if _, err := t.start(ctx, opts); err != nil {
			return nil, fmt.Errorf("prepare: %w", err)
		}
		t.Prepare = false
	}
	runs := opts.Runs
	if w.once {
		runs = 1
	}
	results := make([]*Result, runs)
	for i := range results {
		opts.Progress(Step{Workload: w.name, Run: i + 1, Runs: runs})
		t.Run = i + 1
		r, err := t.start(ctx, opts)
		if err != nil {
			return nil, fmt.Errorf("run %d: %w", i+1, err)
		}
		results[i] = r
	}
	r := median(results)
	r.Name, r.Runs, r.Bar = w.name, runs, w.bar(opts)
	r.judge()
	return r, nil
}

// median is the run with the median CPU time, with the bounds of all.
func median(results []*Result) *Result {
	slices.SortFunc(results, func(a, b *Result) int {
		switch {
		case a.CPUNanosPerRecord < b.CPUNanosPerRecord:
			return -1
		case a.CPUNanosPerRecord > b.CPUNanosPerRecord:
			return 1
		}
		return 0
	})
	r := results[len(results)/2]
	r.CPUNanosLow = results[0].CPUNanosPerRecord
	r.CPUNanosHigh = results[len(results)-1].CPUNanosPerRecord
	return r
}
