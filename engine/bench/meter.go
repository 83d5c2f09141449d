package bench

import (
	"context"
	"fmt"
	"runtime"
	"time"
)

const (
	// A process is quiet when it has used less than quietCPU in quietTime.
	quietTime = 250 * time.Millisecond
	quietCPU  = 5 * time.Millisecond
	// quietAtMost bounds the wait for it.
	quietAtMost = 2 * time.Minute
)

// meter measures a piece of work in this process.
type meter struct {
	began   time.Time
	took    time.Duration // of the work
	cpu     time.Duration // at the start
	mallocs uint64        // at the start
}

// startMeter begins to measure. Garbage of what went before is not counted in.
func startMeter() (*meter, error) {
	runtime.GC()
	var mem runtime.MemStats
	runtime.ReadMemStats(&mem)
	cpu, err := cpuTime()
	if err != nil {
		return nil, err
	}
	return &meter{began: time.Now(), cpu: cpu, mallocs: mem.Mallocs}, nil
}

// worked tells that the work is done and durable; what it left behind for the
// background may go on.
func (m *meter) worked() { m.took = time.Since(m.began) }

// awaitQuiet returns when the process does nothing any more.
func awaitQuiet(ctx context.Context) error {
	deadline := time.Now().Add(quietAtMost)
	for {
		before, err := cpuTime()
		if err != nil {
			return err
		}
		if err := pause(ctx, quietTime); err != nil {
			return err
		}
		after, err := cpuTime()
		if err != nil {
			return err
		}
		if after-before < quietCPU {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("the process is not quiet %v after the work: it used %v in the last %v", quietAtMost, after-before, quietTime)
		}
	}
}

// result is what n input records cost up to now.
func (m *meter) result(n int64) (*Result, error) {
	cpu, err := cpuTime()
	if err != nil {
		return nil, err
	}
	var mem runtime.MemStats
	runtime.ReadMemStats(&mem)
	_, peak := residentMemory()
	perRecord := 1 / float64(n)
	return &Result{
		Records:           n,
		Seconds:           m.took.Seconds(),
		RecordsPerSecond:  float64(n) / m.took.Seconds(),
		CPUNanosPerRecord: float64(cpu-m.cpu) * perRecord,
		AllocsPerRecord:   float64(mem.Mallocs-m.mallocs) * perRecord,
		PeakRSSBytes:      peak,
	}, nil
}

// pause waits for d, or for the end of ctx.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
