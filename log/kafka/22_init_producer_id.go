package kafka

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// InitProducerID gives out producer ids. With a transactional id it also ends what
// an earlier producer of that id has left open, and fences it. From version 3
// on a producer says who it was and goes on with the next epoch (KIP-360).
// Version 4 names the error of a fenced producer PRODUCER_FENCED; 5 differs in
// nothing but that.
var initProducerIDAPI = api{key: kmsg.InitProducerID, min: 0, max: 5, handle: (*Server).initProducerID}

func (s *Server) initProducerID(ctx context.Context, r *request) (kmsg.Response, error) {
	req := r.body.(*kmsg.InitProducerIDRequest)
	resp := req.ResponseKind().(*kmsg.InitProducerIDResponse)
	if err := r.mayProduce(req.TransactionalID); err != nil {
		resp.ErrorCode, resp.ProducerID, resp.ProducerEpoch = code(err), -1, -1
		return resp, nil
	}
	p, err := s.newProducer(ctx, req)
	if err != nil && r.version < 4 {
		err = oldFence(err)
	}
	resp.ErrorCode = code(err)
	resp.ProducerID, resp.ProducerEpoch = p.id, p.epoch
	return resp, nil
}

func (s *Server) newProducer(ctx context.Context, req *kmsg.InitProducerIDRequest) (producerEpoch, error) {
	asker := noProducer
	if req.Version >= 3 {
		asker = producerEpoch{req.ProducerID, req.ProducerEpoch}
	}
	if (asker.id < 0) != (asker.epoch < 0) {
		return noProducer, kerr.InvalidRequest
	}
	if asker.id < 0 {
		asker = noProducer
	}
	switch {
	case req.TransactionalID == nil:
		// Whoever asks gets a new id: nobody can have written under it.
		id, err := s.opts.Log.NewProducerID()
		return producerEpoch{id, 0}, err
	case *req.TransactionalID == "":
		return noProducer, kerr.InvalidRequest
	}
	return s.txns.init(ctx, *req.TransactionalID, time.Duration(req.TransactionTimeoutMillis)*time.Millisecond, asker)
}

// oldFence is the error of a fenced producer for clients from before KIP-588.
func oldFence(err error) error {
	if err == error(kerr.ProducerFenced) {
		return kerr.InvalidProducerEpoch
	}
	return err
}

// mayProduce asks whether the client may have a producer id: whoever may write
// to some topic may, too.
func (r *request) mayProduce(transactionalID *string) error {
	if transactionalID != nil && *transactionalID != "" {
		return r.transactionalID(toWrite, *transactionalID)
	}
	if r.anyTopic(toWrite) == nil {
		return nil
	}
	return r.cluster(toWriteIdempotently)
}
