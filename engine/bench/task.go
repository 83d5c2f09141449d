package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"runtime/pprof"
	"time"
)

// taskVariable is the environment variable that makes a process one run: it
// holds a task as JSON.
const taskVariable = "GRETE_BENCH_TASK"

// task is one run of a workload, or the writing of its inputs, in a process of
// its own.
type task struct {
	Workload string
	Prepare  bool
	Run      int
	Dir      string // of all runs: inputs are shared
	Out      string // file for the Result, as JSON
	Profile  string // file for a CPU profile; empty: none

	Records          int64
	Memory           int64
	Rate             int
	Warmup, Duration time.Duration
}

func newTask(opts *Options, dir string, w *workload) *task {
	records := opts.Records
	if records == 0 {
		records = w.records
	}
	return &task{
		Workload: w.name,
		Dir:      dir,
		Records:  records,
		Memory:   opts.Memory,
		Rate:     opts.Rate,
		Warmup:   opts.Warmup,
		Duration: opts.Duration,
	}
}

// start runs the task in its own process, or in this one.
func (t *task) start(ctx context.Context, opts *Options) (*Result, error) {
	t.Profile = ""
	if opts.ProfileDir != "" && !t.Prepare {
		t.Profile = filepath.Join(opts.ProfileDir, fmt.Sprintf("%s-%d.pprof", t.Workload, t.Run))
	}
	if opts.InProcess {
		return t.do(ctx)
	}
	command := opts.Command
	if len(command) == 0 {
		self, err := os.Executable()
		if err != nil {
			return nil, fmt.Errorf("find this program: %w", err)
		}
		command = []string{self, "bench"}
	}
	t.Out = filepath.Join(t.Dir, "result.json")
	if err := os.Remove(t.Out); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("remove the last result: %w", err)
	}
	encoded, err := json.Marshal(t)
	if err != nil {
		return nil, fmt.Errorf("encode the task: %w", err)
	}
	var stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.Env = append(os.Environ(), taskVariable+"="+string(encoded))
	cmd.Stderr = &stderr
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("%s: %w\n%s", command[0], err, bytes.TrimSpace(stderr.Bytes()))
	}
	out, err := os.ReadFile(t.Out)
	if err != nil {
		return nil, fmt.Errorf("%s ended without a result: does it call bench.Run? %w", command[0], err)
	}
	r := new(Result)
	if err := json.Unmarshal(out, r); err != nil {
		return nil, fmt.Errorf("read the result: %w", err)
	}
	return r, nil
}

// taskOfProcess is the task that this process was started for, or nil.
func taskOfProcess() (*task, error) {
	encoded := os.Getenv(taskVariable)
	if encoded == "" {
		return nil, nil
	}
	t := new(task)
	if err := json.Unmarshal([]byte(encoded), t); err != nil {
		return nil, fmt.Errorf("bench: read %s: %w", taskVariable, err)
	}
	if lookup(t.Workload) == nil {
		return nil, fmt.Errorf("bench: read %s: unknown workload %q", taskVariable, t.Workload)
	}
	return t, nil
}

// serve does the task and writes the result for the process that asked for it.
func (t *task) serve(ctx context.Context) error {
	debug.SetMemoryLimit(t.Memory) // as the command line does
	r, err := t.do(ctx)
	if err != nil {
		return fmt.Errorf("bench %s: %w", t.Workload, err)
	}
	encoded, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("bench %s: encode the result: %w", t.Workload, err)
	}
	if err := os.WriteFile(t.Out, encoded, 0o600); err != nil {
		return fmt.Errorf("bench %s: write the result: %w", t.Workload, err)
	}
	return nil
}

// do prepares or runs the workload in this process.
func (t *task) do(ctx context.Context) (*Result, error) {
	w := lookup(t.Workload)
	if t.Prepare {
		return &Result{}, w.prepare(ctx, t)
	}
	if t.Profile == "" {
		return w.run(ctx, t)
	}
	f, err := os.Create(t.Profile)
	if err != nil {
		return nil, fmt.Errorf("profile: %w", err)
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return nil, errors.Join(fmt.Errorf("profile: %w", err), f.Close())
	}
	r, err := w.run(ctx, t)
	pprof.StopCPUProfile()
	return r, errors.Join(err, f.Close())
}
