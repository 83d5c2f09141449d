package kafka

import (
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/gretestream/grete/log"
)

// codes are Kafka's error codes for the log's errors, the first that fits.
var codes = []struct {
	err  error
	code *kerr.Error
}{
	{log.ErrUnknownTopic, kerr.UnknownTopicOrPartition},
	{log.ErrUnknownPartition, kerr.UnknownTopicOrPartition},
	{log.ErrTopicExists, kerr.TopicAlreadyExists},
	{log.ErrOffsetOutOfRange, kerr.OffsetOutOfRange},
	{log.ErrFenced, kerr.InvalidProducerEpoch},
	{log.ErrTooLarge, kerr.MessageTooLarge},
	{log.ErrInvalidRecord, kerr.InvalidRecord},
	{log.ErrInvalidTimestamp, kerr.InvalidTimestamp},
	{log.ErrOutOfOrderSequence, kerr.OutOfOrderSequenceNumber},
	{log.ErrProducerFenced, kerr.InvalidProducerEpoch},
	{log.ErrInvalidTxnState, kerr.InvalidTxnState},
	{log.ErrInvalidBatch, kerr.CorruptMessage},
	{log.ErrInvalidTopic, kerr.InvalidTopicException},
	{log.ErrInvalidConfig, kerr.InvalidConfig},
	// What the disk is to blame for: clients try again, as with a broker whose
	// log directory went offline.
	{log.ErrReadOnly, kerr.KafkaStorageError},
	{log.ErrNoSpace, kerr.KafkaStorageError},
	{log.ErrCorrupt, kerr.KafkaStorageError},
	{log.ErrClosed, kerr.NotLeaderForPartition},
}

// code is Kafka's error code for an error of the log, or for one that is Kafka's
// already; 0 for none.
func code(err error) int16 {
	if err == nil {
		return 0
	}
	var ke *kerr.Error
	if errors.As(err, &ke) {
		return ke.Code
	}
	for _, c := range codes {
		if errors.Is(err, c.err) {
			return c.code.Code
		}
	}
	return kerr.UnknownServerError.Code
}

// unknownID is the error of who named a topic by its id: that is not known, where
// the topic is not.
func unknownID(err error) error {
	if errors.Is(err, log.ErrUnknownTopic) {
		return problemf(kerr.UnknownTopicID, "%v", err)
	}
	return err
}

// problem is what is wrong with a request: Kafka's code for it, and words.
type problem struct {
	code *kerr.Error
	text string
}

func problemf(code *kerr.Error, format string, args ...any) error {
	return &problem{code, fmt.Sprintf(format, args...)}
}

func (p *problem) Error() string { return p.text }
func (p *problem) Unwrap() error { return p.code }

// answerError is an error as administrators are answered: code and words.
func answerError(err error) (int16, *string) {
	if err == nil {
		return 0, nil
	}
	text := err.Error()
	return code(err), &text
}
