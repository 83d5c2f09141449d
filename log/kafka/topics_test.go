package kafka_test

import (
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gretestream/grete/log"
	"github.com/gretestream/grete/log/kafka"
)

// newTopic is a topic to be created with the defaults.
func newTopic(name string, change func(*kmsg.CreateTopicsRequestTopic)) kmsg.CreateTopicsRequestTopic {
	t := kmsg.NewCreateTopicsRequestTopic()
	t.Topic, t.NumPartitions, t.ReplicationFactor = name, -1, -1
	if change != nil {
		change(&t)
	}
	return t
}

func createTopics(c *client, version int16, topics ...kmsg.CreateTopicsRequestTopic) *kmsg.CreateTopicsResponse {
	c.t.Helper()
	req := kmsg.NewPtrCreateTopicsRequest()
	req.Version, req.Topics = version, topics
	return ask[*kmsg.CreateTopicsResponse](c, req)
}

func TestCreateTopicsVersions(t *testing.T) {
	s, l := serve(t, nil)
	c := dial(t, s)
	for version := int16(0); version <= 7; version++ {
		name := "v" + string(rune('0'+version))
		resp := createTopics(c, version, newTopic(name, func(rt *kmsg.CreateTopicsRequestTopic) { rt.NumPartitions, rt.ReplicationFactor = 2, 1 })).Topics[0]
		made, err := l.Topic(t.Context(), name)
		if err != nil || resp.ErrorCode != 0 || made.Partitions != 2 {
			t.Fatalf("version %d: code %d, %+v, %v", version, resp.ErrorCode, made, err)
		}
		if version >= 5 && (resp.NumPartitions != 2 || resp.ReplicationFactor != 1 || len(resp.Configs) == 0) {
			t.Errorf("version %d: %d partitions, %d replicas, %d configs", version, resp.NumPartitions, resp.ReplicationFactor, len(resp.Configs))
		}
		if version >= 7 && resp.TopicID != made.ID {
			t.Errorf("version %d: id %v, want %v", version, resp.TopicID, made.ID)
		}
	}
}

func TestCreateTopicsRules(t *testing.T) {
	str := func(s string) *string { return &s }
	assign := func(replicas map[int32][]int32) func(*kmsg.CreateTopicsRequestTopic) {
		return func(rt *kmsg.CreateTopicsRequestTopic) {
			for p, ids := range replicas {
				a := kmsg.NewCreateTopicsRequestTopicReplicaAssignment()
				a.Partition, a.Replicas = p, ids
				rt.ReplicaAssignment = append(rt.ReplicaAssignment, a)
			}
		}
	}
	withConfig := func(name string, value *string) func(*kmsg.CreateTopicsRequestTopic) {
		return func(rt *kmsg.CreateTopicsRequestTopic) {
			rt.Configs = append(rt.Configs, kmsg.CreateTopicsRequestTopicConfig{Name: name, Value: value})
		}
	}
	sized := func(partitions int32, replicas int16) func(*kmsg.CreateTopicsRequestTopic) {
		return func(rt *kmsg.CreateTopicsRequestTopic) {
			rt.NumPartitions, rt.ReplicationFactor = partitions, replicas
		}
	}
	for _, c := range []struct {
		name   string
		topic  string
		change func(*kmsg.CreateTopicsRequestTopic)
		strict bool
		want   *kerr.Error
		parts  int
	}{
		{name: "defaults", parts: 4},
		{name: "three replicas", change: sized(1, 3), parts: 1},
		{name: "three replicas, strictly", change: sized(1, 3), strict: true, want: kerr.InvalidReplicationFactor},
		{name: "no replicas", change: sized(1, 0), want: kerr.InvalidReplicationFactor},
		{name: "minus two replicas", change: sized(1, -2), want: kerr.InvalidReplicationFactor},
		{name: "no partitions", change: sized(0, 1), want: kerr.InvalidPartitions},
		{name: "minus two partitions", change: sized(-2, 1), want: kerr.InvalidPartitions},
		{name: "too many partitions", change: sized(1<<30, 1), want: kerr.InvalidPartitions},
		{name: "path", topic: "../up", want: kerr.InvalidTopicException},
		{name: "no name", topic: "-", change: func(rt *kmsg.CreateTopicsRequestTopic) { rt.Topic = "" }, want: kerr.InvalidTopicException},
		{name: "taken", topic: "taken", want: kerr.TopicAlreadyExists},
		{name: "the log's own", topic: "__transaction_state", want: kerr.InvalidTopicException},
		{name: "config", change: withConfig("retention.ms", str("1000")), parts: 4},
		{name: "unknown config", change: withConfig("retention.weeks", str("1")), want: kerr.InvalidConfig},
		{name: "config out of range", change: withConfig("retention.ms", str("-2")), want: kerr.InvalidConfig},
		{name: "null config", change: withConfig("retention.ms", nil), want: kerr.InvalidConfig},
		{name: "assigned", change: assign(map[int32][]int32{0: {1}, 1: {1}, 2: {1}}), parts: 3},
		{name: "assigned with a gap", change: assign(map[int32][]int32{0: {1}, 2: {1}}), want: kerr.InvalidReplicaAssignment},
		{name: "assigned to another broker", change: assign(map[int32][]int32{0: {2}}), want: kerr.InvalidReplicaAssignment},
		{name: "assigned and counted", change: func(rt *kmsg.CreateTopicsRequestTopic) {
			assign(map[int32][]int32{0: {1}})(rt)
			rt.NumPartitions = 1
		}, want: kerr.InvalidRequest},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, l := serve(t, func(o *kafka.Options) { o.StrictReplication = c.strict })
			if _, err := l.CreateTopic(t.Context(), log.TopicSpec{Name: "taken"}); err != nil {
				t.Fatal(err)
			}
			if c.topic == "" {
				c.topic = "new"
			}
			for _, validate := range []bool{true, false} {
				req := kmsg.NewPtrCreateTopicsRequest()
				req.Version, req.ValidateOnly = 5, validate
				req.Topics = append(req.Topics, newTopic(c.topic, c.change))
				resp := ask[*kmsg.CreateTopicsResponse](dial(t, s), req).Topics[0]
				if err := kerr.ErrorForCode(resp.ErrorCode); err != error(c.want) && (err != nil || c.want != nil) {
					t.Fatalf("validate only %v: %v, want %v", validate, err, c.want)
				}
				if c.want != nil && (resp.ErrorMessage == nil || *resp.ErrorMessage == "") {
					t.Error("no words")
				}
				if resp.NumPartitions != int32(c.parts) && c.want == nil {
					t.Errorf("%d partitions, want %d", resp.NumPartitions, c.parts)
				}
				_, err := l.Topic(t.Context(), "new")
				if made := err == nil; made != (c.want == nil && !validate) {
					t.Errorf("validate only %v: made %v", validate, made)
				}
			}
		})
	}
}

func TestCreateTopicsTwice(t *testing.T) {
	s, _ := serve(t, nil)
	resp := createTopics(dial(t, s), 5, newTopic("a", nil), newTopic("b", nil), newTopic("a", nil))
	if len(resp.Topics) != 2 {
		t.Fatalf("%d answers, want one a name", len(resp.Topics))
	}
	for _, rt := range resp.Topics {
		if want := map[string]int16{"a": kerr.InvalidRequest.Code, "b": 0}[rt.Topic]; rt.ErrorCode != want {
			t.Errorf("%s: code %d, want %d", rt.Topic, rt.ErrorCode, want)
		}
	}
}

func TestDeleteTopics(t *testing.T) {
	s, l := serve(t, nil)
	c := dial(t, s)
	for version := int16(0); version <= 6; version++ {
		made := createTopics(c, 7, newTopic("gone", nil), newTopic("kept", nil)).Topics[0]
		req := kmsg.NewPtrDeleteTopicsRequest()
		req.Version = version
		gone, unknown, internal := "gone", "unknown", "__consumer_offsets"
		if version < 6 {
			req.TopicNames = []string{gone, unknown, internal}
		} else {
			req.Topics = []kmsg.DeleteTopicsRequestTopic{{TopicID: made.TopicID}, {Topic: &unknown}, {Topic: &internal}, {TopicID: [16]byte{1}}}
		}
		resp := ask[*kmsg.DeleteTopicsResponse](c, req)
		want := []int16{0, kerr.UnknownTopicOrPartition.Code, kerr.InvalidTopicException.Code, kerr.UnknownTopicID.Code}
		for i, rt := range resp.Topics {
			if rt.ErrorCode != want[i] {
				t.Errorf("version %d: topic %d: code %d, want %d", version, i, rt.ErrorCode, want[i])
			}
		}
		if first := resp.Topics[0]; first.Topic == nil || *first.Topic != gone {
			t.Errorf("version %d: deleted %v, want its name", version, first.Topic)
		}
		topics, err := l.Topics(t.Context())
		if err != nil || slices.ContainsFunc(topics, func(t log.Topic) bool { return t.Name == gone }) {
			t.Errorf("version %d: still there, %v", version, err)
		}
	}
}
