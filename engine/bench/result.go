package bench

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
)

// Result is what one workload cost: the median run. Fields that a workload does
// not measure are 0.
type Result struct {
	Name              string   `json:"name"`
	Records           int64    `json:"records"` // input records of one run
	Runs              int      `json:"runs"`
	Seconds           float64  `json:"seconds"` // until everything was committed
	RecordsPerSecond  float64  `json:"records_per_second"`
	CPUNanosPerRecord float64  `json:"cpu_ns_per_record"`
	CPUNanosLow       float64  `json:"cpu_ns_low"` // of all runs
	CPUNanosHigh      float64  `json:"cpu_ns_high"`
	AllocsPerRecord   float64  `json:"allocs_per_record"`
	Latency           *Latency `json:"latency,omitempty"`
	PeakRSSBytes      int64    `json:"peak_rss_bytes"`
	RSSBytes          int64    `json:"rss_bytes,omitempty"` // at the end, of idle
	Bar               Bar      `json:"bar"`
	Missed            []string `json:"missed,omitempty"` // what does not reach the bar, in words
}

// Latency is how long records took, in nanoseconds. The quantiles are off by at
// most 1.6 %, Max is exact.
type Latency struct {
	P50 time.Duration `json:"p50_ns"`
	P90 time.Duration `json:"p90_ns"`
	P99 time.Duration `json:"p99_ns"`
	Max time.Duration `json:"max_ns"`
}

// Bar is what a workload is held against. Zero fields are not.
type Bar struct {
	CPUNanosPerRecord float64       `json:"cpu_ns_per_record,omitempty"` // at most
	NoAllocs          bool          `json:"no_allocs,omitempty"`         // less than 0.005 a record
	P50               time.Duration `json:"p50_ns,omitempty"`            // under
	P99               time.Duration `json:"p99_ns,omitempty"`            // under
	RSSBytes          int64         `json:"rss_bytes,omitempty"`         // under, at the end
	PeakRSSBytes      int64         `json:"peak_rss_bytes,omitempty"`    // at most
}

// judge fills in Missed.
func (r *Result) judge() {
	r.Missed = nil
	miss := func(missed bool, format string, args ...any) {
		if missed {
			r.Missed = append(r.Missed, fmt.Sprintf(format, args...))
		}
	}
	b := &r.Bar
	miss(b.CPUNanosPerRecord > 0 && r.CPUNanosPerRecord > b.CPUNanosPerRecord,
		"%.0f CPU-ns a record, want at most %.0f", r.CPUNanosPerRecord, b.CPUNanosPerRecord)
	miss(b.NoAllocs && r.AllocsPerRecord >= 0.005, "%.3f allocations a record, want 0.00", r.AllocsPerRecord)
	if l := r.Latency; l != nil {
		miss(b.P50 > 0 && l.P50 >= b.P50, "p50 is %v, want under %v", round(l.P50), b.P50)
		miss(b.P99 > 0 && l.P99 >= b.P99, "p99 is %v, want under %v", round(l.P99), b.P99)
	}
	miss(b.RSSBytes > 0 && r.RSSBytes >= b.RSSBytes, "%s of memory, want under %s", megabytes(r.RSSBytes), megabytes(b.RSSBytes))
	miss(b.PeakRSSBytes > 0 && r.PeakRSSBytes > b.PeakRSSBytes,
		"%s of memory at the peak, want at most %s", megabytes(r.PeakRSSBytes), megabytes(b.PeakRSSBytes))
}

// WriteTable writes results for people, one a line, and below it what was
// missed.
func WriteTable(w io.Writer, results []Result) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "workload\trecords\trecords/s\tCPU-ns\tbar\tlow–high\tallocs\tmemory\tp50\tp90\tp99\tmax\t")
	for i := range results {
		r := &results[i]
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t", r.Name,
			dash(r.Records > 0, "%s", thousands(r.Records)),
			dash(r.RecordsPerSecond > 0, "%s", thousands(int64(r.RecordsPerSecond))),
			dash(r.CPUNanosPerRecord > 0, "%.0f", r.CPUNanosPerRecord),
			dash(r.Bar.CPUNanosPerRecord > 0, "%.0f", r.Bar.CPUNanosPerRecord),
			dash(r.CPUNanosPerRecord > 0, "%.0f–%.0f", r.CPUNanosLow, r.CPUNanosHigh),
			dash(r.CPUNanosPerRecord > 0, "%.3f", r.AllocsPerRecord),
			dash(r.memory() > 0, "%s", megabytes(r.memory())))
		if l := r.Latency; l != nil {
			fmt.Fprintf(t, "%v\t%v\t%v\t%v\t\n", round(l.P50), round(l.P90), round(l.P99), round(l.Max))
		} else {
			fmt.Fprint(t, "–\t–\t–\t–\t\n")
		}
	}
	if err := t.Flush(); err != nil {
		return fmt.Errorf("write table: %w", err)
	}
	for i := range results {
		if r := &results[i]; len(r.Missed) > 0 {
			if _, err := fmt.Fprintf(w, "%s misses its bar: %s\n", r.Name, strings.Join(r.Missed, "; ")); err != nil {
				return fmt.Errorf("write table: %w", err)
			}
		}
	}
	return nil
}

// memory is what the table shows: the peak or, of idle, what is held at the end.
func (r *Result) memory() int64 {
	if r.RSSBytes > 0 {
		return r.RSSBytes
	}
	return r.PeakRSSBytes
}

// dash is the formatted value, or a dash where there is none.
func dash(ok bool, format string, args ...any) string {
	if !ok {
		return "–"
	}
	return fmt.Sprintf(format, args...)
}

func megabytes(n int64) string { return fmt.Sprintf("%d MB", (n+500_000)/1_000_000) }

func round(d time.Duration) time.Duration { return d.Round(100 * time.Microsecond) }

// thousands writes n with commas between groups of three digits.
func thousands(n int64) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
