package kafka

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// DescribeQuorum tells who agrees on the cluster's metadata: this node alone.
// Version 1 tells since when nobody has heard of a voter, version 2 has words for
// errors and the nodes, which have no listeners of controllers here.
var describeQuorumAPI = api{key: kmsg.DescribeQuorum, min: 0, max: 2, handle: (*Server).describeQuorum}

// metadataTopic is where Kafka keeps its metadata. There is none here; what comes
// closest are users, ACLs and configs.
const metadataTopic = "__cluster_metadata"

func (s *Server) describeQuorum(ctx context.Context, r *request) (kmsg.Response, error) {
	req := r.body.(*kmsg.DescribeQuorumRequest)
	resp := req.ResponseKind().(*kmsg.DescribeQuorumResponse)
	if err := r.cluster(toDescribe); err != nil {
		resp.ErrorCode, resp.ErrorMessage = answerError(err)
		return resp, nil
	}
	known := len(req.Topics) == 1 && req.Topics[0].Topic == metadataTopic &&
		len(req.Topics[0].Partitions) == 1 && req.Topics[0].Partitions[0].Partition == 0
	for i := range req.Topics {
		t := kmsg.NewDescribeQuorumResponseTopic()
		t.Topic = req.Topics[i].Topic
		for _, asked := range req.Topics[i].Partitions {
			p := kmsg.NewDescribeQuorumResponseTopicPartition()
			p.Partition = asked.Partition
			if known {
				p.ErrorCode, p.ErrorMessage = answerError(s.quorum(ctx, &p))
			} else {
				p.ErrorCode, p.ErrorMessage = answerError(problemf(kerr.UnknownTopicOrPartition, "want partition 0 of %s alone", metadataTopic))
			}
			t.Partitions = append(t.Partitions, p)
		}
		resp.Topics = append(resp.Topics, t)
	}
	if known {
		node := kmsg.NewDescribeQuorumResponseNode()
		node.NodeID = s.opts.NodeID
		resp.Nodes = append(resp.Nodes, node)
	}
	return resp, nil
}

// quorum makes this node the leader and only voter, up to date as of now.
func (s *Server) quorum(ctx context.Context, p *kmsg.DescribeQuorumResponseTopicPartition) error {
	b, err := s.opts.Log.Bounds(ctx, accessPartition)
	if err != nil {
		return err
	}
	now := s.opts.Now().UnixMilli()
	voter := kmsg.NewDescribeQuorumResponseTopicPartitionReplicaState()
	voter.ReplicaID, voter.LogEndOffset = s.opts.NodeID, int64(b.End)
	voter.LastFetchTimestamp, voter.LastCaughtUpTimestamp = now, now
	p.LeaderID, p.LeaderEpoch, p.HighWatermark = s.opts.NodeID, s.opts.Log.LeaderEpoch(), int64(b.End)
	p.CurrentVoters = append(p.CurrentVoters, voter)
	return nil
}
