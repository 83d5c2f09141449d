package kafka_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gretestream/grete/log"
	"github.com/gretestream/grete/log/kafka"
)

// create makes a topic.
func create(t testing.TB, l log.Log, name string, partitions int, configs map[string]string) log.Topic {
	t.Helper()
	topic, err := l.CreateTopic(t.Context(), log.TopicSpec{Name: name, Partitions: partitions, Configs: configs})
	if err != nil {
		t.Fatal(err)
	}
	return topic
}

// fill appends n records to a partition.
func fill(t testing.TB, l log.Log, tp log.TopicPartition, n int) {
	t.Helper()
	var b log.Builder
	for i := range n {
		b.Append(log.Timestamp(i), fmt.Appendf(nil, "k%d", i), fmt.Appendf(nil, "v%d", i))
	}
	if _, err := l.Append(t.Context(), tp, b.Bytes()); err != nil {
		t.Fatal(err)
	}
}

// wantCode checks an error code; nil is none.
func wantCode(t testing.TB, what string, got int16, want *kerr.Error) {
	t.Helper()
	if err := kerr.ErrorForCode(got); want == nil && err != nil || want != nil && err != error(want) {
		t.Errorf("%s: %v, want %v", what, err, want)
	}
}

func TestCreatePartitions(t *testing.T) {
	s, l := serve(t, nil)
	c := dial(t, s)
	create(t, l, "t", 2, nil)
	f := func(topic string, count int32, assigned [][]int32, validate bool, want *kerr.Error, parts int) {
		t.Helper()
		for version := int16(0); version <= 3; version++ {
			req := kmsg.NewPtrCreatePartitionsRequest()
			req.Version, req.ValidateOnly = version, validate
			rt := kmsg.CreatePartitionsRequestTopic{Topic: topic, Count: count}
			for _, ids := range assigned {
				rt.Assignment = append(rt.Assignment, kmsg.CreatePartitionsRequestTopicAssignment{Replicas: ids})
			}
			req.Topics = append(req.Topics, rt)
			resp := ask[*kmsg.CreatePartitionsResponse](c, req)
			wantCode(t, fmt.Sprintf("%s to %d, version %d", topic, count, version), resp.Topics[0].ErrorCode, want)
			if got, _ := l.Topic(t.Context(), "t"); got.Partitions != parts {
				t.Errorf("%s to %d: %d partitions, want %d", topic, count, got.Partitions, parts)
			}
			if want == nil && !validate {
				return // the next would be too many
			}
		}
	}
	f("unknown", 3, nil, false, kerr.UnknownTopicOrPartition, 2)
	f("__consumer_offsets", 3, nil, false, kerr.InvalidTopicException, 2)
	f("t", 2, nil, false, kerr.InvalidPartitions, 2)
	f("t", 1, nil, false, kerr.InvalidPartitions, 2)
	f("t", -1, nil, false, kerr.InvalidPartitions, 2)
	f("t", 1<<30, nil, false, kerr.InvalidPartitions, 2)
	f("t", 3, [][]int32{{2}}, false, kerr.InvalidReplicaAssignment, 2)
	f("t", 3, [][]int32{{1}, {1}}, false, kerr.InvalidReplicaAssignment, 2)
	f("t", 3, nil, true, nil, 2)
	f("t", 3, nil, false, nil, 3)
	f("t", 4, [][]int32{{1}}, false, nil, 4)
	fill(t, l, log.TopicPartition{Topic: "t", Partition: 3}, 1)

	req := kmsg.NewPtrCreatePartitionsRequest()
	req.Topics = []kmsg.CreatePartitionsRequestTopic{{Topic: "t", Count: 9}, {Topic: "t", Count: 10}}
	resp := ask[*kmsg.CreatePartitionsResponse](c, req)
	if len(resp.Topics) != 1 {
		t.Fatalf("%d answers, want one", len(resp.Topics))
	}
	wantCode(t, "named twice", resp.Topics[0].ErrorCode, kerr.InvalidRequest)
}

func TestDeleteRecords(t *testing.T) {
	s, l := serve(t, nil)
	c := dial(t, s)
	create(t, l, "t", 1, nil)
	create(t, l, "compacted", 1, map[string]string{"cleanup.policy": "compact"})
	fill(t, l, log.TopicPartition{Topic: "t"}, 10)
	f := func(topic string, partition int32, before int64, want *kerr.Error, low int64) {
		t.Helper()
		for version := int16(0); version <= 2; version++ {
			req := kmsg.NewPtrDeleteRecordsRequest()
			req.Version = version
			req.Topics = []kmsg.DeleteRecordsRequestTopic{{Topic: topic, Partitions: []kmsg.DeleteRecordsRequestTopicPartition{{Partition: partition, Offset: before}}}}
			p := ask[*kmsg.DeleteRecordsResponse](c, req).Topics[0].Partitions[0]
			wantCode(t, fmt.Sprintf("%s-%d before %d", topic, partition, before), p.ErrorCode, want)
			if p.LowWatermark != low {
				t.Errorf("%s-%d before %d: low watermark %d, want %d", topic, partition, before, p.LowWatermark, low)
			}
		}
	}
	f("t", 0, 4, nil, 4)
	f("t", 0, 2, nil, 4) // deleted already
	f("t", 0, 11, kerr.OffsetOutOfRange, -1)
	f("t", 0, -2, kerr.OffsetOutOfRange, -1)
	f("t", 1, 0, kerr.UnknownTopicOrPartition, -1)
	f("unknown", 0, 0, kerr.UnknownTopicOrPartition, -1)
	f("compacted", 0, 0, kerr.PolicyViolation, -1)
	f("__consumer_offsets", 0, 0, kerr.InvalidTopicException, -1)
	f("t", 0, -1, nil, 10)
}

func TestAlterConfigs(t *testing.T) {
	s, l := serve(t, nil)
	c := dial(t, s)
	str := func(s string) *string { return &s }
	type pair = kmsg.AlterConfigsRequestResourceConfig
	f := func(name string, configs []pair, validate bool, want *kerr.Error, set map[string]string) {
		t.Helper()
		for version := int16(0); version <= 2; version++ {
			topic := fmt.Sprintf("%s-%d", name, version)
			create(t, l, topic, 1, map[string]string{"retention.ms": "5", "segment.ms": "7"})
			req := kmsg.NewPtrAlterConfigsRequest()
			req.Version, req.ValidateOnly = version, validate
			req.Resources = []kmsg.AlterConfigsRequestResource{{ResourceType: kmsg.ConfigResourceTypeTopic, ResourceName: topic, Configs: configs}}
			resp := ask[*kmsg.AlterConfigsResponse](c, req)
			wantCode(t, topic, resp.Resources[0].ErrorCode, want)
			got, _ := l.Topic(t.Context(), topic)
			if fmt.Sprint(got.Configs) != fmt.Sprint(set) {
				t.Errorf("%s: set %v, want %v", topic, got.Configs, set)
			}
		}
	}
	before := map[string]string{"retention.ms": "5", "segment.ms": "7"}
	f("replaced", []pair{{Name: "retention.ms", Value: str("9")}}, false, nil, map[string]string{"retention.ms": "9"})
	f("emptied", nil, false, nil, map[string]string{})
	f("validated", []pair{{Name: "retention.ms", Value: str("9")}}, true, nil, before)
	f("null", []pair{{Name: "retention.ms"}}, false, kerr.InvalidRequest, before)
	f("twice", []pair{{Name: "retention.ms", Value: str("1")}, {Name: "retention.ms", Value: str("2")}}, false, nil, map[string]string{"retention.ms": "2"})
	f("unknown", []pair{{Name: "retention.weeks", Value: str("1")}}, false, kerr.InvalidConfig, before)
	f("bad", []pair{{Name: "retention.ms", Value: str("soon")}}, false, kerr.InvalidConfig, before)
}

func TestIncrementalAlterConfigs(t *testing.T) {
	s, l := serve(t, nil)
	c := dial(t, s)
	type change = kmsg.IncrementalAlterConfigsRequestResourceConfig
	const (
		set      = kmsg.IncrementalAlterConfigOpSet
		unset    = kmsg.IncrementalAlterConfigOpDelete
		add      = kmsg.IncrementalAlterConfigOpAppend
		subtract = kmsg.IncrementalAlterConfigOpSubtract
	)
	op := func(op kmsg.IncrementalAlterConfigOp, name, value string) change {
		return change{Name: name, Op: op, Value: &value}
	}
	f := func(name string, changes []change, want *kerr.Error, after map[string]string) {
		t.Helper()
		for version := int16(0); version <= 1; version++ {
			for _, validate := range []bool{true, false} {
				topic := fmt.Sprintf("%s-%d-%v", name, version, validate)
				before := map[string]string{"retention.ms": "5"}
				create(t, l, topic, 1, before)
				req := kmsg.NewPtrIncrementalAlterConfigsRequest()
				req.Version, req.ValidateOnly = version, validate
				req.Resources = []kmsg.IncrementalAlterConfigsRequestResource{{ResourceType: kmsg.ConfigResourceTypeTopic, ResourceName: topic, Configs: changes}}
				resp := ask[*kmsg.IncrementalAlterConfigsResponse](c, req)
				wantCode(t, topic, resp.Resources[0].ErrorCode, want)
				wanted := after
				if validate || want != nil {
					wanted = before
				}
				if got, _ := l.Topic(t.Context(), topic); fmt.Sprint(got.Configs) != fmt.Sprint(wanted) {
					t.Errorf("%s: set %v, want %v", topic, got.Configs, wanted)
				}
			}
		}
	}
	f("set", []change{op(set, "segment.ms", "7")}, nil, map[string]string{"retention.ms": "5", "segment.ms": "7"})
	f("unset", []change{{Name: "retention.ms", Op: unset}}, nil, map[string]string{})
	f("append", []change{op(add, "cleanup.policy", "compact")}, nil, map[string]string{"retention.ms": "5", "cleanup.policy": "delete,compact"})
	f("append-what-is-there", []change{op(add, "cleanup.policy", "delete")}, nil, map[string]string{"retention.ms": "5", "cleanup.policy": "delete"})
	f("subtract-all", []change{op(subtract, "cleanup.policy", "delete")}, kerr.InvalidConfig, nil)
	f("append-to-number", []change{op(add, "retention.ms", "5")}, kerr.InvalidConfig, nil)
	f("null", []change{{Name: "retention.ms", Op: set}}, kerr.InvalidRequest, nil)
	f("twice", []change{op(set, "retention.ms", "1"), {Name: "retention.ms", Op: unset}}, kerr.InvalidRequest, nil)
	f("bad-operation", []change{op(9, "cleanup.policy", "delete")}, kerr.InvalidRequest, nil)
	f("unknown", []change{op(set, "retention.weeks", "1")}, kerr.InvalidConfig, nil)

	how := set
	g := func(kind kmsg.ConfigResourceType, name string, want *kerr.Error) (words string) {
		t.Helper()
		req := kmsg.NewPtrIncrementalAlterConfigsRequest()
		req.Resources = []kmsg.IncrementalAlterConfigsRequestResource{{ResourceType: kind, ResourceName: name, Configs: []change{op(how, "retention.ms", "1")}}}
		resp := ask[*kmsg.IncrementalAlterConfigsResponse](c, req)
		wantCode(t, fmt.Sprint(kind, name), resp.Resources[0].ErrorCode, want)
		if m := resp.Resources[0].ErrorMessage; m != nil {
			words = *m
		}
		return words
	}
	g(kmsg.ConfigResourceTypeTopic, "unknown", kerr.UnknownTopicOrPartition)
	g(kmsg.ConfigResourceTypeTopic, "__consumer_offsets", kerr.InvalidConfig)
	g(kmsg.ConfigResourceTypeBroker, "1", kerr.InvalidRequest)
	g(kmsg.ConfigResourceTypeBroker, "", kerr.InvalidRequest)
	g(kmsg.ConfigResourceTypeBrokerLogger, "1", kerr.InvalidRequest)
	if words := g(kmsg.ConfigResourceTypeClientMetrics, "m", kerr.InvalidRequest); !strings.Contains(words, "metrics of clients") {
		t.Errorf("metrics of clients: %q", words)
	}
	how = unset // as kafka-reassign-partitions --verify does with throttles
	g(kmsg.ConfigResourceTypeBroker, "1", nil)

	req := kmsg.NewPtrIncrementalAlterConfigsRequest()
	for range 2 {
		req.Resources = append(req.Resources, kmsg.IncrementalAlterConfigsRequestResource{ResourceType: kmsg.ConfigResourceTypeTopic, ResourceName: "set-0-true"})
	}
	for _, r := range ask[*kmsg.IncrementalAlterConfigsResponse](c, req).Resources {
		wantCode(t, "a resource named twice", r.ErrorCode, kerr.InvalidRequest)
	}
}

func TestDescribeLogDirs(t *testing.T) {
	s, l := serve(t, nil)
	c := dial(t, s)
	create(t, l, "a", 2, nil)
	create(t, l, "b", 1, nil)
	fill(t, l, log.TopicPartition{Topic: "a", Partition: 1}, 100)
	for version := int16(0); version <= 4; version++ {
		req := kmsg.NewPtrDescribeLogDirsRequest()
		req.Version = version
		req.Topics = []kmsg.DescribeLogDirsRequestTopic{{Topic: "a", Partitions: []int32{1, 7}}, {Topic: "unknown", Partitions: []int32{0}}}
		dir := ask[*kmsg.DescribeLogDirsResponse](c, req).Dirs[0]
		if dir.ErrorCode != 0 || dir.Dir != l.Dir() || len(dir.Topics) != 1 || len(dir.Topics[0].Partitions) != 1 {
			t.Fatalf("version %d: %+v", version, dir)
		}
		if p := dir.Topics[0].Partitions[0]; p.Partition != 1 || p.Size < 100 || p.OffsetLag != 0 || p.IsFuture {
			t.Errorf("version %d: %+v", version, p)
		}
	}
	all := ask[*kmsg.DescribeLogDirsResponse](c, kmsg.NewPtrDescribeLogDirsRequest()).Dirs[0]
	if len(all.Topics) != 3 { // with the committed offsets
		t.Errorf("%d topics of all, want 3", len(all.Topics))
	}
}

func TestDescribeCluster(t *testing.T) {
	s, l := serve(t, func(o *kafka.Options) { o.NodeID, o.Advertised = 7, "example.org:19092" })
	c := dial(t, s)
	for version := int16(0); version <= 2; version++ {
		req := kmsg.NewPtrDescribeClusterRequest()
		req.Version = version
		resp := ask[*kmsg.DescribeClusterResponse](c, req)
		if resp.ErrorCode != 0 || resp.ClusterID != l.ClusterID() || resp.ControllerID != 7 || len(resp.Brokers) != 1 {
			t.Fatalf("version %d: %+v", version, resp)
		}
		if b := resp.Brokers[0]; b.NodeID != 7 || b.Host != "example.org" || b.Port != 19092 {
			t.Errorf("version %d: broker %+v", version, b)
		}
	}
	req := kmsg.NewPtrDescribeClusterRequest()
	req.Version, req.EndpointType = 1, 2
	wantCode(t, "controllers", ask[*kmsg.DescribeClusterResponse](c, req).ErrorCode, kerr.MismatchedEndpointType)
}

// A client is told the address by which it has come.
func TestAdvertisedByDefault(t *testing.T) {
	s, _ := serve(t, nil)
	b := ask[*kmsg.DescribeClusterResponse](dial(t, s), kmsg.NewPtrDescribeClusterRequest()).Brokers[0]
	if got := fmt.Sprintf("%s:%d", b.Host, b.Port); got != s.Addr() {
		t.Errorf("advertised %s, want %s", got, s.Addr())
	}
}

func TestElectLeaders(t *testing.T) {
	s, l := serve(t, nil)
	c := dial(t, s)
	create(t, l, "t", 1, nil)
	for version := int16(0); version <= 2; version++ {
		req := kmsg.NewPtrElectLeadersRequest()
		req.Version = version
		if resp := ask[*kmsg.ElectLeadersResponse](c, req); resp.ErrorCode != 0 || len(resp.Topics) != 0 {
			t.Errorf("version %d: all: %+v", version, resp)
		}
		req.Topics = []kmsg.ElectLeadersRequestTopic{{Topic: "t", Partitions: []int32{0, 1}}}
		parts := ask[*kmsg.ElectLeadersResponse](c, req).Topics[0].Partitions
		wantCode(t, "known", parts[0].ErrorCode, kerr.ElectionNotNeeded)
		wantCode(t, "unknown", parts[1].ErrorCode, kerr.UnknownTopicOrPartition)
		if req.ElectionType = 7; version >= 1 {
			wantCode(t, "type 7", ask[*kmsg.ElectLeadersResponse](c, req).ErrorCode, kerr.InvalidRequest)
		}
	}
}

func TestReassignments(t *testing.T) {
	s, l := serve(t, nil)
	c := dial(t, s)
	create(t, l, "t", 1, nil)
	f := func(partition int32, replicas []int32, want *kerr.Error) {
		t.Helper()
		req := kmsg.NewPtrAlterPartitionAssignmentsRequest()
		req.Topics = []kmsg.AlterPartitionAssignmentsRequestTopic{{Topic: "t", Partitions: []kmsg.AlterPartitionAssignmentsRequestTopicPartition{{Partition: partition, Replicas: replicas}}}}
		resp := ask[*kmsg.AlterPartitionAssignmentsResponse](c, req)
		wantCode(t, fmt.Sprint(partition, replicas), resp.Topics[0].Partitions[0].ErrorCode, want)
	}
	f(0, []int32{1}, nil)
	f(0, []int32{1, 2}, kerr.InvalidReplicaAssignment)
	f(0, nil, kerr.NoReassignmentInProgress)
	f(1, []int32{1}, kerr.UnknownTopicOrPartition)
	if resp := ask[*kmsg.ListPartitionReassignmentsResponse](c, kmsg.NewPtrListPartitionReassignmentsRequest()); resp.ErrorCode != 0 || len(resp.Topics) != 0 {
		t.Errorf("list: %+v", resp)
	}
}

// Pages of any size add up to the whole.
func TestDescribeTopicPartitions(t *testing.T) {
	s, l := serve(t, nil)
	c := dial(t, s)
	create(t, l, "a", 3, nil)
	create(t, l, "b", 1, nil)
	create(t, l, "c", 5, nil)
	want := []string{"a-0", "a-1", "a-2", "b-0", "c-0", "c-1", "c-2", "c-3", "c-4"}
	for limit := int32(1); limit <= 10; limit++ {
		req := kmsg.NewPtrDescribeTopicPartitionsRequest()
		req.ResponsePartitionLimit = limit
		req.Topics = []kmsg.DescribeTopicPartitionsRequestTopic{{Topic: "c"}, {Topic: "a"}, {Topic: "b"}}
		var got []string
		for range 20 {
			resp := ask[*kmsg.DescribeTopicPartitionsResponse](c, req)
			n := int32(0)
			for _, rt := range resp.Topics {
				for _, p := range rt.Partitions {
					n++
					got = append(got, fmt.Sprintf("%s-%d", *rt.Topic, p.Partition))
				}
			}
			if n > limit {
				t.Fatalf("%d partitions, want at most %d", n, limit)
			}
			if resp.NextCursor == nil {
				break
			}
			req.Cursor = &kmsg.DescribeTopicPartitionsRequestCursor{Topic: resp.NextCursor.Topic, Partition: resp.NextCursor.Partition}
		}
		if !slices.Equal(got, want) {
			t.Errorf("pages of %d: %v, want %v", limit, got, want)
		}
	}
	req := kmsg.NewPtrDescribeTopicPartitionsRequest()
	req.ResponsePartitionLimit = 100
	if all := ask[*kmsg.DescribeTopicPartitionsResponse](c, req); len(all.Topics) != 4 {
		t.Errorf("%d topics of all, want 4", len(all.Topics))
	}
	req.Topics = []kmsg.DescribeTopicPartitionsRequestTopic{{Topic: "unknown"}, {Topic: "../up"}}
	resp := ask[*kmsg.DescribeTopicPartitionsResponse](c, req)
	wantCode(t, "path", resp.Topics[0].ErrorCode, kerr.InvalidTopicException)
	wantCode(t, "unknown", resp.Topics[1].ErrorCode, kerr.UnknownTopicOrPartition)
}

// quorumTopic is what is asked about with DescribeQuorum.
func quorumTopic() []kmsg.DescribeQuorumRequestTopic {
	return []kmsg.DescribeQuorumRequestTopic{{Topic: "__cluster_metadata", Partitions: []kmsg.DescribeQuorumRequestTopicPartition{{}}}}
}

// This node is all of the quorum, which is ahead when its metadata are.
func TestDescribeQuorum(t *testing.T) {
	s, _ := serve(t, func(o *kafka.Options) { o.NodeID = 7 })
	c := dial(t, s)
	describe := func(version int16, topics ...kmsg.DescribeQuorumRequestTopic) *kmsg.DescribeQuorumResponse {
		t.Helper()
		req := kmsg.NewPtrDescribeQuorumRequest()
		req.Version, req.Topics = version, topics
		return ask[*kmsg.DescribeQuorumResponse](c, req)
	}
	at := int64(-1)
	for version := int16(0); version <= 2; version++ {
		if err := s.Access().AddACLs(t.Context(), allow("User:z", kmsg.ACLOperationRead, ofTopic, fmt.Sprint(version))); err != nil {
			t.Fatal(err)
		}
		resp := describe(version, quorumTopic()...)
		p := resp.Topics[0].Partitions[0]
		if resp.ErrorCode != 0 || p.ErrorCode != 0 || p.LeaderID != 7 || len(p.CurrentVoters) != 1 || len(p.Observers) != 0 {
			t.Fatalf("version %d: %+v", version, resp)
		}
		if v := p.CurrentVoters[0]; v.ReplicaID != 7 || v.LogEndOffset != p.HighWatermark || version > 0 && (v.LastFetchTimestamp <= 0 || v.LastCaughtUpTimestamp != v.LastFetchTimestamp) {
			t.Errorf("version %d: voter %+v", version, v)
		}
		if p.HighWatermark <= at {
			t.Errorf("version %d: high watermark %d, after %d", version, p.HighWatermark, at)
		}
		at = p.HighWatermark
		if version >= 2 && (len(resp.Nodes) != 1 || resp.Nodes[0].NodeID != 7) {
			t.Errorf("nodes %+v", resp.Nodes)
		}
	}
	other := quorumTopic()
	other[0].Topic = "other"
	wantCode(t, "another topic", describe(2, other...).Topics[0].Partitions[0].ErrorCode, kerr.UnknownTopicOrPartition)
	other = quorumTopic()
	other[0].Partitions[0].Partition = 1
	wantCode(t, "another partition", describe(2, other...).Topics[0].Partitions[0].ErrorCode, kerr.UnknownTopicOrPartition)
	wantCode(t, "two topics", describe(2, append(quorumTopic(), quorumTopic()...)...).Topics[1].Partitions[0].ErrorCode, kerr.UnknownTopicOrPartition)
	if got := describe(2); len(got.Topics) != 0 {
		t.Errorf("no topic: %+v", got)
	}
}

// Topics, the broker and its logger are listed whether something is set for them or
// not, groups if something is.
func TestListConfigResources(t *testing.T) {
	s, l := serve(t, nil)
	create(t, l, "b", 1, nil)
	create(t, l, "a", 1, nil)
	c := dial(t, s)
	alter := kmsg.NewPtrIncrementalAlterConfigsRequest()
	timeout := "46000"
	for _, group := range []string{"h", "g"} {
		alter.Resources = append(alter.Resources, kmsg.IncrementalAlterConfigsRequestResource{
			ResourceType: kmsg.ConfigResourceTypeGroupConfig, ResourceName: group,
			Configs: []kmsg.IncrementalAlterConfigsRequestResourceConfig{{Name: "consumer.session.timeout.ms", Value: &timeout}},
		})
	}
	for _, r := range ask[*kmsg.IncrementalAlterConfigsResponse](c, alter).Resources {
		wantCode(t, "set configs of a group", r.ErrorCode, nil)
	}
	f := func(version int16, want string, code *kerr.Error, types ...int8) {
		t.Helper()
		req := kmsg.NewPtrListConfigResourcesRequest()
		req.Version, req.ResourceTypes = version, types
		resp := ask[*kmsg.ListConfigResourcesResponse](c, req)
		wantCode(t, fmt.Sprint(types), resp.ErrorCode, code)
		got := ""
		for _, r := range resp.ConfigResources {
			if r.Name == "__grete_access" {
				t.Error("lists the topic that is nobody's")
			}
			if !strings.HasPrefix(r.Name, "__") { // other internal topics
				got += fmt.Sprintf("%d:%s ", r.Type, r.Name)
			}
		}
		if got != want {
			t.Errorf("version %d, types %v: %q, want %q", version, types, got, want)
		}
	}
	f(0, "", nil)
	f(1, "32:g 32:h 8:1 4:1 2:a 2:b ", nil)
	f(1, "2:a 2:b ", nil, 2, 2)
	f(1, "4:1 ", nil, 4)
	f(1, "8:1 ", nil, 8)
	f(1, "", nil, 16)
	f(1, "32:g 32:h 4:1 ", nil, 4, 32)
	f(1, "", kerr.UnsupportedVersion, 2, 3)
}

// Every answer knows the server by the same number; 0 is one like any other.
func TestNodeID(t *testing.T) {
	for _, id := range []int32{0, 7} {
		s, _ := serve(t, func(o *kafka.Options) { o.NodeID = id })
		c := dial(t, s)
		topic := newTopic("t", func(r *kmsg.CreateTopicsRequestTopic) {
			r.NumPartitions, r.ReplicationFactor = -1, -1
			r.ReplicaAssignment = []kmsg.CreateTopicsRequestTopicReplicaAssignment{{Replicas: []int32{id}}}
		})
		wantCode(t, "assigned to the server", createTopics(c, 7, topic).Topics[0].ErrorCode, nil)

		meta := kmsg.NewPtrMetadataRequest()
		meta.Version = 9
		m := ask[*kmsg.MetadataResponse](c, meta)
		find := kmsg.NewPtrFindCoordinatorRequest()
		find.CoordinatorKey = "g"
		cluster := ask[*kmsg.DescribeClusterResponse](c, kmsg.NewPtrDescribeClusterRequest())
		describe := kmsg.NewPtrDescribeTopicPartitionsRequest()
		describe.Topics = []kmsg.DescribeTopicPartitionsRequestTopic{{Topic: "t"}}
		described := ask[*kmsg.DescribeTopicPartitionsResponse](c, describe).Topics[0].Partitions[0]
		p := m.Topics[0].Partitions[0]
		for what, got := range map[string]int32{
			"Metadata, broker": m.Brokers[0].NodeID, "Metadata, controller": m.ControllerID, "Metadata, leader": p.Leader,
			"Metadata, replica": p.Replicas[0], "Metadata, in sync": p.ISR[0],
			"FindCoordinator":                 ask[*kmsg.FindCoordinatorResponse](c, find).NodeID,
			"DescribeCluster, broker":         cluster.Brokers[0].NodeID,
			"DescribeCluster, controller":     cluster.ControllerID,
			"DescribeTopicPartitions, leader": described.LeaderID, "DescribeTopicPartitions, replica": described.Replicas[0],
		} {
			if got != id {
				t.Errorf("%s: node %d, want %d", what, got, id)
			}
		}
	}
}
