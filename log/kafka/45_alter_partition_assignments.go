package kafka

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gretestream/grete/log"
)

// AlterPartitionAssignments (AlterPartitionReassignments, in Kafka's words) can
// only leave partitions where they are: on this broker.
var alterPartitionAssignmentsAPI = api{key: kmsg.AlterPartitionAssignments, min: 0, max: 1, handle: (*Server).alterPartitionAssignments}

func (s *Server) alterPartitionAssignments(ctx context.Context, r *request) (kmsg.Response, error) {
	req := r.body.(*kmsg.AlterPartitionAssignmentsRequest)
	resp := req.ResponseKind().(*kmsg.AlterPartitionAssignmentsResponse)
	resp.AllowReplicationFactorChange = req.AllowReplicationFactorChange
	if err := r.cluster(toAlter); err != nil {
		resp.ErrorCode, resp.ErrorMessage = answerError(err)
		return resp, nil
	}
	for i := range req.Topics {
		out := kmsg.NewAlterPartitionAssignmentsResponseTopic()
		out.Topic = req.Topics[i].Topic
		for _, rp := range req.Topics[i].Partitions {
			p := kmsg.NewAlterPartitionAssignmentsResponseTopicPartition()
			p.Partition = rp.Partition
			_, err := s.opts.Log.Bounds(ctx, log.TopicPartition{Topic: out.Topic, Partition: rp.Partition})
			switch {
			case err != nil:
			case rp.Replicas == nil:
				err = problemf(kerr.NoReassignmentInProgress, "there is nothing to cancel")
			default:
				err = s.checkReplicas(rp.Replicas)
			}
			p.ErrorCode, p.ErrorMessage = answerError(err)
			out.Partitions = append(out.Partitions, p)
		}
		resp.Topics = append(resp.Topics, out)
	}
	return resp, nil
}
