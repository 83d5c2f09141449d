package cluster

import (
	"fmt"
	"os"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/gretestream/grete/log"
)

// BenchmarkCommit is a task's commit: four partitions, 10 KiB each, and an offset.
// Against GRETE_TEST_CLUSTER if it is set, else a cluster in this process.
func BenchmarkCommit(b *testing.B) {
	url := os.Getenv("GRETE_TEST_CLUSTER")
	if url == "" {
		c, err := kfake.NewCluster(kfake.NumBrokers(1))
		if err != nil {
			b.Fatal(err)
		}
		defer c.Close()
		url = Scheme + c.ListenAddrs()[0]
	}
	opts, err := ParseURL(url)
	if err != nil {
		b.Fatal(err)
	}
	for _, atLeastOnce := range []bool{false, true} {
		b.Run(fmt.Sprintf("at-least-once=%v", atLeastOnce), func(b *testing.B) { benchmarkCommit(b, opts, atLeastOnce) })
	}
}

func benchmarkCommit(b *testing.B, opts Options, atLeastOnce bool) {
	ctx := b.Context()
	l, err := Open(ctx, opts)
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	topic := "bench-" + randomID()
	if _, err := l.CreateTopic(ctx, log.TopicSpec{Name: topic, Partitions: 4}); err != nil {
		b.Fatal(err)
	}
	epoch, err := l.Fence(ctx, topic)
	if err != nil {
		b.Fatal(err)
	}
	var builder log.Builder
	for range 100 {
		builder.Append(1, nil, make([]byte, 100))
	}
	batches := builder.Bytes()
	c := log.Commit{Producer: topic, Epoch: epoch, Group: topic, AtLeastOnce: atLeastOnce, Writes: make([]log.Write, 4)}
	for p := range c.Writes {
		c.Writes[p] = log.Write{TopicPartition: log.TopicPartition{Topic: topic, Partition: int32(p)}, Batches: slices.Clone(batches)}
	}
	b.SetBytes(int64(4 * len(batches)))
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		c.Offsets = []log.GroupOffset{{TopicPartition: c.Writes[0].TopicPartition, Offset: log.Offset(n), LeaderEpoch: -1}}
		if _, err := l.Commit(ctx, &c); err != nil {
			b.Fatal(err)
		}
	}
	if err := l.DeleteTopic(ctx, topic); err != nil {
		b.Fatal(err)
	}
}
