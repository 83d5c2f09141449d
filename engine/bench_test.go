package engine

import (
	"context"
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/gretestream/grete/jobs"
	"github.com/gretestream/grete/log"
	op "github.com/gretestream/grete/operators"
)

// fill appends n records of about 100 bytes to the partitions of a topic, in
// batches of 1000, keyed so that they lie where Java's partitioner puts them.
func fill(b testing.TB, l log.Log, topic string, partitions, n, keys int) {
	b.Helper()
	builders := make([]log.Builder, partitions)
	flush := func(p int) {
		if _, err := l.Append(context.Background(), log.TopicPartition{Topic: topic, Partition: int32(p)}, builders[p].Bytes()); err != nil {
			b.Fatal(err)
		}
		builders[p].Reset()
	}
	var key, value []byte
	for i := range n {
		k := i * 7919 % keys
		key = fmt.Appendf(key[:0], "page-%08d", k)
		value = fmt.Appendf(value[:0], `{"page":"page-%08d","user":"user-%06d","ms":%d,"agent":"Mozilla"}`, k, i%99991, i)
		p := int(log.PartitionFor(key, partitions))
		builders[p].Append(log.Timestamp(i/100), key, value)
		if builders[p].Len() == 1000 {
			flush(p)
		}
	}
	for p := range builders {
		if builders[p].Len() > 0 {
			flush(p)
		}
	}
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u) // cannot fail
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// benchmarkJob makes a bounded run of a job over a million records on the real
// disk.
func benchmarkJob(b *testing.B, job jobs.Job, keys int) {
	const records = 1_000_000
	dir := b.TempDir()
	l, err := log.Open(dir+"/data", log.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	if _, err := l.CreateTopic(context.Background(), log.TopicSpec{Name: "views", Partitions: 2}); err != nil {
		b.Fatal(err)
	}
	fill(b, l, "views", 2, records, keys)
	b.ResetTimer()
	b.ReportAllocs()
	var cpu time.Duration
	for i := 0; b.Loop(); i++ {
		job.Name = fmt.Sprintf("bench-%d", i)
		start := cpuTime()
		c, err := Open(context.Background(), Options{Job: job, Log: l, Dir: dir + "/state", UntilEnd: true})
		if err != nil {
			b.Fatal(err)
		}
		if err := c.Run(context.Background()); err != nil {
			b.Fatal(err)
		}
		cpu += cpuTime() - start
	}
	n := float64(records) * float64(b.N)
	b.ReportMetric(float64(cpu.Nanoseconds())/n, "cpu-ns/record")
	b.ReportMetric(n/b.Elapsed().Seconds(), "records/s")
}

func BenchmarkPassthrough(b *testing.B) {
	in := op.NewTopic("views", op.Bytes, op.Bytes)
	out := op.NewTopic("views-copy", op.Bytes, op.Bytes)
	benchmarkJob(b, jobs.Job{Build: func(g *op.Graph) { op.To(op.From(g, in, op.Input{FutureBound: op.Off}), out) }}, 10_000)
}

func BenchmarkWindowedCount(b *testing.B) {
	type view struct {
		Page string `json:"page"`
	}
	in := op.NewTopic("views", op.String, op.JSON[view]())
	for _, keys := range []int{10_000, 1_000_000} {
		b.Run(fmt.Sprintf("keys=%d", keys), func(b *testing.B) {
			benchmarkJob(b, jobs.Job{
				Options: jobs.Options{CommitInterval: time.Second},
				Build: func(g *op.Graph) {
					s := op.From(g, in, op.Input{FutureBound: op.Off})
					op.To(op.Count(op.Window(s, op.Tumbling{Size: time.Minute}), "counts").Final(), viewCounts)
				},
			}, keys)
		})
	}
}
