package kafka

import (
	"cmp"
	"context"
	"errors"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gretestream/grete/log"
)

// Metadata tells which topics there are, and where: there is one broker, the
// server itself. Topic ids came with version 10; version 12 asks by them.
var metadataAPI = api{key: kmsg.Metadata, min: 0, max: 13, handle: (*Server).metadata}

func (s *Server) metadata(ctx context.Context, r *request) (kmsg.Response, error) {
	req := r.body.(*kmsg.MetadataRequest)
	resp := req.ResponseKind().(*kmsg.MetadataResponse)
	host, port, err := s.advertisedTo(r.conn)
	if err != nil {
		return nil, err
	}
	resp.Brokers = []kmsg.MetadataResponseBroker{{NodeID: s.opts.NodeID, Host: host, Port: port}}
	resp.ClusterID = kmsg.StringPtr(s.opts.Log.ClusterID())
	resp.ControllerID = s.opts.NodeID
	if req.IncludeClusterAuthorizedOperations {
		resp.AuthorizedOperations = r.operations(kmsg.ACLResourceTypeCluster, ClusterName)
	}
	if req.Topics == nil || req.Version == 0 && len(req.Topics) == 0 {
		topics, err := s.opts.Log.Topics(ctx)
		if err != nil {
			return nil, err
		}
		for i := range topics {
			if r.topic(toDescribe, topics[i].Name) == nil {
				resp.Topics = append(resp.Topics, s.topicMetadata(&topics[i]))
			}
		}
	} else {
		create := (req.Version < 4 || req.AllowAutoTopicCreation) && !s.opts.NoAutoCreate
		for i := range req.Topics {
			resp.Topics = append(resp.Topics, s.namedMetadata(ctx, r, &req.Topics[i], create))
		}
	}
	if req.IncludeTopicAuthorizedOperations {
		for i := range resp.Topics {
			if t := &resp.Topics[i]; t.ErrorCode == 0 {
				t.AuthorizedOperations = r.operations(kmsg.ACLResourceTypeTopic, *t.Topic)
			}
		}
	}
	return resp, nil
}

// advertisedTo is the address that a client is told to connect to.
func (s *Server) advertisedTo(c *conn) (host string, port int32, err error) {
	return splitHostPort(cmp.Or(s.opts.Advertised, c.nc.LocalAddr().String()))
}

// namedMetadata describes one topic that was asked for, by name or by id.
func (s *Server) namedMetadata(ctx context.Context, r *request, asked *kmsg.MetadataRequestTopic, create bool) kmsg.MetadataResponseTopic {
	name := ""
	if asked.Topic != nil {
		name = *asked.Topic
	}
	byID := asked.Topic == nil || name == "" && asked.TopicID != [16]byte{} // Java sends an empty name with an id
	if byID {
		var ok bool
		if name, ok = s.opts.Log.TopicName(asked.TopicID); !ok {
			t := kmsg.NewMetadataResponseTopic()
			t.TopicID, t.ErrorCode = asked.TopicID, kerr.UnknownTopicID.Code
			return t
		}
	}
	err := r.topic(toDescribe, name)
	if err != nil && byID {
		name = "" // nor is the name that goes with an id the client's to know
	}
	var topic log.Topic
	if err == nil {
		topic, err = s.findTopic(ctx, r, name, create && !byID)
	}
	if err != nil {
		t := kmsg.NewMetadataResponseTopic()
		t.TopicID, t.ErrorCode = asked.TopicID, code(err)
		if name != "" || !byID {
			t.Topic = &name
		}
		return t
	}
	return s.topicMetadata(&topic)
}

// findTopic describes a topic; one that is not there is created, if wanted.
func (s *Server) findTopic(ctx context.Context, r *request, name string, create bool) (log.Topic, error) {
	if err := log.CheckTopicName(name); err != nil {
		return log.Topic{}, err
	}
	topic, err := s.opts.Log.Topic(ctx, name)
	if !errors.Is(err, log.ErrUnknownTopic) || !create || isReserved(name) {
		return topic, err
	}
	if err := r.create(name); err != nil {
		return log.Topic{}, err
	}
	topic, err = s.opts.Log.CreateTopic(ctx, log.TopicSpec{Name: name, Partitions: s.opts.DefaultPartitions})
	if errors.Is(err, log.ErrTopicExists) { // another client was faster
		return s.opts.Log.Topic(ctx, name)
	}
	return topic, err
}

func (s *Server) topicMetadata(topic *log.Topic) kmsg.MetadataResponseTopic {
	t := kmsg.NewMetadataResponseTopic()
	t.Topic, t.TopicID, t.IsInternal = &topic.Name, topic.ID, topic.Internal
	self := []int32{s.opts.NodeID}
	epoch := s.opts.Log.LeaderEpoch()
	t.Partitions = make([]kmsg.MetadataResponseTopicPartition, topic.Partitions)
	for i := range t.Partitions {
		t.Partitions[i] = kmsg.MetadataResponseTopicPartition{Partition: int32(i), Leader: s.opts.NodeID, LeaderEpoch: epoch, Replicas: self, ISR: self}
	}
	return t
}
