package kafka_test

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gretestream/grete/log"
	"github.com/gretestream/grete/log/kafka"
)

// plainSASL makes a server guarded by PLAIN, with users whose password is their
// name and "-pw".
func plainSASL(o *kafka.Options) {
	o.SASL = []string{kafka.Plain, kafka.ScramSHA256, kafka.ScramSHA512}
	o.SuperUsers = []string{"User:root"}
	o.MaxAuthDelay = -1
}

// addUsers makes users whose password is their name and "-pw".
func addUsers(t testing.TB, s *kafka.Server, names ...string) {
	t.Helper()
	for _, name := range names {
		if err := s.Access().SetUserFast(t.Context(), name, name+"-pw"); err != nil {
			t.Fatal(err)
		}
	}
}

// login authenticates a connection by PLAIN.
func (c *client) login(user string) *client {
	c.t.Helper()
	if resp := c.tryLogin(user, user+"-pw"); resp.ErrorCode != 0 {
		c.t.Fatalf("login of %s: code %d, %v", user, resp.ErrorCode, *resp.ErrorMessage)
	}
	return c
}

func (c *client) tryLogin(user, password string) *kmsg.SASLAuthenticateResponse {
	c.t.Helper()
	shake := kmsg.NewPtrSASLHandshakeRequest()
	shake.Version, shake.Mechanism = 1, kafka.Plain
	wantCode(c.t, "handshake", ask[*kmsg.SASLHandshakeResponse](c, shake).ErrorCode, nil)
	req := kmsg.NewPtrSASLAuthenticateRequest()
	req.Version, req.SASLAuthBytes = 2, []byte("\x00"+user+"\x00"+password)
	return ask[*kmsg.SASLAuthenticateResponse](c, req)
}

func allow(principal string, op kmsg.ACLOperation, kind kmsg.ACLResourceType, name string) kafka.ACL {
	return kafka.ACL{
		Resource: kind, Pattern: kmsg.ACLResourcePatternTypeLiteral, Name: name, Principal: principal,
		Host: "*", Operation: op, Permission: kmsg.ACLPermissionTypeAllow,
	}
}

// codesOf are all error codes of an answer, but zeros; config_error_code too.
func codesOf(v reflect.Value) []int16 {
	var codes []int16
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		if !v.IsNil() {
			codes = codesOf(v.Elem())
		}
	case reflect.Slice:
		for i := range v.Len() {
			codes = append(codes, codesOf(v.Index(i))...)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if f := v.Field(i); strings.HasSuffix(v.Type().Field(i).Name, "ErrorCode") && f.Kind() == reflect.Int16 {
				if f.Int() != 0 {
					codes = append(codes, int16(f.Int()))
				}
			} else if f.CanInterface() {
				codes = append(codes, codesOf(f)...)
			}
		}
	}
	return codes
}

// accessCase is a request, what a stranger is answered, and the ACL that opens it.
type accessCase struct {
	key   kmsg.Key
	req   func(topic log.Topic) kmsg.Request
	code  *kerr.Error // nil: there is no error; the answer is empty for strangers
	needs []kafka.ACL // of User:alice
	empty func(kmsg.Response) bool
}

const (
	ofTopic   = kmsg.ACLResourceTypeTopic
	ofGroup   = kmsg.ACLResourceTypeGroup
	ofTxn     = kmsg.ACLResourceTypeTransactionalId
	ofCluster = kmsg.ACLResourceTypeCluster
)

func alice(op kmsg.ACLOperation, kind kmsg.ACLResourceType, name string) kafka.ACL {
	return allow("User:alice", op, kind, name)
}

func accessCases() []accessCase {
	str := func(s string) *string { return &s }
	parts := []int32{0}
	onTopic := func(op kmsg.ACLOperation) []kafka.ACL { return []kafka.ACL{alice(op, ofTopic, "t")} }
	onGroup := func(op kmsg.ACLOperation) []kafka.ACL { return []kafka.ACL{alice(op, ofGroup, "g")} }
	onTxn := func(op kmsg.ACLOperation) []kafka.ACL { return []kafka.ACL{alice(op, ofTxn, "x")} }
	onCluster := func(op kmsg.ACLOperation) []kafka.ACL {
		return []kafka.ACL{alice(op, ofCluster, kafka.ClusterName)}
	}
	const (
		read, write, create, del, alter = kmsg.ACLOperationRead, kmsg.ACLOperationWrite, kmsg.ACLOperationCreate, kmsg.ACLOperationDelete, kmsg.ACLOperationAlter
		describe, act                   = kmsg.ACLOperationDescribe, kmsg.ACLOperationClusterAction
		describeConfigs, alterConfigs   = kmsg.ACLOperationDescribeConfigs, kmsg.ACLOperationAlterConfigs
	)
	topicNo, groupNo, txnNo, clusterNo := kerr.TopicAuthorizationFailed, kerr.GroupAuthorizationFailed, kerr.TransactionalIDAuthorizationFailed, kerr.ClusterAuthorizationFailed
	with := func(key kmsg.Key, change func(r kmsg.Request)) func(log.Topic) kmsg.Request {
		return func(log.Topic) kmsg.Request {
			r := kmsg.RequestForKey(int16(key))
			change(r)
			return r
		}
	}
	return []accessCase{
		{key: kmsg.Produce, code: topicNo, needs: onTopic(write), req: with(kmsg.Produce, func(r kmsg.Request) {
			req := r.(*kmsg.ProduceRequest)
			var b log.Builder
			b.Append(1, nil, []byte("v"))
			req.Version, req.Acks = 9, -1
			req.Topics = []kmsg.ProduceRequestTopic{{Topic: "t", Partitions: []kmsg.ProduceRequestTopicPartition{{Records: b.Bytes()}}}}
		})},
		{key: kmsg.Produce, code: txnNo, needs: append(onTopic(write), onTxn(write)...), req: with(kmsg.Produce, func(r kmsg.Request) {
			req := r.(*kmsg.ProduceRequest)
			var b log.Builder
			b.Append(1, nil, []byte("v"))
			req.Version, req.Acks, req.TransactionID = 12, -1, str("x")
			req.Topics = []kmsg.ProduceRequestTopic{{Topic: "t", Partitions: []kmsg.ProduceRequestTopicPartition{{Records: b.Bytes()}}}}
		})},
		{key: kmsg.Fetch, code: topicNo, needs: onTopic(read), req: func(topic log.Topic) kmsg.Request {
			req := kmsg.NewPtrFetchRequest()
			req.Version, req.MaxBytes, req.SessionEpoch = 13, 1000, -1
			p := kmsg.NewFetchRequestTopicPartition()
			p.PartitionMaxBytes = 1000
			req.Topics = []kmsg.FetchRequestTopic{{TopicID: topic.ID, Partitions: []kmsg.FetchRequestTopicPartition{p}}}
			return req
		}},
		{key: kmsg.ListOffsets, code: topicNo, needs: onTopic(describe), req: with(kmsg.ListOffsets, func(r kmsg.Request) {
			req := r.(*kmsg.ListOffsetsRequest)
			req.Version = 7
			p := kmsg.NewListOffsetsRequestTopicPartition()
			p.Timestamp = -1
			req.Topics = []kmsg.ListOffsetsRequestTopic{{Topic: "t", Partitions: []kmsg.ListOffsetsRequestTopicPartition{p}}}
		})},
		{key: kmsg.Metadata, code: topicNo, needs: onTopic(describe), req: with(kmsg.Metadata, func(r kmsg.Request) {
			req := r.(*kmsg.MetadataRequest)
			req.Version, req.Topics = 12, []kmsg.MetadataRequestTopic{{Topic: str("t")}}
		})},
		{key: kmsg.Metadata, needs: onTopic(describe), req: with(kmsg.Metadata, func(r kmsg.Request) { r.(*kmsg.MetadataRequest).Version = 12 }),
			empty: func(r kmsg.Response) bool { return len(r.(*kmsg.MetadataResponse).Topics) == 0 }},
		{key: kmsg.OffsetCommit, code: groupNo, needs: append(onTopic(read), onGroup(read)...), req: with(kmsg.OffsetCommit, func(r kmsg.Request) {
			req := r.(*kmsg.OffsetCommitRequest)
			req.Version, req.Group, req.Generation = 8, "g", -1
			p := kmsg.NewOffsetCommitRequestTopicPartition()
			req.Topics = []kmsg.OffsetCommitRequestTopic{{Topic: "t", Partitions: []kmsg.OffsetCommitRequestTopicPartition{p}}}
		})},
		{key: kmsg.OffsetFetch, code: groupNo, needs: append(onTopic(describe), onGroup(describe)...), req: with(kmsg.OffsetFetch, func(r kmsg.Request) {
			req := r.(*kmsg.OffsetFetchRequest)
			g := kmsg.NewOffsetFetchRequestGroup()
			g.Group, g.Topics = "g", []kmsg.OffsetFetchRequestGroupTopic{{Topic: "t", Partitions: parts}}
			req.Version, req.Groups = 8, []kmsg.OffsetFetchRequestGroup{g}
		})},
		{key: kmsg.OffsetFetch, code: groupNo, needs: append(onTopic(describe), onGroup(describe)...), req: with(kmsg.OffsetFetch, func(r kmsg.Request) {
			req := r.(*kmsg.OffsetFetchRequest)
			req.Version, req.Group, req.Topics = 1, "g", []kmsg.OffsetFetchRequestTopic{{Topic: "t", Partitions: parts}}
		})},
		{key: kmsg.FindCoordinator, code: groupNo, needs: onGroup(describe), req: with(kmsg.FindCoordinator, func(r kmsg.Request) {
			req := r.(*kmsg.FindCoordinatorRequest)
			req.Version, req.CoordinatorKeys = 4, []string{"g"}
		})},
		{key: kmsg.FindCoordinator, code: txnNo, needs: onTxn(describe), req: with(kmsg.FindCoordinator, func(r kmsg.Request) {
			req := r.(*kmsg.FindCoordinatorRequest)
			req.Version, req.CoordinatorKey, req.CoordinatorType = 2, "x", 1
		})},
		{key: kmsg.JoinGroup, code: groupNo, req: with(kmsg.JoinGroup, func(r kmsg.Request) { r.(*kmsg.JoinGroupRequest).Group = "g" })},
		{key: kmsg.Heartbeat, code: groupNo, req: with(kmsg.Heartbeat, func(r kmsg.Request) { r.(*kmsg.HeartbeatRequest).Group = "g" })},
		{key: kmsg.LeaveGroup, code: groupNo, req: with(kmsg.LeaveGroup, func(r kmsg.Request) { r.(*kmsg.LeaveGroupRequest).Group = "g" })},
		{key: kmsg.SyncGroup, code: groupNo, req: with(kmsg.SyncGroup, func(r kmsg.Request) { r.(*kmsg.SyncGroupRequest).Group = "g" })},
		{key: kmsg.DescribeGroups, code: groupNo, needs: onGroup(describe), req: with(kmsg.DescribeGroups, func(r kmsg.Request) { r.(*kmsg.DescribeGroupsRequest).Groups = []string{"g"} })},
		{key: kmsg.ConsumerGroupHeartbeat, code: groupNo, needs: append(onTopic(describe), onGroup(read)...), req: with(kmsg.ConsumerGroupHeartbeat, func(r kmsg.Request) {
			req := r.(*kmsg.ConsumerGroupHeartbeatRequest)
			req.Version, req.Group, req.MemberID, req.RebalanceTimeoutMillis, req.SubscribedTopicNames = 1, "g", "m", 1000, []string{"t"}
		})},
		{key: kmsg.ConsumerGroupDescribe, code: groupNo, needs: onGroup(describe), req: with(kmsg.ConsumerGroupDescribe, func(r kmsg.Request) { r.(*kmsg.ConsumerGroupDescribeRequest).Groups = []string{"g"} })},
		{key: kmsg.ListGroups, needs: onCluster(describe), req: with(kmsg.ListGroups, func(kmsg.Request) {}),
			empty: func(r kmsg.Response) bool { return len(r.(*kmsg.ListGroupsResponse).Groups) == 0 }},
		{key: kmsg.CreateTopics, code: topicNo, needs: append(onCluster(create), alice(describeConfigs, ofTopic, "new")), req: with(kmsg.CreateTopics, func(r kmsg.Request) {
			req := r.(*kmsg.CreateTopicsRequest)
			req.Version, req.ValidateOnly, req.Topics = 5, true, []kmsg.CreateTopicsRequestTopic{newTopic("new", nil)}
		})},
		{key: kmsg.CreateTopics, code: topicNo, needs: []kafka.ACL{alice(create, ofTopic, "new"), alice(describeConfigs, ofTopic, "new")}, req: with(kmsg.CreateTopics, func(r kmsg.Request) {
			req := r.(*kmsg.CreateTopicsRequest)
			req.Version, req.ValidateOnly, req.Topics = 5, true, []kmsg.CreateTopicsRequestTopic{newTopic("new", nil)}
		})},
		{key: kmsg.DeleteTopics, code: topicNo, needs: onTopic(del), req: with(kmsg.DeleteTopics, func(r kmsg.Request) { r.(*kmsg.DeleteTopicsRequest).TopicNames = []string{"t"} })},
		{key: kmsg.DeleteTopics, code: topicNo, needs: onTopic(del), req: func(topic log.Topic) kmsg.Request {
			req := kmsg.NewPtrDeleteTopicsRequest()
			req.Version, req.Topics = 6, []kmsg.DeleteTopicsRequestTopic{{TopicID: topic.ID}}
			return req
		}},
		{key: kmsg.DeleteRecords, code: topicNo, needs: onTopic(del), req: with(kmsg.DeleteRecords, func(r kmsg.Request) {
			r.(*kmsg.DeleteRecordsRequest).Topics = []kmsg.DeleteRecordsRequestTopic{{Topic: "t", Partitions: []kmsg.DeleteRecordsRequestTopicPartition{{}}}}
		})},
		{key: kmsg.InitProducerID, code: txnNo, needs: onTxn(write), req: with(kmsg.InitProducerID, func(r kmsg.Request) {
			req := r.(*kmsg.InitProducerIDRequest)
			req.Version, req.TransactionalID, req.TransactionTimeoutMillis = 4, str("x"), 1000
		})},
		{key: kmsg.InitProducerID, code: clusterNo, needs: onTopic(write), req: with(kmsg.InitProducerID, func(r kmsg.Request) { r.(*kmsg.InitProducerIDRequest).Version = 4 })},
		{key: kmsg.OffsetForLeaderEpoch, code: topicNo, needs: onTopic(describe), req: with(kmsg.OffsetForLeaderEpoch, func(r kmsg.Request) {
			req := r.(*kmsg.OffsetForLeaderEpochRequest)
			req.Version = 4
			p := kmsg.NewOffsetForLeaderEpochRequestTopicPartition()
			req.Topics = []kmsg.OffsetForLeaderEpochRequestTopic{{Topic: "t", Partitions: []kmsg.OffsetForLeaderEpochRequestTopicPartition{p}}}
		})},
		{key: kmsg.AddPartitionsToTxn, code: txnNo, req: with(kmsg.AddPartitionsToTxn, func(r kmsg.Request) {
			req := r.(*kmsg.AddPartitionsToTxnRequest)
			req.TransactionalID, req.Topics = "x", []kmsg.AddPartitionsToTxnRequestTopic{{Topic: "t", Partitions: parts}}
		})},
		{key: kmsg.AddOffsetsToTxn, code: txnNo, req: with(kmsg.AddOffsetsToTxn, func(r kmsg.Request) { r.(*kmsg.AddOffsetsToTxnRequest).TransactionalID = "x" })},
		{key: kmsg.EndTxn, code: txnNo, req: with(kmsg.EndTxn, func(r kmsg.Request) { r.(*kmsg.EndTxnRequest).TransactionalID = "x" })},
		{key: kmsg.WriteTxnMarkers, code: clusterNo, needs: onCluster(act), req: with(kmsg.WriteTxnMarkers, func(r kmsg.Request) {
			req := r.(*kmsg.WriteTxnMarkersRequest)
			req.Version = 1
			req.Markers = []kmsg.WriteTxnMarkersRequestMarker{{ProducerID: 9, Topics: []kmsg.WriteTxnMarkersRequestMarkerTopic{{Topic: "t", Partitions: parts}}}}
		})},
		{key: kmsg.TxnOffsetCommit, code: txnNo, req: with(kmsg.TxnOffsetCommit, func(r kmsg.Request) {
			req := r.(*kmsg.TxnOffsetCommitRequest)
			req.TransactionalID, req.Group = "x", "g"
			req.Topics = []kmsg.TxnOffsetCommitRequestTopic{{Topic: "t", Partitions: []kmsg.TxnOffsetCommitRequestTopicPartition{{}}}}
		})},
		{key: kmsg.DescribeACLs, code: clusterNo, needs: onCluster(describe), req: with(kmsg.DescribeACLs, func(r kmsg.Request) {
			req := r.(*kmsg.DescribeACLsRequest)
			req.ResourceType, req.Operation, req.PermissionType = kmsg.ACLResourceTypeAny, kmsg.ACLOperationAny, kmsg.ACLPermissionTypeAny
		})},
		{key: kmsg.CreateACLs, code: clusterNo, needs: onCluster(alter), req: with(kmsg.CreateACLs, func(r kmsg.Request) {
			c := kmsg.NewCreateACLsRequestCreation()
			c.ResourceType, c.ResourceName, c.Principal, c.Host, c.Operation, c.PermissionType = ofTopic, "z", "User:z", "*", read, kmsg.ACLPermissionTypeAllow
			r.(*kmsg.CreateACLsRequest).Creations = []kmsg.CreateACLsRequestCreation{c}
		})},
		{key: kmsg.DeleteACLs, code: clusterNo, needs: onCluster(alter), req: with(kmsg.DeleteACLs, func(r kmsg.Request) {
			f := kmsg.NewDeleteACLsRequestFilter()
			f.ResourceType, f.ResourceName, f.Operation, f.PermissionType = ofTopic, str("z"), kmsg.ACLOperationAny, kmsg.ACLPermissionTypeAny
			r.(*kmsg.DeleteACLsRequest).Filters = []kmsg.DeleteACLsRequestFilter{f}
		})},
		{key: kmsg.DescribeConfigs, code: topicNo, needs: onTopic(describeConfigs), req: with(kmsg.DescribeConfigs, func(r kmsg.Request) {
			r.(*kmsg.DescribeConfigsRequest).Resources = []kmsg.DescribeConfigsRequestResource{{ResourceType: kmsg.ConfigResourceTypeTopic, ResourceName: "t"}}
		})},
		{key: kmsg.DescribeConfigs, code: clusterNo, needs: onCluster(alterConfigs), req: with(kmsg.DescribeConfigs, func(r kmsg.Request) {
			r.(*kmsg.DescribeConfigsRequest).Resources = []kmsg.DescribeConfigsRequestResource{{ResourceType: kmsg.ConfigResourceTypeBroker, ResourceName: "1"}}
		})},
		{key: kmsg.AlterConfigs, code: topicNo, needs: onTopic(alterConfigs), req: with(kmsg.AlterConfigs, func(r kmsg.Request) {
			r.(*kmsg.AlterConfigsRequest).Resources = []kmsg.AlterConfigsRequestResource{{ResourceType: kmsg.ConfigResourceTypeTopic, ResourceName: "t"}}
		})},
		{key: kmsg.IncrementalAlterConfigs, code: topicNo, needs: onTopic(alterConfigs), req: with(kmsg.IncrementalAlterConfigs, func(r kmsg.Request) {
			r.(*kmsg.IncrementalAlterConfigsRequest).Resources = []kmsg.IncrementalAlterConfigsRequestResource{{ResourceType: kmsg.ConfigResourceTypeTopic, ResourceName: "t"}}
		})},
		{key: kmsg.IncrementalAlterConfigs, code: clusterNo, needs: onCluster(alterConfigs), req: with(kmsg.IncrementalAlterConfigs, func(r kmsg.Request) {
			r.(*kmsg.IncrementalAlterConfigsRequest).Resources = []kmsg.IncrementalAlterConfigsRequestResource{
				{ResourceType: kmsg.ConfigResourceTypeBroker, ResourceName: "1", Configs: []kmsg.IncrementalAlterConfigsRequestResourceConfig{{Name: "max.connections", Value: str("7")}}},
			}
		})},
		{key: kmsg.AlterReplicaLogDirs, code: clusterNo, needs: onCluster(alter), req: with(kmsg.AlterReplicaLogDirs, func(r kmsg.Request) {
			r.SetVersion(2)
			r.(*kmsg.AlterReplicaLogDirsRequest).Dirs = []kmsg.AlterReplicaLogDirsRequestDir{{Topics: []kmsg.AlterReplicaLogDirsRequestDirTopic{{Topic: "t", Partitions: parts}}}}
		})},
		{key: kmsg.DescribeLogDirs, code: clusterNo, needs: onCluster(describe), req: with(kmsg.DescribeLogDirs, func(r kmsg.Request) { r.SetVersion(3) })},
		{key: kmsg.CreatePartitions, code: topicNo, needs: onTopic(alter), req: with(kmsg.CreatePartitions, func(r kmsg.Request) {
			req := r.(*kmsg.CreatePartitionsRequest)
			req.ValidateOnly, req.Topics = true, []kmsg.CreatePartitionsRequestTopic{{Topic: "t", Count: 9}}
		})},
		{key: kmsg.DeleteGroups, code: groupNo, req: with(kmsg.DeleteGroups, func(r kmsg.Request) { r.(*kmsg.DeleteGroupsRequest).Groups = []string{"g"} })},
		{key: kmsg.OffsetDelete, code: groupNo, req: with(kmsg.OffsetDelete, func(r kmsg.Request) { r.(*kmsg.OffsetDeleteRequest).Group = "g" })},
		{key: kmsg.ElectLeaders, code: clusterNo, needs: onCluster(alter), req: with(kmsg.ElectLeaders, func(r kmsg.Request) { r.SetVersion(1) })},
		{key: kmsg.AlterPartitionAssignments, code: clusterNo, needs: onCluster(alter), req: with(kmsg.AlterPartitionAssignments, func(kmsg.Request) {})},
		{key: kmsg.ListPartitionReassignments, code: clusterNo, needs: onCluster(describe), req: with(kmsg.ListPartitionReassignments, func(kmsg.Request) {})},
		{key: kmsg.DescribeClientQuotas, code: clusterNo, needs: onCluster(describeConfigs), req: with(kmsg.DescribeClientQuotas, func(kmsg.Request) {})},
		{key: kmsg.AlterClientQuotas, code: clusterNo, needs: onCluster(alterConfigs), req: with(kmsg.AlterClientQuotas, func(r kmsg.Request) {
			r.(*kmsg.AlterClientQuotasRequest).Entries = []kmsg.AlterClientQuotasRequestEntry{{Entity: []kmsg.AlterClientQuotasRequestEntryEntity{{Type: "user"}}}}
		})},
		{key: kmsg.DescribeUserSCRAMCredentials, code: clusterNo, needs: onCluster(describe), req: with(kmsg.DescribeUserSCRAMCredentials, func(kmsg.Request) {})},
		{key: kmsg.AlterUserSCRAMCredentials, code: clusterNo, req: with(kmsg.AlterUserSCRAMCredentials, func(r kmsg.Request) {
			r.(*kmsg.AlterUserSCRAMCredentialsRequest).Deletions = []kmsg.AlterUserSCRAMCredentialsRequestDeletion{{Name: "root", Mechanism: 1}}
		})},
		{key: kmsg.DescribeQuorum, code: clusterNo, needs: onCluster(describe), req: with(kmsg.DescribeQuorum, func(r kmsg.Request) { r.(*kmsg.DescribeQuorumRequest).Topics = quorumTopic() })},
		{key: kmsg.DescribeCluster, req: with(kmsg.DescribeCluster, func(r kmsg.Request) { r.(*kmsg.DescribeClusterRequest).IncludeClusterAuthorizedOperations = true }),
			empty: func(r kmsg.Response) bool { return r.(*kmsg.DescribeClusterResponse).ClusterAuthorizedOperations == 0 }},
		{key: kmsg.DescribeProducers, code: topicNo, needs: onTopic(read), req: with(kmsg.DescribeProducers, func(r kmsg.Request) {
			r.(*kmsg.DescribeProducersRequest).Topics = []kmsg.DescribeProducersRequestTopic{{Topic: "t", Partitions: parts}}
		})},
		{key: kmsg.DescribeTransactions, code: txnNo, req: with(kmsg.DescribeTransactions, func(r kmsg.Request) { r.(*kmsg.DescribeTransactionsRequest).TransactionalIDs = []string{"x"} })},
		{key: kmsg.ListTransactions, req: with(kmsg.ListTransactions, func(kmsg.Request) {}),
			empty: func(r kmsg.Response) bool { return len(r.(*kmsg.ListTransactionsResponse).TransactionStates) == 0 }},
		{key: kmsg.ListConfigResources, code: clusterNo, needs: onCluster(describeConfigs), req: with(kmsg.ListConfigResources, func(r kmsg.Request) { r.SetVersion(1) })},
		{key: kmsg.DescribeTopicPartitions, code: topicNo, needs: onTopic(describe), req: with(kmsg.DescribeTopicPartitions, func(r kmsg.Request) {
			req := r.(*kmsg.DescribeTopicPartitionsRequest)
			req.ResponsePartitionLimit, req.Topics = 10, []kmsg.DescribeTopicPartitionsRequestTopic{{Topic: "t"}}
		})},
	}
}

// Every API refuses a stranger, with Kafka's code and no other, and the ACLs
// that Kafka's page names for it open it.
func TestEveryAPIAsks(t *testing.T) {
	asked := map[int16]bool{int16(kmsg.ApiVersions): true, int16(kmsg.SASLHandshake): true, int16(kmsg.SASLAuthenticate): true} // open to all
	for i, ac := range accessCases() {
		asked[int16(ac.key)] = true
		t.Run(fmt.Sprintf("%02d %s", i, ac.key.Name()), func(t *testing.T) {
			t.Parallel()
			s, l := serve(t, plainSASL)
			addUsers(t, s, "alice", "root")
			topic := create(t, l, "t", 1, nil)
			fill(t, l, log.TopicPartition{Topic: "t"}, 1)
			for _, user := range []string{"alice", "alice with ACLs", "root"} {
				if user == "alice with ACLs" {
					if len(ac.needs) == 0 {
						continue
					}
					if err := s.Access().AddACLs(t.Context(), ac.needs...); err != nil {
						t.Fatal(err)
					}
				}
				name, _, _ := strings.Cut(user, " ")
				req := ac.req(topic)
				c := dial(t, s).login(name)
				c.send(req)
				resp := req.ResponseKind()
				c.receive(resp)
				codes := codesOf(reflect.ValueOf(resp))
				refused := false
				for _, code := range codes {
					refused = refused || code == kerr.TopicAuthorizationFailed.Code || code == kerr.GroupAuthorizationFailed.Code ||
						code == kerr.TransactionalIDAuthorizationFailed.Code || code == kerr.ClusterAuthorizationFailed.Code
					if user == "alice" && (ac.code == nil || code != ac.code.Code) {
						t.Errorf("%s: codes %v, want %v", user, codes, ac.code)
					}
				}
				if user != "alice" && refused {
					t.Errorf("%s: codes %v, want none of access", user, codes)
				}
				if user == "alice" && ac.code != nil && !refused {
					t.Errorf("%s: codes %v, want %v", user, codes, ac.code)
				}
				if user == "alice" && ac.empty != nil && !ac.empty(resp) {
					t.Errorf("%s: %+v, want nothing", user, resp)
				}
			}
		})
	}
	s, _ := serve(t, nil)
	for _, k := range ask[*kmsg.ApiVersionsResponse](dial(t, s), kmsg.NewPtrApiVersionsRequest()).ApiKeys {
		if !asked[k.ApiKey] {
			t.Errorf("%s has no line in accessCases: who may ask it what?", kmsg.NameForKey(k.ApiKey))
		}
	}
}

// Verifiers are nobody's to read, not even where everything is open.
func TestAccessTopicIsHidden(t *testing.T) {
	s, l := serve(t, nil)
	addUsers(t, s, "alice")
	c := dial(t, s)
	topic, err := l.Topic(t.Context(), "__grete_access")
	if err != nil {
		t.Fatal(err)
	}
	meta := kmsg.NewPtrMetadataRequest()
	meta.Version = 12
	for _, rt := range ask[*kmsg.MetadataResponse](c, meta).Topics {
		if *rt.Topic == topic.Name {
			t.Error("it is listed")
		}
	}
	req := kmsg.NewPtrFetchRequest()
	req.Version, req.MaxBytes, req.SessionEpoch = 13, 1<<20, -1
	p := kmsg.NewFetchRequestTopicPartition()
	p.PartitionMaxBytes = 1 << 20
	req.Topics = []kmsg.FetchRequestTopic{{TopicID: topic.ID, Partitions: []kmsg.FetchRequestTopicPartition{p}}}
	got := ask[*kmsg.FetchResponse](c, req).Topics[0].Partitions[0]
	wantCode(t, "fetch", got.ErrorCode, kerr.TopicAuthorizationFailed)
	if len(got.RecordBatches) > 0 {
		t.Error("it was read")
	}
}
