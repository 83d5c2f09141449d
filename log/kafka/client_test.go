package kafka_test

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"pgregory.net/rapid"

	"github.com/gretestream/grete/log"
	"github.com/gretestream/grete/log/kafka"
	"github.com/gretestream/grete/log/logtest"
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

// A client finds offsets by time, and reads from there.
func TestClientOffsetsByTime(t *testing.T) {
	s, _ := serve(t, nil)
	cl := franz(t, s, kgo.DefaultProduceTopic("t"), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	base := time.UnixMilli(1_700_000_000_000)
	for i := range 100 {
		produceAll(t, cl, &kgo.Record{Value: fmt.Append(nil, i), Timestamp: base.Add(time.Duration(i) * time.Second)})
	}
	from := base.Add(41500 * time.Millisecond)
	reader := franz(t, s, kgo.ConsumeTopics("t"), kgo.ConsumeResetOffset(kgo.NewOffset().AfterMilli(from.UnixMilli())))
	for i, r := range consume(t, reader, 58) {
		if want := fmt.Sprint(42 + i); string(r.Value) != want {
			t.Fatalf("record %d is %s, want %s", i, r.Value, want)
		}
	}
}

// What was acknowledged is there after a restart on the same directory, under the
// same topic id, and a client goes on where it was.
func TestClientRestart(t *testing.T) {
	dir := t.TempDir()
	l, err := log.Open(dir, log.Options{ReserveBytes: -1, BallastBytes: -1})
	if err != nil {
		t.Fatal(err)
	}
	addr := logtest.FreeAddr(t)
	listen := func() *kafka.Server {
		s, err := kafka.Listen(kafka.Options{Log: l, Addr: addr})
		if err != nil {
			t.Fatal(err)
		}
		addr = s.Addr()
		return s
	}
	s := listen()
	cl := franz(t, s, kgo.DefaultProduceTopic("t"), kgo.ConsumeTopics("t"))
	for round := range 3 {
		var recs []*kgo.Record
		for i := range 50 {
			recs = append(recs, &kgo.Record{Key: fmt.Append(nil, i), Value: fmt.Append(nil, round, " ", i)})
		}
		produceAll(t, cl, recs...)
		seen := map[string]bool{}
		for _, r := range consume(t, cl, 50) {
			seen[string(r.Value)] = true
		}
		for _, r := range recs {
			if !seen[string(r.Value)] {
				t.Fatalf("round %d: %s is missing", round, r.Value)
			}
		}
		if err := s.Shutdown(testCtx(t)); err != nil {
			t.Fatal(err)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		if l, err = log.Open(dir, log.Options{ReserveBytes: -1, BallastBytes: -1}); err != nil {
			t.Fatal(err)
		}
		s = listen()
	}
	_ = s.Close()
	_ = l.Close()
}

// The same requests to kfake, which is right about these, give the same answers.
func TestSameAsKfake(t *testing.T) {
	fake, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "t"))
	if err != nil {
		t.Fatal(err)
	}
	defer fake.Close()
	ours, _, _ := serveTopic(t, 1, nil)
	nc, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", fake.ListenAddrs()[0])
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	theirs := &client{t: t, Conn: nc}
	rapid.Check(t, func(rt *rapid.T) {
		both := func(what string, do func(c *client) string) {
			if a, b := do(ours), do(theirs); a != b {
				rt.Errorf("%s: we say %s, kfake %s", what, a, b)
			}
		}
		offset := rapid.Int64Range(-1, 60).Draw(rt, "offset")
		at := rapid.Int64Range(999, 1012).Draw(rt, "time")
		n := rapid.IntRange(1, 10).Draw(rt, "records")
		switch rapid.SampledFrom([]string{"produce", "fetch", "list"}).Draw(rt, "request") {
		case "produce":
			vs := make([]string, n)
			both("produce", func(c *client) string {
				p := c.produce(encodeBatch(values(vs...), nil))
				return fmt.Sprint(name(p.ErrorCode), p.BaseOffset, p.LogAppendTime, p.LogStartOffset)
			})
		case "fetch":
			both(fmt.Sprint("fetch at ", offset), func(c *client) string {
				p := c.fetch(offset, nil)
				text := name(p.ErrorCode)
				if p.ErrorCode == 0 {
					text = fmt.Sprint(p.HighWatermark, p.LastStableOffset, p.LogStartOffset, contents(t, p.RecordBatches))
				}
				return text
			})
		case "list":
			both(fmt.Sprint("list at ", at), func(c *client) string {
				p := c.listOffset(7, at, 0)
				return fmt.Sprint(name(p.ErrorCode), p.Offset, p.Timestamp)
			})
			for _, special := range []int64{-1, -2} {
				both(fmt.Sprint("list at ", special), func(c *client) string {
					p := c.listOffset(7, special, 0)
					return fmt.Sprint(name(p.ErrorCode), p.Offset, p.Timestamp)
				})
			}
		}
	})
}
