package kafka

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// EndTxn commits or aborts a transaction. To ask again is well; to ask for what
// has not happened is INVALID_TXN_STATE. Version 2 names the error of a fenced
// producer PRODUCER_FENCED. From version 5 on every end gives the producer its
// next epoch, and nothing may be aborted, too (KIP-890).
var endTxnAPI = api{key: kmsg.EndTxn, min: 0, max: 5, handle: (*Server).endTxn}

func (s *Server) endTxn(ctx context.Context, r *request) (kmsg.Response, error) {
	req := r.body.(*kmsg.EndTxnRequest)
	resp := req.ResponseKind().(*kmsg.EndTxnResponse)
	if err := r.transactionalID(toWrite, req.TransactionalID); err != nil {
		resp.ErrorCode, resp.ProducerID, resp.ProducerEpoch = code(err), -1, -1
		return resp, nil
	}
	p, err := s.txns.finish(ctx, req.TransactionalID, producerEpoch{req.ProducerID, req.ProducerEpoch}, req.Commit, r.version >= 5)
	if r.version < 2 {
		err = oldFence(err)
	}
	resp.ErrorCode = code(err)
	resp.ProducerID, resp.ProducerEpoch = p.id, p.epoch
	return resp, nil
}
