package log

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
)

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

// producedBatches is how many batches of a producer are remembered, as many as
// a client may have in flight.
const producedBatches = 5

// producerState is what a partition remembers of one producer. It is never
// changed: a batch makes a new one. So a failed journal write puts the old one
// back, and what a snapshot takes down is a copy of pointers.
//
// What is right is what Kafka's ProducerStateManager and ProducerAppendInfo
// hold for right.
type producerState struct {
	epoch            int16
	coordinatorEpoch int32     // of the last marker, or -1
	seen             Timestamp // append time of the last batch or marker
	txnStart         Offset    // first offset of the open transaction, or -1
	n                int       // of last
	last             [producedBatches]producedBatch
}

// producedBatch is one batch of a producer, oldest first in producerState.
type producedBatch struct {
	lastSequence int32
	delta        int32  // of the last record to the first, in offsets and sequences
	lastOffset   Offset // of the last record
	maxTime      Timestamp
}

func (b *producedBatch) firstSequence() int32 {
	if b.lastSequence >= b.delta {
		return b.lastSequence - b.delta
	}
	return math.MaxInt32 - (b.delta - b.lastSequence) + 1 // it went round
}

func (b *producedBatch) base() Offset { return b.lastOffset - Offset(b.delta) }

// noProducer is the state of a producer that is not known.
var noProducer = &producerState{epoch: -1, coordinatorEpoch: -1, txnStart: -1}

// lastSequence is that of the last record in this epoch, or -1.
func (s *producerState) lastSequence() int32 {
	if s.n == 0 {
		return -1
	}
	return s.last[s.n-1].lastSequence
}

// addSequence is the sequence n records on: after the largest comes 0.
func addSequence(sequence, n int32) int32 {
	if sequence > math.MaxInt32-n {
		return n - (math.MaxInt32 - sequence) - 1
	}
	return sequence + n
}

// duplicate returns the remembered batch that info is a second copy of, or nil.
func (s *producerState) duplicate(info *BatchInfo) *producedBatch {
	if info.ProducerEpoch != s.epoch {
		return nil
	}
	last := addSequence(info.BaseSequence, info.LastOffsetDelta)
	for i := range s.last[:s.n] {
		if b := &s.last[i]; b.lastSequence == last && b.firstSequence() == info.BaseSequence {
			return b
		}
	}
	return nil
}

// check tells whether a batch may follow: of a client in the order of its
// sequence, of the log itself (committed offsets) only under its epoch.
func (s *producerState) check(info *BatchInfo, client bool) error {
	if info.ProducerEpoch < s.epoch {
		return fmt.Errorf("%w: producer %d has epoch %d, the last seen is %d", ErrProducerFenced, info.ProducerID, info.ProducerEpoch, s.epoch)
	}
	if client {
		want := int32(0)
		switch {
		case s == noProducer && !info.IsTransactional():
			want = info.BaseSequence // all it wrote may be gone: go on from there
		case info.ProducerEpoch == s.epoch && s.n > 0:
			want = addSequence(s.lastSequence(), 1)
		}
		if info.BaseSequence != want {
			return fmt.Errorf("%w: producer %d, epoch %d: sequence %d, want %d", ErrOutOfOrderSequence, info.ProducerID, info.ProducerEpoch, info.BaseSequence, want)
		}
	}
	if s.txnStart >= 0 && !info.IsTransactional() {
		return fmt.Errorf("%w: producer %d has a transaction open since offset %d, this batch is not part of it", ErrInvalidTxnState, info.ProducerID, s.txnStart)
	}
	return nil
}

// inEpoch is a copy of s in an epoch: a new one has no sequence yet.
func (s *producerState) inEpoch(epoch int16, now Timestamp) *producerState {
	next := *s
	next.seen = now
	if epoch != s.epoch {
		next.epoch, next.n = epoch, 0
	}
	return &next
}

// withBatch is the state after a batch, whose offset is set.
func (s *producerState) withBatch(info *BatchInfo, now Timestamp) *producerState {
	next := s.inEpoch(info.ProducerEpoch, now)
	if info.BaseSequence >= 0 {
		if next.n == producedBatches {
			copy(next.last[:], next.last[1:])
			next.n--
		}
		next.last[next.n] = producedBatch{
			lastSequence: addSequence(info.BaseSequence, info.LastOffsetDelta), delta: info.LastOffsetDelta,
			lastOffset: info.LastOffset(), maxTime: info.MaxTimestamp,
		}
		next.n++
	}
	if info.IsTransactional() && next.txnStart < 0 {
		next.txnStart = info.BaseOffset
	}
	return next
}

// checkMarker tells whether a marker may end the producer's transaction.
func (s *producerState) checkMarker(m *Marker) error {
	switch {
	case m.ProducerEpoch < s.epoch:
		return fmt.Errorf("%w: marker of producer %d has epoch %d, the last seen is %d", ErrProducerFenced, m.ProducerID, m.ProducerEpoch, s.epoch)
	case m.CoordinatorEpoch < s.coordinatorEpoch:
		return fmt.Errorf("%w: marker of producer %d has coordinator epoch %d, the last seen is %d", ErrProducerFenced, m.ProducerID, m.CoordinatorEpoch, s.coordinatorEpoch)
	}
	return nil
}

// withMarker is the state after the end of a transaction.
func (s *producerState) withMarker(epoch int16, coordinatorEpoch int32, now Timestamp) *producerState {
	next := s.inEpoch(epoch, now)
	next.coordinatorEpoch, next.txnStart = coordinatorEpoch, -1
	return next
}

func (s *producerState) describe(id int64) ProducerState {
	return ProducerState{
		ProducerID: id, Epoch: s.epoch, LastSequence: s.lastSequence(), LastTimestamp: s.seen,
		CoordinatorEpoch: s.coordinatorEpoch, TxnStart: s.txnStart,
	}
}

// producers are the producers that a partition remembers, by id; guarded by
// Embedded.mu. They are as of the last batch admitted, which may be ahead of
// what is durable.
type producers map[int64]*producerState

func (ps producers) get(id int64) *producerState {
	if s := ps[id]; s != nil {
		return s
	}
	return noProducer
}

// producerUndo is what a producer's state was before a batch; nil: not known.
type producerUndo struct {
	id  int64
	was *producerState
}

// admitProducerLocked checks one batch of a part against what is known of its
// producer, and takes it in. info has its offset.
func (l *Embedded) admitProducerLocked(pt *part, info *BatchInfo, now Timestamp) error {
	ps := pt.p.producers
	s := ps.get(info.ProducerID)
	var next *producerState
	switch {
	case pt.marker != nil:
		if err := s.checkMarker(pt.marker); err != nil {
			return err
		}
		next = s.withMarker(info.ProducerEpoch, pt.marker.CoordinatorEpoch, now)
	case pt.origin == fromLog:
		return fmt.Errorf("%w: it names producer %d, which only Produce takes", ErrInvalidBatch, info.ProducerID)
	default:
		if err := s.check(info, pt.origin == fromClient); err != nil {
			return err
		}
		next = s.withBatch(info, now)
	}
	pt.txn = pt.txn || info.IsTransactional()
	if s == noProducer {
		pt.undo = append(pt.undo, producerUndo{info.ProducerID, nil})
		if l.producers++; l.producers > l.opts.MaxProducers {
			l.forgetProducersLocked()
		}
		if pt.p.producers == nil {
			pt.p.producers = producers{}
		}
	} else {
		pt.undo = append(pt.undo, producerUndo{info.ProducerID, s})
	}
	pt.p.producers[info.ProducerID] = next
	return nil
}

// undoPart puts back, in ps, what the batches of a part changed.
func (ps producers) undo(pt *part) {
	if ps == nil {
		return
	}
	for _, u := range slices.Backward(pt.undo) {
		if u.was == nil {
			delete(ps, u.id)
		} else {
			ps[u.id] = u.was
		}
	}
}

func producersOf(p *partition) producers { return p.producers }

// undo puts back what all entries of a group changed, the last first.
func (g *group) undo(of func(*partition) producers) {
	if g == nil {
		return
	}
	for _, en := range slices.Backward(g.entries) {
		for i := range slices.Backward(en.parts) {
			if pt := &en.parts[i]; len(pt.undo) > 0 {
				of(pt.p).undo(pt)
			}
		}
	}
}

// durableProducers are copies of the producers of partitions, less what is not
// durable yet. The caller is the applier, and holds mu.
func (l *Embedded) durableProducersLocked(of []*partition) map[*partition]producers {
	copies := map[*partition]producers{}
	for _, p := range of {
		if len(p.producers) > 0 {
			copies[p] = maps.Clone(p.producers)
		}
	}
	find := func(p *partition) producers { return copies[p] }
	l.pending.undo(find)
	l.storing.undo(find)
	return copies
}

// forgetProducersLocked makes room when more producers are known than may be: a
// quarter goes, as if they had expired. Those that never ended a transaction go
// first, and of them those that have been silent longest: the next batch of such
// a one is taken at any sequence, as that of a new producer. Of one that did, it
// would not be; so they go only when there are hardly others, and never while a
// transaction is open, however many these are.
func (l *Embedded) forgetProducersLocked() {
	type idle struct {
		from producers
		id   int64
		s    *producerState
	}
	var list []idle
	l.producers = 1 // the one that there is no room for
	_ = l.eachPartition(func(p *partition) error {
		l.producers += len(p.producers)
		for id, s := range p.producers {
			if s.txnStart < 0 {
				list = append(list, idle{p.producers, id, s})
			}
		}
		return nil
	})
	most := l.opts.MaxProducers
	if l.producers > most { // or else the others went with their topics
		slices.SortFunc(list, func(a, b idle) int {
			if a.s.hadTxn() != b.s.hadTxn() {
				if b.s.hadTxn() {
					return -1
				}
				return 1
			}
			return cmp.Compare(a.s.seen, b.s.seen)
		})
		gone := min(max(most/4, l.producers-most), len(list))
		for _, i := range list[:gone] {
			delete(i.from, i.id)
		}
		l.m.producersForgotten.Inc(int64(gone))
		// Where open transactions fill it all, not every new producer is to look at
		// all the others: some more are let in before the next one does.
		l.producers = min(l.producers-gone, most-most/8)
	}
}

// hadTxn tells whether the producer has ended a transaction.
func (s *producerState) hadTxn() bool { return s.coordinatorEpoch >= 0 }

// dropProducersLocked forgets producers that were last heard of at or before a
// time, another for those that have ended a transaction; none whose transaction
// is open. It returns how many.
func (l *Embedded) dropProducersLocked(before, txnBefore Timestamp) (gone int) {
	_ = l.eachPartition(func(p *partition) error {
		for id, s := range p.producers {
			limit := before
			if s.hadTxn() {
				limit = txnBefore
			}
			if s.seen <= limit && s.txnStart < 0 {
				delete(p.producers, id)
				gone++
			}
		}
		return nil
	})
	l.producers -= gone
	return gone
}

// txnExpiry is how much longer than others a transactional producer is
// remembered, as a transactional id is by Kafka's coordinator: its sequence goes
// on after a transaction, so it must not be taken for a new one.
const txnExpiry = 7

// expireProducers forgets the producers that were silent for ProducerExpiry.
func (l *Embedded) expireProducers() {
	now, after := l.now(), Timestamp(l.opts.ProducerExpiry.Milliseconds())
	l.mu.Lock()
	defer l.mu.Unlock()
	l.m.producersExpired.Inc(int64(l.dropProducersLocked(now-after, now-txnExpiry*after)))
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
	p, err := l.partition(tp)
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	list := make([]ProducerState, 0, len(p.producers))
	for _, id := range slices.Sorted(maps.Keys(p.producers)) {
		list = append(list, p.producers[id].describe(id))
	}
	return list, nil
}
