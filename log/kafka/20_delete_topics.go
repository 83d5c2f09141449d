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
		known, err := s.topicByID(ctx, t.TopicID)
		if err != nil {
			return err
		}
		if err := r.topic(toDelete, known.Name); err != nil {
			return err // and no name: it is not the client's to know
		}
		t.Topic = &known.Name
	} else {
		if err := r.topic(toDelete, *t.Topic); err != nil {
			return err
		}
		known, err := s.opts.Log.Topic(ctx, *t.Topic)
		if err != nil {
			return err
		}
		t.TopicID = known.ID
	}
	return s.opts.Log.DeleteTopic(ctx, *t.Topic)
}

// topicByID finds a topic.
func (s *Server) topicByID(ctx context.Context, id log.TopicID) (log.Topic, error) {
	if name, ok := s.opts.Log.TopicName(id); ok {
		if t, err := s.opts.Log.Topic(ctx, name); err == nil && t.ID == id {
			return t, nil
		}
	}
	return log.Topic{}, problemf(kerr.UnknownTopicID, "topic id %v is not known", id)
}
