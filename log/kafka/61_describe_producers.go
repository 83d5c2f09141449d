package kafka

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gretestream/grete/log"
)

// DescribeProducers tells which producers have written to a partition.
var describeProducersAPI = api{key: kmsg.DescribeProducers, min: 0, max: 0, handle: (*Server).describeProducers}

func (s *Server) describeProducers(_ context.Context, r *request) (kmsg.Response, error) {
	req := r.body.(*kmsg.DescribeProducersRequest)
	resp := req.ResponseKind().(*kmsg.DescribeProducersResponse)
	for _, topic := range req.Topics {
		rt := kmsg.NewDescribeProducersResponseTopic()
		rt.Topic = topic.Topic
		for _, p := range topic.Partitions {
			rp := kmsg.NewDescribeProducersResponseTopicPartition()
			rp.Partition = p
			var producers []log.ProducerState
			err := r.topic(toRead, topic.Topic)
			if err == nil {
				producers, err = s.opts.Log.Producers(log.TopicPartition{Topic: topic.Topic, Partition: p})
			}
			if rp.ErrorCode = code(err); err != nil {
				message := err.Error()
				rp.ErrorMessage = &message
			}
			for _, state := range producers {
				a := kmsg.NewDescribeProducersResponseTopicPartitionActiveProducer()
				a.ProducerID, a.ProducerEpoch = state.ProducerID, int32(state.Epoch)
				a.LastSequence, a.LastTimestamp = state.LastSequence, int64(state.LastTimestamp)
				a.CoordinatorEpoch, a.CurrentTxnStartOffset = state.CoordinatorEpoch, int64(state.TxnStart)
				rp.ActiveProducers = append(rp.ActiveProducers, a)
			}
			rt.Partitions = append(rt.Partitions, rp)
		}
		resp.Topics = append(resp.Topics, rt)
	}
	return resp, nil
}
