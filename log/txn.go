package log

import (
	"context"
	"errors"
)

// AbortedTxn is a transaction of one partition that was aborted.
type AbortedTxn struct {
	ProducerID  int64
	FirstOffset Offset // of its first record
	LastOffset  Offset // of the marker that ended it
}

// Aborted returns the transactions that were aborted and have records in
// [from, to) of a partition, ordered by their first offset.
func (l *Embedded) Aborted(tp TopicPartition, from, to Offset) ([]AbortedTxn, error) {
	_, err := l.partition(tp)
	return nil, err
}

// CommitTxnOffsets writes offsets of a group as part of a producer's
// transaction. They become the group's when the transaction is committed by a
// Marker in partition 0 of the internal topic of committed offsets, and vanish
// when it is aborted.
func (l *Embedded) CommitTxnOffsets(ctx context.Context, group string, pid int64, epoch int16, offsets []GroupOffset) error {
	return errors.ErrUnsupported
}

// PendingOffsets tells whether an open transaction has offsets of a group: for
// any of these partitions, or for any at all if none is named.
func (l *Embedded) PendingOffsets(group string, tps ...TopicPartition) bool { return false }
