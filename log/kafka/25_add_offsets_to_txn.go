package kafka

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gretestream/grete/log"
)

// AddOffsetsToTxn makes the offsets of a group part of a transaction: that is the
// partition that they are kept in. Version 2 names the error of a fenced producer
// PRODUCER_FENCED; 4 differs in nothing else.
var addOffsetsToTxnAPI = api{key: kmsg.AddOffsetsToTxn, min: 0, max: 4, handle: (*Server).addOffsetsToTxn}

// offsetsPartition holds the committed offsets of all groups.
var offsetsPartition = log.TopicPartition{Topic: "__consumer_offsets"}

func (s *Server) addOffsetsToTxn(ctx context.Context, r *request) (kmsg.Response, error) {
	req := r.body.(*kmsg.AddOffsetsToTxnRequest)
	resp := req.ResponseKind().(*kmsg.AddOffsetsToTxnResponse)
	err := r.transactionalID(toWrite, req.TransactionalID)
	if err == nil {
		err = r.group(toRead, req.Group)
	}
	if err != nil {
		resp.ErrorCode = code(err)
		return resp, nil
	}
	err = s.txns.add(ctx, req.TransactionalID, producerEpoch{req.ProducerID, req.ProducerEpoch}, offsetsPartition)
	if r.version < 2 {
		err = oldFence(err)
	}
	resp.ErrorCode = code(err)
	return resp, nil
}
