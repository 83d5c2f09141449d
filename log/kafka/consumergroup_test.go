package kafka_test

import (
	"cmp"
	"context"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gretestream/grete/log/kafka"
	"github.com/gretestream/grete/log/logtest"
)

// beater is a member of group "g" of the consumer protocol.
type beater struct {
	*client
	s        *kafka.Server
	id       string
	instance *string
	topics   []string
	epoch    int32
	owned    []int32       // of the first topic
	timeout  time.Duration // to give up partitions; default: testRebalance
}

// consumerSession is the least session of the consumer protocol.
const consumerSession = 45 * time.Second

func newBeater(t testing.TB, s *kafka.Server, id string, topics ...string) *beater {
	return &beater{client: dial(t, s), s: s, id: id, topics: topics}
}

func (b *beater) reconnect(s *kafka.Server) {
	_ = b.Close()
	b.client, b.s = dial(b.t, s), s
}

// request is a heartbeat that says all.
func (b *beater) request() *kmsg.ConsumerGroupHeartbeatRequest {
	req := kmsg.NewPtrConsumerGroupHeartbeatRequest()
	req.Version, req.Group, req.MemberID, req.MemberEpoch, req.InstanceID = 1, "g", b.id, b.epoch, b.instance
	req.RebalanceTimeoutMillis, req.SubscribedTopicNames = int32(cmp.Or(b.timeout, testRebalance).Milliseconds()), b.topics
	req.Topics = []kmsg.ConsumerGroupHeartbeatRequestTopic{}
	if len(b.owned) > 0 {
		t := kmsg.NewConsumerGroupHeartbeatRequestTopic()
		t.TopicID, t.Partitions = b.metadata(12, false, b.topics[0]).Topics[0].TopicID, b.owned
		req.Topics = append(req.Topics, t)
	}
	return req
}

// beat says all, takes what it is given, and returns that.
func (b *beater) beat() (given []int32, err error) {
	b.t.Helper()
	return b.took(b.request())
}

// ping says nothing new.
func (b *beater) ping() error {
	b.t.Helper()
	req := kmsg.NewPtrConsumerGroupHeartbeatRequest()
	req.Version, req.Group, req.MemberID, req.MemberEpoch, req.InstanceID = 1, "g", b.id, b.epoch, b.instance
	_, err := b.took(req)
	return err
}

func (b *beater) took(req *kmsg.ConsumerGroupHeartbeatRequest) (given []int32, err error) {
	b.t.Helper()
	resp := ask[*kmsg.ConsumerGroupHeartbeatResponse](b.client, req)
	if err := kerr.ErrorForCode(resp.ErrorCode); err != nil {
		return nil, err
	}
	b.epoch = resp.MemberEpoch
	if resp.HeartbeatIntervalMillis != 5000 || resp.MemberID == nil || *resp.MemberID != b.id {
		b.t.Fatalf("answer %+v", resp)
	}
	if resp.Assignment != nil {
		given = []int32{}
		for _, t := range resp.Assignment.Topics {
			given = append(given, t.Partitions...)
		}
		b.owned = given
	}
	return given, nil
}

func (b *beater) must() []int32 {
	b.t.Helper()
	given, err := b.beat()
	if err != nil {
		b.t.Fatal(err)
	}
	return given
}

func (b *beater) leave(epoch int32) error {
	b.t.Helper()
	req := kmsg.NewPtrConsumerGroupHeartbeatRequest()
	req.Version, req.Group, req.MemberID, req.MemberEpoch, req.InstanceID = 1, "g", b.id, epoch, b.instance
	resp := ask[*kmsg.ConsumerGroupHeartbeatResponse](b.client, req)
	if err := kerr.ErrorForCode(resp.ErrorCode); err != nil {
		return err
	}
	b.epoch, b.owned = 0, nil
	return nil
}

func (b *beater) commit(offset int64) error {
	return commitAs(b.client, b.id, b.instance, b.epoch, offset)
}

func describeConsumers(c *client, name string) kmsg.ConsumerGroupDescribeResponseGroup {
	req := kmsg.NewPtrConsumerGroupDescribeRequest()
	req.Groups = []string{name}
	return ask[*kmsg.ConsumerGroupDescribeResponse](c, req).Groups[0]
}

func equal(t testing.TB, what string, got, want any) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("%s: got %v, want %v", what, got, want)
	}
}

// A second member gets its share when the first has given it up, and not before;
// when one goes, the other has all.
func TestConsumerGroup(t *testing.T) {
	s, _ := serveAt(t, newClock(), nil)
	a, b := newBeater(t, s, "a", "t"), newBeater(t, s, "b", "t")
	equal(t, "the first is given", a.must(), []int32{0, 1})
	equal(t, "its epoch", a.epoch, int32(1))
	equal(t, "state", describeConsumers(a.client, "g").State, "Stable")

	equal(t, "the second is given", b.must(), []int32{})
	equal(t, "its epoch", b.epoch, int32(2))
	equal(t, "state", describeConsumers(a.client, "g").State, "Reconciling")
	is(t, "heartbeat of the first", a.ping(), nil) // now it hears of it
	equal(t, "the first keeps", len(a.owned), 1)
	equal(t, "its epoch while it gives up", a.epoch, int32(1))
	is(t, "commit while it gives up", a.commit(3), nil)
	is(t, "heartbeat of the second", b.ping(), nil)
	equal(t, "the second has", len(b.owned), 0)
	a.must() // it has given up
	equal(t, "the epoch of the first", a.epoch, int32(2))
	is(t, "heartbeat of the second", b.ping(), nil)
	equal(t, "both have", slices.Sorted(slices.Values(append(a.owned, b.owned...))), []int32{0, 1})
	equal(t, "state", describeConsumers(a.client, "g").State, "Stable")

	is(t, "leave", b.leave(-1), nil)
	is(t, "heartbeat of who has left", func() error { b.epoch = 2; return b.ping() }(), kerr.UnknownMemberID)
	is(t, "heartbeat", a.ping(), nil)
	equal(t, "the first has", a.owned, []int32{0, 1})
	is(t, "leave", a.leave(-1), nil)
	equal(t, "state", describeConsumers(a.client, "g").State, "Empty")
}

// Members that are silent, or do not give up what they shall, are taken out.
func TestConsumersVanish(t *testing.T) {
	at := newClock()
	s, _ := serveAt(t, at, nil)
	a, b := newBeater(t, s, "a", "t"), newBeater(t, s, "b", "t")
	a.must()
	b.must()
	is(t, "ping", a.ping(), nil) // is to give up one partition, and never does
	a.owned = []int32{0, 1}
	for range 2 {
		at.advance(s, testRebalance/2-time.Second)
		is(t, "ping", a.ping(), nil)
		is(t, "ping", b.ping(), nil)
	}
	equal(t, "the second still has", len(b.owned), 0)
	at.advance(s, 3*time.Second)
	is(t, "ping of who did not give up", a.ping(), kerr.UnknownMemberID)
	is(t, "ping", b.ping(), nil)
	equal(t, "the second has", b.owned, []int32{0, 1})
	at.advance(s, consumerSession-time.Second)
	is(t, "ping", b.ping(), nil)
	at.advance(s, consumerSession+time.Second)
	is(t, "ping after the session", b.ping(), kerr.UnknownMemberID)
	equal(t, "state", describeConsumers(b.client, "g").State, "Empty")
}

func TestConsumerHeartbeatRefused(t *testing.T) {
	s, _ := serveAt(t, newClock(), func(o *kafka.Options) { o.MaxGroupSize = 2 })
	a := newBeater(t, s, "a", "t")
	a.must()
	for name, tt := range map[string]struct {
		change func(*kmsg.ConsumerGroupHeartbeatRequest)
		want   error
	}{
		"no group":              {func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.Group = "" }, kerr.InvalidRequest},
		"no member id":          {func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.MemberID = "" }, kerr.InvalidRequest},
		"empty instance":        {func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.InstanceID = kmsg.StringPtr("") }, kerr.InvalidRequest},
		"empty rack":            {func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.RackID = kmsg.StringPtr("") }, kerr.InvalidRequest},
		"epoch -3":              {func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.MemberEpoch = -3 }, kerr.InvalidRequest},
		"away without instance": {func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.MemberEpoch = -2 }, kerr.InvalidRequest},
		"join without timeout":  {func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.MemberEpoch, r.RebalanceTimeoutMillis = 0, -1 }, kerr.InvalidRequest},
		"join with partitions":  {func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.MemberEpoch = 0 }, kerr.InvalidRequest},
		"join for nothing": {func(r *kmsg.ConsumerGroupHeartbeatRequest) {
			r.MemberEpoch, r.Topics, r.SubscribedTopicNames = 0, nil, nil
		}, kerr.InvalidRequest},
		"unknown assignor":       {func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.ServerAssignor = kmsg.StringPtr("mine") }, kerr.UnsupportedAssignor},
		"bad pattern":            {func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.SubscribedTopicRegex = kmsg.StringPtr("(") }, kerr.InvalidRegularExpression},
		"unknown member":         {func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.MemberID = "b" }, kerr.UnknownMemberID},
		"unknown group":          {func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.Group = "h" }, kerr.GroupIDNotFound},
		"epoch of the future":    {func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.MemberEpoch = 2 }, kerr.FencedMemberEpoch},
		"unknown instance":       {func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.InstanceID = kmsg.StringPtr("x") }, kerr.UnknownMemberID},
		"leave of nobody":        {func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.MemberID, r.MemberEpoch = "b", -1 }, kerr.UnknownMemberID},
		"nothing wrong, in fact": {func(*kmsg.ConsumerGroupHeartbeatRequest) {}, nil},
	} {
		req := a.request()
		tt.change(req)
		same(t, name, ask[*kmsg.ConsumerGroupHeartbeatResponse](a.client, req).ErrorCode, tt.want)
	}
	newBeater(t, s, "b", "t").must()
	_, err := newBeater(t, s, "c", "t").beat()
	is(t, "a third of two", err, kerr.GroupMaxSizeReached)

	// Before version 1 the id is the coordinator's to give.
	is(t, "leave", a.leave(-1), nil)
	req := a.request()
	req.Version, req.MemberID = 0, ""
	resp := ask[*kmsg.ConsumerGroupHeartbeatResponse](a.client, req)
	same(t, "join of version 0", resp.ErrorCode, nil)
	if resp.MemberID == nil || *resp.MemberID == "" {
		t.Error("no member id was given")
	}
}

// Answers get lost: the client says again what it said before.
func TestConsumerAnswersLost(t *testing.T) {
	s, _ := serveAt(t, newClock(), nil)
	a, b := newBeater(t, s, "a", "t"), newBeater(t, s, "b", "t")
	a.must()
	a.epoch, a.owned = 0, nil // the answer was lost
	equal(t, "joined again, given", a.must(), []int32{0, 1})
	b.must()
	a.must()
	was, owned := a.epoch, a.owned
	a.must() // to the new epoch, and the answer is lost
	if a.epoch == was {
		t.Fatal("no new epoch")
	}
	a.epoch, a.owned = was, owned
	equal(t, "given again", a.must(), owned)
	a.epoch, a.owned = was, []int32{0, 1} // more than it has
	_, err := a.beat()
	is(t, "heartbeat of the old epoch with what it has not", err, kerr.FencedMemberEpoch)
}

// A static member that goes for a while has its partitions when it is back, and
// nobody else does; another process under its instance has to wait for that.
func TestStaticConsumers(t *testing.T) {
	at := newClock()
	s, _ := serveAt(t, at, nil)
	a, b := newBeater(t, s, "a", "t"), newBeater(t, s, "b", "t")
	a.instance, b.instance = kmsg.StringPtr("one"), kmsg.StringPtr("two")
	a.must()
	b.must()
	a.must()
	a.must()
	is(t, "ping", b.ping(), nil)
	had, epoch := a.owned, a.epoch

	thief := newBeater(t, s, "b", "t")
	thief.instance = kmsg.StringPtr("three")
	_, err := thief.beat()
	is(t, "another under an id that is taken", err, kerr.InvalidRequest)
	again := newBeater(t, s, "a2", "t")
	again.instance = a.instance
	_, err = again.beat()
	is(t, "another while the first is there", err, kerr.UnreleasedInstanceID)
	is(t, "away", a.leave(-2), nil)
	is(t, "ping", b.ping(), nil)
	equal(t, "the other has", len(b.owned), 1)
	equal(t, "given to who is back", again.must(), had)
	equal(t, "its epoch", again.epoch, epoch)
	a.epoch = epoch
	is(t, "ping of the one before", a.ping(), kerr.FencedInstanceID)
	is(t, "away", again.leave(-2), nil)
	for range 2 { // and never comes back
		at.advance(s, consumerSession/2+time.Second)
		is(t, "ping", b.ping(), nil)
	}
	is(t, "ping", b.ping(), nil)
	equal(t, "the other has", b.owned, []int32{0, 1})
}

// What is wanted changes: topics, a pattern, the number of partitions, topics that
// come and go.
func TestConsumerSubscriptions(t *testing.T) {
	s, l := serveAt(t, newClock(), nil)
	a := newBeater(t, s, "a", "t")
	equal(t, "given", len(a.must()), 2)
	logtest.Create(t, l, "u-1", 3)
	a.topics = []string{"t", "u-1", "u-2"}
	equal(t, "given with a second topic", len(a.must()), 5)
	logtest.Create(t, l, "u-2", 1)
	is(t, "ping", a.ping(), nil)
	equal(t, "given when a third is made", len(a.owned), 6)
	if _, err := l.AddPartitions(context.Background(), "u-2", 4); err != nil {
		t.Fatal(err)
	}
	is(t, "ping", a.ping(), nil)
	equal(t, "given when it grows", len(a.owned), 9)
	if err := l.DeleteTopic(context.Background(), "u-2"); err != nil {
		t.Fatal(err)
	}
	is(t, "ping", a.ping(), nil)
	equal(t, "keeps when one is deleted", len(a.owned), 5)
	a.owned = []int32{0, 1} // the others of its topics are not named here: it has given them up
	a.must()
	logtest.Create(t, l, "u-2", 4)
	is(t, "ping", a.ping(), nil)
	equal(t, "given when it is made again", len(a.owned), 9)

	b := newBeater(t, s, "b")
	req := b.request()
	req.SubscribedTopicNames, req.SubscribedTopicRegex = nil, kmsg.StringPtr("u-.*")
	_, err := b.took(req)
	is(t, "join with a pattern", err, nil)
	d := describeConsumers(b.client, "g")
	var total int
	for _, tp := range d.Members[1].TargetAssignment.TopicPartitions {
		if tp.Topic == "t" {
			t.Error("the pattern does not match t")
		}
		total += len(tp.Partitions)
	}
	internal := newBeater(t, s, "c")
	req = internal.request()
	req.SubscribedTopicNames, req.SubscribedTopicRegex = nil, kmsg.StringPtr("__.*")
	_, err = internal.took(req)
	is(t, "join with a pattern of internal topics", err, nil)
	for _, tp := range describeConsumers(b.client, "g").Members[2].TargetAssignment.TopicPartitions {
		if tp.Topic == "__grete_access" {
			t.Error("the topic that is nobody's to read is assigned")
		}
	}
	equal(t, "given of internal topics", len(internal.owned) > 0, true)
	if total < 4 || *d.Members[1].SubscribedTopicRegex != "u-.*" {
		t.Errorf("the second member is to have %d partitions: %+v", total, d.Members[1])
	}
}

// A member gets the topics that it may see, and is told of those that it may not.
func TestConsumerSeesItsTopics(t *testing.T) {
	s, l := serve(t, plainSASL)
	logtest.Create(t, l, "seen", 1)
	logtest.Create(t, l, "hidden", 1)
	addUsers(t, s, "alice")
	if err := s.Access().AddACLs(t.Context(), alice(kmsg.ACLOperationRead, kmsg.ACLResourceTypeGroup, "g"),
		alice(kmsg.ACLOperationDescribe, kmsg.ACLResourceTypeTopic, "seen")); err != nil {
		t.Fatal(err)
	}
	a := newBeater(t, s, "a", "seen", "hidden")
	a.login("alice")
	_, err := a.beat()
	is(t, "both by name", err, kerr.TopicAuthorizationFailed)
	req := a.request()
	req.SubscribedTopicNames, req.SubscribedTopicRegex = nil, kmsg.StringPtr(".*")
	given, err := a.took(req)
	is(t, "all by a pattern", err, nil)
	equal(t, "given", given, []int32{0})
}

// Offsets are committed and looked up under the member's epoch.
func TestConsumerOffsets(t *testing.T) {
	s, _ := serveAt(t, newClock(), nil)
	a := newBeater(t, s, "a", "t")
	is(t, "commit of nobody to a group that there is not", commitAs(a.client, "", nil, -1, 1), nil)
	a.must() // the group is empty: it changes its protocol
	is(t, "commit", a.commit(2), nil)
	is(t, "commit from outside", commitAs(a.client, "", nil, -1, 3), kerr.UnknownMemberID)
	is(t, "commit of another", commitAs(a.client, "b", nil, 1, 3), kerr.UnknownMemberID)
	is(t, "commit of an old epoch", commitAs(a.client, "a", nil, 7, 3), kerr.StaleMemberEpoch)

	fetch := func(id string, epoch int32) error {
		req := kmsg.NewPtrOffsetFetchRequest()
		req.Version = 9
		g := kmsg.NewOffsetFetchRequestGroup()
		g.Group, g.MemberID, g.MemberEpoch = "g", &id, epoch
		req.Groups = append(req.Groups, g)
		return kerr.ErrorForCode(ask[*kmsg.OffsetFetchResponse](a.client, req).Groups[0].ErrorCode)
	}
	is(t, "look-up", fetch("a", 1), nil)
	is(t, "look-up of nobody", fetch("", -1), nil)
	is(t, "look-up of an old epoch", fetch("a", 0), kerr.StaleMemberEpoch)
	is(t, "look-up of another", fetch("b", 1), kerr.UnknownMemberID)

	// A commit of the epoch before is as good while its partitions are the member's.
	b := newBeater(t, s, "b", "t")
	b.must()
	a.must()
	old := a.epoch
	a.must()
	if a.epoch == old || len(a.owned) != 1 {
		t.Fatalf("epoch %d after %d, partitions %v", a.epoch, old, a.owned)
	}
	commit := func(version int16, partition int32) error {
		req := kmsg.NewPtrOffsetCommitRequest()
		req.Version, req.Group, req.MemberID, req.Generation = version, "g", "a", old
		req.Topics = []kmsg.OffsetCommitRequestTopic{{Topic: "t", Partitions: []kmsg.OffsetCommitRequestTopicPartition{{Partition: partition, Offset: 5}}}}
		return kerr.ErrorForCode(ask[*kmsg.OffsetCommitResponse](a.client, req).Topics[0].Partitions[0].ErrorCode)
	}
	is(t, "commit of what it has kept", commit(9, a.owned[0]), nil)
	is(t, "commit of what it has given up", commit(9, 1-a.owned[0]), kerr.StaleMemberEpoch)
	is(t, "that of a client which knows of no epochs", commit(8, 1-a.owned[0]), kerr.UnsupportedVersion)

	// In a transaction an old epoch is an old generation.
	p := mustInit(dial(t, s), "x")
	txn := func(id string, epoch int32) error {
		req := kmsg.NewPtrTxnOffsetCommitRequest()
		req.Version, req.TransactionalID, req.ProducerID, req.ProducerEpoch = 5, "x", p.pid, p.epoch
		req.Group, req.MemberID, req.Generation = "g", id, epoch
		req.Topics = []kmsg.TxnOffsetCommitRequestTopic{{Topic: "t", Partitions: []kmsg.TxnOffsetCommitRequestTopicPartition{{Partition: a.owned[0], Offset: 6}}}}
		return kerr.ErrorForCode(ask[*kmsg.TxnOffsetCommitResponse](p.c, req).Topics[0].Partitions[0].ErrorCode)
	}
	is(t, "commit in a transaction", txn("a", a.epoch), nil)
	is(t, "that of an old epoch", txn("a", a.epoch+7), kerr.IllegalGeneration)
	is(t, "that of another", txn("c", a.epoch), kerr.UnknownMemberID)
}

// What cannot be stored has not happened, and is tried again.
func TestConsumersNotStored(t *testing.T) {
	m := newMachine(t)
	a, b := newBeater(t, m.s, "a", "t"), newBeater(t, m.s, "b", "t")
	a.must()
	full := func() { m.disk.FailWrite("*.journal", 1, 0).With(syscall.ENOSPC) } // for one write
	full()
	_, err := b.beat()
	is(t, "join while the disk is full", err, kerr.CoordinatorNotAvailable)
	d := describeConsumers(a.client, "g")
	equal(t, "members and epoch", []int32{int32(len(d.Members)), d.Epoch}, []int32{1, 1})
	is(t, "a heartbeat that says nothing new", a.ping(), nil)
	full()
	m.at.advance(m.s, consumerSession+time.Second)
	equal(t, "members whose going could not be stored", len(describeConsumers(a.client, "g").Members), 1)
	m.at.advance(m.s, 2*time.Second)
	equal(t, "members", len(describeConsumers(a.client, "g").Members), 0)
	b.must()
	equal(t, "the other is given", b.owned, []int32{0, 1})
}

// Configs of the group hold: how often to beat, and how long to be silent.
func TestConsumerGroupConfigs(t *testing.T) {
	at := newClock()
	s, _ := serveAt(t, at, nil)
	a := newBeater(t, s, "a", "t")
	a.must()
	dial(t, s).alter(kmsg.ConfigResourceTypeGroupConfig, "g", false, nil, setTo("consumer.session.timeout.ms", "60000"), setTo("consumer.heartbeat.interval.ms", "7000"))
	resp := ask[*kmsg.ConsumerGroupHeartbeatResponse](a.client, a.request())
	equal(t, "interval", resp.HeartbeatIntervalMillis, int32(7000))
	at.advance(s, 59*time.Second)
	equal(t, "members within the session", len(describeConsumers(a.client, "g").Members), 1)
	at.advance(s, 2*time.Second)
	equal(t, "members after it", len(describeConsumers(a.client, "g").Members), 0)
}

// The tools for groups know both kinds, and a group changes its kind when it is
// empty.
func TestBothKindsOfGroups(t *testing.T) {
	s, _ := serveAt(t, newClock(), nil)
	a, classic := newBeater(t, s, "a", "t"), newMember(t, s, "")
	list := func() (kinds []string) {
		req := kmsg.NewPtrListGroupsRequest()
		req.Version = 5
		for _, g := range ask[*kmsg.ListGroupsResponse](a.client, req).Groups {
			kinds = append(kinds, fmt.Sprint(g.Group, " ", g.GroupType, " ", g.GroupState, " ", g.ProtocolType))
		}
		return kinds
	}
	a.must()
	equal(t, "list", list(), []string{"g consumer Stable consumer"})
	equal(t, "classic description", describeGroup(a.client, 5, "g").State, "Dead")
	same(t, "classic description", describeGroup(a.client, 6, "g").ErrorCode, kerr.GroupIDNotFound)
	d := describeConsumers(a.client, "g")
	if len(d.Members) != 1 || d.Members[0].MemberID != "a" || d.AssignorName != "uniform" || d.Epoch != 1 || d.AssignmentEpoch != 1 ||
		len(d.Members[0].Assignment.TopicPartitions) != 1 || d.Members[0].Assignment.TopicPartitions[0].Topic != "t" {
		t.Errorf("description %+v", d)
	}
	is(t, "deletion of a group with members", deleteGroup(a.client, "g"), kerr.NonEmptyGroup)
	same(t, "join of a classic member", ask[*kmsg.JoinGroupResponse](classic.client, classic.joinRequest(9)).ErrorCode, kerr.InconsistentGroupProtocol)
	leave := kmsg.NewPtrLeaveGroupRequest()
	leave.Version, leave.Group, leave.Members = 5, "g", []kmsg.LeaveGroupRequestMember{{MemberID: "nobody"}, {MemberID: "a"}}
	left := ask[*kmsg.LeaveGroupResponse](a.client, leave)
	same(t, "removal of nobody", left.Members[0].ErrorCode, kerr.UnknownMemberID)
	same(t, "removal", left.Members[1].ErrorCode, nil)
	form(classic)
	equal(t, "list", list(), []string{"g classic Stable consumer"})
	same(t, "consumers' description", describeConsumers(a.client, "g").ErrorCode, kerr.GroupIDNotFound)
	_, err := a.beat()
	is(t, "join of a consumer", err, kerr.GroupIDNotFound)
	is(t, "leave", classic.leave(), nil)
	a.epoch, a.owned = 0, nil
	a.must()
	equal(t, "list", list(), []string{"g consumer Stable consumer"})
	is(t, "leave", a.leave(-1), nil)
	is(t, "deletion", deleteGroup(a.client, "g"), nil)
	equal(t, "list", list(), []string(nil))
	same(t, "consumers' description", describeConsumers(a.client, "g").ErrorCode, kerr.GroupIDNotFound)
}

// After a restart members go on at their epochs, also in the middle of giving up.
func TestConsumersSurvive(t *testing.T) {
	for _, how := range waysToStop {
		t.Run(how, func(t *testing.T) {
			m := newMachine(t)
			a, b := newBeater(t, m.s, "a", "t"), newBeater(t, m.s, "b", "t")
			a.must()
			b.must()
			is(t, "ping", a.ping(), nil) // gives up one
			before := describeConsumers(a.client, "g")
			m.restart(how)
			a.reconnect(m.s)
			b.reconnect(m.s)
			if after := describeConsumers(a.client, "g"); !reflect.DeepEqual(before, after) {
				t.Errorf("before %+v\nafter  %+v", before, after)
			}
			is(t, "ping", b.ping(), nil)
			equal(t, "the second has", len(b.owned), 0)
			for range 3 {
				a.must()
				b.must()
			}
			equal(t, "both have", slices.Sorted(slices.Values(append(a.owned, b.owned...))), []int32{0, 1})
			is(t, "commit", a.commit(5), nil)
			is(t, "leave", b.leave(-1), nil)
			m.restart(how)
			a.reconnect(m.s)
			equal(t, "members", len(describeConsumers(a.client, "g").Members), 1)
			m.at.advance(m.s, consumerSession+time.Second)
			is(t, "ping after the session", a.ping(), kerr.UnknownMemberID)
			m.restart(how)
			a.reconnect(m.s)
			equal(t, "state", describeConsumers(a.client, "g").State, "Empty")
			is(t, "deletion", deleteGroup(a.client, "g"), nil)
			m.restart(how)
			a.reconnect(m.s)
			same(t, "description", describeConsumers(a.client, "g").ErrorCode, kerr.GroupIDNotFound)
		})
	}
}

// A request that could not be stored, or costs more than a member is worth, is
// refused before anything is done with it.
func TestConsumerHeartbeatIsBounded(t *testing.T) {
	s, _ := serveAt(t, newClock(), nil)
	long := strings.Repeat("x", 1<<15)
	for what, change := range map[string]func(*kmsg.ConsumerGroupHeartbeatRequest){
		"member id":   func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.MemberID = long },
		"instance id": func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.InstanceID = &long },
		"rack id":     func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.RackID = &long },
		"names":       func(r *kmsg.ConsumerGroupHeartbeatRequest) { r.SubscribedTopicNames = make([]string, 20_001) },
		"partitions": func(r *kmsg.ConsumerGroupHeartbeatRequest) {
			r.MemberEpoch = 1
			r.Topics = []kmsg.ConsumerGroupHeartbeatRequestTopic{{Partitions: make([]int32, 200_001)}}
		},
	} {
		m := newBeater(t, s, "a", "t")
		req := m.request()
		change(req)
		_, err := m.took(req)
		is(t, what, err, kerr.InvalidRequest)
	}
	join := kmsg.NewPtrJoinGroupRequest()
	join.Version, join.Group, join.ProtocolType, join.SessionTimeoutMillis, join.InstanceID = 9, "g", "consumer", 30_000, &long
	is(t, "instance id of a classic member", kerr.ErrorForCode(ask[*kmsg.JoinGroupResponse](dial(t, s), join).ErrorCode), kerr.InvalidRequest)
}

// A static member that goes away has given up what it was to give up, and keeps
// its place for a session, however little time it had for that.
func TestConsumerAwayWhileRevoking(t *testing.T) {
	at := newClock()
	s, _ := serveAt(t, at, nil)
	a, b := newBeater(t, s, "a", "t"), newBeater(t, s, "b", "t")
	a.instance, a.timeout = kmsg.StringPtr("one"), 20*time.Second
	a.must()
	b.must()
	is(t, "a is told to revoke", a.ping(), nil)
	had := a.epoch
	is(t, "away", a.leave(-2), nil)
	if given := b.must(); len(given) != 1 {
		t.Errorf("the other is given %v, want a partition", given)
	}
	at.advance(s, a.timeout+time.Second)
	b.must()
	equal(t, "members", len(describeConsumers(b.client, "g").Members), 2)
	a.epoch = had
	_, err := a.beat()
	is(t, "a beat from before it went", err, kerr.FencedMemberEpoch)

	a.epoch = 0
	a.must()
	b.must()
	c := newBeater(t, s, "c", "t")
	c.must()
	had = a.epoch
	a.must()
	if a.epoch == had {
		t.Fatal("no new epoch")
	}
	is(t, "away again", a.leave(-2), nil)
	a.epoch = had
	_, err = a.beat()
	is(t, "a beat from two epochs before", err, kerr.FencedMemberEpoch)
}

// When there is no room, nobody can say more; who is there stays and is given
// what others leave.
func TestConsumersWithoutRoom(t *testing.T) {
	at := newClock()
	s, l := serveAt(t, at, func(o *kafka.Options) { o.MaxMemberBytes, o.MaxGroupBytes, o.MaxGroupsBytes = 8<<10, 64<<10, 80<<10 })
	logtest.Create(t, l, "many", 100)
	a, b := newBeater(t, s, "a", "many"), newBeater(t, s, "b", "many")
	a.must()
	b.must()
	is(t, "a is told to revoke", a.ping(), nil)
	a.owned = nil
	a.must()
	for i, size := 0, 3000; size > 0; i++ {
		other := newBeater(t, s, fmt.Sprint("m", i), strings.Repeat("x", size))
		req := other.request()
		req.Group = fmt.Sprint("other", i%2)
		if _, err := other.took(req); err != nil {
			is(t, "one too many", err, kerr.CoordinatorNotAvailable)
			size /= 10
		}
	}
	equal(t, "the other is given", len(b.must()), 50)
	more := b.request()
	more.SubscribedTopicNames = []string{"many", strings.Repeat("y", 4000)}
	for range 3 {
		_, err := b.took(more)
		is(t, "more names", err, kerr.CoordinatorNotAvailable)
		at.advance(s, consumerSession/3)
		a.must()
	}
	is(t, "it is there all the same", b.ping(), nil)
}

// After a restart a member has its time to give up, and no more.
func TestConsumerRevokesAfterRestart(t *testing.T) {
	m := newMachine(t)
	a, b := newBeater(t, m.s, "a", "t"), newBeater(t, m.s, "b", "t")
	a.timeout = 20 * time.Second
	a.must()
	b.must()
	is(t, "a is told to revoke", a.ping(), nil)
	m.restart("close")
	m.at.advance(m.s, a.timeout-time.Second)
	b.reconnect(m.s)
	equal(t, "members before", len(describeConsumers(b.client, "g").Members), 2)
	m.at.advance(m.s, 2*time.Second)
	if d := describeConsumers(b.client, "g"); len(d.Members) != 1 || d.Members[0].MemberID != "b" {
		t.Errorf("members %+v, want b: a had %v to give up", d.Members, a.timeout)
	}
}

// A member that is heard of first does not decide what the pattern of another
// stands for.
func TestPatternAfterRestart(t *testing.T) {
	m := newMachine(t)
	a, b := newBeater(t, m.s, "a", "t"), newBeater(t, m.s, "b")
	a.must()
	req := b.request()
	req.SubscribedTopicNames, req.SubscribedTopicRegex = nil, kmsg.StringPtr("[a-z]")
	if _, err := b.took(req); err != nil {
		t.Fatal(err)
	}
	m.restart("close")
	logtest.Create(t, m.l, "u", 1)
	targets := func() (topics []string) {
		for _, d := range describeConsumers(a.client, "g").Members {
			for _, t := range d.TargetAssignment.TopicPartitions {
				topics = append(topics, d.MemberID+" "+t.Topic)
			}
		}
		slices.Sort(topics)
		return topics
	}
	a.reconnect(m.s)
	b.reconnect(m.s)
	is(t, "a", a.ping(), nil)
	equal(t, "targets when a was heard of", targets(), []string{"a t", "b t"})
	is(t, "b", b.ping(), nil)
	equal(t, "targets when b was heard of", targets(), []string{"a t", "b t", "b u"})
}
