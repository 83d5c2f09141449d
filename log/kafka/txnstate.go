package kafka

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gretestream/grete/log"
)

// The state of transactional ids is kept in the compacted topic
// __transaction_state, in Kafka's form:
//
//	key    2  version 0          value  2  version 0 or 1 (1 has compact arrays and tags)
//	       2+ transactional id          8  producer id
//	                                    2  producer epoch
//	                                    4  timeout, ms
//	                                    1  state, as kmsg.TransactionState has them
//	                                    4+ topics: 2+ name, 4+ partitions, 4 each; null if empty
//	                                    8  time of the last change, ms
//	                                    8  time of the transaction's begin, ms, or -1
//	                                    tags of version 1: 0 the producer id before this one,
//	                                      2 if it is 2: the same producer had the epoch before
//
// A null value forgets the id.
const (
	txnTopic        = "__transaction_state"
	txnKeyVersion   = 0
	txnValueVersion = 1
)

var txnPartition = log.TopicPartition{Topic: txnTopic}

// txnState is what a transactional id has come to. It is a value: a change makes
// another one, stores it, and only then takes its place.
type txnState struct {
	producer producerEpoch
	previous producerEpoch // of the same producer before the last bump, so that a repeated request is known
	timeout  time.Duration
	status   kmsg.TransactionState
	parts    []log.TopicPartition // of the transaction, sorted
	updated  log.Timestamp
	started  log.Timestamp // log.NoTimestamp: no transaction
}

// producerEpoch is one life of a producer.
type producerEpoch struct {
	id    int64
	epoch int16
}

var noProducer = producerEpoch{-1, -1}

// encode appends the record of a transactional id.
func (t *txnState) encode(b *log.Builder, id string) {
	key := kmsg.TxnMetadataKey{Version: txnKeyVersion, TransactionalID: id}
	value := kmsg.NewTxnMetadataValue()
	value.Version = txnValueVersion
	value.ProducerID, value.ProducerEpoch = t.producer.id, t.producer.epoch
	value.TimeoutMillis = int32(t.timeout.Milliseconds())
	value.State = t.status
	for _, tp := range t.parts {
		n := len(value.Topics)
		if n == 0 || value.Topics[n-1].Topic != tp.Topic {
			value.Topics = append(value.Topics, kmsg.TxnMetadataValueTopic{Topic: tp.Topic})
			n++
		}
		value.Topics[n-1].Partitions = append(value.Topics[n-1].Partitions, tp.Partition)
	}
	value.LastUpdateTimestamp, value.StartTimestamp = int64(t.updated), int64(t.started)
	if t.previous.id != t.producer.id {
		value.PreviousProducerID = t.previous.id
	} else {
		value.ClientTransactionVersion = txnVersion
	}
	b.Append(t.updated, key.AppendTo(nil), value.AppendTo(nil))
}

// decodeTxnState reads a record of the topic; ok is false if it is not one of a
// transactional id, and the state is nil for a tombstone.
func decodeTxnState(r *log.Record) (id string, t *txnState, ok bool, err error) {
	var key kmsg.TxnMetadataKey
	if err := key.ReadFrom(r.Key); err != nil {
		return "", nil, false, fmt.Errorf("decode key: %w", err)
	}
	if key.Version != txnKeyVersion {
		return "", nil, false, nil
	}
	if r.IsTombstone() {
		return key.TransactionalID, nil, true, nil
	}
	value := kmsg.NewTxnMetadataValue()
	if err := value.ReadFrom(r.Value); err != nil {
		return "", nil, false, fmt.Errorf("decode state of %q: %w", key.TransactionalID, err)
	}
	if value.Version < 0 || value.Version > txnValueVersion {
		return "", nil, false, fmt.Errorf("decode state of %q: version %d, want at most %d", key.TransactionalID, value.Version, txnValueVersion)
	}
	t = &txnState{
		producer: producerEpoch{value.ProducerID, value.ProducerEpoch},
		timeout:  time.Duration(value.TimeoutMillis) * time.Millisecond,
		status:   value.State,
		updated:  log.Timestamp(value.LastUpdateTimestamp),
		started:  log.Timestamp(value.StartTimestamp),
	}
	t.previous = noProducer
	switch {
	case value.PreviousProducerID >= 0:
		t.previous = producerEpoch{value.PreviousProducerID, lastEpoch}
	case value.ClientTransactionVersion >= txnVersion && value.ProducerEpoch > 0:
		t.previous = producerEpoch{value.ProducerID, value.ProducerEpoch - 1}
	}
	for _, topic := range value.Topics {
		for _, p := range topic.Partitions {
			t.parts = append(t.parts, log.TopicPartition{Topic: topic.Topic, Partition: p})
		}
	}
	slices.SortFunc(t.parts, compareTP)
	return key.TransactionalID, t, true, nil
}

func compareTP(a, b log.TopicPartition) int {
	if c := strings.Compare(a.Topic, b.Topic); c != 0 {
		return c
	}
	return int(a.Partition) - int(b.Partition)
}

// load reads the state of all transactional ids.
func (c *txns) load(ctx context.Context) error {
	b, err := c.l.Bounds(ctx, txnPartition)
	if errors.Is(err, log.ErrUnknownTopic) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("load transactions: %w", err)
	}
	r, err := c.l.OpenReader(txnPartition, b.Start, log.ReaderOptions{})
	if err != nil {
		return fmt.Errorf("load transactions: %w", err)
	}
	defer r.Close()
	for r.Position() < b.End {
		recs, err := r.Next(ctx)
		if err != nil {
			return fmt.Errorf("load transactions: %w", err)
		}
		for i := range recs {
			id, t, ok, err := decodeTxnState(&recs[i])
			switch {
			case err != nil:
				return fmt.Errorf("load transactions: offset %d: %w", recs[i].Offset, err)
			case ok && t == nil:
				delete(c.byID, id)
			case ok:
				c.byID[id] = &txn{id: id, txnState: *t}
			}
		}
	}
	return nil
}
