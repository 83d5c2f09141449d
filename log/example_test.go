package log_test

import (
	"context"
	"fmt"
	"os"

	"github.com/gretestream/grete/log"
)

func ExampleOpen() {
	dir, err := os.MkdirTemp("", "grete")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)

	ctx := context.Background()
	l, err := log.Open(dir, log.Options{})
	if err != nil {
		panic(err)
	}
	defer l.Close()
	if _, err := l.CreateTopic(ctx, log.TopicSpec{Name: "clicks", Partitions: 1}); err != nil {
		panic(err)
	}
	tp := log.TopicPartition{Topic: "clicks"}
	if _, err := log.AppendRecords(ctx, l, tp, log.Record{Timestamp: 1000, Key: []byte("ann"), Value: []byte("/home")}); err != nil {
		panic(err)
	}

	r, err := l.OpenReader(tp, 0, log.ReaderOptions{})
	if err != nil {
		panic(err)
	}
	defer r.Close()
	recs, err := r.Next(ctx)
	if err != nil {
		panic(err)
	}
	for _, rec := range recs {
		fmt.Printf("%s at offset %d, %s: %s\n", tp, rec.Offset, rec.Key, rec.Value)
	}
	// Output:
	// clicks-0 at offset 0, ann: /home
}

// A step of a task: what it read, and what it made of it, become durable and
// visible together.
func ExampleEmbedded_Commit() {
	dir, err := os.MkdirTemp("", "grete")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	ctx := context.Background()
	l, err := log.Open(dir, log.Options{})
	if err != nil {
		panic(err)
	}
	defer l.Close()
	for _, name := range []string{"clicks", "counts"} {
		if _, err := l.CreateTopic(ctx, log.TopicSpec{Name: name, Partitions: 2}); err != nil {
			panic(err)
		}
	}
	epoch, err := l.Fence(ctx, "task-0")
	if err != nil {
		panic(err)
	}

	var counts log.Builder
	counts.Append(1000, []byte("/home"), []byte("17"))
	offsets, err := l.Commit(ctx, &log.Commit{
		Producer: "task-0", Epoch: epoch,
		Writes:  []log.Write{{TopicPartition: log.TopicPartition{Topic: "counts", Partition: 1}, Batches: counts.Bytes()}},
		Group:   "counter",
		Offsets: []log.GroupOffset{{TopicPartition: log.TopicPartition{Topic: "clicks"}, Offset: 42}},
	})
	if err != nil {
		panic(err)
	}
	committed, err := l.Committed(ctx, "counter")
	if err != nil {
		panic(err)
	}
	fmt.Println("written at", offsets[0], "goes on at", committed[log.TopicPartition{Topic: "clicks"}].Offset)

	// A younger task takes over: the older one gets nothing in any more.
	if _, err := l.Fence(ctx, "task-0"); err != nil {
		panic(err)
	}
	_, err = l.Commit(ctx, &log.Commit{Producer: "task-0", Epoch: epoch})
	fmt.Println(err != nil)
	// Output:
	// written at 0 goes on at 42
	// true
}

func ExamplePartitionFor() {
	for _, key := range []string{"ann", "joe", "eve", "kim", "ann"} {
		fmt.Print(log.PartitionFor([]byte(key), 4), " ")
	}
	// Output:
	// 2 0 0 1 2
}
