package kafka_test

import (
	"encoding/binary"
	"io"
	"testing"
	"time"

	"github.com/rcrowley/go-metrics"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gretestream/grete/log"
	"github.com/gretestream/grete/log/kafka"
)

// Fetches that decode to much, and wait for records that do not come, hold up
// nobody for long: small requests not at all.
func TestLargeRequestsThatWait(t *testing.T) {
	s, l := serve(t, func(o *kafka.Options) {
		o.MaxRequestBytes, o.MaxQueuedBytes, o.MaxWrite = 4<<20, 16<<20, 2*time.Second
	})
	createTopic(t, l, "t")
	fetch := fetchRequest(4, log.TopicID{}, 0)
	fetch.MaxWaitMillis, fetch.MinBytes = 1<<31-1, 1
	for range 650_000 {
		fetch.Topics = append(fetch.Topics, kmsg.NewFetchRequestTopic())
	}
	var waiting []*client
	for range 4 {
		c := dial(t, s)
		c.send(fetch)
		waiting = append(waiting, c)
	}
	eventually(t, "some wait", func() bool { return s.Parked() > 0 })
	small := dial(t, s)
	_ = small.SetReadDeadline(time.Now().Add(30 * time.Second))
	if got := small.metadata(9, false, "t").Topics[0]; got.ErrorCode != 0 {
		t.Errorf("a small request beside them: %s", name(got.ErrorCode))
	}
	answers := 0
	for _, c := range waiting {
		_ = c.SetReadDeadline(time.Now().Add(60 * time.Second))
		if n, _ := c.Read(make([]byte, 1)); n == 1 {
			answers++
		}
	}
	if answers < 2 {
		t.Errorf("%d of %d large requests got an answer, want 2 or more", answers, len(waiting))
	}
}

// Clients that announce large requests and send a part of them hold up nobody,
// and are turned away in time.
func TestFramesThatStall(t *testing.T) {
	registry := metrics.NewRegistry()
	s, _ := serve(t, func(o *kafka.Options) {
		o.MaxRequestBytes, o.MaxQueuedBytes, o.MaxWrite, o.Metrics = 4<<20, 8<<20, 500*time.Millisecond, registry
	})
	var stalled []*client
	for range 8 {
		c := dial(t, s)
		frame := binary.BigEndian.AppendUint32(nil, 4<<20)
		if _, err := c.Write(append(frame, make([]byte, 1<<20)...)); err != nil {
			t.Fatal(err)
		}
		stalled = append(stalled, c)
	}
	req := kmsg.NewPtrApiVersionsRequest()
	if resp := ask[*kmsg.ApiVersionsResponse](dial(t, s), req); resp.ErrorCode != 0 {
		t.Errorf("a small request beside them: error %d", resp.ErrorCode)
	}
	for _, c := range stalled {
		if _, err := c.Read(make([]byte, 1)); err == nil {
			t.Errorf("a stalled client got an answer, want its connection closed")
		}
	}
	eventually(t, "the reasons are counted", func() bool {
		n := int64(0)
		for _, reason := range []string{"slow-writer", "queue-full"} {
			n += metrics.GetOrRegisterCounter("kafka.connections.closed."+reason, registry).Count()
		}
		return n == int64(len(stalled))
	})
	// What they held is given back: a large request gets through.
	c := dial(t, s)
	big := kmsg.NewPtrMetadataRequest()
	big.Version = 4
	for range 200_000 {
		topic := kmsg.NewMetadataRequestTopic()
		topic.Topic = kmsg.StringPtr("no/topic")
		big.Topics = append(big.Topics, topic)
	}
	c.send(big)
	var size [4]byte
	if _, err := io.ReadFull(c, size[:]); err != nil {
		t.Errorf("a large request after them: %v", err)
	}
}
