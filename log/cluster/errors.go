package cluster

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/gretestream/grete/log"
)

// kinds are Kafka's errors that callers of a log.Log branch on, or can do
// something about.
var kinds = []struct {
	kafka  error
	is     error  // of package log, or nil
	advice string // or empty
}{
	{kerr.UnknownTopicOrPartition, log.ErrUnknownTopic, ""},
	{kerr.UnknownTopicID, log.ErrUnknownTopic, "it was deleted, or made anew"},
	{kerr.InconsistentTopicID, log.ErrUnknownTopic, "it was made anew"},
	{kerr.TopicAlreadyExists, log.ErrTopicExists, ""},
	{kerr.InvalidTopicException, log.ErrInvalidTopic, ""},
	{kerr.InvalidConfig, log.ErrInvalidConfig, ""},
	{kerr.InvalidPartitions, log.ErrInvalidConfig, ""},
	{kerr.InvalidReplicationFactor, log.ErrInvalidConfig, "the cluster has too few brokers: set replication=N in the log's URL"},
	{kerr.PolicyViolation, log.ErrInvalidConfig, ""},
	{kerr.OffsetOutOfRange, log.ErrOffsetOutOfRange, ""},
	{kerr.MessageTooLarge, log.ErrTooLarge, "raise max.message.bytes of the topic"},
	{kerr.RecordListTooLarge, log.ErrTooLarge, "raise segment.bytes of the topic"},
	{kerr.OffsetMetadataTooLarge, log.ErrTooLarge, ""},
	{kerr.CorruptMessage, log.ErrInvalidBatch, ""},
	{kerr.InvalidRecord, log.ErrInvalidRecord, ""},
	{kerr.InvalidTimestamp, log.ErrInvalidTimestamp, "set message.timestamp.before.max.ms and message.timestamp.after.max.ms of the topic"},
	{kerr.ProducerFenced, log.ErrFenced, ""},
	{kerr.InvalidProducerEpoch, log.ErrFenced, ""},
	{kerr.FencedInstanceID, log.ErrFenced, ""},
	{kerr.TopicAuthorizationFailed, nil, "give the user access to the topic"},
	{kerr.GroupAuthorizationFailed, nil, "give the user access to the group"},
	{kerr.TransactionalIDAuthorizationFailed, nil, "give the user access to the transactional id"},
	{kerr.ClusterAuthorizationFailed, nil, "give the user access to the cluster"},
	{kerr.SaslAuthenticationFailed, nil, "check user, password and sasl=MECHANISM in the log's URL"},
	{kerr.UnsupportedSaslMechanism, nil, "set sasl=MECHANISM in the log's URL to one that the cluster has"},
	{kerr.NotEnoughReplicas, nil, "brokers are missing: min.insync.replicas of the topic is not reached"},
	{kerr.InvalidTransactionTimeout, nil, "lower timeout in the log's URL, or raise transaction.max.timeout.ms of the cluster"},
	{kerr.KafkaStorageError, nil, "see the disk of the broker"},
}

// kafkaError is an error of a broker: its words, and the sentinel of package log
// that they stand for.
type kafkaError struct {
	err    error
	is     error // or nil
	advice string
}

func (e *kafkaError) Error() string {
	s := e.err.Error()
	if e.is != nil {
		s = fmt.Sprintf("%v (%v)", e.is, e.err)
	}
	if e.advice != "" {
		s += ": " + e.advice
	}
	return s
}

func (e *kafkaError) Unwrap() []error {
	if e.is == nil {
		return []error{e.err}
	}
	return []error{e.is, e.err}
}

// explain puts an error into the words of package log.
func explain(err error) error {
	var done *kafkaError
	if err == nil || errors.As(err, &done) {
		return err
	}
	if errors.Is(err, kgo.ErrClientClosed) {
		return &kafkaError{err: err, is: log.ErrClosed}
	}
	for _, k := range kinds {
		if errors.Is(err, k.kafka) {
			return &kafkaError{err, k.is, k.advice}
		}
	}
	return err
}

// coded is the error of a broker's code, with the broker's own words if it has any.
func coded(code int16, message *string) error {
	err := kerr.ErrorForCode(code)
	if err == nil || message == nil || *message == "" {
		return err
	}
	return fmt.Errorf("%w: %s", err, *message)
}

// mayPass tells that the same request may succeed later: the broker says so, or
// did not answer.
func mayPass(err error) bool {
	var ke *kerr.Error
	switch {
	case err == nil, errors.Is(err, context.Canceled), errors.Is(err, kgo.ErrClientClosed), errors.Is(err, log.ErrClosed):
		return false
	case errors.As(err, &ke):
		return ke.Retriable || errors.Is(err, kerr.ConcurrentTransactions) || errors.Is(err, kerr.UnstableOffsetCommit)
	case errors.As(err, new(x509.UnknownAuthorityError)), errors.As(err, new(x509.HostnameError)), errors.As(err, new(x509.CertificateInvalidError)),
		errors.As(err, new(tls.RecordHeaderError)), errors.As(err, new(tls.AlertError)):
		return false
	case errors.Is(err, log.ErrUnknownTopic), errors.Is(err, log.ErrUnknownPartition), errors.Is(err, log.ErrInvalidBatch):
		return false
	case errors.Is(err, ErrUnknownGroup), errors.Is(err, ErrGroupInUse):
		return false
	}
	return true // the network's
}

// again calls f until it succeeds, fails for good, or Options.Timeout is over.
func (l *Log) again(ctx context.Context, f func(ctx context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, l.opts.Timeout)
	defer cancel()
	var last error
	for tries := 1; ; tries++ {
		if err := l.usable(); err != nil {
			return err
		}
		err := f(ctx)
		if err == nil || !mayPass(err) && ctx.Err() == nil {
			return err
		}
		if ctx.Err() == nil {
			last = err
			l.m.retries.Inc(1)
			l.logger.Debug("request is sent again", "tries", tries, "err", err)
			if pause(ctx, backoff(tries)) {
				continue
			}
		}
		if errors.Is(ctx.Err(), context.DeadlineExceeded) && last != nil {
			return fmt.Errorf("gave up after %d tries: %w", tries, last)
		}
		return ctx.Err()
	}
}

// pause returns false if ctx ended before it was over.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
