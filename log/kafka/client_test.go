package kafka_test

import (
	"bytes"
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/gretestream/grete/log/kafka"
)

// testCtx ends with the test, or when it has taken too long.
func testCtx(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// franz connects a client of the franz-go kind; it ends with the test.
func franz(t testing.TB, s *kafka.Server, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	cl, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(s.Addr()), kgo.AllowAutoTopicCreation()}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return cl
}

// produceAll produces records and waits for all of them.
func produceAll(t testing.TB, cl *kgo.Client, recs ...*kgo.Record) {
	t.Helper()
	if err := cl.ProduceSync(testCtx(t), recs...).FirstErr(); err != nil {
		t.Fatal(err)
	}
}

// consume polls until it has n records.
func consume(t testing.TB, cl *kgo.Client, n int) []*kgo.Record {
	t.Helper()
	ctx := testCtx(t)
	var recs []*kgo.Record
	for len(recs) < n {
		fetches := cl.PollFetches(ctx)
		for _, e := range fetches.Errors() {
			t.Fatalf("after %d of %d records: %s/%d: %v", len(recs), n, e.Topic, e.Partition, e.Err)
		}
		recs = append(recs, fetches.Records()...)
	}
	return recs
}

// What a client produces, in each compression, it reads back as it was.
func TestClientRoundTrip(t *testing.T) {
	for _, codec := range []struct {
		name string
		kgo.CompressionCodec
	}{
		{"none", kgo.NoCompression()}, {"gzip", kgo.GzipCompression()}, {"snappy", kgo.SnappyCompression()},
		{"lz4", kgo.Lz4Compression()}, {"zstd", kgo.ZstdCompression()},
	} {
		t.Run(codec.name, func(t *testing.T) {
			s, _ := serve(t, nil)
			cl := franz(t, s, kgo.ProducerBatchCompression(codec.CompressionCodec), kgo.ConsumeTopics("t"), kgo.DefaultProduceTopic("t"))
			var sent []*kgo.Record
			for i := range 1000 {
				r := &kgo.Record{Key: fmt.Append(nil, "key ", i%7), Value: bytes.Repeat([]byte("value "), i%50), Timestamp: time.UnixMilli(1_700_000_000_000 + int64(i))}
				switch i % 10 {
				case 3:
					r.Value = nil // a tombstone
				case 5:
					r.Headers = []kgo.RecordHeader{{Key: "h", Value: []byte("1")}, {Key: "empty", Value: nil}}
				}
				sent = append(sent, r)
			}
			produceAll(t, cl, sent...)
			got := map[string]*kgo.Record{}
			for _, r := range consume(t, cl, len(sent)) {
				got[fmt.Sprint(r.Partition, r.Offset)] = r
			}
			for _, want := range sent {
				r := got[fmt.Sprint(want.Partition, want.Offset)]
				if r == nil || !bytes.Equal(r.Key, want.Key) || !bytes.Equal(r.Value, want.Value) || (r.Value == nil) != (want.Value == nil) ||
					!r.Timestamp.Equal(want.Timestamp) || fmt.Sprint(r.Headers) != fmt.Sprint(want.Headers) {
					t.Fatalf("partition %d offset %d: got %+v, want %+v", want.Partition, want.Offset, r, want)
				}
			}
		})
	}
}
