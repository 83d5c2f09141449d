package operators_test

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/gretestream/grete/log"
	op "github.com/gretestream/grete/operators"
)

// pageView is about 100 bytes of JSON.
type pageView struct {
	Page string `json:"page"`
	User string `json:"user"`
	At   int64  `json:"at"` // ms
}

func (v pageView) Time() time.Time { return time.UnixMilli(v.At) }

var pageViews = op.NewTopic("page-views", op.String, op.JSON[pageView]())

// views makes n page views over some keys, a millisecond apart.
func views(n, keys int, from int64) []log.Record {
	records := make([]log.Record, n)
	for i := range records {
		at := from + int64(i)
		page := fmt.Sprintf("/page/%d", (i*7919+i*i%31)%keys)
		records[i] = log.Record{
			Timestamp: log.Timestamp(at), Key: []byte(page),
			Value: fmt.Appendf(nil, `{"page":%q,"user":"u%d","at":%d,"status":200,"agent":"Mozilla/5.0"}`, page, i%1000, at),
		}
	}
	return records
}

// pass runs batches of 1,000 records through a job's first stage, and takes what
// it wrote every so often.
func pass(b *testing.B, r *runner, records []log.Record, intervalRecords int) {
	b.ReportAllocs()
	b.ResetTimer()
	const batch = 1000
	before := cpuTime(b)
	f := r.flows[0]
	since := 0
	for n := 0; n < b.N; n += batch {
		at := n % len(records)
		if err := f.Process(0, records[at:at+batch]); err != nil {
			b.Fatal(err)
		}
		if since += batch; since >= intervalRecords {
			since = 0
			b.StopTimer()
			f.Writes(func(int, int32, *log.Builder) {})
			b.StartTimer()
		}
	}
	b.ReportMetric(float64(cpuTime(b)-before)/float64(b.N), "cpu-ns/record")
}

// cpuTime is the user and system time of the process so far.
func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func BenchmarkPassthrough(b *testing.B) {
	in, out := op.NewTopic("in", op.Bytes, op.Bytes), op.NewTopic("out", op.Bytes, op.Bytes)
	r := start(b, func(g *op.Graph) { op.To(op.From(g, in), out) })
	pass(b, r, views(100_000, 10_000, 0), 10_000)
}

func BenchmarkDecodeEventTime(b *testing.B) {
	r := start(b, func(g *op.Graph) { op.EventTime(op.From(g, pageViews), pageView.Time) })
	pass(b, r, views(100_000, 10_000, 0), 1<<30)
}

func BenchmarkWindowedCount(b *testing.B) {
	r := start(b, func(g *op.Graph) {
		in := op.EventTime(op.From(g, pageViews), pageView.Time)
		op.Count(op.Window(in, op.Tumbling{Size: time.Hour}), "counts")
	})
	pass(b, r, views(100_000, 10_000, 0), 1<<30)
}

func BenchmarkHoppingCount(b *testing.B) {
	r := start(b, func(g *op.Graph) {
		in := op.EventTime(op.From(g, pageViews), pageView.Time)
		op.Count(op.Window(in, op.Hopping{Size: time.Hour, Every: time.Minute}), "counts")
	})
	pass(b, r, views(100_000, 10_000, 0), 1<<30)
}

func BenchmarkKeyBy(b *testing.B) {
	r := start(b, func(g *op.Graph) {
		op.KeyBy(op.EventTime(op.From(g, pageViews), pageView.Time), "by-page", func(v pageView) string { return v.Page })
	})
	pass(b, r, views(100_000, 10_000, 0), 10_000)
}
