package kafka

import (
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gretestream/grete/log"
)

// Produce appends one batch per partition. Version 9 is flexible, 10 tells
// leaders, 11 and 12 came with transactions that end differently, and 13 goes by
// topic ids. It is begun ahead of its turn: see the package's page.
var produceAPI = api{key: kmsg.Produce, min: 3, max: 13, listsZero: true, begin: (*Server).beginProduce}

// Where in a batch its magic byte and its codec are.
const (
	magicPos      = 16
	attributesPos = 22 // the low byte
)

// produces is a Produce on its way.
type produces struct {
	r     *request
	parts []producing // in the order of the request
}

// producing is one partition of it.
type producing struct {
	*log.Produced // nil if there was an error
	err           error
}

func (p *producing) waits() bool { return p.err == nil && !p.Done() }

func (ps *produces) waits() bool {
	for i := range ps.parts {
		if ps.parts[i].waits() {
			return true
		}
	}
	return false
}

// beginProduce admits all batches of a request. What it returns waits for them:
// the requests of a connection that are queued then, and those of others, share
// one sync.
func (s *Server) beginProduce(r *request) begun {
	req := r.body.(*kmsg.ProduceRequest)
	n := 0
	for i := range req.Topics {
		t := &req.Topics[i]
		n += len(t.Partitions)
		if req.Version >= 13 {
			t.Topic, _ = s.opts.Log.TopicName(t.TopicID) // for who asks by name; the log is told the id
		}
	}
	if req.TransactionID != nil && req.Version >= 12 {
		s.addProduced(r)
	}
	parts := make([]producing, 0, n)
	for i := range req.Topics {
		t := &req.Topics[i]
		for j := range t.Partitions {
			pd, err := s.producePart(r, t, &t.Partitions[j])
			parts = append(parts, producing{pd, err})
		}
	}
	return &produces{r, parts}
}

// producePart admits the batch of one partition.
func (s *Server) producePart(r *request, t *kmsg.ProduceRequestTopic, p *kmsg.ProduceRequestTopicPartition) (*log.Produced, error) {
	req := r.body.(*kmsg.ProduceRequest)
	if req.Acks < -1 || req.Acks > 1 {
		return nil, kerr.InvalidRequiredAcks
	}
	if req.Version >= 13 && t.Topic == "" {
		return nil, kerr.UnknownTopicID
	}
	if req.TransactionID != nil {
		if err := r.transactionalID(toWrite, *req.TransactionID); err != nil {
			return nil, err
		}
	}
	if err := r.topic(toWrite, t.Topic); err != nil {
		return nil, err
	}
	if err := checkRecordSet(p.Records, req.Version); err != nil {
		return nil, err
	}
	if isReserved(t.Topic) {
		return nil, fmt.Errorf("%w: %q is the log's own", log.ErrInvalidTopic, t.Topic)
	}
	pd, err := s.admitPart(r, t, p)
	if req.Version >= 13 {
		err = unknownID(err)
	}
	return pd, err
}

// admitPart hands a batch that is fit for the log to it. Before version 13 the
// topic has no id.
func (s *Server) admitPart(r *request, t *kmsg.ProduceRequestTopic, p *kmsg.ProduceRequestTopicPartition) (*log.Produced, error) {
	tp, opts := log.TopicPartition{Topic: t.Topic, Partition: p.Partition}, log.ProduceOptions{TopicID: t.TopicID}
	if info, _ := log.ParseBatch(p.Records); info.IsTransactional() {
		return s.produceTxn(r, tp, p.Records, &info, opts)
	}
	return s.opts.Log.Produce(tp, p.Records, opts)
}

// produceTxn admits a batch of a transaction that is open and has its partition.
func (s *Server) produceTxn(r *request, tp log.TopicPartition, batch []byte, info *log.BatchInfo, opts log.ProduceOptions) (pd *log.Produced, err error) {
	id := r.body.(*kmsg.ProduceRequest).TransactionID
	if id == nil {
		return nil, kerr.TransactionalIDAuthorizationFailed
	}
	p := producerEpoch{info.ProducerID, info.ProducerEpoch}
	errTxn := s.txns.write(r.conn.ctx, *id, p, false, []log.TopicPartition{tp}, func() {
		pd, err = s.opts.Log.Produce(tp, batch, opts)
	})
	if errTxn != nil {
		return nil, oldFence(errTxn) // in all versions
	}
	return pd, err
}

// addProduced makes the partitions of a request part of the transaction, all in
// one step, as clients of version 12 leave that to the broker (KIP-890). What is
// refused here is refused again when the batch is looked at.
func (s *Server) addProduced(r *request) {
	req := r.body.(*kmsg.ProduceRequest)
	if r.transactionalID(toWrite, *req.TransactionID) != nil {
		return
	}
	var tps []log.TopicPartition
	p := noProducer
	for i := range req.Topics {
		t := &req.Topics[i]
		if r.topic(toWrite, t.Topic) != nil || isReserved(t.Topic) {
			continue
		}
		for j := range t.Partitions {
			tp := log.TopicPartition{Topic: t.Topic, Partition: t.Partitions[j].Partition}
			info, err := log.ParseBatch(t.Partitions[j].Records)
			if err != nil || !info.IsTransactional() {
				continue
			}
			if _, err := s.opts.Log.Bounds(r.conn.ctx, tp); err == nil {
				tps, p = append(tps, tp), producerEpoch{info.ProducerID, info.ProducerEpoch}
			}
		}
	}
	if len(tps) > 0 {
		if err := s.txns.add(r.conn.ctx, *req.TransactionID, p, tps...); err != nil {
			s.logger.Debug("partitions were not added to a transaction", "id", *req.TransactionID, "err", err)
		}
	}
}

// checkRecordSet judges what of a record set the log does not.
func checkRecordSet(b []byte, version int16) error {
	if len(b) == 0 {
		return fmt.Errorf("%w: no batch, want one", log.ErrInvalidRecord)
	}
	if len(b) < log.BatchHeaderSize {
		return fmt.Errorf("%w: %d bytes, want at least the %d of a header", log.ErrInvalidBatch, len(b), log.BatchHeaderSize)
	}
	if magic := b[magicPos]; magic != 2 {
		return fmt.Errorf("%w: magic %d, want 2", log.ErrInvalidRecord, magic)
	}
	info, err := log.ParseBatch(b)
	if err != nil {
		return err
	}
	if info.Size != len(b) {
		return fmt.Errorf("%w: %d bytes after the batch, want one batch", log.ErrInvalidRecord, len(b)-info.Size)
	}
	if info.Compression() == log.CompressionZstd && version < 7 {
		return kerr.UnsupportedCompressionType
	}
	return nil
}

// finish waits for all batches. Their bytes are the log's until then, so
// the end of ctx does not end it. With acks=0 nobody is told, but it is waited for
// all the same: who is not slowed down by answers fills the memory otherwise.
func (ps *produces) finish(ctx context.Context) (kmsg.Response, error) {
	req, s, parts := ps.r.body.(*kmsg.ProduceRequest), ps.r.conn.s, ps.parts
	resp := req.ResponseKind().(*kmsg.ProduceResponse)
	resp.Topics = make([]kmsg.ProduceResponseTopic, len(req.Topics))
	var failed error
	for i := range req.Topics {
		asked, t := &req.Topics[i], &resp.Topics[i]
		t.Topic, t.TopicID = asked.Topic, asked.TopicID
		t.Partitions = make([]kmsg.ProduceResponseTopicPartition, len(asked.Partitions))
		for j := range asked.Partitions {
			err := s.finishPart(ctx, &t.Partitions[j], asked.Partitions[j].Partition, &parts[0])
			failed = errors.Join(failed, err)
			parts = parts[1:]
		}
	}
	if req.Acks != 0 {
		return resp, nil
	}
	if failed != nil {
		// There is no answer that could say so; a client that sees its
		// connection end looks for what has changed.
		return nil, refusef("produce-without-acks", "produce without acks: %w", failed)
	}
	return nil, nil
}

func (s *Server) finishPart(ctx context.Context, p *kmsg.ProduceResponseTopicPartition, partition int32, pd *producing) error {
	p.Default()
	p.Partition, p.BaseOffset, p.LogStartOffset = partition, -1, -1
	err := pd.err
	var result log.ProduceResult
	if err == nil {
		result, err = pd.Wait(context.WithoutCancel(ctx))
	}
	if err != nil {
		p.ErrorCode = code(err)
		s.m.count("kafka.errors." + kerr.TypedErrorForCode(p.ErrorCode).Message)
		p.ErrorMessage = kmsg.StringPtr(err.Error())
		var bad *log.InvalidRecordError
		if errors.As(err, &bad) {
			for _, i := range bad.Indexes {
				p.ErrorRecords = append(p.ErrorRecords, kmsg.ProduceResponseTopicPartitionErrorRecord{RelativeOffset: int32(i), ErrorMessage: &bad.Reason})
			}
		}
		return err
	}
	p.BaseOffset, p.LogAppendTime, p.LogStartOffset = int64(result.Base), int64(result.AppendTime), int64(result.Start)
	return nil
}
