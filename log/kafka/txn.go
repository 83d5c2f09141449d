package kafka

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gretestream/grete/log"
)

const (
	// maxTxnTimeout is transaction.max.timeout.ms.
	maxTxnTimeout = 15 * time.Minute
	// txnExpiry is transactional.id.expiration.ms.
	txnExpiry = 7 * 24 * time.Hour
	// txnSweep is how often transactions that time out are looked for.
	txnSweep = time.Second
	// txnVersion is the level of the feature transaction.version that is served.
	txnVersion = 2
	// lastEpoch is the highest that a producer is given; the next bump takes
	// another producer id. One above is left for the markers that fence it.
	lastEpoch = math.MaxInt16 - 1
)

// txns is the coordinator of all transactions.
//
// Apache Kafka's coordinator takes two steps to end a transaction, since the
// markers go to other brokers: it stores the decision, and then has the markers
// written. Here the new state, the markers of all partitions and the offsets that
// they make valid are one Commit of the log: a transaction has ended everywhere
// or nowhere, also after a crash, and nobody is ever told to try again later.
type txns struct {
	l   *log.Embedded
	now func() time.Time

	mu   sync.Mutex // guards byID
	byID map[string]*txn
}

// txn is one transactional id. Its lock is held while a step of it is stored, and
// while batches of it are admitted: none gets in behind the marker.
type txn struct {
	id string

	mu sync.Mutex // guards the fields below
	txnState
	gone bool // expired: look the id up again
}

func newTxns(l *log.Embedded, now func() time.Time) *txns {
	return &txns{l: l, now: now, byID: map[string]*txn{}}
}

// with runs fn on a transactional id, alone. It is INVALID_PRODUCER_ID_MAPPING
// if there is no such id.
func (c *txns) with(id string, fn func(t *txn) error) error {
	c.mu.Lock()
	t := c.byID[id]
	c.mu.Unlock()
	if t == nil {
		return kerr.InvalidProducerIDMapping
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.gone {
		return kerr.InvalidProducerIDMapping
	}
	return fn(t)
}

// obtain returns a transactional id, locked, and makes it if there is none.
func (c *txns) obtain(id string) *txn {
	for {
		c.mu.Lock()
		t := c.byID[id]
		if t == nil {
			t = &txn{id: id, txnState: txnState{producer: noProducer, previous: noProducer, started: log.NoTimestamp}}
			c.byID[id] = t
		}
		c.mu.Unlock()
		t.mu.Lock()
		if !t.gone {
			return t
		}
		t.mu.Unlock()
	}
}

// store makes next the state of t, durably, together with markers. The caller
// holds t.mu.
func (c *txns) store(ctx context.Context, t *txn, next txnState, markers []log.Marker) error {
	next.updated = log.TimestampOf(c.now())
	var b log.Builder
	next.encode(&b, t.id)
	commit := &log.Commit{
		Writes:  []log.Write{{TopicPartition: txnPartition, Batches: b.Bytes()}},
		Markers: markers,
	}
	_, err := c.l.Commit(ctx, commit)
	if errors.Is(err, log.ErrUnknownTopic) && c.makeTopic(ctx) == nil {
		_, err = c.l.Commit(ctx, commit)
	}
	if err != nil {
		return fmt.Errorf("store the state of transactional id %q: %w", t.id, err)
	}
	t.txnState = next
	return nil
}

// makeTopic makes the topic of states when it is needed for the first time.
func (c *txns) makeTopic(ctx context.Context) error {
	_, err := c.l.CreateTopic(ctx, log.TopicSpec{
		Name: txnTopic, Partitions: 1, Internal: true,
		Configs: map[string]string{"cleanup.policy": "compact", "segment.bytes": "16777216"},
	})
	if errors.Is(err, log.ErrTopicExists) {
		return nil
	}
	return err
}

// init gives a transactional id to a producer and ends what the one before it
// has left open. asker is the producer as it knows itself, or noProducer
// (KIP-360).
func (c *txns) init(ctx context.Context, id string, timeout time.Duration, asker producerEpoch) (producerEpoch, error) {
	if timeout <= 0 || timeout > maxTxnTimeout {
		return noProducer, kerr.InvalidTransactionTimeout
	}
	t := c.obtain(id)
	defer t.mu.Unlock()
	switch {
	case asker == noProducer || t.producer == noProducer || asker == t.producer:
	case asker == t.previous:
		return t.producer, nil // the answer was lost
	default:
		return noProducer, kerr.ProducerFenced
	}
	if t.status == kmsg.TransactionStateOngoing {
		if err := c.end(ctx, t, false, true); err != nil {
			return noProducer, err
		}
	}
	next := t.txnState
	next.timeout = timeout
	if err := c.bump(&next); err != nil {
		return noProducer, err
	}
	// Only who has asked under its own name may ask again: the producer that a new
	// one takes the id from must not get to be that one.
	next.previous = asker
	next.status, next.parts, next.started = kmsg.TransactionStateEmpty, nil, log.NoTimestamp
	if err := c.store(ctx, t, next, nil); err != nil {
		return noProducer, err
	}
	return t.producer, nil
}

// bump gives a state the next epoch, or the next producer id if there is none.
func (c *txns) bump(s *txnState) error {
	s.previous = s.producer
	if s.producer.id >= 0 && s.producer.epoch < lastEpoch {
		s.producer.epoch++
		return nil
	}
	id, err := c.l.NewProducerID()
	if err != nil {
		return err
	}
	s.producer = producerEpoch{id, 0}
	return nil
}

// check tells whether a request comes from the producer that owns t.
func (t *txn) check(p producerEpoch) error {
	switch {
	case p.id != t.producer.id:
		return kerr.InvalidProducerIDMapping
	case p.epoch != t.producer.epoch:
		return kerr.ProducerFenced
	}
	return nil
}

// add makes partitions part of the transaction, and begins one if none is open.
func (c *txns) add(ctx context.Context, id string, p producerEpoch, tps ...log.TopicPartition) error {
	return c.with(id, func(t *txn) error {
		if err := t.check(p); err != nil {
			return err
		}
		return c.addLocked(ctx, t, tps)
	})
}

func (c *txns) addLocked(ctx context.Context, t *txn, tps []log.TopicPartition) error {
	next := t.txnState
	if next.status != kmsg.TransactionStateOngoing {
		next.status, next.parts, next.started = kmsg.TransactionStateOngoing, nil, log.TimestampOf(c.now())
	}
	next.parts = slices.Clone(next.parts)
	for _, tp := range tps {
		if i, have := slices.BinarySearchFunc(next.parts, tp, compareTP); !have {
			next.parts = slices.Insert(next.parts, i, tp)
		}
	}
	if t.status == next.status && len(next.parts) == len(t.parts) {
		return nil
	}
	return c.store(ctx, t, next, nil)
}

// holds tells whether a partition is part of the open transaction.
func (t *txn) holds(tp log.TopicPartition) bool {
	_, have := slices.BinarySearchFunc(t.parts, tp, compareTP)
	return t.status == kmsg.TransactionStateOngoing && have
}

// write admits batches or offsets of a transaction: none of it can come in behind
// the marker that ends it. Partitions that are not part of it are refused, or
// added if implicit is set (KIP-890).
func (c *txns) write(ctx context.Context, id string, p producerEpoch, implicit bool, tps []log.TopicPartition, admit func()) error {
	return c.with(id, func(t *txn) error {
		if err := t.check(p); err != nil {
			return err
		}
		if implicit {
			if err := c.addLocked(ctx, t, tps); err != nil {
				return err
			}
		}
		for _, tp := range tps {
			if !t.holds(tp) {
				return kerr.InvalidTxnState
			}
		}
		admit()
		return nil
	})
}

// finish ends a transaction as its producer asks for. With bump the producer gets
// a new epoch with every end (KIP-890), and may ask for the end of nothing.
func (c *txns) finish(ctx context.Context, id string, p producerEpoch, commit, bump bool) (producerEpoch, error) {
	now := noProducer
	err := c.with(id, func(t *txn) error {
		ended := kmsg.TransactionStateCompleteAbort
		if commit {
			ended = kmsg.TransactionStateCompleteCommit
		}
		if bump && p == t.previous && p != noProducer && t.status == ended {
			now = t.producer // the answer was lost
			return nil
		}
		if err := t.check(p); err != nil {
			return err
		}
		switch {
		case t.status == kmsg.TransactionStateOngoing, bump && !commit:
			if err := c.end(ctx, t, commit, bump); err != nil {
				return err
			}
		case !bump && t.status == ended: // asked again
		default:
			return kerr.InvalidTxnState
		}
		now = t.producer
		return nil
	})
	return now, err
}

// end writes the markers of a transaction with its new state. With bump they have
// the next epoch, so that what the producer still has under way is refused.
func (c *txns) end(ctx context.Context, t *txn, commit, bump bool) error {
	next := t.txnState
	marker := log.Marker{ProducerID: t.producer.id, ProducerEpoch: t.producer.epoch, Commit: commit}
	if bump {
		marker.ProducerEpoch++
		if err := c.bump(&next); err != nil {
			return err
		}
	}
	var markers []log.Marker
	for _, tp := range t.parts {
		if _, err := c.l.Bounds(ctx, tp); errors.Is(err, log.ErrUnknownTopic) {
			continue // deleted, and the transaction with it
		}
		marker.TopicPartition = tp
		markers = append(markers, marker)
	}
	next.status = kmsg.TransactionStateCompleteAbort
	if commit {
		next.status = kmsg.TransactionStateCompleteCommit
	}
	next.parts, next.started = nil, log.NoTimestamp
	err := c.store(ctx, t, next, markers)
	if errors.Is(err, log.ErrProducerFenced) {
		if markers, err = c.passable(markers); err == nil {
			err = c.store(ctx, t, next, markers)
		}
	}
	return err
}

// passable makes markers such as their partitions take. The coordinator is the
// only one there is, whatever WriteTxnMarkers has said; and where somebody has
// written under the producer's id with a later epoch, which only a producer
// without a transaction can, nothing is open. So nobody keeps transactions of
// others from ending.
func (c *txns) passable(markers []log.Marker) (due []log.Marker, err error) {
	for _, m := range markers {
		known, err := c.l.Producers(m.TopicPartition)
		if err != nil && !errors.Is(err, log.ErrUnknownTopic) {
			return nil, err
		}
		fenced := false
		for i := range known {
			if p := &known[i]; p.ProducerID == m.ProducerID {
				m.CoordinatorEpoch = max(m.CoordinatorEpoch, p.CoordinatorEpoch)
				fenced = p.Epoch > m.ProducerEpoch && p.TxnStart < 0
			}
		}
		if !fenced {
			due = append(due, m)
		}
	}
	return due, nil
}

// all returns all transactional ids, by name.
func (c *txns) all() []*txn {
	c.mu.Lock()
	defer c.mu.Unlock()
	list := make([]*txn, 0, len(c.byID))
	for _, t := range c.byID {
		list = append(list, t)
	}
	slices.SortFunc(list, func(a, b *txn) int {
		if a.id < b.id {
			return -1
		}
		return 1
	})
	return list
}

// sweep aborts transactions that have taken too long and forgets ids that nobody
// has used for long.
func (c *txns) sweep(ctx context.Context) error {
	now := c.now()
	var errs []error
	for _, t := range c.all() {
		t.mu.Lock()
		switch {
		case t.status == kmsg.TransactionStateOngoing && now.Sub(t.started.Time()) > t.timeout:
			errs = append(errs, c.end(ctx, t, false, true))
		case t.status != kmsg.TransactionStateOngoing && t.producer != noProducer && now.Sub(t.updated.Time()) > txnExpiry:
			errs = append(errs, c.forget(ctx, t))
		}
		t.mu.Unlock()
	}
	return errors.Join(errs...)
}

// forget removes a transactional id. The caller holds t.mu.
func (c *txns) forget(ctx context.Context, t *txn) error {
	var b log.Builder
	key := kmsg.TxnMetadataKey{Version: txnKeyVersion, TransactionalID: t.id}
	b.Append(log.TimestampOf(c.now()), key.AppendTo(nil), nil)
	if _, err := c.l.Append(ctx, txnPartition, b.Bytes()); err != nil {
		return fmt.Errorf("forget transactional id %q: %w", t.id, err)
	}
	t.gone = true
	c.mu.Lock()
	delete(c.byID, t.id)
	c.mu.Unlock()
	return nil
}
