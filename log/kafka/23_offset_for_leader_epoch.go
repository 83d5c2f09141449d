package kafka

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gretestream/grete/log"
)

// OffsetForLeaderEpoch tells where the records of a leader epoch end, so that a
// consumer notices when records that it has read are gone.
var offsetForLeaderEpochAPI = api{key: kmsg.OffsetForLeaderEpoch, min: 2, max: 4, handle: (*Server).offsetForLeaderEpoch}

func (s *Server) offsetForLeaderEpoch(ctx context.Context, r *request) (kmsg.Response, error) {
	req := r.body.(*kmsg.OffsetForLeaderEpochRequest)
	resp := req.ResponseKind().(*kmsg.OffsetForLeaderEpochResponse)
	for i := range req.Topics {
		asked := &req.Topics[i]
		t := kmsg.NewOffsetForLeaderEpochResponseTopic()
		t.Topic = asked.Topic
		no := r.topic(toDescribe, asked.Topic)
		for j := range asked.Partitions {
			tp := log.TopicPartition{Topic: asked.Topic, Partition: asked.Partitions[j].Partition}
			if no != nil {
				p := kmsg.NewOffsetForLeaderEpochResponseTopicPartition()
				p.Partition, p.LeaderEpoch, p.EndOffset, p.ErrorCode = tp.Partition, -1, -1, code(no)
				t.Partitions = append(t.Partitions, p)
				continue
			}
			t.Partitions = append(t.Partitions, s.epochEnd(ctx, tp, &asked.Partitions[j]))
		}
		resp.Topics = append(resp.Topics, t)
	}
	return resp, nil
}

func (s *Server) epochEnd(ctx context.Context, tp log.TopicPartition, asked *kmsg.OffsetForLeaderEpochRequestTopicPartition) kmsg.OffsetForLeaderEpochResponseTopicPartition {
	p := kmsg.NewOffsetForLeaderEpochResponseTopicPartition()
	p.Partition, p.LeaderEpoch, p.EndOffset = tp.Partition, -1, -1
	b, err := s.opts.Log.Bounds(ctx, tp)
	if err != nil {
		p.ErrorCode = code(err)
		return p
	}
	if p.ErrorCode = s.checkEpoch(asked.CurrentLeaderEpoch); p.ErrorCode != 0 {
		return p
	}
	if asked.LeaderEpoch == s.opts.Log.LeaderEpoch() {
		// It has no end yet, and need not have a record.
		p.LeaderEpoch, p.EndOffset = asked.LeaderEpoch, int64(b.End)
		return p
	}
	epoch, end, err := s.opts.Log.EpochEnd(tp, asked.LeaderEpoch)
	p.LeaderEpoch, p.EndOffset, p.ErrorCode = epoch, int64(end), code(err)
	return p
}
