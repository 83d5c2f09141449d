package kafka

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gretestream/grete/log"
)

// ElectLeaders has nothing to elect: this broker leads all there is.
var electLeadersAPI = api{key: kmsg.ElectLeaders, min: 0, max: 2, handle: (*Server).electLeaders}

func (s *Server) electLeaders(ctx context.Context, r *request) (kmsg.Response, error) {
	req := r.body.(*kmsg.ElectLeadersRequest)
	resp := req.ResponseKind().(*kmsg.ElectLeadersResponse)
	refused := r.cluster(toAlter)
	if refused != nil {
		resp.ErrorCode = code(refused)
	}
	if req.ElectionType != 0 && req.ElectionType != 1 {
		resp.ErrorCode = kerr.InvalidRequest.Code
		return resp, nil
	}
	// All partitions (nil): only those with news are listed, and there are none.
	for i := range req.Topics {
		out := kmsg.NewElectLeadersResponseTopic()
		out.Topic = req.Topics[i].Topic
		for _, n := range req.Topics[i].Partitions {
			p := kmsg.NewElectLeadersResponseTopicPartition()
			p.Partition = n
			err := refused
			if err == nil {
				_, err = s.opts.Log.Bounds(ctx, log.TopicPartition{Topic: out.Topic, Partition: n})
			}
			if err == nil {
				err = problemf(kerr.ElectionNotNeeded, "broker %d leads the partition, and is its only replica", s.opts.NodeID)
			}
			p.ErrorCode, p.ErrorMessage = answerError(err)
			out.Partitions = append(out.Partitions, p)
		}
		resp.Topics = append(resp.Topics, out)
	}
	return resp, nil
}
