package kafka

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gretestream/grete/log"
)

// CreatePartitions raises the number of partitions of topics.
var createPartitionsAPI = api{key: kmsg.CreatePartitions, min: 0, max: 3, handle: (*Server).createPartitions}

func (s *Server) createPartitions(ctx context.Context, r *request) (kmsg.Response, error) {
	req := r.body.(*kmsg.CreatePartitionsRequest)
	resp := req.ResponseKind().(*kmsg.CreatePartitionsResponse)
	named := map[string]int{}
	for i := range req.Topics {
		named[req.Topics[i].Topic]++
	}
	for i := range req.Topics {
		rt := &req.Topics[i]
		n := named[rt.Topic]
		if n == 0 {
			continue // answered already
		}
		out := kmsg.NewCreatePartitionsResponseTopic()
		out.Topic = rt.Topic
		err := problemf(kerr.InvalidRequest, "the topic is named more than once")
		if n == 1 {
			err = s.addPartitions(ctx, r, rt, req.ValidateOnly)
		}
		named[rt.Topic] = 0
		out.ErrorCode, out.ErrorMessage = answerError(err)
		resp.Topics = append(resp.Topics, out)
	}
	return resp, nil
}

func (s *Server) addPartitions(ctx context.Context, r *request, rt *kmsg.CreatePartitionsRequestTopic, validateOnly bool) error {
	if err := r.topic(toAlter, rt.Topic); err != nil {
		return err
	}
	t, err := s.opts.Log.Topic(ctx, rt.Topic)
	if err != nil {
		return err
	}
	more := int(rt.Count) - t.Partitions
	switch {
	case t.Internal:
		return problemf(kerr.InvalidTopicException, "topic %q is the log's own", rt.Topic)
	case more <= 0 || rt.Count > log.MaxPartitions:
		return problemf(kerr.InvalidPartitions, "%d partitions, want more than the %d that there are, and at most %d", rt.Count, t.Partitions, log.MaxPartitions)
	case rt.Assignment != nil && len(rt.Assignment) != more:
		return problemf(kerr.InvalidReplicaAssignment, "%d partitions are assigned, want %d", len(rt.Assignment), more)
	}
	for _, a := range rt.Assignment {
		if err := s.checkReplicas(a.Replicas); err != nil {
			return err
		}
	}
	if validateOnly {
		return nil
	}
	_, err = s.opts.Log.AddPartitions(ctx, rt.Topic, int(rt.Count))
	return err
}
