package cli

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/gretestream/grete/engine/bench"
)

func (a *app) benchCommand() *cobra.Command {
	var o bench.Options
	var records int
	c := &cobra.Command{
		Use: "bench [WORKLOAD...]", Short: "Measure what a record costs on this machine",
		Long: `Measure what a record costs on this machine: records a second, CPU time of the
whole process and allocations per record, or latency. Workloads are
` + strings.Join(bench.Names(), ", ") + `; all of them by default.

Inputs are written beforehand, by another process. Each run is a process of its
own; the table shows the median of --runs.`,
		ValidArgs: append(bench.Names(), "all"),
		RunE: func(cmd *cobra.Command, args []string) error {
			for _, name := range args {
				if name != "all" && !slices.Contains(bench.Names(), name) {
					a.mistake("unknown workload %q: want %s or all", name, strings.Join(bench.Names(), ", "))
				}
			}
			if err := a.checkUsage(); err != nil {
				return err
			}
			if !slices.Contains(args, "all") {
				o.Which = args
			}
			o.Records, o.Memory = int64(records), a.common.memory
			o.Progress = a.benchStep
			results, err := bench.Run(cmd.Context(), o)
			if len(results) > 0 { // what was measured before a failure is worth showing
				if errPrint := a.printBench(results); err == nil {
					err = errPrint
				}
			}
			return err
		},
	}
	f := c.Flags()
	f.StringVar(&o.Dir, "dir", "", "`directory` for inputs and logs, on the disk to be measured; default: a temporary one")
	a.intVar(f, &records, "records", 1, "`number` of input records of a run; default: 10 to 20 million")
	a.intVar(f, &o.Runs, "runs", 1, "`number` of runs; default 3")
	a.intVar(f, &o.Rate, "rate", 1_000, "`records` a second of latency; default 100,000")
	a.durationVar(f, &o.Warmup, "warm-up", "`time` before latency is measured; default 10s")
	a.durationVar(f, &o.Duration, "duration", "`time` over which latency is measured; default 60s")
	f.StringVar(&o.ProfileDir, "profile", "", "`directory` that gets a CPU profile of each run")
	return c
}

// benchStep says what is measured now.
func (a *app) benchStep(s bench.Step) {
	if s.Prepare {
		a.notef("%s: writing the input", s.Workload)
		return
	}
	a.notef("%s: run %d of %d", s.Workload, s.Run, s.Runs)
}

func (a *app) printBench(results []bench.Result) error {
	switch a.common.output {
	case "json":
		enc := json.NewEncoder(a.out)
		for i := range results {
			if err := enc.Encode(&results[i]); err != nil {
				return err
			}
		}
		return nil
	case "csv":
		r := &rows{columns: left("Workload", "Records", "Records per second", "CPU ns per record", "Allocs per record", "Peak RSS bytes", "P50 ms", "P99 ms")}
		for i := range results {
			b := &results[i]
			ms := func(d time.Duration) string { return fmt.Sprintf("%.1f", float64(d)/1e6) }
			p50, p99 := "", ""
			if b.Latency != nil {
				p50, p99 = ms(b.Latency.P50), ms(b.Latency.P99)
			}
			r.add(b.Name, b.Records, fmt.Sprintf("%.0f", b.RecordsPerSecond), fmt.Sprintf("%.1f", b.CPUNanosPerRecord),
				fmt.Sprintf("%.3f", b.AllocsPerRecord), b.PeakRSSBytes, p50, p99)
		}
		return a.print(r)
	}
	return bench.WriteTable(a.out, results)
}
