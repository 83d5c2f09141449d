package kafka_test

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gretestream/grete/log"
	"github.com/gretestream/grete/log/kafka"
)

// Trap 6: offsets by time come with the timestamp of the record that was found;
// none is -1, -1.
func TestTrapListOffsetsByTime(t *testing.T) {
	c, _, l := serveTopic(t, 1, nil)
	at := func(times ...int64) []byte {
		var recs []rec
		for _, t := range times {
			recs = append(recs, rec{t, nil, []byte("v")})
		}
		return encodeBatch(recs, nil)
	}
	if p := c.listOffset(7, 100, 0); p.Offset != -1 || p.Timestamp != -1 {
		t.Errorf("empty, by time: %+v", p)
	}
	if p := c.listOffset(7, -3, 0); p.Offset != -1 || p.Timestamp != -1 {
		t.Errorf("empty, by the largest time: %+v", p)
	}
	c.mustProduce(at(100, 200, 300))
	c.mustProduce(at(250, 900, 500))
	c.mustProduce(at(400))
	if err := l.DeleteRecords(t.Context(), log.TopicPartition{Topic: "t"}, 1); err != nil {
		t.Fatal(err)
	}
	for _, c2 := range []struct{ at, offset, time int64 }{
		{-1, 7, -1}, {-2, 1, -1}, {-3, 4, 900}, {-4, 1, -1}, {-5, -1, -1},
		{0, 1, 200}, {100, 1, 200}, {200, 1, 200}, {201, 2, 300}, {300, 2, 300}, {301, 4, 900}, {900, 4, 900}, {901, -1, -1}, {math.MaxInt64, -1, -1},
	} {
		p := c.listOffset(9, c2.at, 0)
		if p.ErrorCode != 0 || p.Offset != c2.offset || p.Timestamp != c2.time {
			t.Errorf("at %d: %s offset %d time %d, want %d, %d", c2.at, name(p.ErrorCode), p.Offset, p.Timestamp, c2.offset, c2.time)
		}
		if want := l.LeaderEpoch(); c2.offset >= 0 && p.LeaderEpoch != want {
			t.Errorf("at %d: epoch %d, want %d", c2.at, p.LeaderEpoch, want)
		}
	}
	if got := name(c.listOffset(9, -6, 0).ErrorCode); got != "INVALID_REQUEST" {
		t.Errorf("at -6: %q", got)
	}
	for version := int16(1); version <= 10; version++ {
		if p := c.listOffset(version, 250, 0); p.ErrorCode != 0 || p.Offset != 2 || p.Timestamp != 300 {
			t.Errorf("version %d: %+v", version, p)
		}
	}
}

// Trap 9: who reads committed records stops at the last stable offset, is told of
// what was aborted, and control batches take up offsets.
func TestTrapReadCommitted(t *testing.T) {
	c, _, l := serveTopic(t, 1, nil)
	p := mustInit(c, "tx")
	txn := func(sequence int32, vs ...string) {
		t.Helper()
		b := encodeBatch(values(vs...), func(b *kmsg.RecordBatch) {
			b.ProducerID, b.ProducerEpoch, b.FirstSequence, b.Attributes = p.pid, p.epoch, sequence, 0x10
		})
		req := produceRequest(9, -1, log.TopicID{}, b)
		req.TransactionID = &p.id
		if got := name(ask[*kmsg.ProduceResponse](c, req).Topics[0].Partitions[0].ErrorCode); got != "" {
			t.Fatalf("produce %v: %s", vs, got)
		}
	}
	committed := func(r *kmsg.FetchRequest) { r.IsolationLevel = 1 }
	check := func(when string, from int64, want string, stable, end int64, aborted ...int64) {
		t.Helper()
		f := c.fetch(from, committed)
		var firsts []int64
		for _, a := range f.AbortedTransactions {
			if a.ProducerID != p.pid {
				t.Errorf("%s: aborted producer %d, want %d", when, a.ProducerID, p.pid)
			}
			firsts = append(firsts, a.FirstOffset)
		}
		if got := contents(t, f.RecordBatches); got != want || f.LastStableOffset != stable || f.HighWatermark != end || !slices.Equal(firsts, aborted) {
			t.Errorf("%s: %q, stable %d, end %d, aborted %v, want %q, %d, %d, %v", when, got, f.LastStableOffset, f.HighWatermark, firsts, want, stable, end, aborted)
		}
		if f.AbortedTransactions == nil {
			t.Errorf("%s: aborted transactions are null", when)
		}
		if got := c.listOffset(7, -1, 1).Offset; got != stable {
			t.Errorf("%s: latest is %d, want %d", when, got, stable)
		}
	}
	c.mustProduce(encodeBatch(values("x"), nil))
	want(t, "add", p.add("t", 0), "")
	txn(0, "a", "b")
	c.mustProduce(encodeBatch(values("y"), nil))
	check("open", 0, "0:x", 1, 4)
	check("open, at the stable offset", 1, "", 1, 4)
	if got := contents(t, c.fetch(0, nil).RecordBatches); got != "0:x 1:a 2:b 3:y" {
		t.Errorf("uncommitted: %q", got)
	}
	if p := c.listOffset(7, 1001, 1); p.Offset != -1 {
		t.Errorf("by time, beyond the stable offset: %+v", p)
	}
	want(t, "abort", p.end(false), "")
	check("aborted", 0, "0:x 1:a 2:b 3:y", 5, 5, 1) // the marker is at 4
	check("aborted, behind it", 5, "", 5, 5)
	want(t, "add", p.add("t", 0), "")
	txn(2, "c")
	want(t, "commit", p.end(true), "")
	check("committed", 3, "3:y 5:c", 7, 7, 1)
	check("committed, behind the abort", 5, "5:c", 7, 7)
	for version := int16(4); version <= 18; version++ {
		id, _ := l.TopicID("t")
		req := fetchRequest(version, id, 0)
		req.IsolationLevel = 1
		f := ask[*kmsg.FetchResponse](c, req).Topics[0].Partitions[0]
		if len(f.AbortedTransactions) != 1 || f.AbortedTransactions[0].FirstOffset != 1 {
			t.Errorf("version %d: aborted %+v", version, f.AbortedTransactions)
		}
	}
}

func TestOffsetForLeaderEpoch(t *testing.T) {
	c, _, l := serveTopic(t, 1, nil)
	f := func(current, epoch int32, want string, wantEpoch int32, end int64) {
		t.Helper()
		for version := int16(2); version <= 4; version++ {
			p := kmsg.NewOffsetForLeaderEpochRequestTopicPartition()
			p.CurrentLeaderEpoch, p.LeaderEpoch = current, epoch
			rt := kmsg.NewOffsetForLeaderEpochRequestTopic()
			rt.Topic, rt.Partitions = "t", []kmsg.OffsetForLeaderEpochRequestTopicPartition{p}
			req := kmsg.NewPtrOffsetForLeaderEpochRequest()
			req.Version, req.ReplicaID, req.Topics = version, -2, []kmsg.OffsetForLeaderEpochRequestTopic{rt}
			got := ask[*kmsg.OffsetForLeaderEpochResponse](c, req).Topics[0].Partitions[0]
			if name(got.ErrorCode) != want || got.LeaderEpoch != wantEpoch || got.EndOffset != end {
				t.Errorf("epoch %d at %d, version %d: %+v, want %q, epoch %d, end %d", epoch, current, version, got, want, wantEpoch, end)
			}
		}
	}
	now := l.LeaderEpoch()
	f(now, now, "", now, 0)
	c.mustProduce(encodeBatch(values("a", "b"), nil))
	f(now, now, "", now, 2)
	f(-1, now+1, "", now, 2)
	f(-1, -1, "", -1, -1)
	f(now+1, now, "UNKNOWN_LEADER_EPOCH", -1, -1)
}

func TestMetadata(t *testing.T) {
	_, s, l := serveTopic(t, 3, nil)
	c := dial(t, s)
	for version := int16(0); version <= 13; version++ {
		m := c.metadata(version, false, "t", "none", "../x", "__consumer_offsets")
		if len(m.Brokers) != 1 || m.Brokers[0].NodeID != 1 || fmt.Sprintf("%s:%d", m.Brokers[0].Host, m.Brokers[0].Port) != s.Addr() {
			t.Errorf("version %d: brokers %+v", version, m.Brokers)
		}
		if version >= 2 && (m.ClusterID == nil || *m.ClusterID != l.ClusterID()) || version >= 1 && m.ControllerID != 1 {
			t.Errorf("version %d: cluster %v, controller %d", version, m.ClusterID, m.ControllerID)
		}
		id, _ := l.TopicID("t")
		known := m.Topics[0]
		if known.ErrorCode != 0 || *known.Topic != "t" || len(known.Partitions) != 3 || version >= 10 && known.TopicID != id {
			t.Errorf("version %d: %+v", version, known)
		}
		if p := known.Partitions[2]; p.Partition != 2 || p.Leader != 1 || len(p.ISR) != 1 || version >= 7 && p.LeaderEpoch != l.LeaderEpoch() {
			t.Errorf("version %d: %+v", version, p)
		}
		unknown := name(m.Topics[1].ErrorCode)
		if version >= 4 && unknown != "UNKNOWN_TOPIC_OR_PARTITION" || version < 4 && unknown != "" {
			t.Errorf("version %d: an unknown topic: %q", version, unknown)
		}
		if version < 4 {
			if err := l.DeleteTopic(t.Context(), "none"); err != nil {
				t.Fatal(err)
			}
		}
		if got := name(m.Topics[2].ErrorCode); got != "INVALID_TOPIC_EXCEPTION" || *m.Topics[2].Topic != "../x" {
			t.Errorf("version %d: ../x: %q", version, got)
		}
		if got := m.Topics[3]; version >= 1 && !got.IsInternal {
			t.Errorf("version %d: %+v is not internal", version, got)
		}
	}
}

// No topics are all of them in version 0, and from then on if they are null.
func TestMetadataOfAll(t *testing.T) {
	_, s, l := serveTopic(t, 1, nil)
	c := dial(t, s)
	all, _ := l.Topics(t.Context())
	// Who may do what is not for listing.
	all = slices.DeleteFunc(all, func(t log.Topic) bool { return t.Name == "__grete_access" })
	ask2 := func(version int16, topics []kmsg.MetadataRequestTopic) int {
		req := kmsg.NewPtrMetadataRequest()
		req.Version, req.Topics = version, topics
		return len(ask[*kmsg.MetadataResponse](c, req).Topics)
	}
	for version := int16(0); version <= 13; version++ {
		none := 0
		if version == 0 {
			none = len(all)
		}
		if got := ask2(version, []kmsg.MetadataRequestTopic{}); got != none {
			t.Errorf("version %d, empty: %d topics, want %d", version, got, none)
		}
		if got := ask2(version, nil); got != len(all) {
			t.Errorf("version %d, null: %d topics, want %d", version, got, len(all))
		}
	}
}

func TestMetadataByID(t *testing.T) {
	_, s, l := serveTopic(t, 1, nil)
	c := dial(t, s)
	id, _ := l.TopicID("t")
	req := kmsg.NewPtrMetadataRequest()
	req.Version, req.AllowAutoTopicCreation = 12, true
	for _, id := range []log.TopicID{id, {1}, id} {
		rt := kmsg.NewMetadataRequestTopic()
		rt.TopicID = id
		req.Topics = append(req.Topics, rt)
	}
	req.Topics[2].Topic = kmsg.StringPtr("") // as Java's admin client asks
	m := ask[*kmsg.MetadataResponse](c, req)
	if *m.Topics[0].Topic != "t" || m.Topics[0].TopicID != id {
		t.Errorf("%+v", m.Topics[0])
	}
	if got := m.Topics[2]; got.ErrorCode != 0 || *got.Topic != "t" || got.TopicID != id {
		t.Errorf("with an empty name: %+v", got)
	}
	if got := m.Topics[1]; name(got.ErrorCode) != "UNKNOWN_TOPIC_ID" || got.TopicID != [16]byte{1} {
		t.Errorf("%+v", got)
	}
}

// A topic that is named is made, with four partitions, unless that is off.
func TestMetadataCreates(t *testing.T) {
	s, _ := serve(t, nil)
	c := dial(t, s)
	if got := c.metadata(9, true, "new").Topics[0]; got.ErrorCode != 0 || len(got.Partitions) != 4 {
		t.Errorf("%+v", got)
	}
	if got := c.metadata(9, true, "a/../b").Topics[0]; name(got.ErrorCode) != "INVALID_TOPIC_EXCEPTION" {
		t.Errorf("%+v", got)
	}
	s, _ = serve(t, func(o *kafka.Options) { o.NoAutoCreate = true })
	if got := dial(t, s).metadata(9, true, "new").Topics[0]; name(got.ErrorCode) != "UNKNOWN_TOPIC_OR_PARTITION" {
		t.Errorf("%+v", got)
	}
}

// The log's own topics are not made by being named: they would be anybody's.
func TestMetadataDoesNotCreateReserved(t *testing.T) {
	s, l := serve(t, nil)
	c := dial(t, s)
	for _, reserved := range []string{"__transaction_state", "__cluster_metadata"} {
		got := c.metadata(9, true, reserved).Topics[0]
		want(t, reserved, name(got.ErrorCode), "UNKNOWN_TOPIC_OR_PARTITION")
		if _, err := l.Topic(t.Context(), reserved); err == nil {
			t.Errorf("%s was made", reserved)
		}
	}
	mustInit(c, "a")
	topic, err := l.Topic(t.Context(), "__transaction_state")
	if err != nil || !topic.Internal {
		t.Errorf("%+v, %v, want an internal topic", topic, err)
	}
}

func TestMetadataAdvertised(t *testing.T) {
	s, _ := serve(t, func(o *kafka.Options) { o.Advertised = "grete.example:19092" })
	if b := dial(t, s).metadata(9, false).Brokers[0]; b.Host != "grete.example" || b.Port != 19092 {
		t.Errorf("%+v", b)
	}
}
