package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// TestMain lets the test binary be one run of Run: see Options.Command.
func TestMain(m *testing.M) {
	if os.Getenv(taskVariable) == "" {
		goleak.VerifyTestMain(m)
		return
	}
	if _, err := Run(context.Background(), Options{}); err != nil {
		os.Stderr.WriteString(err.Error())
		os.Exit(1)
	}
}

// small is every workload with a few records.
func small(t *testing.T) Options {
	return Options{
		Records: 20_000, Runs: 1, Dir: t.TempDir(),
		Rate: 1_000, Warmup: 100 * time.Millisecond, Duration: 400 * time.Millisecond,
	}
}

// Every workload runs, here in processes of their own as in life, and tells what
// it has to.
func TestAllWorkloads(t *testing.T) {
	if testing.Short() {
		t.Skip("short: takes seconds; make test runs it")
	}
	opts := small(t)
	opts.Command = []string{os.Args[0]}
	opts.ProfileDir = t.TempDir()
	var steps []string
	opts.Progress = func(s Step) { steps = append(steps, s.Workload) }
	results, err := Run(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	if len(results) != len(workloads) {
		t.Fatalf("%d results, want %d", len(results), len(workloads))
	}
	for i, r := range results {
		if r.Name != workloads[i].name {
			t.Errorf("result %d is of %s, want %s", i, r.Name, workloads[i].name)
		}
		switch {
		case r.Name == "idle":
			if r.RSSBytes == 0 && r.PeakRSSBytes != 0 {
				t.Errorf("idle: got %+v", r)
			}
		case r.Records == 0 || r.CPUNanosPerRecord <= 0 || r.RecordsPerSecond <= 0:
			t.Errorf("%s: got %+v", r.Name, r)
		}
		if r.Name == "latency" && (r.Latency == nil || r.Latency.P50 <= 0 || r.Latency.Max < r.Latency.P99) {
			t.Errorf("latency: got %+v", r.Latency)
		}
	}
	if len(steps) < len(workloads) {
		t.Errorf("told of %q", steps)
	}
	left, err := os.ReadDir(opts.Dir)
	if err != nil || len(left) > 0 {
		t.Errorf("%v is left behind (%v)", left, err)
	}
}

func TestInputIsWrittenOnce(t *testing.T) {
	opts := small(t)
	opts.EnsureDefaults()
	task := newTask(&opts, opts.Dir, lookup("read"))
	before := func() time.Time {
		t.Helper()
		if err := prepareRecords(t.Context(), task); err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(task.inputDone("records"))
		if err != nil {
			t.Fatal(err)
		}
		return info.ModTime()
	}
	if first := before(); !before().Equal(first) {
		t.Error("the input was written again")
	}
}

func TestOptionsAreRefused(t *testing.T) {
	_, err := Run(t.Context(), Options{Which: []string{"appendd"}, Runs: -1, Memory: 1, Rate: 1, Dir: t.TempDir()})
	if err == nil {
		t.Fatal("got no error")
	}
	for _, want := range []string{`unknown workload "appendd"; there are append, read`, "Runs is -1", "Memory is 1 bytes", "Rate is 1"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not say %q", err, want)
		}
	}
}

func TestTableSaysWhatWasMissed(t *testing.T) {
	results := []Result{
		{Name: "count", Records: 20_000_000, RecordsPerSecond: 4_123_456.7, CPUNanosPerRecord: 310.4, CPUNanosLow: 300, CPUNanosHigh: 333,
			AllocsPerRecord: 0.006, PeakRSSBytes: 123_456_789, Bar: Bar{CPUNanosPerRecord: 300, NoAllocs: true}},
		{Name: "latency", Records: 7_000_000, Latency: &Latency{P50: 60 * time.Millisecond, P90: 90 * time.Millisecond, P99: 501 * time.Millisecond, Max: 2 * time.Second},
			Bar: Bar{P50: 250 * time.Millisecond, P99: 500 * time.Millisecond}},
		{Name: "idle", RSSBytes: 40_000_000, Bar: Bar{RSSBytes: 100_000_000}},
	}
	for i := range results {
		results[i].judge()
	}
	var b bytes.Buffer
	if err := WriteTable(&b, results); err != nil {
		t.Fatal(err)
	}
	want := strings.Join([]string{
		"  workload     records  records/s  CPU-ns  bar  low–high  allocs  memory   p50   p90    p99  max",
		"     count  20,000,000  4,123,456     310  300   300–333   0.006  123 MB     –     –      –    –",
		"   latency   7,000,000          –       –    –         –       –       –  60ms  90ms  501ms   2s",
		"      idle           –          –       –    –         –       –   40 MB     –     –      –    –",
		"count misses its bar: 310 CPU-ns a record, want at most 300; 0.006 allocations a record, want 0.00",
		"latency misses its bar: p99 is 501ms, want under 500ms",
		"",
	}, "\n")
	if got := b.String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if _, err := json.Marshal(results); err != nil {
		t.Error(err)
	}
}
