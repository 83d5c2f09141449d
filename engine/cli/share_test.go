package cli

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/gretestream/grete/engine"
	"github.com/gretestream/grete/jobs"
	"github.com/gretestream/grete/log"
	"github.com/gretestream/grete/log/cluster"
	"github.com/gretestream/grete/log/kafka"
	"github.com/gretestream/grete/log/logtest"
	op "github.com/gretestream/grete/operators"
)

// TestContainersShareOverKafka runs two containers, each with a connection of its
// own, against a server on loopback: they share the job, one is killed in the
// middle of its work, and the other takes over. The running counts of every word
// read 1, 2, 3 … in the output: nothing is lost, nothing counts twice.
func TestContainersShareOverKafka(t *testing.T) {
	const partitions, words, rounds, perRound = 4, 9, 4, 400
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	l := logtest.Open(t).(*log.Embedded)
	server, err := kafka.Listen(kafka.Options{Log: l})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	in := op.NewTopic("words", op.String, op.String)
	out := op.NewTopic("counts", op.WindowKey(op.String), op.Int64)
	if _, err := l.CreateTopic(ctx, log.TopicSpec{Name: in.Name, Partitions: partitions}); err != nil {
		t.Fatal(err)
	}
	job := jobs.Job{Name: "wordcount", Options: jobs.Options{CommitInterval: 20 * time.Millisecond}, Build: func(g *op.Graph) {
		byWord := op.KeyBy(op.From(g, in), "by-word", func(w string) string { return w })
		op.To(op.Count(op.Window(byWord, op.Tumbling{Size: time.Hour, Grace: time.Hour}), "counts").Updates(), out)
	}}

	type container struct {
		*engine.Container
		log  *logtest.Mortal
		kill func()
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	start := func() *container {
		t.Helper()
		cl, err := cluster.Open(ctx, cluster.Options{Seeds: []string{server.Addr()}})
		if err != nil {
			t.Fatal(err)
		}
		c := &container{log: &logtest.Mortal{Log: cl}}
		c.Container, err = engine.Open(ctx, engine.Options{Job: job, Log: c.log, Dir: t.TempDir(), Memory: 64 << 20})
		if err != nil {
			t.Fatal(err)
		}
		run, stop := context.WithCancel(ctx)
		killed := false
		c.kill = func() {
			killed = true
			if err := c.log.Kill(); err != nil {
				t.Error(err)
			}
			stop()
		}
		t.Cleanup(stop)
		wg.Go(func() {
			err := c.Run(run)
			if err != nil && !killed && !errors.Is(err, context.Canceled) {
				t.Errorf("container: %v", err)
			}
			_ = cl.Close()
		})
		return c
	}
	held := func(c *container) (n int) {
		s := c.Status()
		for i := range s.Tasks {
			if s.Tasks[i].State == engine.TaskRunning {
				n++
			}
		}
		return n
	}
	await := func(what string, f func() (string, bool)) {
		t.Helper()
		for deadline := time.Now().Add(30 * time.Second); ; {
			got, ok := f()
			if ok {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("wait for %s: got %s", what, got)
			}
			<-time.After(10 * time.Millisecond)
		}
	}
	written := 0
	write := func() {
		t.Helper()
		for range perRound {
			tp := log.TopicPartition{Topic: in.Name, Partition: int32(written % partitions)}
			r := log.Record{Timestamp: log.Timestamp(written), Value: fmt.Appendf(nil, "w%d", written%words)}
			if _, err := log.AppendRecords(ctx, l, tp, r); err != nil {
				t.Fatal(err)
			}
			written++
		}
	}
	read := func() (total int, counts map[string][]int64) {
		t.Helper()
		counts = map[string][]int64{}
		for p := range int32(partitions) {
			for _, r := range logtest.ReadAll(t, l, log.TopicPartition{Topic: out.Name, Partition: p}) {
				var k op.Windowed[string]
				var n int64
				if err := errors.Join(out.Key.Decode(&k, r.Key, nil), out.Value.Decode(&n, r.Value, nil)); err != nil {
					t.Fatal(err)
				}
				counts[k.Key] = append(counts[k.Key], n)
				total++
			}
		}
		return total, counts
	}

	a := start()
	await("the first to have all", func() (string, bool) { n := held(a); return fmt.Sprint(n), n == 2*partitions })
	write()
	b := start()
	await("the tasks to be shared", func() (string, bool) {
		n, m := held(a), held(b)
		return fmt.Sprint(n, m), n > 0 && m > 0 && n+m == 2*partitions
	})
	write()
	await("half of it", func() (string, bool) { n, _ := read(); return fmt.Sprint(n), n > written/2 })
	write()
	a.kill()
	write()
	await("the other to have all", func() (string, bool) { n := held(b); return fmt.Sprint(n), n == 2*partitions })
	await("all to be counted", func() (string, bool) { n, _ := read(); return fmt.Sprint(n), n >= written })
	total, counts := read()
	if total != written {
		t.Errorf("got %d counts, want %d", total, written)
	}
	for _, w := range slices.Sorted(maps.Keys(counts)) {
		for i, n := range counts[w] {
			if n != int64(i+1) {
				t.Fatalf("%s: count %d is %d", w, i+1, n)
			}
		}
	}
	cancel()
}
