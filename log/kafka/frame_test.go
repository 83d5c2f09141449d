package kafka_test

import (
	"encoding/binary"
	"io"
	"testing"
	"time"

	"github.com/rcrowley/go-metrics"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gretestream/grete/log/kafka"
)

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
