package bench

import (
	"context"
	"time"
)

// workload is one thing that is measured.
type workload struct {
	name    string
	records int64 // unless told otherwise
	once    bool  // run once only
	prepare func(context.Context, *task) error
	run     func(context.Context, *task) (*Result, error)
	bar     func(*Options) Bar
}

// workloads lists all, in the order in which they are run.
var workloads = []workload{
	{
		name: "append", records: 10_000_000,
		run: runAppend,
		bar: cpu(250),
	},
	{
		name: "read", records: 10_000_000,
		prepare: prepareRecords,
		run:     runRead,
		bar:     cpu(40),
	},
	{
		name: "passthrough", records: 10_000_000,
		prepare: prepareRecords,
		run:     runPassthrough,
		bar:     cpu(150),
	},
	{
		name: "count", records: 20_000_000,
		prepare: prepareViews,
		run:     runCount,
		bar: func(*Options) Bar {
			return Bar{CPUNanosPerRecord: 300, NoAllocs: true}
		},
	},
	{
		name: "count-10m", records: 20_000_000,
		prepare: prepareManyViews,
		run:     runCountMany,
		bar: func(o *Options) Bar {
			return Bar{CPUNanosPerRecord: 1_000, PeakRSSBytes: o.Memory + o.Memory/5}
		},
	},
	{
		name: "latency", once: true,
		run: runLatency,
		bar: func(*Options) Bar {
			return Bar{P50: 250 * time.Millisecond, P99: 500 * time.Millisecond}
		},
	},
	{
		name: "idle", once: true,
		run: runIdle,
		bar: func(*Options) Bar { return Bar{RSSBytes: 100_000_000} },
	},
}

func cpu(nanos float64) func(*Options) Bar {
	return func(*Options) Bar { return Bar{CPUNanosPerRecord: nanos} }
}

// Names lists the workloads.
func Names() []string {
	names := make([]string, len(workloads))
	for i := range workloads {
		names[i] = workloads[i].name
	}
	return names
}

func lookup(name string) *workload {
	for i := range workloads {
		if workloads[i].name == name {
			return &workloads[i]
		}
	}
	return nil
}
