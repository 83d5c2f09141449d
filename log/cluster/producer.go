package cluster

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gretestream/grete/log"
)

// producer writes with an id of its own, so that a batch that is sent twice is
// stored once, and makes transactions if it has a name. One step at a time.
type producer struct {
	l    *Log
	name string // transactional id; empty: none
	cl   *kgo.Client

	mu    sync.Mutex // held for one step; guards the fields below
	life  log.Epoch  // what Fence returned last
	id    int64      // -1: to be asked for
	epoch int16
	next  map[log.TopicPartition]int32 // next sequence number of each partition
}

// errUnsettled says that the last step's outcome is unknown.
var errUnsettled = errors.New("the outcome of the last commit is unknown: fence the producer again, and read back what it holds")

func (l *Log) newProducer(name string) (*producer, error) {
	cl, err := l.take()
	if err != nil {
		return nil, err
	}
	return &producer{l: l, name: name, cl: cl, id: -1, next: map[log.TopicPartition]int32{}}, nil
}

// close gives back the client. Nobody uses the producer any more.
func (p *producer) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cl != nil {
		p.l.pool.give(p.cl)
		p.cl = nil
	}
}

// transactionMargin is how much longer the cluster waits for a transaction than one
// call goes on trying. One whose writes and whose end both take nearly that long
// is aborted by the cluster, and its commit fails as that of a fenced producer.
const transactionMargin = 30_000 // ms

// initLocked gets an id or, with a name, the next epoch of it. It returns when all
// transactions of earlier epochs have ended.
func (p *producer) initLocked(ctx context.Context) error {
	req := kmsg.NewPtrInitProducerIDRequest()
	req.ProducerID, req.ProducerEpoch = -1, -1
	if p.name != "" {
		req.TransactionalID = &p.name
		req.TransactionTimeoutMillis = int32(min(p.l.opts.Timeout.Milliseconds()+transactionMargin, math.MaxInt32))
	}
	p.id = -1
	return p.l.again(ctx, func(ctx context.Context) error {
		resp, err := req.RequestWith(ctx, p.cl)
		if err == nil {
			err = kerr.ErrorForCode(resp.ErrorCode)
		}
		if errors.Is(err, kerr.ProducerFenced) || errors.Is(err, kerr.InvalidProducerEpoch) {
			err = kerr.ConcurrentTransactions // somebody else fences at this moment: now it is our turn
		}
		if err != nil {
			return fmt.Errorf("get a producer id: %w", err)
		}
		p.becomeLocked(resp.ProducerID, resp.ProducerEpoch)
		return nil
	})
}

// becomeLocked takes on an id and epoch, whose sequences begin at 0.
func (p *producer) becomeLocked(id int64, epoch int16) {
	if p.id == id && p.epoch == epoch {
		return
	}
	p.id, p.epoch = id, epoch
	clear(p.next)
}

// pending is a write on its way. A request carries one batch of a partition, so
// several of one write go one after the other.
type pending struct {
	log.TopicPartition
	rest  []byte     // not yet acknowledged, beginning with batch
	batch []byte     // a copy of the next batch, stamped
	count int32      // offsets that it takes up
	base  log.Offset // of the first record of the write; -1: not known yet
	err   error      // of the last try
}

// maxRequestBytes bounds the batches of one produce request; a single batch may
// be larger.
const maxRequestBytes = 32 << 20

// produceLocked writes batches to their partitions, in parallel, and returns the
// offset of the first record of each write. After an error some may be there.
func (p *producer) produceLocked(ctx context.Context, writes []log.Write, transactional bool) ([]log.Offset, error) {
	list := make([]pending, 0, len(writes))
	for i := range writes {
		w := pending{TopicPartition: writes[i].TopicPartition, rest: writes[i].Batches, base: -1}
		if _, err := log.CheckBatches(w.rest); err != nil {
			return nil, fmt.Errorf("write to %s: %w", w.TopicPartition, err)
		}
		list = append(list, w)
	}
	err := p.l.again(ctx, func(ctx context.Context) error { return p.roundLocked(ctx, list, transactional) })
	if err != nil {
		return nil, err
	}
	offsets := make([]log.Offset, len(list))
	for i := range list {
		offsets[i] = list[i].base
	}
	return offsets, nil
}

// roundLocked sends the next batch of each write until all are acknowledged or
// one fails.
func (p *producer) roundLocked(ctx context.Context, list []pending, transactional bool) error {
	for {
		byLeader := map[int][]*pending{}
		ids := map[string]log.TopicID{}
		for i := range list {
			w := &list[i]
			w.err = nil
			if len(w.rest) == 0 {
				continue
			}
			at, err := p.l.place(ctx, w.TopicPartition)
			if err != nil {
				return err
			}
			if w.batch == nil {
				if err := p.stampLocked(w, transactional); err != nil {
					return err
				}
			}
			byLeader[at.leader] = append(byLeader[at.leader], w)
			ids[w.Topic] = at.id
		}
		if len(byLeader) == 0 {
			return nil
		}
		var group sync.WaitGroup
		for leader, of := range byLeader {
			group.Go(func() { p.send(ctx, leader, of, ids, transactional) })
		}
		group.Wait()
		if err := p.acknowledgedLocked(list); err != nil {
			return err
		}
	}
}

// stampLocked makes the next batch of a write the producer's. What is sent is a
// copy: if ctx ends, the client may go on reading it after we have returned.
func (p *producer) stampLocked(w *pending, transactional bool) error {
	info, err := log.ParseBatch(w.rest)
	if err != nil {
		return err
	}
	w.batch = append(make([]byte, 0, info.Size), w.rest[:info.Size]...)
	w.count = info.LastOffsetDelta + 1
	log.StampProducer(w.batch, p.id, p.epoch, p.next[w.TopicPartition], transactional)
	return nil
}

// acknowledgedLocked moves writes on whose batch is stored, and returns the worst
// error of the others.
func (p *producer) acknowledgedLocked(list []pending) error {
	var worst error
	for i := range list {
		w := &list[i]
		switch {
		case w.err != nil:
			if mayPass(w.err) {
				p.l.forget(w.Topic)
			}
			if worst == nil || mayPass(worst) {
				worst = w.err
			}
		case w.batch != nil:
			p.next[w.TopicPartition] = addSequence(p.next[w.TopicPartition], w.count)
			p.l.m.records.Inc(int64(w.count))
			p.l.m.bytesIn.Inc(int64(len(w.batch)))
			w.rest, w.batch = w.rest[len(w.batch):], nil
		}
	}
	return worst
}

// addSequence counts on, from 0 again after the largest.
func addSequence(sequence, n int32) int32 {
	return int32((int64(sequence) + int64(n)) & math.MaxInt32)
}

// send makes one request of the writes of a leader, or several if it became too
// large, and notes how each went.
func (p *producer) send(ctx context.Context, leader int, of []*pending, ids map[string]log.TopicID, transactional bool) {
	for len(of) > 0 {
		n, size := 0, 0
		for n < len(of) && (n == 0 || size+len(of[n].batch) <= maxRequestBytes) {
			size += len(of[n].batch)
			n++
		}
		p.sendOne(ctx, leader, of[:n], ids, transactional)
		of = of[n:]
	}
}

// errNoAnswer says that an answer left a partition out.
var errNoAnswer = errors.New("the answer leaves the partition out")

func (p *producer) sendOne(ctx context.Context, leader int, of []*pending, ids map[string]log.TopicID, transactional bool) {
	req := kmsg.NewPtrProduceRequest()
	req.Acks = -1
	req.TimeoutMillis = produceTimeout
	if transactional {
		req.TransactionID = &p.name
	}
	byTopic := map[string]int{}
	byPartition := map[log.TopicPartition]*pending{}
	for _, w := range of {
		i, ok := byTopic[w.Topic]
		if !ok {
			i = len(req.Topics)
			byTopic[w.Topic] = i
			t := kmsg.NewProduceRequestTopic()
			t.Topic, t.TopicID = w.Topic, ids[w.Topic]
			req.Topics = append(req.Topics, t)
		}
		rp := kmsg.NewProduceRequestTopicPartition()
		rp.Partition, rp.Records = w.Partition, w.batch
		req.Topics[i].Partitions = append(req.Topics[i].Partitions, rp)
		byPartition[w.TopicPartition] = w
		w.err = fmt.Errorf("write to %s: %w", w.TopicPartition, errNoAnswer)
	}
	resp, err := req.RequestWith(ctx, p.cl.Broker(leader))
	if err != nil {
		for _, w := range of {
			w.err = fmt.Errorf("write to %s: %w", w.TopicPartition, err)
		}
		return
	}
	names := map[log.TopicID]string{}
	for name, id := range ids {
		names[id] = name
	}
	for i := range resp.Topics {
		t := &resp.Topics[i]
		name := t.Topic
		if name == "" {
			name = names[t.TopicID]
		}
		for j := range t.Partitions {
			rp := &t.Partitions[j]
			w := byPartition[log.TopicPartition{Topic: name, Partition: rp.Partition}]
			if w == nil {
				continue
			}
			if w.err = coded(rp.ErrorCode, rp.ErrorMessage); w.err != nil {
				w.err = fmt.Errorf("write to %s: %w", w.TopicPartition, w.err)
			} else if w.base < 0 {
				w.base = log.Offset(rp.BaseOffset)
			}
		}
	}
}

// produceTimeout is how long a broker waits for the others, in milliseconds.
const produceTimeout = 10_000
