package kafka

import (
	"bytes"
	"encoding/binary"
	"runtime"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// FuzzRequest decodes a frame as a connection does. What is let through decodes to
// what is written the same, and fits its shape then too.
func FuzzRequest(f *testing.F) {
	table := newAPIs()
	for _, a := range table {
		for version := a.min; version <= a.max; version += max(a.max-a.min, 1) {
			req := kmsg.RequestForKey(int16(a.key))
			req.SetVersion(version)
			f.Add(kmsg.NewRequestFormatter(kmsg.FormatterClientID("f")).AppendRequest(nil, req, 1)[4:])
		}
	}
	f.Fuzz(func(t *testing.T, frame []byte) {
		if len(frame) < frameMinimum {
			return
		}
		key, version := int16(binary.BigEndian.Uint16(frame)), int16(binary.BigEndian.Uint16(frame[2:]))
		a := table[key]
		if a == nil || version < a.min || version > a.max {
			return
		}
		r := &request{api: a, version: version, body: kmsg.RequestForKey(key)}
		r.body.SetVersion(version)
		body, err := r.header(frame[frameMinimum:])
		if err != nil {
			return
		}
		shape := a.shapes[version-a.min]
		_, _, err = shape.check(a.key, r.body.IsFlexible(), body)
		if err != nil || r.body.ReadFrom(body) != nil {
			return
		}
		b := r.body.AppendTo(nil)
		again := kmsg.RequestForKey(key)
		again.SetVersion(version)
		if extra, _, err := shape.check(a.key, again.IsFlexible(), b); err != nil || extra != 0 {
			t.Fatalf("%s %d: written as %x: %v, %d bytes too many", a.key.Name(), version, b, err, extra)
		}
		if err := again.ReadFrom(b); err != nil || !bytes.Equal(again.AppendTo(nil), b) {
			t.Fatalf("%s %d: written as %x, then as %x: %v", a.key.Name(), version, b, again.AppendTo(nil), err)
		}
	})
}

// FuzzSubscription reads a member's metadata: the same topics as kmsg finds.
func FuzzSubscription(f *testing.F) {
	m := kmsg.NewConsumerMemberMetadata()
	m.Topics = []string{"b", "a", "b"}
	f.Add(m.AppendTo(nil))
	m.Version, m.OwnedPartitions = 1, []kmsg.ConsumerMemberMetadataOwnedPartition{{Topic: "a", Partitions: []int32{1}}}
	f.Add(m.AppendTo(nil))
	f.Add([]byte{0, 0, 255, 255, 255, 255})
	f.Fuzz(func(t *testing.T, b []byte) {
		topics, ok := subscription(consumerProtocol, b)
		if ok && !slices.IsSorted(topics) {
			t.Errorf("topics %q are not in order", topics)
		}
		if len(b) < 6 || b[0]&0x80 != 0 {
			return
		}
		want := kmsg.NewConsumerMemberMetadata()
		if err := want.ReadFrom(b); err != nil {
			return
		}
		slices.Sort(want.Topics)
		if want.Topics = slices.Compact(want.Topics); !ok || !slices.Equal(topics, want.Topics) {
			t.Errorf("got %q, %v, want %q", topics, ok, want.Topics)
		}
	})
}

// Metadata that claims as many elements as it has bytes costs no more than those
// that are there.
func TestSubscriptionOfManyElements(t *testing.T) {
	const size = 8 << 20
	b := make([]byte, size)
	binary.BigEndian.PutUint16(b, 1)            // version
	binary.BigEndian.PutUint32(b[10:], size-14) // partitions that it has, each with a topic
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	topics, ok := subscription(consumerProtocol, b)
	runtime.ReadMemStats(&after)
	if len(topics) != 0 || !ok {
		t.Errorf("got %q, %v", topics, ok)
	}
	if took := after.TotalAlloc - before.TotalAlloc; took > size {
		t.Errorf("took %d bytes for metadata of %d", took, size)
	}
}
