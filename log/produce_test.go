package log

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"
)

// clientBatch is a batch as a client of the Kafka protocol sends it.
func clientBatch(pid int64, epoch int16, sequence int32, n int, attributes int16) []byte {
	var recs []Record
	for i := range n {
		recs = append(recs, Record{Offset: Offset(i), Timestamp: 1000, Key: []byte("k"), Value: value(int(sequence) + i)})
	}
	return appendBatch(nil, BatchInfo{
		LeaderEpoch: -1, ProducerID: pid, ProducerEpoch: epoch, BaseSequence: sequence,
		LastOffsetDelta: int32(n - 1), Attributes: attributes,
	}, 1000, recs)
}

// plainBatch has no producer.
func plainBatch(n int) []byte { return clientBatch(-1, -1, -1, n, 0) }

func mustProduce(t *testing.T, l *Embedded, tp TopicPartition, batches []byte) Offset {
	t.Helper()
	pd, err := l.Produce(tp, batches, ProduceOptions{})
	if err != nil {
		t.Fatal(err)
	}
	r, err := pd.Wait(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return r.Base
}

func TestProduceSharesASync(t *testing.T) {
	l := mustOpen(t, "data", testOptions(newMemFS()))
	mustCreate(t, l, "a", 2)
	syncs := l.m.syncs.Count()
	var waiting []*Produced
	for i := range 6 {
		pd, err := l.Produce(TopicPartition{"a", int32(i % 2)}, plainBatch(2), ProduceOptions{})
		if err != nil {
			t.Fatal(err)
		}
		waiting = append(waiting, pd)
	}
	for i, pd := range slices.Backward(waiting) {
		r, err := pd.Wait(context.Background())
		if want := (ProduceResult{Base: Offset(i / 2 * 2), AppendTime: NoTimestamp}); err != nil || r != want {
			t.Errorf("produce %d: got %+v, %v, want %+v", i, r, err, want)
		}
	}
	if got := l.m.syncs.Count() - syncs; got != 1 {
		t.Errorf("%d syncs for 6 batches that were admitted together, want 1", got)
	}
}

// Whoever has what it waited for answers first: what came since has its own waiter.
func TestWaiterDoesNotLeadForOthers(t *testing.T) {
	l := mustOpen(t, "data", testOptions(newMemFS()))
	mustCreate(t, l, "a", 1)
	first, err := l.Produce(TopicPartition{"a", 0}, plainBatch(1), ProduceOptions{})
	for range 20 { // were it left to chance
		if err == nil {
			_, err = first.Wait(context.Background())
		}
		syncs := l.m.syncs.Count()
		second, err2 := l.Produce(TopicPartition{"a", 0}, plainBatch(1), ProduceOptions{})
		_, err3 := first.Wait(context.Background())
		if err := errors.Join(err, err2, err3); err != nil {
			t.Fatal(err)
		}
		if l.m.syncs.Count() != syncs {
			t.Fatal("who had been answered waited for the next group")
		}
		first = second
	}
	if _, err := first.Wait(context.Background()); err != nil {
		t.Fatal(err)
	}
}

// What a client may not send is refused, and takes up no offset.
func TestProduceRefuses(t *testing.T) {
	o := testOptions(newMemFS())
	now := time.UnixMilli(10_000_000)
	o.Now = func() time.Time { return now }
	l := mustOpen(t, "data", o)
	mustCreate(t, l, "a", 1)
	for name, configs := range map[string]map[string]string{
		"compact": {"cleanup.policy": "compact"},
		"small":   {"max.message.bytes": "100"},
		"old":     {"message.timestamp.before.max.ms": "1000"},
		"stamps":  {"message.timestamp.before.max.ms": "1000", "message.timestamp.type": "LogAppendTime"},
	} {
		if _, err := l.CreateTopic(context.Background(), TopicSpec{Name: name, Partitions: 1, Configs: configs}); err != nil {
			t.Fatal(err)
		}
	}
	batch := func(edit func(info *BatchInfo, recs []Record)) []byte {
		recs := []Record{{Timestamp: TimestampOf(now), Key: []byte("k"), Value: []byte("v")}}
		info := BatchInfo{ProducerID: -1, ProducerEpoch: -1, BaseSequence: -1}
		edit(&info, recs)
		return appendBatch(nil, info, recs[0].Timestamp, recs)
	}
	f := func(topic string, want error, b []byte) {
		t.Helper()
		pd, err := l.Produce(TopicPartition{Topic: topic}, b, ProduceOptions{})
		if !errors.Is(err, want) {
			t.Errorf("%s: got %v, want %v", topic, err, want)
		}
		if want == nil && err == nil {
			r, err := pd.Wait(context.Background())
			if err != nil || r.Base != 0 {
				t.Errorf("%s: got %+v, %v, want base 0", topic, r, err)
			}
			if stamped := topic == "stamps"; stamped != (r.AppendTime == TimestampOf(now)) {
				t.Errorf("%s: append time %d", topic, r.AppendTime)
			}
		}
	}
	at := func(ms int64) []byte {
		return batch(func(_ *BatchInfo, recs []Record) { recs[0].Timestamp = TimestampOf(now) + Timestamp(ms) })
	}
	good := func() []byte { return at(0) }
	broken := good()
	broken[len(broken)-1] ^= 1

	f("nowhere", ErrUnknownTopic, good())
	f(offsetsTopic, ErrInvalidTopic, good())
	f("a", ErrInvalidBatch, nil)
	f("a", ErrInvalidBatch, good()[:65])
	f("a", ErrCorrupt, broken)
	f("small", ErrTooLarge, batch(func(_ *BatchInfo, recs []Record) { recs[0].Value = make([]byte, 100) }))
	f("a", ErrInvalidRecord, batch(func(info *BatchInfo, _ []Record) { info.Attributes = attrControl }))
	f("a", ErrInvalidRecord, batch(func(info *BatchInfo, _ []Record) { info.Attributes = attrTransactional }))
	f("a", ErrInvalidRecord, batch(func(info *BatchInfo, _ []Record) { info.Attributes = attrDeleteHorizon }))
	f("a", ErrInvalidRecord, batch(func(info *BatchInfo, _ []Record) { info.LastOffsetDelta = 3 }))
	f("a", ErrInvalidRecord, batch(func(info *BatchInfo, _ []Record) { info.ProducerID, info.ProducerEpoch = 7, 0 }))
	f("a", ErrInvalidTimestamp, at(3_600_001))
	f("old", ErrInvalidTimestamp, at(-1001))
	f("compact", ErrInvalidRecord, batch(func(_ *BatchInfo, recs []Record) { recs[0].Key = nil }))

	f("a", nil, at(3_600_000))
	f("old", nil, at(-1000))
	f("compact", nil, good())
	f("stamps", nil, at(-5000))
}

func TestNewProducerID(t *testing.T) {
	fs := newMemFS()
	seen := map[int64]bool{}
	for range 3 {
		l := mustOpen(t, "data", testOptions(fs))
		for range 3 {
			id, err := l.NewProducerID()
			if err != nil || id < 0 || seen[id] {
				t.Errorf("got %d, %v, want a new id", id, err)
			}
			seen[id] = true
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := l.NewProducerID(); !errors.Is(err, ErrClosed) {
			t.Errorf("got %v, want ErrClosed", err)
		}
	}
}
