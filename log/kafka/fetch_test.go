package kafka_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gretestream/grete/log"
	"github.com/gretestream/grete/log/kafka"
)

// Trap 1: a fetch from the middle of a batch gives the whole batch.
func TestTrapMidBatchFetch(t *testing.T) {
	c, _, _ := serveTopic(t, 1, nil)
	c.mustProduce(encodeBatch(values("a", "b", "c"), nil))
	c.mustProduce(encodeBatch(values("d", "e"), nil))
	for offset, want := range []string{"0:a 1:b 2:c 3:d 4:e", "0:a 1:b 2:c 3:d 4:e", "0:a 1:b 2:c 3:d 4:e", "3:d 4:e", "3:d 4:e", ""} {
		p := c.fetch(int64(offset), nil)
		if got := contents(t, p.RecordBatches); got != want || p.HighWatermark != 5 {
			t.Errorf("from %d: got %q up to %d, want %q up to 5", offset, got, p.HighWatermark, want)
		}
		if p.RecordBatches == nil {
			t.Errorf("from %d: batches are null, want none of length 0", offset)
		}
	}
}

// Trap 2: a fetch at the end waits for min_bytes or max_wait, and is woken by
// what is produced.
func TestTrapFetchParks(t *testing.T) {
	c, s, _ := serveTopic(t, 1, nil)
	produced := encodeBatch(values("a"), nil)
	req := fetchRequest(12, log.TopicID{}, 0)
	req.MaxWaitMillis, req.MinBytes = 60_000, int32(len(produced)+1)
	c.send(req)
	other := dial(t, s)
	eventually(t, "the fetch waits", func() bool { return s.Parked() == 1 })
	other.mustProduce(produced)
	eventually(t, "it was woken, and waits for more", func() bool { return s.Wakes() == 1 && s.Parked() == 1 })
	other.mustProduce(encodeBatch(values("b"), nil))
	resp := kmsg.NewPtrFetchResponse()
	resp.Version = 12
	c.receive(resp)
	if got := contents(t, resp.Topics[0].Partitions[0].RecordBatches); got != "0:a 1:b" {
		t.Errorf("got %q, want both records", got)
	}
	// It is answered with what there is when the wait is over.
	p := c.fetch(2, func(r *kmsg.FetchRequest) { r.MaxWaitMillis = 1 })
	if p.ErrorCode != 0 || len(p.RecordBatches) != 0 {
		t.Errorf("after the wait: code %d, %d bytes", p.ErrorCode, len(p.RecordBatches))
	}
}

// Who waits is answered when the server is to end.
func TestFetchParkedShutdown(t *testing.T) {
	c, s, _ := serveTopic(t, 1, nil)
	req := fetchRequest(12, log.TopicID{}, 0)
	req.MaxWaitMillis = 600_000
	c.send(req)
	eventually(t, "the fetch waits", func() bool { return s.Parked() == 1 })
	done := make(chan error, 1)
	go func() { done <- s.Shutdown(context.Background()) }()
	resp := kmsg.NewPtrFetchResponse()
	resp.Version = 12
	c.receive(resp)
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// Trap 3: the first batch is handed out however large it is, the others within
// the limits.
func TestTrapFirstBatchIsLarge(t *testing.T) {
	c, _, l := serveTopic(t, 2, nil)
	large := strings.Repeat("x", 5000)
	size := int32(len(encodeBatch(values(large), nil)))
	for range 3 {
		c.mustProduce(encodeBatch(values(large), nil))
	}
	if _, err := l.Append(t.Context(), log.TopicPartition{Topic: "t", Partition: 1}, encodeBatch(values(large), nil)); err != nil {
		t.Fatal(err)
	}
	count := func(b []byte) int { return strings.Count(contents(t, b), ":") }
	for _, limits := range []struct {
		partition, all int32
		want, other    int // batches of partitions 0 and 1
	}{
		{1, 1 << 20, 1, 0}, {1 << 20, 1, 1, 0}, {0, 0, 1, 0}, {-1, -1, 1, 0}, {size, 1 << 20, 1, 1}, {2*size - 1, 1 << 20, 1, 1},
		{2 * size, 1 << 20, 2, 1}, {1 << 20, 1 << 20, 3, 1}, {1 << 20, 3 * size, 3, 0}, {1 << 20, 4*size - 1, 3, 0}, {1 << 20, 4 * size, 3, 1},
	} {
		req := fetchRequest(12, log.TopicID{}, 0)
		req.MaxBytes = limits.all
		p := &req.Topics[0].Partitions[0]
		p.PartitionMaxBytes = limits.partition
		second := *p
		second.Partition = 1
		req.Topics[0].Partitions = append(req.Topics[0].Partitions, second)
		got := ask[*kmsg.FetchResponse](c, req).Topics[0].Partitions
		if a, b := count(got[0].RecordBatches), count(got[1].RecordBatches); a != limits.want || b != limits.other {
			t.Errorf("at most %d bytes a partition, %d in all: %d and %d batches, want %d and %d", limits.partition, limits.all, a, b, limits.want, limits.other)
		}
	}
}

// All versions are answered alike; from 13 on topics go by their ids.
func TestFetchVersions(t *testing.T) {
	c, _, l := serveTopic(t, 1, nil)
	c.mustProduce(encodeBatch(values("a"), nil))
	id, _ := l.TopicID("t")
	for version := int16(4); version <= 18; version++ {
		resp := ask[*kmsg.FetchResponse](c, fetchRequest(version, id, 0))
		topic := resp.Topics[0]
		p := topic.Partitions[0]
		want := "t"
		if version >= 13 {
			want = ""
		}
		if topic.Topic != want || version >= 13 && topic.TopicID != id || p.ErrorCode != 0 || p.HighWatermark != 1 || p.LastStableOffset != 1 || contents(t, p.RecordBatches) != "0:a" {
			t.Errorf("version %d: %+v", version, topic)
		}
		if version >= 13 {
			p := ask[*kmsg.FetchResponse](c, fetchRequest(version, log.TopicID{1}, 0)).Topics[0].Partitions[0]
			want := "UNKNOWN_TOPIC_ID"
			if got := name(p.ErrorCode); got != want {
				t.Errorf("version %d: an unknown id gives %q, want %s", version, got, want)
			}
		}
	}
}

func TestFetchErrors(t *testing.T) {
	c, _, l := serveTopic(t, 1, nil)
	c.mustProduce(encodeBatch(values("a", "b", "c", "d"), nil))
	if err := l.DeleteRecords(t.Context(), log.TopicPartition{Topic: "t"}, 2); err != nil {
		t.Fatal(err)
	}
	epoch := l.LeaderEpoch()
	part := func(f func(*kmsg.FetchRequestTopicPartition)) func(*kmsg.FetchRequest) {
		return func(r *kmsg.FetchRequest) { f(&r.Topics[0].Partitions[0]) }
	}
	for _, c2 := range []struct {
		offset int64
		change func(*kmsg.FetchRequest)
		want   string
	}{
		{4, nil, ""}, {2, nil, ""},
		{1, nil, "OFFSET_OUT_OF_RANGE"}, {5, nil, "OFFSET_OUT_OF_RANGE"}, {-1, nil, "OFFSET_OUT_OF_RANGE"}, {1 << 62, nil, "OFFSET_OUT_OF_RANGE"},
		{0, part(func(p *kmsg.FetchRequestTopicPartition) { p.Partition = 1 }), "UNKNOWN_TOPIC_OR_PARTITION"},
		{0, part(func(p *kmsg.FetchRequestTopicPartition) { p.Partition = -1 }), "UNKNOWN_TOPIC_OR_PARTITION"},
		{0, func(r *kmsg.FetchRequest) { r.Topics[0].Topic = "u" }, "UNKNOWN_TOPIC_OR_PARTITION"},
		{0, func(r *kmsg.FetchRequest) { r.Topics[0].Topic = "../t" }, "UNKNOWN_TOPIC_OR_PARTITION"},
		{2, part(func(p *kmsg.FetchRequestTopicPartition) { p.CurrentLeaderEpoch = epoch }), ""},
		{2, part(func(p *kmsg.FetchRequestTopicPartition) { p.CurrentLeaderEpoch = epoch + 1 }), "UNKNOWN_LEADER_EPOCH"},
	} {
		change := c2.change
		p := c.fetch(c2.offset, func(r *kmsg.FetchRequest) {
			r.MaxWaitMillis = 60_000 // errors do not wait
			r.MinBytes = 0
			if change != nil {
				change(r)
			}
		})
		if got := name(p.ErrorCode); got != c2.want {
			t.Errorf("from %d: %q, want %q", c2.offset, got, c2.want)
		}
		if c2.want != "" && (p.HighWatermark != -1 || len(p.RecordBatches) > 0) {
			t.Errorf("from %d: %+v beside an error", c2.offset, p)
		}
	}
}

// Sessions are declined, and those that nobody has opened are not known.
func TestFetchSessions(t *testing.T) {
	c, _, _ := serveTopic(t, 1, nil)
	f := func(id, epoch int32, want string) {
		t.Helper()
		req := fetchRequest(12, log.TopicID{}, 0)
		req.SessionID, req.SessionEpoch = id, epoch
		resp := ask[*kmsg.FetchResponse](c, req)
		if got := name(resp.ErrorCode); got != want || resp.SessionID != 0 {
			t.Errorf("session %d epoch %d: %q and session %d, want %q and 0", id, epoch, got, resp.SessionID, want)
		}
	}
	f(0, 0, "")
	f(0, -1, "")
	f(7, 1, "FETCH_SESSION_ID_NOT_FOUND")
	f(7, -1, "FETCH_SESSION_ID_NOT_FOUND")
	f(0, 3, "INVALID_FETCH_SESSION_EPOCH")
}

// A topic that is deleted and made again is another one.
func TestFetchTopicMadeAgain(t *testing.T) {
	c, _, l := serveTopic(t, 1, nil)
	c.mustProduce(encodeBatch(values("old"), nil))
	if got := contents(t, c.fetch(0, nil).RecordBatches); got != "0:old" {
		t.Fatal(got)
	}
	old, _ := l.TopicID("t")
	if err := l.DeleteTopic(t.Context(), "t"); err != nil {
		t.Fatal(err)
	}
	if got := name(c.fetch(0, nil).ErrorCode); got != "UNKNOWN_TOPIC_OR_PARTITION" {
		t.Errorf("deleted: %q", got)
	}
	if _, err := l.CreateTopic(t.Context(), log.TopicSpec{Name: "t", Partitions: 1}); err != nil {
		t.Fatal(err)
	}
	c.mustProduce(encodeBatch(values("new"), nil))
	if got := contents(t, c.fetch(0, nil).RecordBatches); got != "0:new" {
		t.Errorf("made again: %q", got)
	}
	p := ask[*kmsg.FetchResponse](c, fetchRequest(13, old, 0)).Topics[0].Partitions[0]
	if got := name(p.ErrorCode); got != "UNKNOWN_TOPIC_ID" {
		t.Errorf("by its old id: %q", got)
	}
}

// A consumer reads over the ends of segments, one small fetch at a time, on the
// disk in memory and on a real one, where answers are sent from files.
func TestFetchAcrossSegments(t *testing.T) {
	f := func(t *testing.T, s *kafka.Server, l *log.Embedded, limit int32) {
		_, err := l.CreateTopic(t.Context(), log.TopicSpec{Name: "t", Partitions: 1, Configs: map[string]string{"segment.bytes": "100000"}})
		if err != nil {
			t.Fatal(err)
		}
		c := dial(t, s)
		var want []string
		for i := range 300 {
			v := fmt.Sprintf("%d:%s", i, strings.Repeat("x", i*7))
			want = append(want, v)
			c.mustProduce(encodeBatch(values(v[strings.Index(v, ":")+1:]), nil))
		}
		var got []string
		for at := int64(0); at < 300; {
			p := c.fetch(at, func(r *kmsg.FetchRequest) { r.Topics[0].Partitions[0].PartitionMaxBytes = limit })
			if p.ErrorCode != 0 || len(p.RecordBatches) == 0 {
				t.Fatalf("at %d: code %d, %d bytes", at, p.ErrorCode, len(p.RecordBatches))
			}
			got = append(got, strings.Fields(contents(t, p.RecordBatches))...)
			at = int64(len(got))
		}
		for i := range want {
			if got[i] != want[i] {
				t.Fatalf("record %d: got %.20s, want %.20s", i, got[i], want[i])
			}
		}
	}
	for _, limit := range []int32{1, 5000, 90_000, 1 << 20} {
		t.Run(fmt.Sprint("memory ", limit), func(t *testing.T) {
			s, l := serve(t, nil)
			f(t, s, l, limit)
		})
		t.Run(fmt.Sprint("disk ", limit), func(t *testing.T) {
			s, l := serveDir(t, t.TempDir())
			f(t, s, l, limit)
		})
	}
}

// serveDir serves a log on a real disk. Both are closed with the test.
func serveDir(t testing.TB, dir string) (*kafka.Server, *log.Embedded) {
	t.Helper()
	l, err := log.Open(dir, log.Options{ReserveBytes: -1, BallastBytes: -1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	s, err := kafka.Listen(kafka.Options{Log: l})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s, l
}

// A connection keeps cursors for what it reads, not for all that it ever has.
func TestFetchForgetsCursors(t *testing.T) {
	c, s, _ := serveTopic(t, 200, nil)
	req := fetchRequest(12, log.TopicID{}, 0)
	one := req.Topics[0].Partitions[0]
	all := make([]kmsg.FetchRequestTopicPartition, 200)
	for i := range all {
		all[i] = one
		all[i].Partition = int32(i)
	}
	req.Topics[0].Partitions = all
	if got := ask[*kmsg.FetchResponse](c, req); len(got.Topics[0].Partitions) != 200 {
		t.Fatal(got)
	}
	if n := s.Cursors(); n != 200 {
		t.Errorf("%d cursors, want 200", n)
	}
	c.fetch(0, nil)
	c.fetch(0, nil)
	if n := s.Cursors(); n != 1 {
		t.Errorf("%d cursors after a fetch of one partition, want 1", n)
	}
}
