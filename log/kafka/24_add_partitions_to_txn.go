package kafka

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gretestream/grete/log"
)

// AddPartitionsToTxn makes partitions part of a transaction before they are
// written to. All partitions are added or none: when one cannot be, the others
// are answered OPERATION_NOT_ATTEMPTED. The log's own topics are for nobody, as in
// Kafka: that of offsets becomes part by AddOffsetsToTxn. Version 2 names the error of a fenced
// producer PRODUCER_FENCED. Versions from 4 on are for brokers among themselves;
// clients that speak them leave this request out (KIP-890, see Produce).
var addPartitionsToTxnAPI = api{key: kmsg.AddPartitionsToTxn, min: 0, max: 3, handle: (*Server).addPartitionsToTxn}

func (s *Server) addPartitionsToTxn(ctx context.Context, r *request) (kmsg.Response, error) {
	req := r.body.(*kmsg.AddPartitionsToTxnRequest)
	resp := req.ResponseKind().(*kmsg.AddPartitionsToTxnResponse)
	var tps []log.TopicPartition
	refused := map[log.TopicPartition]int16{}
	for _, topic := range req.Topics {
		for _, p := range topic.Partitions {
			tp := log.TopicPartition{Topic: topic.Topic, Partition: p}
			tps = append(tps, tp)
			err := r.topic(toWrite, tp.Topic)
			if err == nil && isReserved(tp.Topic) {
				err = kerr.TopicAuthorizationFailed
			}
			if err == nil {
				_, err = s.opts.Log.Bounds(ctx, tp)
			}
			if err != nil {
				refused[tp] = code(err)
			}
		}
	}
	var all int16
	if err := r.transactionalID(toWrite, req.TransactionalID); err != nil {
		all = code(err)
		clear(refused)
	} else if len(refused) > 0 {
		all = kerr.OperationNotAttempted.Code
	} else if err := s.txns.add(ctx, req.TransactionalID, producerEpoch{req.ProducerID, req.ProducerEpoch}, tps...); err != nil {
		if r.version < 2 {
			err = oldFence(err)
		}
		all = code(err)
	}
	for _, topic := range req.Topics {
		t := kmsg.NewAddPartitionsToTxnResponseTopic()
		t.Topic = topic.Topic
		for _, p := range topic.Partitions {
			rp := kmsg.NewAddPartitionsToTxnResponseTopicPartition()
			rp.Partition, rp.ErrorCode = p, all
			if c, bad := refused[log.TopicPartition{Topic: topic.Topic, Partition: p}]; bad {
				rp.ErrorCode = c
			}
			t.Partitions = append(t.Partitions, rp)
		}
		resp.Topics = append(resp.Topics, t)
	}
	return resp, nil
}
