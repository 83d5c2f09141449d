package kafka_test

import (
	"bytes"
	"io"
	"runtime/debug"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gretestream/grete/log"
	"github.com/gretestream/grete/log/logtest"
)

// All versions are taken; the answer says what its version can.
func TestProduceVersions(t *testing.T) {
	c, _, l := serveTopic(t, 1, nil)
	id, _ := l.TopicID("t")
	for version := int16(3); version <= 13; version++ {
		resp := ask[*kmsg.ProduceResponse](c, produceRequest(version, -1, id, encodeBatch(values("a", "b"), nil)))
		p := resp.Topics[0].Partitions[0]
		if want := int64(version-3) * 2; p.ErrorCode != 0 || p.BaseOffset != want || p.LogAppendTime != -1 || version >= 5 && p.LogStartOffset != 0 {
			t.Errorf("version %d: %+v, want offset %d", version, p, want)
		}
	}
	p := ask[*kmsg.ProduceResponse](c, produceRequest(13, -1, log.TopicID{1}, encodeBatch(values("a"), nil))).Topics[0].Partitions[0]
	if got := name(p.ErrorCode); got != "UNKNOWN_TOPIC_ID" {
		t.Errorf("unknown id: %q", got)
	}
}

// Record sets that Kafka refuses are refused with its codes, and nothing of them
// is stored.
func TestProduceRefuses(t *testing.T) {
	c, _, l := serveTopic(t, 1, nil)
	good := func() []byte { return encodeBatch(values("a", "b"), nil) }
	with := func(change func(*kmsg.RecordBatch)) []byte { return encodeBatch(values("a", "b"), change) }
	wrongCRC := good()
	wrongCRC[len(wrongCRC)-1] ^= 1
	now := time.Now().UnixMilli()
	for _, c2 := range []struct {
		name    string
		records []byte
		want    string
	}{
		{"null", nil, "INVALID_RECORD"},
		{"empty", []byte{}, "INVALID_RECORD"},
		{"short", make([]byte, 60), "CORRUPT_MESSAGE"},
		{"magic 1", with(func(b *kmsg.RecordBatch) { b.Magic = 1 }), "INVALID_RECORD"},
		{"magic 3", with(func(b *kmsg.RecordBatch) { b.Magic = 3 }), "INVALID_RECORD"},
		{"two batches", append(good(), good()...), "INVALID_RECORD"},
		{"cut off", good()[:70], "CORRUPT_MESSAGE"},
		{"length of -1", with(func(b *kmsg.RecordBatch) { b.Length = -1 }), "CORRUPT_MESSAGE"},
		{"length of 2 GiB", with(func(b *kmsg.RecordBatch) { b.Length = 1<<31 - 1 }), "CORRUPT_MESSAGE"},
		{"wrong checksum", wrongCRC, "CORRUPT_MESSAGE"},
		{"control batch", with(func(b *kmsg.RecordBatch) { b.Attributes |= 0x20 }), "INVALID_RECORD"},
		{"append time by the client", with(func(b *kmsg.RecordBatch) { b.Attributes |= 0x08 }), "INVALID_TIMESTAMP"},
		{"count too low", with(func(b *kmsg.RecordBatch) { b.NumRecords, b.LastOffsetDelta = 1, 0 }), "INVALID_RECORD"},
		{"count too high", with(func(b *kmsg.RecordBatch) { b.NumRecords, b.LastOffsetDelta = 3, 2 }), "INVALID_RECORD"},
		{"count of 2 billion", with(func(b *kmsg.RecordBatch) { b.NumRecords, b.LastOffsetDelta = 1<<31-1, 1<<31-2 }), "INVALID_RECORD"},
		{"offset delta apart from the count", with(func(b *kmsg.RecordBatch) { b.LastOffsetDelta = 7 }), "INVALID_RECORD"},
		{"negative count", with(func(b *kmsg.RecordBatch) { b.NumRecords = -1 }), "CORRUPT_MESSAGE"},
		{"negative sequence", with(func(b *kmsg.RecordBatch) { b.ProducerID, b.ProducerEpoch = 5, 0 }), "INVALID_RECORD"},
		{"transactional without an id", with(func(b *kmsg.RecordBatch) { b.Attributes |= 0x10 }), "TRANSACTIONAL_ID_AUTHORIZATION_FAILED"},
		{"unknown codec", with(func(b *kmsg.RecordBatch) { b.Attributes |= 7 }), "INVALID_RECORD"},
		{"gzip that is none", with(func(b *kmsg.RecordBatch) { b.Attributes |= 1 }), "INVALID_RECORD"},
		{"zstd that is none", with(func(b *kmsg.RecordBatch) { b.Attributes |= 4 }), "INVALID_RECORD"},
		{"from next year", encodeBatch([]rec{{now + 365*24*3600_000, nil, nil}}, nil), "INVALID_TIMESTAMP"},
		{"from the end of time", encodeBatch([]rec{{1<<63 - 1, nil, nil}}, nil), "INVALID_TIMESTAMP"},
		{"from before all time", encodeBatch([]rec{{-1 << 63, nil, nil}}, nil), "INVALID_TIMESTAMP"},
		{"time that overflows", with(func(b *kmsg.RecordBatch) { b.FirstTimestamp = 1<<63 - 1 }), "INVALID_RECORD"},
	} {
		p := c.produce(c2.records)
		if got := name(p.ErrorCode); got != c2.want || p.BaseOffset != -1 || p.ErrorMessage == nil {
			t.Errorf("%s: %q at %d, want %q at -1 with a message", c2.name, got, p.BaseOffset, c2.want)
		}
	}
	if b, _ := l.Bounds(t.Context(), log.TopicPartition{Topic: "t"}); b.End != 0 {
		t.Errorf("the log ends at %d, want 0: something was stored", b.End)
	}
	if got := c.mustProduce(good()); got != 0 {
		t.Errorf("a good batch is at %d", got)
	}
}

// A record set of one version is not always one of an older.
func TestProduceZstdIsNew(t *testing.T) {
	c, _, _ := serveTopic(t, 1, nil)
	zstd := encodeBatch(values("a"), func(b *kmsg.RecordBatch) { b.Attributes |= 4 })
	p := ask[*kmsg.ProduceResponse](c, produceRequest(6, -1, log.TopicID{}, zstd)).Topics[0].Partitions[0]
	if got := name(p.ErrorCode); got != "UNSUPPORTED_COMPRESSION_TYPE" {
		t.Errorf("zstd in version 6: %q", got)
	}
}

func TestProduceTopics(t *testing.T) {
	c, _, _ := serveTopic(t, 1, nil)
	f := func(topic string, partition int32, want string) {
		t.Helper()
		req := produceRequest(9, -1, log.TopicID{}, encodeBatch(values("a"), nil))
		req.Topics[0].Topic, req.Topics[0].Partitions[0].Partition = topic, partition
		if got := name(ask[*kmsg.ProduceResponse](c, req).Topics[0].Partitions[0].ErrorCode); got != want {
			t.Errorf("%s/%d: %q, want %q", topic, partition, got, want)
		}
	}
	f("t", 0, "")
	f("t", 1, "UNKNOWN_TOPIC_OR_PARTITION")
	f("t", -1, "UNKNOWN_TOPIC_OR_PARTITION")
	f("u", 0, "UNKNOWN_TOPIC_OR_PARTITION")
	f("../t", 0, "UNKNOWN_TOPIC_OR_PARTITION")
	f("", 0, "UNKNOWN_TOPIC_OR_PARTITION")
	f("__consumer_offsets", 0, "INVALID_TOPIC_EXCEPTION")
}

func TestProduceAcks(t *testing.T) {
	c, s, l := serveTopic(t, 1, nil)
	batch := func() []byte { return encodeBatch(values("a"), nil) }
	for _, acks := range []int16{1, -1} {
		if p := ask[*kmsg.ProduceResponse](c, produceRequest(9, acks, log.TopicID{}, batch())).Topics[0].Partitions[0]; p.ErrorCode != 0 {
			t.Errorf("acks %d: %s", acks, name(p.ErrorCode))
		}
	}
	for _, acks := range []int16{2, -2, 100} {
		p := ask[*kmsg.ProduceResponse](c, produceRequest(9, acks, log.TopicID{}, batch())).Topics[0].Partitions[0]
		if got := name(p.ErrorCode); got != "INVALID_REQUIRED_ACKS" {
			t.Errorf("acks %d: %q", acks, got)
		}
	}
	// Nothing is answered to acks=0: the next answer is that to the next request.
	c.send(produceRequest(9, 0, log.TopicID{}, batch()))
	if got := c.mustProduce(batch()); got != 3 {
		t.Errorf("after one without acks: offset %d, want 3", got)
	}
	// What goes wrong there ends the connection, which is all that can be said.
	other := dial(t, s)
	other.send(produceRequest(9, 0, log.TopicID{}, nil))
	if n, err := other.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("read %d bytes, %v, want the connection closed", n, err)
	}
	if b, _ := l.Bounds(t.Context(), log.TopicPartition{Topic: "t"}); b.End != 4 {
		t.Errorf("the log ends at %d, want 4", b.End)
	}
}

// A client that wants no answers is slowed down all the same: what it has sent
// counts as queued until it is stored, and what it asks next comes after it.
func TestProduceWithoutAcksIsWaitedFor(t *testing.T) {
	d := logtest.NewDisk(1)
	s, l := serve(t, nil, func(o *log.Options) { o.FS = d })
	createTopic(t, l, "t")
	answered := make(chan struct{})
	d.OnSync(func(logtest.SyncPoint) {
		select { // as long as a slow disk takes
		case <-answered:
		case <-time.After(200 * time.Millisecond):
		}
	})
	c := dial(t, s)
	const n = 20
	for range n {
		c.send(produceRequest(9, 0, log.TopicID{}, encodeBatch(values("a"), nil)))
	}
	c.metadata(9, false, "t")
	b, err := l.Bounds(t.Context(), log.TopicPartition{Topic: "t"})
	close(answered)
	if err != nil || b.End != n {
		t.Errorf("the log ends at %d, %v, when the next request is answered, want %d", b.End, err, n)
	}
}

// Requests that a client sends ahead of their answers are answered in order, and
// take effect in order.
func TestProducePipelined(t *testing.T) {
	c, _, _ := serveTopic(t, 1, nil)
	for range 20 {
		c.send(produceRequest(9, -1, log.TopicID{}, encodeBatch(values("a"), nil)))
	}
	for i := range 20 {
		resp := kmsg.NewPtrProduceResponse()
		resp.Version = 9
		if correlation := c.receive(resp); correlation != int32(i+1) || resp.Topics[0].Partitions[0].BaseOffset != int64(i) {
			t.Fatalf("answer %d is to request %d: offset %d", i, correlation, resp.Topics[0].Partitions[0].BaseOffset)
		}
	}
}

// Answers that are ready together go out together, but none of them waits for
// a request that takes its time, or is lost with one that ends the connection.
func TestProduceAnswersAreNotKeptBack(t *testing.T) {
	const n = 5
	waits := fetchRequest(12, log.TopicID{}, n)
	waits.MaxWaitMillis = 600_000
	ends := produceRequest(9, 0, log.TopicID{}, []byte("no batch"))
	for what, next := range map[string]kmsg.Request{"a fetch that waits": waits, "a produce without acks that fails": ends} {
		t.Run(what, func(t *testing.T) {
			for range 10 { // what is queued when is the scheduler's choice
				c, _, _ := serveTopic(t, 1, nil)
				if err := c.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
					t.Fatal(err)
				}
				var frames []byte
				for range n {
					frames = c.appendFrame(frames, produceRequest(9, -1, log.TopicID{}, encodeBatch(values("a"), nil)))
				}
				if _, err := c.Write(c.appendFrame(frames, next)); err != nil {
					t.Fatal(err)
				}
				for i := range n {
					resp := kmsg.NewPtrProduceResponse()
					resp.Version = 9
					if correlation := c.receive(resp); correlation != int32(i+1) || resp.Topics[0].Partitions[0].BaseOffset != int64(i) {
						t.Fatalf("answer %d is to request %d: offset %d", i, correlation, resp.Topics[0].Partitions[0].BaseOffset)
					}
				}
			}
		})
	}
}

// Trap 8: a batch that is sent again gets the offset that it had the first time.
func TestTrapDuplicateBatch(t *testing.T) {
	c, _, _ := serveTopic(t, 1, nil)
	as := func(sequence int32) []byte {
		return encodeBatch(values("a", "b"), func(b *kmsg.RecordBatch) { b.ProducerID, b.ProducerEpoch, b.FirstSequence = 7, 0, sequence })
	}
	c.mustProduce(encodeBatch(values("x"), nil))
	for _, c2 := range []struct {
		sequence int32
		offset   int64
		want     string
	}{{0, 1, ""}, {2, 3, ""}, {0, 1, ""}, {2, 3, ""}, {4, 5, ""}, {8, -1, "OUT_OF_ORDER_SEQUENCE_NUMBER"}, {2, 3, ""}} {
		p := c.produce(as(c2.sequence))
		if got := name(p.ErrorCode); got != c2.want || p.BaseOffset != c2.offset {
			t.Errorf("sequence %d: %q at %d, want %q at %d", c2.sequence, got, p.BaseOffset, c2.want, c2.offset)
		}
	}
}

// Trap 11: max.message.bytes holds, for the batch as it is sent.
func TestTrapMaxMessageBytes(t *testing.T) {
	c, _, _ := serveTopic(t, 1, map[string]string{"max.message.bytes": "1000"})
	size := func(n int) []byte { return encodeBatch(values(strings.Repeat("x", n)), nil) }
	fits := 1000 - len(size(500)) + 500
	if p := c.produce(size(fits)); p.ErrorCode != 0 {
		t.Errorf("1000 bytes: %s", name(p.ErrorCode))
	}
	if got := name(c.produce(size(fits + 1)).ErrorCode); got != "MESSAGE_TOO_LARGE" {
		t.Errorf("1001 bytes: %q", got)
	}
}

// Trap 12: a compacted topic wants keys.
func TestTrapNullKeyOnCompactedTopic(t *testing.T) {
	c, _, _ := serveTopic(t, 1, map[string]string{"cleanup.policy": "compact"})
	p := c.produce(encodeBatch([]rec{{1000, []byte("k"), nil}, {1000, nil, []byte("v")}, {1000, []byte("l"), nil}, {1000, nil, nil}}, nil))
	var bad []int32 // all are named: a client fails these, and sends the others again
	for _, r := range p.ErrorRecords {
		bad = append(bad, r.RelativeOffset)
	}
	if got := name(p.ErrorCode); got != "INVALID_RECORD" || !slices.Equal(bad, []int32{1, 3}) {
		t.Errorf("%q about records %v, want INVALID_RECORD about 1 and 3", got, bad)
	}
	c.mustProduce(encodeBatch([]rec{{1000, []byte("k"), nil}, {1000, []byte{}, []byte("v")}}, nil))
}

// Trap 14: Produce is listed from version 0, or librdkafka does not compress;
// sent, versions before 3 end the connection.
func TestTrapProduceMinVersion(t *testing.T) {
	c, s, _ := serveTopic(t, 1, nil)
	req := kmsg.NewPtrApiVersionsRequest()
	for _, k := range ask[*kmsg.ApiVersionsResponse](c, req).ApiKeys {
		if k.ApiKey == int16(kmsg.Produce) && (k.MinVersion != 0 || k.MaxVersion < 11) {
			t.Errorf("Produce is listed as %d to %d, want 0 to 11 or more", k.MinVersion, k.MaxVersion)
		}
	}
	other := dial(t, s)
	other.send(produceRequest(2, -1, log.TopicID{}, encodeBatch(values("a"), nil)))
	if n, err := other.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("version 2: read %d bytes, %v, want the connection closed", n, err)
	}
}

// A topic that stamps records with its own time says which.
func TestProduceLogAppendTime(t *testing.T) {
	now := time.UnixMilli(5_000_000)
	s, l := serve(t, nil, func(o *log.Options) { o.Now = func() time.Time { return now } })
	if _, err := l.CreateTopic(t.Context(), log.TopicSpec{Name: "t", Partitions: 1, Configs: map[string]string{"message.timestamp.type": "LogAppendTime"}}); err != nil {
		t.Fatal(err)
	}
	c := dial(t, s)
	if p := c.produce(encodeBatch(values("a"), nil)); p.ErrorCode != 0 || p.LogAppendTime != 5_000_000 {
		t.Errorf("%s, append time %d", name(p.ErrorCode), p.LogAppendTime)
	}
	recs, err := log.DecodeRecords(nil, c.fetch(0, nil).RecordBatches)
	if err != nil || len(recs) != 1 || recs[0].Timestamp != 5_000_000 {
		t.Errorf("%+v, %v", recs, err)
	}
}

// From version 13 on Produce goes by topic ids: what was meant for a topic that is
// deleted and made again while the request is looked at, here between its two
// partitions, is not for the new one.
func TestProduceTopicMadeAgain(t *testing.T) {
	var between atomic.Pointer[func()] // runs when Produce asks for the time
	s, l := serve(t, nil, func(o *log.Options) {
		o.Now = func() time.Time {
			// So do others: who follows the users, say.
			if between.Load() != nil && bytes.Contains(debug.Stack(), []byte("(*Embedded).Produce(")) {
				if fn := between.Swap(nil); fn != nil {
					(*fn)()
				}
			}
			return time.UnixMilli(1000)
		}
	})
	old := create(t, l, "t", 2, nil).ID
	again := func() {
		if err := l.DeleteTopic(t.Context(), "t"); err != nil {
			t.Error(err)
		}
		create(t, l, "t", 2, nil)
	}
	c := dial(t, s)
	req := produceRequest(13, -1, old, encodeBatch(values("a"), nil))
	two := req.Topics[0].Partitions[0]
	two.Partition = 1
	req.Topics[0].Partitions = append(req.Topics[0].Partitions, two)
	between.Store(&again)
	for _, p := range ask[*kmsg.ProduceResponse](c, req).Topics[0].Partitions {
		if got := name(p.ErrorCode); got != "UNKNOWN_TOPIC_ID" {
			t.Errorf("partition %d: %q, want UNKNOWN_TOPIC_ID", p.Partition, got)
		}
		if b, err := l.Bounds(t.Context(), log.TopicPartition{Topic: "t", Partition: p.Partition}); err != nil || b.End != 0 {
			t.Errorf("partition %d: %+v, %v, want it empty", p.Partition, b, err)
		}
	}
}
