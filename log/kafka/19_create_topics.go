package kafka

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gretestream/grete/log"
)

// CreateTopics makes topics, or only checks whether it could. Version 4 has -1
// for the default count of partitions and replicas, 5 answers with the configs,
// 7 with the topic's id.
//
// There is one replica of everything. Tools that ask for three, as Kafka
// Connect does by default, get one, unless Options.StrictReplication is set.
var createTopicsAPI = api{key: kmsg.CreateTopics, min: 0, max: 7, handle: (*Server).createTopics}

func (s *Server) createTopics(ctx context.Context, r *request) (kmsg.Response, error) {
	req := r.body.(*kmsg.CreateTopicsRequest)
	resp := req.ResponseKind().(*kmsg.CreateTopicsResponse)
	named := map[string]int{}
	for i := range req.Topics {
		named[req.Topics[i].Topic]++
	}
	for i := range req.Topics {
		rt := &req.Topics[i]
		switch named[rt.Topic] {
		case 0:
			continue // answered already
		case 1:
			resp.Topics = append(resp.Topics, s.createTopic(ctx, r, rt, req.ValidateOnly))
		default:
			t := kmsg.NewCreateTopicsResponseTopic()
			t.Topic = rt.Topic
			t.ErrorCode, t.ErrorMessage = answerError(problemf(kerr.InvalidRequest, "the topic is named more than once"))
			resp.Topics = append(resp.Topics, t)
			named[rt.Topic] = 0
		}
	}
	return resp, nil
}

// createTopic makes one topic.
func (s *Server) createTopic(ctx context.Context, r *request, rt *kmsg.CreateTopicsRequestTopic, validateOnly bool) kmsg.CreateTopicsResponseTopic {
	resp := kmsg.NewCreateTopicsResponseTopic()
	resp.Topic = rt.Topic
	var spec log.TopicSpec
	err := r.create(rt.Topic)
	if err == nil {
		spec, err = s.topicSpec(rt)
	}
	if err == nil {
		err = s.opts.Log.CheckTopic(spec)
	}
	if err == nil && !validateOnly {
		var t log.Topic
		t, err = s.opts.Log.CreateTopic(ctx, spec)
		resp.TopicID = t.ID
	}
	if err != nil {
		resp.ErrorCode, resp.ErrorMessage = answerError(err)
		return resp
	}
	if err := r.topic(toDescribeConfigs, rt.Topic); err != nil {
		resp.ConfigErrorCode, resp.NumPartitions, resp.ReplicationFactor = code(err), -1, -1
		return resp
	}
	resp.NumPartitions, resp.ReplicationFactor = int32(spec.Partitions), 1
	for _, c := range s.topicConfigs(spec.Configs, false) {
		rc := kmsg.NewCreateTopicsResponseTopicConfig()
		rc.Name, rc.Value, rc.Source, rc.ReadOnly = c.name, &c.value, int8(c.source), c.readOnly
		resp.Configs = append(resp.Configs, rc)
	}
	return resp
}

// topicSpec is what a request asks for.
func (s *Server) topicSpec(rt *kmsg.CreateTopicsRequestTopic) (log.TopicSpec, error) {
	spec := log.TopicSpec{Name: rt.Topic, Partitions: int(rt.NumPartitions)}
	if err := log.CheckTopicName(rt.Topic); err != nil {
		return spec, err
	}
	if isReserved(rt.Topic) {
		return spec, problemf(kerr.InvalidTopicException, "topic %q is one that the log makes for itself", rt.Topic)
	}
	if len(rt.ReplicaAssignment) > 0 {
		if rt.NumPartitions != -1 || rt.ReplicationFactor != -1 {
			return spec, problemf(kerr.InvalidRequest, "%d partitions with replication factor %d beside an assignment of replicas, want both to be -1", rt.NumPartitions, rt.ReplicationFactor)
		}
		assigned := map[int32]bool{}
		for _, a := range rt.ReplicaAssignment {
			if assigned[a.Partition] || a.Partition < 0 || int(a.Partition) >= len(rt.ReplicaAssignment) {
				return spec, problemf(kerr.InvalidReplicaAssignment, "partition %d is assigned, want each of 0 to %d once", a.Partition, len(rt.ReplicaAssignment)-1)
			}
			assigned[a.Partition] = true
			if err := s.checkReplicas(a.Replicas); err != nil {
				return spec, err
			}
		}
		spec.Partitions = len(rt.ReplicaAssignment)
	} else if err := s.checkReplication(rt.ReplicationFactor); err != nil {
		return spec, err
	}
	if spec.Partitions == -1 {
		spec.Partitions = s.opts.DefaultPartitions
	}
	if spec.Partitions < 1 || spec.Partitions > log.MaxPartitions {
		return spec, problemf(kerr.InvalidPartitions, "%d partitions, want 1 to %d, or -1 for the default", spec.Partitions, log.MaxPartitions)
	}
	for _, c := range rt.Configs {
		if c.Value == nil {
			return spec, problemf(kerr.InvalidConfig, "config %s is null, want a value", c.Name)
		}
		if spec.Configs == nil {
			spec.Configs = map[string]string{}
		}
		spec.Configs[c.Name] = *c.Value
	}
	return spec, nil
}

// isReserved tells whether a topic of this name is the log's own, made or not.
func isReserved(name string) bool {
	switch name {
	case "__consumer_offsets", "__transaction_state", "__cluster_metadata", accessTopic:
		return true
	}
	return false
}

// checkReplication checks a count of replicas; -1 is the default.
func (s *Server) checkReplication(n int16) error {
	if n == 0 || n < -1 {
		return problemf(kerr.InvalidReplicationFactor, "replication factor %d, want 1, or -1 for the default", n)
	}
	if n > 1 && s.opts.StrictReplication {
		return problemf(kerr.InvalidReplicationFactor, "replication factor %d is larger than 1, the number of brokers", n)
	}
	return nil
}

// checkReplicas checks the replicas of a partition: there is but this broker.
func (s *Server) checkReplicas(ids []int32) error {
	if len(ids) == 1 && ids[0] == s.opts.NodeID {
		return nil
	}
	return problemf(kerr.InvalidReplicaAssignment, "replicas on brokers %v, want %d alone", ids, s.opts.NodeID)
}
