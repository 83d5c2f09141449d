package cluster

import (
	"encoding/binary"
	"fmt"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gretestream/grete/log"
)

// transactional is a batch of one record as it lies in a partition.
func transactional(offset log.Offset, producer int64, value string) []byte {
	var b log.Builder
	b.Append(1, nil, []byte(value))
	batch := slices.Clone(b.Bytes())
	log.StampProducer(batch, producer, 0, 0, true)
	binary.BigEndian.PutUint64(batch, uint64(offset))
	return batch
}

// marker is a control batch that ends a transaction.
func marker(offset log.Offset, producer int64, commit bool) []byte {
	key := []byte{0, 0, 0, 0}
	if commit {
		key[3] = 1
	}
	var b log.Builder
	b.Append(1, key, []byte{0, 0, 0, 0, 0, 0})
	batch := slices.Clone(b.Bytes())
	batch[22] |= 0x20 // control
	log.StampProducer(batch, producer, 0, -1, true)
	binary.BigEndian.PutUint64(batch, uint64(offset))
	return batch
}

// TestDecodeAborted: two transactions of one producer, the first aborted, and one
// of another in between.
func TestDecodeAborted(t *testing.T) {
	run := slices.Concat(
		transactional(0, 7, "aborted"),
		transactional(1, 8, "kept"),
		transactional(2, 7, "aborted"),
		marker(3, 7, false),
		transactional(4, 7, "kept too"),
		marker(5, 8, true),
		marker(6, 7, true),
		transactional(7, 9, "aborted"), // its end lies beyond this answer
	)
	f := func(from log.Offset, want string) {
		t.Helper()
		d := decoding{rest: run, aborted: []abortedTxn{{9, 7}, {7, 0}}, next: 8}
		recs, err := d.decode(nil, from)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, r := range recs {
			got = append(got, fmt.Sprintf("%d:%s", r.Offset, r.Value))
		}
		if fmt.Sprint(got) != want {
			t.Errorf("from %d: got %v, want %s", from, got, want)
		}
	}
	f(0, "[1:kept 4:kept too]")
	f(2, "[4:kept too]")
	f(5, "[]")
}

func TestWholeBatches(t *testing.T) {
	run := slices.Concat(transactional(3, 1, "a"), transactional(4, 1, "b"))
	one := len(run) / 2
	for n := range len(run) + 1 {
		whole, next, err := wholeBatches(run[:n])
		if err != nil {
			t.Fatalf("%d bytes: %v", n, err)
		}
		wantLen, wantNext := n/one*one, []log.Offset{0, 4, 5}[n/one]
		if len(whole) != wantLen || next != wantNext {
			t.Errorf("of %d bytes %d are whole batches up to %d, want %d up to %d", n, len(whole), next, wantLen, wantNext)
		}
	}
}

// FuzzDecode: no answer of a broker makes a reader panic, go back, or return what
// lies before its position.
func FuzzDecode(f *testing.F) {
	f.Add(slices.Concat(transactional(0, 7, "a"), marker(1, 7, false)), int64(7), int64(0), int64(0))
	f.Add(slices.Concat(transactional(0, 7, "a"), transactional(1, 8, "b"))[:100], int64(7), int64(0), int64(1))
	f.Add(marker(5, 1, true)[:70], int64(0), int64(0), int64(0))
	f.Fuzz(func(t *testing.T, b []byte, producer, first, from int64) {
		from = max(from, 0)
		whole, next, err := wholeBatches(b)
		if err != nil {
			return
		}
		d := decoding{rest: whole, aborted: []abortedTxn{{producer, log.Offset(first)}}, next: next}
		recs, err := d.decode(nil, log.Offset(from))
		if err != nil {
			return
		}
		for i := range recs {
			if recs[i].Offset < log.Offset(from) {
				t.Errorf("offset %d, asked for from %d on", recs[i].Offset, from)
			}
		}
	})
}

// FuzzMemberOf: no assignment in an answer makes it panic, and partitions are in
// order.
func FuzzMemberOf(f *testing.F) {
	a := kmsg.NewConsumerMemberAssignment()
	a.Topics = []kmsg.ConsumerMemberAssignmentTopic{{Topic: "b", Partitions: []int32{2, 1}}, {Topic: "a", Partitions: []int32{0}}}
	f.Add(a.AppendTo(nil))
	f.Add([]byte{0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		m := memberOf("consumer", &kmsg.DescribeGroupsResponseGroupMember{MemberID: "m", MemberAssignment: b})
		for i := 1; i < len(m.Partitions); i++ {
			if a, b := m.Partitions[i-1], m.Partitions[i]; a.Topic > b.Topic || a.Topic == b.Topic && a.Partition > b.Partition {
				t.Errorf("partitions %v", m.Partitions)
			}
		}
	})
}
