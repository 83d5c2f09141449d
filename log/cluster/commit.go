package cluster

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gretestream/grete/log"
)

// Append implements log.Log.
func (l *Log) Append(ctx context.Context, tp log.TopicPartition, batches []byte) (log.Offset, error) {
	if len(batches) == 0 {
		b, err := l.Bounds(ctx, tp)
		return b.End, err
	}
	offsets, err := l.append(ctx, []log.Write{{TopicPartition: tp, Batches: batches}})
	if err != nil {
		return 0, fmt.Errorf("append to %s: %w", tp, explain(err))
	}
	return offsets[0], nil
}

// append writes without a transaction, by any producer that is free.
func (l *Log) append(ctx context.Context, writes []log.Write) ([]log.Offset, error) {
	var p *producer
	select {
	case p = <-l.plain:
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-l.ctx.Done():
		return nil, log.ErrClosed
	}
	defer func() { l.plain <- p }()
	if p == nil {
		made, err := l.newProducer("")
		if err != nil {
			return nil, err
		}
		p = made
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.appendLocked(ctx, writes)
}

func (p *producer) appendLocked(ctx context.Context, writes []log.Write) ([]log.Offset, error) {
	if p.id < 0 {
		if err := p.initLocked(ctx); err != nil {
			return nil, err
		}
	}
	offsets, err := p.produceLocked(ctx, writes, false)
	if err != nil {
		// What became of the sequence numbers is not known: begin again with
		// another id.
		p.id = -1
	}
	return offsets, err
}

// Fence implements log.Log. It waits until transactions of earlier lives have
// ended, so that their records are visible or will never be.
//
// An Epoch is made of the producer id and epoch that the cluster gave out: it
// rises as long as the cluster counts on, which it does for a name that is in use.
func (l *Log) Fence(ctx context.Context, name string) (log.Epoch, error) {
	epoch, err := l.fence(ctx, name)
	if err != nil {
		return 0, fmt.Errorf("fence %s: %w", name, explain(err))
	}
	return epoch, nil
}

func (l *Log) fence(ctx context.Context, name string) (log.Epoch, error) {
	if name == "" {
		return 0, errors.New("no name")
	}
	p, err := l.named(name)
	if err != nil {
		return 0, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cl == nil {
		return 0, log.ErrClosed
	}
	if err := p.initLocked(ctx); err != nil {
		return 0, err
	}
	// Clusters count ids from 0 on; of those that draw them the low bits must do.
	p.life = max(p.life, log.Epoch(p.id&(1<<46-1)<<16|int64(p.epoch))) + 1
	return p.life, nil
}

// named returns the producer of a name, made if there is none.
func (l *Log) named(name string) (*producer, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.mu.closed {
		return nil, log.ErrClosed
	}
	p := l.mu.producers[name]
	if p == nil {
		var err error
		if p, err = l.newProducer(name); err != nil {
			return nil, err
		}
		l.mu.producers[name] = p
	}
	return p, nil
}

// Commit implements log.Log. Without a producer, one write is a plain append, and
// offsets alone are one request; all else is a transaction under a name of its own.
func (l *Log) Commit(ctx context.Context, c *log.Commit) ([]log.Offset, error) {
	offsets, err := l.commit(ctx, c)
	if errors.Is(err, kerr.ProducerFenced) || errors.Is(err, kerr.InvalidProducerEpoch) {
		l.m.fenced.Inc(1)
	}
	switch {
	case err != nil && c.Producer != "":
		return nil, fmt.Errorf("commit of %s: %w", c.Producer, explain(err))
	case err != nil:
		return nil, fmt.Errorf("commit: %w", explain(err))
	}
	l.m.commits.Inc(1)
	return offsets, nil
}

func (l *Log) commit(ctx context.Context, c *log.Commit) ([]log.Offset, error) {
	s, err := newStep(c)
	if err != nil {
		return nil, err
	}
	if err := l.usable(); err != nil {
		return nil, err
	}
	switch {
	case c.Producer != "":
		err = l.commitAs(ctx, c, s)
	case len(s.writes)+len(s.offsets) == 0:
	case c.AtLeastOnce || len(s.writes) == 0 || len(s.writes) == 1 && len(s.offsets) == 0:
		err = l.commitPlain(ctx, s)
	default:
		err = l.commitNameless(ctx, s)
	}
	if err == nil && len(s.forgotten) > 0 {
		err = l.forgetOffsets(ctx, c.Group, s.forgotten)
	}
	if err != nil {
		return nil, err
	}
	return l.inOrder(ctx, c, s)
}

// step is a Commit sorted into what is to be done.
type step struct {
	group     string
	writes    []log.Write // those that hold anything
	offsets   []log.GroupOffset
	forgotten []log.GroupOffset // negative offsets
	bases     []log.Offset      // of writes
}

func newStep(c *log.Commit) (*step, error) {
	s := &step{group: c.Group}
	if len(c.Markers) > 0 {
		return nil, fmt.Errorf("%d markers: %w: a cluster ends its transactions itself", len(c.Markers), errors.ErrUnsupported)
	}
	if len(c.Offsets) > 0 && c.Group == "" {
		return nil, errors.New("offsets without a group")
	}
	seen := make(map[log.TopicPartition]bool, len(c.Writes))
	for _, w := range c.Writes {
		if seen[w.TopicPartition] {
			return nil, fmt.Errorf("two writes to %s, want at most one", w.TopicPartition)
		}
		seen[w.TopicPartition] = true
		if len(w.Batches) > 0 {
			s.writes = append(s.writes, w)
		}
	}
	for _, o := range c.Offsets {
		if o.Offset < 0 {
			s.forgotten = append(s.forgotten, o)
		} else {
			s.offsets = append(s.offsets, o)
		}
	}
	return s, nil
}

// inOrder returns the offset of the first record of each write of c.
func (l *Log) inOrder(ctx context.Context, c *log.Commit, s *step) ([]log.Offset, error) {
	offsets := make([]log.Offset, len(c.Writes))
	next := 0
	for i, w := range c.Writes {
		if len(w.Batches) > 0 {
			offsets[i] = s.bases[next]
			next++
			continue
		}
		b, err := l.Bounds(ctx, w.TopicPartition)
		if err != nil {
			return nil, err
		}
		offsets[i] = b.End
	}
	return offsets, nil
}

// commitPlain makes the writes one after the other, as far as that says anything:
// all but the last, then the last, then the offsets.
func (l *Log) commitPlain(ctx context.Context, s *step) error {
	last := max(len(s.writes)-1, 0)
	for _, writes := range [][]log.Write{s.writes[:last], s.writes[last:]} {
		if len(writes) == 0 {
			continue
		}
		offsets, err := l.append(ctx, writes)
		if err != nil {
			return err
		}
		s.bases = append(s.bases, offsets...)
	}
	return l.commitOffsets(ctx, s)
}

// commitNameless is a transaction of nobody in particular: of a name that nobody
// else knows, so nobody fences it. Names are used again, for a cluster remembers
// each for days.
func (l *Log) commitNameless(ctx context.Context, s *step) error {
	p, err := l.takeNameless()
	if err != nil {
		return err
	}
	p.mu.Lock()
	if p.id < 0 {
		err = p.initLocked(ctx)
	}
	if err == nil {
		err = p.transactLocked(ctx, s)
	}
	p.mu.Unlock()
	l.mu.Lock()
	keep := !l.mu.closed
	if keep {
		l.mu.nameless = append(l.mu.nameless, p)
	}
	l.mu.Unlock()
	if !keep {
		p.close()
	}
	return err
}

func (l *Log) takeNameless() (*producer, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.mu.closed {
		return nil, log.ErrClosed
	}
	if n := len(l.mu.nameless); n > 0 {
		p := l.mu.nameless[n-1]
		l.mu.nameless = l.mu.nameless[:n-1]
		return p, nil
	}
	return l.newProducer("grete-" + randomID())
}

func randomID() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

// commitAs makes the step of a named producer.
func (l *Log) commitAs(ctx context.Context, c *log.Commit, s *step) error {
	l.mu.Lock()
	p, closed := l.mu.producers[c.Producer], l.mu.closed
	l.mu.Unlock()
	switch {
	case closed:
		return log.ErrClosed
	case p == nil:
		return fmt.Errorf("%w: epoch %d was not given out by this log: fence first", log.ErrFenced, c.Epoch)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.cl == nil:
		return log.ErrClosed
	case c.Epoch != p.life:
		return fmt.Errorf("%w: epoch %d, want %d", log.ErrFenced, c.Epoch, p.life)
	case c.AtLeastOnce:
		return l.commitPlain(ctx, s)
	case p.id < 0:
		return errUnsettled
	case len(s.writes)+len(s.offsets) == 0:
		return nil
	}
	return p.transactLocked(ctx, s)
}

// transactLocked makes one transaction of a step:
//
//	             ┌ produce, in parallel to all leaders ┐
//	[add] ───────┤                                     ├─── end
//	             └ [add offsets], offsets              ┘
//
// Where partitions join a transaction by being written to (KIP-890), the two in
// brackets are not needed: two round trips are left.
func (p *producer) transactLocked(ctx context.Context, s *step) error {
	for i := range s.writes { // nothing is begun that cannot be ended
		if _, err := p.l.placeAgain(ctx, s.writes[i].TopicPartition); err != nil {
			return err
		}
	}
	err := p.fillLocked(ctx, s)
	if err != nil {
		return errors.Join(err, p.abortLocked(ctx, err))
	}
	if err := p.endLocked(ctx, true); err != nil {
		p.id = -1 // committed or not: the next Fence settles it
		return fmt.Errorf("end transaction: %w", err)
	}
	return nil
}

func (p *producer) fillLocked(ctx context.Context, s *step) error {
	if !p.l.implicit && len(s.writes) > 0 {
		if err := p.addPartitions(ctx, s.writes); err != nil {
			return fmt.Errorf("add partitions to the transaction: %w", err)
		}
	}
	offsetsDone := make(chan error, 1)
	offsetsCtx, cancel := context.WithCancel(ctx)
	defer cancel()
	if len(s.offsets) > 0 {
		go func() { offsetsDone <- p.transactOffsets(offsetsCtx, s) }()
	} else {
		offsetsDone <- nil
	}
	var err error
	if s.bases, err = p.produceLocked(ctx, s.writes, true); err != nil {
		cancel()
	}
	errOffsets := <-offsetsDone
	if err == nil && errOffsets != nil {
		err = fmt.Errorf("commit offsets of group %q: %w", s.group, errOffsets)
	}
	return err
}

// abortTimeout bounds the try to end a failed transaction at once. Without it the
// next Fence does.
const abortTimeout = 5 * time.Second

// abortLocked gives up a transaction because of an error. If that works out the
// producer may go on; else it has to be fenced.
func (p *producer) abortLocked(ctx context.Context, because error) error {
	p.l.m.aborts.Inc(1)
	if isFenced(because) {
		p.id = -1
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), abortTimeout)
	defer cancel()
	err := p.endLocked(ctx, false)
	if errors.Is(err, kerr.InvalidTxnState) {
		err = nil // it had not begun
	}
	if err != nil {
		p.id = -1
		return fmt.Errorf("abort: %w", err)
	}
	if !p.l.implicit {
		p.id = -1 // the epoch is the same, and which sequence numbers it has used is not known
	}
	return nil
}

func isFenced(err error) bool {
	return errors.Is(err, kerr.ProducerFenced) || errors.Is(err, kerr.InvalidProducerEpoch)
}

// endLocked commits or aborts.
func (p *producer) endLocked(ctx context.Context, commit bool) error {
	req := kmsg.NewPtrEndTxnRequest()
	req.TransactionalID, req.ProducerID, req.ProducerEpoch, req.Commit = p.name, p.id, p.epoch, commit
	return p.l.again(ctx, func(ctx context.Context) error {
		resp, err := req.RequestWith(ctx, p.cl)
		if err == nil {
			err = kerr.ErrorForCode(resp.ErrorCode)
		}
		if err == nil && resp.Version >= 5 && resp.ProducerID >= 0 {
			p.becomeLocked(resp.ProducerID, resp.ProducerEpoch)
		}
		return err
	})
}

func (p *producer) addPartitions(ctx context.Context, writes []log.Write) error {
	req := kmsg.NewPtrAddPartitionsToTxnRequest()
	req.TransactionalID, req.ProducerID, req.ProducerEpoch = p.name, p.id, p.epoch
	for _, of := range byTopic(writes, partitionOfWrite) {
		t := kmsg.NewAddPartitionsToTxnRequestTopic()
		t.Topic = of.topic
		for _, w := range of.parts {
			t.Partitions = append(t.Partitions, w.Partition)
		}
		req.Topics = append(req.Topics, t)
	}
	return p.l.again(ctx, func(ctx context.Context) error {
		resp, err := req.RequestWith(ctx, p.cl)
		if err != nil {
			return err
		}
		errs := []error{kerr.ErrorForCode(resp.ErrorCode)}
		for i := range resp.Topics {
			for j := range resp.Topics[i].Partitions {
				errs = append(errs, kerr.ErrorForCode(resp.Topics[i].Partitions[j].ErrorCode))
			}
		}
		return worst(errs)
	})
}

// worst is the first error that does not pass, or the first. One that says only
// that there are others counts least.
func worst(errs []error) error {
	var w error
	for _, err := range errs {
		if err != nil && (w == nil || errors.Is(w, kerr.OperationNotAttempted) || mayPass(w) && !mayPass(err) && !errors.Is(err, kerr.OperationNotAttempted)) {
			w = err
		}
	}
	return w
}

// transactOffsets adds the step's offsets to the transaction.
func (p *producer) transactOffsets(ctx context.Context, s *step) error {
	if !p.l.implicit {
		add := kmsg.NewPtrAddOffsetsToTxnRequest()
		add.TransactionalID, add.ProducerID, add.ProducerEpoch, add.Group = p.name, p.id, p.epoch, s.group
		if err := p.l.again(ctx, func(ctx context.Context) error {
			resp, err := add.RequestWith(ctx, p.cl)
			if err == nil {
				err = kerr.ErrorForCode(resp.ErrorCode)
			}
			return err
		}); err != nil {
			return err
		}
	}
	req := kmsg.NewPtrTxnOffsetCommitRequest()
	req.TransactionalID, req.ProducerID, req.ProducerEpoch, req.Group = p.name, p.id, p.epoch, s.group
	req.Generation = -1
	for _, of := range byTopic(s.offsets, partitionOfOffset) {
		t := kmsg.NewTxnOffsetCommitRequestTopic()
		t.Topic = of.topic
		for _, o := range of.parts {
			rp := kmsg.NewTxnOffsetCommitRequestTopicPartition()
			rp.Partition, rp.Offset, rp.LeaderEpoch, rp.Metadata = o.Partition, int64(o.Offset), o.LeaderEpoch, &o.Metadata
			t.Partitions = append(t.Partitions, rp)
		}
		req.Topics = append(req.Topics, t)
	}
	return p.l.again(ctx, func(ctx context.Context) error {
		resp, err := req.RequestWith(ctx, p.cl)
		if err != nil {
			return err
		}
		var errs []error
		for i := range resp.Topics {
			for j := range resp.Topics[i].Partitions {
				errs = append(errs, kerr.ErrorForCode(resp.Topics[i].Partitions[j].ErrorCode))
			}
		}
		return worst(errs)
	})
}

// commitOffsets commits offsets without a transaction. If the group has a member
// here it is that one's commit: a group with members takes no other.
func (l *Log) commitOffsets(ctx context.Context, s *step) error {
	if len(s.offsets) == 0 {
		return nil
	}
	return l.again(ctx, func(ctx context.Context) error {
		req := kmsg.NewPtrOffsetCommitRequest()
		req.Group, req.Generation = s.group, -1
		if m := l.memberOf(s.group); m != nil {
			req.MemberID, req.Generation = m.identity()
		}
		req.Topics = committed(s.offsets)
		resp, err := req.RequestWith(ctx, l.admin)
		if err != nil {
			return err
		}
		var errs []error
		for i := range resp.Topics {
			for j := range resp.Topics[i].Partitions {
				errs = append(errs, kerr.ErrorForCode(resp.Topics[i].Partitions[j].ErrorCode))
			}
		}
		return worst(errs)
	})
}

// committed are offsets as OffsetCommit has them.
func committed(offsets []log.GroupOffset) (topics []kmsg.OffsetCommitRequestTopic) {
	for _, of := range byTopic(offsets, partitionOfOffset) {
		t := kmsg.NewOffsetCommitRequestTopic()
		t.Topic = of.topic
		for _, o := range of.parts {
			rp := kmsg.NewOffsetCommitRequestTopicPartition()
			rp.Partition, rp.Offset, rp.LeaderEpoch, rp.Metadata = o.Partition, int64(o.Offset), o.LeaderEpoch, &o.Metadata
			t.Partitions = append(t.Partitions, rp)
		}
		topics = append(topics, t)
	}
	return topics
}

// forgetOffsets removes committed offsets.
func (l *Log) forgetOffsets(ctx context.Context, group string, offsets []log.GroupOffset) error {
	req := kmsg.NewPtrOffsetDeleteRequest()
	req.Group = group
	for _, of := range byTopic(offsets, partitionOfOffset) {
		t := kmsg.NewOffsetDeleteRequestTopic()
		t.Topic = of.topic
		for _, o := range of.parts {
			rp := kmsg.NewOffsetDeleteRequestTopicPartition()
			rp.Partition = o.Partition
			t.Partitions = append(t.Partitions, rp)
		}
		req.Topics = append(req.Topics, t)
	}
	return l.again(ctx, func(ctx context.Context) error {
		resp, err := req.RequestWith(ctx, l.admin)
		if err != nil {
			return err
		}
		errs := []error{groupError(resp.ErrorCode)}
		for i := range resp.Topics {
			for j := range resp.Topics[i].Partitions {
				errs = append(errs, kerr.ErrorForCode(resp.Topics[i].Partitions[j].ErrorCode))
			}
		}
		return worst(errs)
	})
}
