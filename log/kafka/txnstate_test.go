package kafka

import (
	"reflect"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gretestream/grete/log"
)

func txnRecord(t testing.TB, id string, s *txnState) log.Record {
	t.Helper()
	var b log.Builder
	s.encode(&b, id)
	recs, err := log.DecodeRecords(nil, b.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	return recs[0]
}

var txnStates = []*txnState{
	{producer: producerEpoch{7, 0}, previous: noProducer, timeout: time.Minute, updated: 5, started: log.NoTimestamp},
	{
		producer: producerEpoch{7, 3}, previous: producerEpoch{7, 2}, timeout: time.Second, status: kmsg.TransactionStateOngoing,
		parts: []log.TopicPartition{{Topic: "a", Partition: 1}, {Topic: "a", Partition: 2}, {Topic: "b"}}, updated: 9, started: 8,
	},
	{producer: producerEpoch{7, 4}, previous: noProducer, timeout: time.Second, status: kmsg.TransactionStateCompleteCommit, updated: 9, started: log.NoTimestamp},
	{producer: producerEpoch{8, 0}, previous: producerEpoch{7, lastEpoch}, timeout: time.Second, status: kmsg.TransactionStateCompleteCommit, updated: 9, started: log.NoTimestamp},
}

func TestTxnStateRoundTrip(t *testing.T) {
	for _, want := range txnStates {
		r := txnRecord(t, "id", want)
		id, got, ok, err := decodeTxnState(&r)
		if err != nil || !ok || id != "id" || !reflect.DeepEqual(got, want) {
			t.Errorf("got %q %+v %v %v, want %+v", id, got, ok, err, want)
		}
	}
}

// What decodes can be stored again and reads the same.
func FuzzDecodeTxnState(f *testing.F) {
	for _, s := range txnStates {
		r := txnRecord(f, "id", s)
		f.Add(r.Key, r.Value)
	}
	f.Add([]byte{0, 0, 0, 1, 'x'}, []byte(nil))
	f.Fuzz(func(t *testing.T, key, value []byte) {
		id, s, ok, err := decodeTxnState(&log.Record{Key: key, Value: value})
		if err != nil || !ok || s == nil {
			return
		}
		r := txnRecord(t, id, s)
		again, s2, ok, err := decodeTxnState(&r)
		if err != nil || !ok || again != id || len(s2.parts) != len(s.parts) || s2.producer != s.producer {
			t.Errorf("got %q %+v %v %v, want %q %+v", again, s2, ok, err, id, s)
		}
	})
}
