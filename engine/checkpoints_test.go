package engine

import (
	"context"
	"slices"
	"testing"

	"github.com/gretestream/grete/jobs"
	"github.com/gretestream/grete/log"
	"github.com/gretestream/grete/log/logtest"
)

// TestCheckpointBehindOpenTransaction: the transaction of a task whose container
// was killed hides what other tasks have committed behind it. A task that was
// fenced finds its checkpoint all the same; one that has none there does not wait.
func TestCheckpointBehindOpenTransaction(t *testing.T) {
	ctx := context.Background()
	l, err := log.Open("data", log.Options{FS: logtest.NewDisk(1), ReserveBytes: -1, BallastBytes: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if _, err := l.CreateTopic(ctx, log.TopicSpec{Name: "checkpoint", Partitions: 1}); err != nil {
		t.Fatal(err)
	}
	tp := log.TopicPartition{Topic: "checkpoint"}
	batch := func(task string, epoch log.Epoch) []byte {
		var b log.Builder
		c := jobs.Checkpoint{Epoch: epoch}
		b.Append(1, []byte(task), c.AppendTo(nil))
		return slices.Clone(b.Bytes())
	}
	commit := func(c *log.Commit) {
		t.Helper()
		if _, err := l.Commit(ctx, c); err != nil {
			t.Fatal(err)
		}
	}
	for _, task := range []string{"a-0", "b-0", "c-0"} {
		commit(&log.Commit{Writes: []log.Write{{TopicPartition: tp, Batches: batch(task, 1)}}})
	}
	id, err := l.NewProducerID()
	if err != nil {
		t.Fatal(err)
	}
	open := batch("a-0", 2)
	log.StampProducer(open, id, 0, 0, true)
	pd, err := l.Produce(tp, open, log.ProduceOptions{})
	if err == nil {
		_, err = pd.Wait(ctx)
	}
	if err != nil {
		t.Fatal(err)
	}
	commit(&log.Commit{Writes: []log.Write{{TopicPartition: tp, Batches: batch("b-0", 3)}}})

	// Nobody's own, and that of a task without a record behind the transaction.
	for _, fenced := range [][]string{nil, {"c-0"}} {
		points, err := readCheckpoints(ctx, l, "checkpoint", fenced...)
		if err != nil {
			t.Fatal(err)
		}
		for _, task := range []string{"a-0", "b-0", "c-0"} {
			if e := points[task].checkpoint.Epoch; e != 1 {
				t.Errorf("fenced %v: task %s: got epoch %d, want 1", fenced, task, e)
			}
		}
	}

	stopped, stop := context.WithCancel(ctx)
	stop()
	if points, err := readCheckpoints(stopped, l, "checkpoint", "b-0"); err == nil {
		t.Fatalf("read past an open transaction: got %v", points)
	}
	found := make(chan error)
	var points map[string]savedPoint
	go func() {
		var err error
		points, err = readCheckpoints(ctx, l, "checkpoint", "b-0")
		found <- err
	}()
	commit(&log.Commit{Markers: []log.Marker{{TopicPartition: tp, ProducerID: id}}}) // aborted
	if err := <-found; err != nil {
		t.Fatal(err)
	}
	for task, want := range map[string]log.Epoch{"a-0": 1, "b-0": 3, "c-0": 1} {
		if e := points[task].checkpoint.Epoch; e != want {
			t.Errorf("task %s: got epoch %d, want %d", task, e, want)
		}
	}
}
