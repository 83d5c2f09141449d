package kafka

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gretestream/grete/log"
)

// DeleteTopics removes topics, by name or, from version 6 on, by id.
var deleteTopicsAPI = api{key: kmsg.DeleteTopics, min: 0, max: 6, handle: (*Server).deleteTopics}

func (s *Server) deleteTopics(ctx context.Context, r *request) (kmsg.Response, error) {
	req := r.body.(*kmsg.DeleteTopicsRequest)
	resp := req.ResponseKind().(*kmsg.DeleteTopicsResponse)
	topics := req.Topics
	for _, name := range req.TopicNames {
		topics = append(topics, kmsg.DeleteTopicsRequestTopic{Topic: &name})
	}
	for i := range topics {
		t := kmsg.NewDeleteTopicsResponseTopic()
		t.Topic, t.TopicID = topics[i].Topic, topics[i].TopicID
		t.ErrorCode, t.ErrorMessage = answerError(s.deleteTopic(ctx, r, &t))
		resp.Topics = append(resp.Topics, t)
	}
	return resp, nil
}

// deleteTopic removes the topic that t names, and completes name and id.
func (s *Server) deleteTopic(ctx context.Context, r *request, t *kmsg.DeleteTopicsResponseTopic) error {
	if t.Topic != nil && t.TopicID != [16]byte{} {
		return problemf(kerr.InvalidRequest, "topic %q has an id as well, want the one or the other", *t.Topic)
	}
	if t.Topic == nil {
		name, ok := s.opts.Log.TopicName(t.TopicID)
		if !ok {
			return problemf(kerr.UnknownTopicID, "topic id %v is not known", log.TopicID(t.TopicID))
		}
		if err := r.topic(toDelete, name); err != nil {
			return err // and no name: it is not the client's to know
		}
		t.Topic = &name
		return unknownID(s.opts.Log.DeleteTopicByID(ctx, t.TopicID))
	}
	if err := r.topic(toDelete, *t.Topic); err != nil {
		return err
	}
	known, err := s.opts.Log.Topic(ctx, *t.Topic)
	if err != nil {
		return err
	}
	t.TopicID = known.ID // the answer tells which one it was
	return s.opts.Log.DeleteTopicByID(ctx, known.ID)
}
