package kafka_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gretestream/grete/log"
	"github.com/gretestream/grete/log/kafka"
)

// fetchOffsets asks for the offsets of a group: of some partitions of topic "t",
// or of all if there are none.
func fetchOffsets(c *client, version int16, id log.TopicID, group string, stable bool, partitions ...int32) map[int32]kmsg.OffsetFetchResponseGroupTopicPartition {
	c.t.Helper()
	req := kmsg.NewPtrOffsetFetchRequest()
	req.Version, req.Group, req.RequireStable = version, group, stable
	g := kmsg.NewOffsetFetchRequestGroup()
	g.Group = group
	if len(partitions) > 0 {
		req.Topics = []kmsg.OffsetFetchRequestTopic{{Topic: "t", Partitions: partitions}}
		g.Topics = []kmsg.OffsetFetchRequestGroupTopic{{Topic: "t", TopicID: id, Partitions: partitions}}
	}
	req.Groups = append(req.Groups, g)
	resp := ask[*kmsg.OffsetFetchResponse](c, req)
	same(c.t, "fetch offsets", resp.ErrorCode, nil)
	found := map[int32]kmsg.OffsetFetchResponseGroupTopicPartition{}
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			out := kmsg.NewOffsetFetchResponseGroupTopicPartition()
			out.Partition, out.Offset, out.LeaderEpoch, out.Metadata, out.ErrorCode = p.Partition, p.Offset, p.LeaderEpoch, p.Metadata, p.ErrorCode
			found[p.Partition] = out
		}
	}
	for _, g := range resp.Groups {
		same(c.t, "fetch offsets of a group", g.ErrorCode, nil)
		for _, t := range g.Topics {
			if version >= 10 && t.TopicID != id {
				c.t.Errorf("topic id %x, want %x", t.TopicID, id)
			}
			for _, p := range t.Partitions {
				found[p.Partition] = p
			}
		}
	}
	return found
}

// Trap 4: a group that nobody knows has no offsets, and that is no error; and so
// with a partition, in every version.
func TestOffsetFetchOfUnknownGroup(t *testing.T) {
	s, l := serveAt(t, newClock(), nil)
	c := dial(t, s)
	topic, err := l.Topic(context.Background(), "t")
	if err != nil {
		t.Fatal(err)
	}
	is(t, "commit", commitAs(c, "", nil, -1, 5), nil)
	for version := int16(1); version <= 10; version++ {
		for _, group := range []string{"nobody", "g"} {
			got := fetchOffsets(c, version, topic.ID, group, false, 1, 77)
			for _, p := range []int32{1, 77} {
				if o, ok := got[p]; !ok || o.ErrorCode != 0 || o.Offset != -1 || o.LeaderEpoch != -1 || o.Metadata == nil || *o.Metadata != "" {
					t.Errorf("version %d, group %s, partition %d: %+v", version, group, p, o)
				}
			}
		}
		if version >= 2 {
			if got := fetchOffsets(c, version, topic.ID, "nobody", false); len(got) != 0 {
				t.Errorf("version %d: all offsets of nobody: %v", version, got)
			}
			if got := fetchOffsets(c, version, topic.ID, "g", false); len(got) != 1 || got[0].Offset != 5 {
				t.Errorf("version %d: all offsets: %v", version, got)
			}
		}
	}
}

// Trap 5: what is committed comes back, in every version, with its metadata.
func TestOffsetsComeBack(t *testing.T) {
	s, l := serveAt(t, newClock(), nil)
	c := dial(t, s)
	topic, err := l.Topic(context.Background(), "t")
	if err != nil {
		t.Fatal(err)
	}
	texts := []string{"", "a", "grüße, 世界", "\x00\x01", strings.Repeat("m", 4096)}
	for version := int16(2); version <= 10; version++ {
		for i, text := range texts {
			req := kmsg.NewPtrOffsetCommitRequest()
			req.Version, req.Group = version, fmt.Sprint("g", version)
			rt := kmsg.NewOffsetCommitRequestTopic()
			rt.Topic, rt.TopicID = "t", topic.ID
			p := kmsg.NewOffsetCommitRequestTopicPartition()
			p.Partition, p.Offset, p.LeaderEpoch, p.Metadata = int32(i%2), int64(i)*1000, int32(i), &text
			rt.Partitions = append(rt.Partitions, p)
			req.Topics = append(req.Topics, rt)
			resp := ask[*kmsg.OffsetCommitResponse](c, req)
			same(t, "commit", resp.Topics[0].Partitions[0].ErrorCode, nil)
			if version >= 10 && resp.Topics[0].TopicID != topic.ID {
				t.Errorf("topic id %x, want %x", resp.Topics[0].TopicID, topic.ID)
			}
			got := fetchOffsets(c, min(version, 10), topic.ID, req.Group, true, p.Partition)[p.Partition]
			wantEpoch := int32(-1)
			if version >= 6 {
				wantEpoch = p.LeaderEpoch
			}
			if got.Offset != p.Offset || *got.Metadata != text || version >= 6 && got.LeaderEpoch != wantEpoch {
				t.Errorf("version %d: %d %q epoch %d, want %d %q epoch %d", version, got.Offset, *got.Metadata, got.LeaderEpoch, p.Offset, text, wantEpoch)
			}
		}
	}
}

// kafkajs resets a group to the start by committing -2, and to the end by -1.
func TestNegativeOffset(t *testing.T) {
	s, _ := serveAt(t, newClock(), nil)
	c := dial(t, s)
	for _, offset := range []int64{7, -2, 8, -1} {
		req := kmsg.NewPtrOffsetCommitRequest()
		req.Version, req.Group, req.Generation = 5, "g", -1
		rt := kmsg.NewOffsetCommitRequestTopic()
		rt.Topic = "t"
		p := kmsg.NewOffsetCommitRequestTopicPartition()
		p.Offset = offset
		rt.Partitions = append(rt.Partitions, p)
		req.Topics = append(req.Topics, rt)
		resp := ask[*kmsg.OffsetCommitResponse](c, req)
		same(t, "commit", resp.Topics[0].Partitions[0].ErrorCode, nil)
		if got := fetchOffsets(c, 5, [16]byte{}, "g", true, 0)[0].Offset; got != max(offset, -1) {
			t.Errorf("committed %d, fetched %d", offset, got)
		}
	}
}

func TestOffsetsRefused(t *testing.T) {
	s, _ := serveAt(t, newClock(), nil)
	c := dial(t, s)
	for _, x := range []struct {
		name   string
		change func(*kmsg.OffsetCommitRequest)
		want   error
	}{
		{"no group", func(r *kmsg.OffsetCommitRequest) { r.Group = "" }, kerr.InvalidGroupID},
		{"unknown topic", func(r *kmsg.OffsetCommitRequest) { r.Topics[0].Topic = "nothing" }, kerr.UnknownTopicOrPartition},
		{"unknown partition", func(r *kmsg.OffsetCommitRequest) { r.Topics[0].Partitions[0].Partition = 2 }, kerr.UnknownTopicOrPartition},
		{"long metadata", func(r *kmsg.OffsetCommitRequest) {
			r.Topics[0].Partitions[0].Metadata = kmsg.StringPtr(strings.Repeat("m", 4097))
		}, kerr.OffsetMetadataTooLarge},
		{"generation of no group", func(r *kmsg.OffsetCommitRequest) { r.Version, r.Generation, r.MemberID = 8, 1, "who" }, kerr.IllegalGeneration},
		{"epoch of no group", func(r *kmsg.OffsetCommitRequest) { r.Generation, r.MemberID = 1, "who" }, kerr.GroupIDNotFound},
	} {
		req := kmsg.NewPtrOffsetCommitRequest()
		req.Version, req.Group, req.Generation = 9, "g", -1
		rt := kmsg.NewOffsetCommitRequestTopic()
		rt.Topic = "t"
		p := kmsg.NewOffsetCommitRequestTopicPartition()
		rt.Partitions = append(rt.Partitions, p)
		req.Topics = append(req.Topics, rt)
		x.change(req)
		resp := ask[*kmsg.OffsetCommitResponse](c, req)
		same(t, x.name, resp.Topics[0].Partitions[0].ErrorCode, x.want)
	}
	if groups := listGroups(c); len(groups) != 0 {
		t.Errorf("groups %v, want none", groups)
	}
	// One bad partition does not keep the others from being committed.
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Version, req.Group, req.Generation = 9, "g", -1
	rt := kmsg.NewOffsetCommitRequestTopic()
	rt.Topic = "t"
	for i := range 3 {
		p := kmsg.NewOffsetCommitRequestTopicPartition()
		p.Partition, p.Offset = int32(i), 4
		rt.Partitions = append(rt.Partitions, p)
	}
	req.Topics = append(req.Topics, rt)
	resp := ask[*kmsg.OffsetCommitResponse](c, req)
	for i, want := range []error{nil, nil, kerr.UnknownTopicOrPartition} {
		same(t, "commit", resp.Topics[0].Partitions[i].ErrorCode, want)
	}
}

// Who is no member commits as long as there are none.
func TestCommitWithoutMembership(t *testing.T) {
	s, _ := serveAt(t, newClock(), nil)
	c := dial(t, s)
	is(t, "commit to a new group", commitAs(c, "", nil, -1, 1), nil)
	m := newMember(t, s, "")
	form(m)
	is(t, "commit past its members", commitAs(c, "", nil, -1, 2), kerr.UnknownMemberID)
	is(t, "leave", m.leave(), nil)
	is(t, "commit when they have gone", commitAs(c, "", nil, -1, 3), nil)
}

func listGroups(c *client, states ...string) (list []string) {
	c.t.Helper()
	req := kmsg.NewPtrListGroupsRequest()
	req.Version, req.StatesFilter = 5, states
	resp := ask[*kmsg.ListGroupsResponse](c, req)
	same(c.t, "list groups", resp.ErrorCode, nil)
	for _, g := range resp.Groups {
		list = append(list, fmt.Sprintf("%s %s %s %s", g.Group, g.ProtocolType, g.GroupState, g.GroupType))
	}
	return list
}

func describeGroup(c *client, version int16, name string) kmsg.DescribeGroupsResponseGroup {
	c.t.Helper()
	req := kmsg.NewPtrDescribeGroupsRequest()
	req.Version, req.Groups = version, []string{name}
	return ask[*kmsg.DescribeGroupsResponse](c, req).Groups[0]
}

func deleteGroup(c *client, name string) error {
	c.t.Helper()
	req := kmsg.NewPtrDeleteGroupsRequest()
	req.Version, req.Groups = 2, []string{name}
	return kerr.ErrorForCode(ask[*kmsg.DeleteGroupsResponse](c, req).Groups[0].ErrorCode)
}

func TestListDescribeDelete(t *testing.T) {
	s, l := serveAt(t, newClock(), nil)
	c := dial(t, s)
	ctx := context.Background()
	tp := log.TopicPartition{Topic: "t"}
	if _, err := l.Commit(ctx, &log.Commit{Group: "engine", Offsets: []log.GroupOffset{{TopicPartition: tp, Offset: 3}}}); err != nil {
		t.Fatal(err)
	}
	em, err := l.Join(ctx, log.GroupSpec{Group: "running", Topics: []string{"t"}})
	if err != nil {
		t.Fatal(err)
	}
	m := newMember(t, s, "one")
	form(m)
	list := listGroups(c)
	if want := []string{"engine  Empty classic", "g consumer Stable classic", "running consumer Stable classic"}; !slices.Equal(list, want) {
		t.Errorf("groups %q, want %q", list, want)
	}
	if got := listGroups(c, "empty", "Nonsense"); len(got) != 1 {
		t.Errorf("empty groups %q, want 1", got)
	}

	for version := int16(0); version <= 6; version++ {
		d := describeGroup(c, version, "g")
		if d.ErrorCode != 0 || d.State != "Stable" || d.ProtocolType != "consumer" || d.Protocol != "range" || len(d.Members) != 1 {
			t.Fatalf("version %d: %+v", version, d)
		}
		got := d.Members[0]
		if got.MemberID != m.id || got.ClientID != "test" || got.ClientHost != "/127.0.0.1" || string(got.ProtocolMetadata) != "about range" || string(got.MemberAssignment) != m.assignment {
			t.Errorf("version %d: member %+v", version, got)
		}
		if version >= 4 && *got.InstanceID != "one" {
			t.Errorf("version %d: instance %v", version, got.InstanceID)
		}
		d = describeGroup(c, version, "nobody")
		if want := kerr.GroupIDNotFound.Code; d.State != "Dead" || version >= 6 && d.ErrorCode != want || version < 6 && d.ErrorCode != 0 {
			t.Errorf("version %d: unknown group is %+v", version, d)
		}
	}
	d := describeGroup(c, 5, "running")
	var assignment kmsg.ConsumerMemberAssignment
	if err := assignment.ReadFrom(d.Members[0].MemberAssignment); err != nil || len(assignment.Topics) != 1 || !slices.Equal(assignment.Topics[0].Partitions, []int32{0, 1}) {
		t.Errorf("the engine's member has %+v, %v; want both partitions of t", assignment, err)
	}

	is(t, "join the engine's group", joinAs(newMember(t, s, ""), "running"), kerr.InconsistentGroupProtocol)
	is(t, "delete with members", deleteGroup(c, "g"), kerr.NonEmptyGroup)
	is(t, "delete the engine's", deleteGroup(c, "running"), kerr.NonEmptyGroup)
	is(t, "delete nobody", deleteGroup(c, "nobody"), kerr.GroupIDNotFound)
	is(t, "delete", deleteGroup(c, "engine"), nil)
	is(t, "delete again", deleteGroup(c, "engine"), kerr.GroupIDNotFound)
	is(t, "commit", m.commit(4), nil)
	is(t, "leave", m.leave(), nil)
	if err := em.Close(); err != nil {
		t.Fatal(err)
	}
	is(t, "delete without members", deleteGroup(c, "g"), nil)
	if got := listGroups(c); len(got) != 0 {
		t.Errorf("groups %q, want none", got)
	}
	if got, err := l.Committed(ctx, "g"); err != nil || len(got) != 0 {
		t.Errorf("offsets %v, %v, want none", got, err)
	}
}

// joinAs returns the error of the first Join to some group.
func joinAs(m *groupMember, group string) error {
	req := m.joinRequest(9)
	req.Group = group
	return kerr.ErrorForCode(ask[*kmsg.JoinGroupResponse](m.client, req).ErrorCode)
}

func TestOffsetDelete(t *testing.T) {
	s, l := serveAt(t, newClock(), nil)
	if _, err := l.CreateTopic(context.Background(), log.TopicSpec{Name: "u", Partitions: 1}); err != nil {
		t.Fatal(err)
	}
	c := dial(t, s)
	remove := func(group string, topics ...string) (int16, []error) {
		t.Helper()
		req := kmsg.NewPtrOffsetDeleteRequest()
		req.Group = group
		for _, name := range topics {
			rt := kmsg.NewOffsetDeleteRequestTopic()
			rt.Topic = name
			rt.Partitions = append(rt.Partitions, kmsg.NewOffsetDeleteRequestTopicPartition())
			req.Topics = append(req.Topics, rt)
		}
		resp := ask[*kmsg.OffsetDeleteResponse](c, req)
		var errs []error
		for _, t := range resp.Topics {
			errs = append(errs, kerr.ErrorForCode(t.Partitions[0].ErrorCode))
		}
		return resp.ErrorCode, errs
	}
	code, _ := remove("g", "t")
	same(t, "unknown group", code, kerr.GroupIDNotFound)

	m := newMember(t, s, "")
	metadata := kmsg.NewConsumerMemberMetadata()
	metadata.Topics = []string{"t"}
	req := m.joinRequest(3)
	req.Protocols[0].Metadata = metadata.AppendTo(nil)
	m.took(ask[*kmsg.JoinGroupResponse](m.client, req))
	m.sendSync()
	m.synced()
	is(t, "commit", m.commit(8), nil)
	code, errs := remove("g", "t", "u", "nothing")
	same(t, "delete offsets", code, nil)
	for i, want := range []error{kerr.GroupSubscribedToTopic, nil, kerr.UnknownTopicOrPartition} {
		is(t, "delete offset", errs[i], want)
	}
	is(t, "leave", m.leave(), nil)
	code, errs = remove("g", "t")
	same(t, "delete offsets", code, nil)
	is(t, "delete offset", errs[0], nil)
	if got, err := l.Committed(context.Background(), "g"); err != nil || len(got) != 0 {
		t.Errorf("offsets %v, %v, want none", got, err)
	}
}

// Offsets expire when their group has had no members for long enough; the
// engine's never do.
func TestOffsetsExpire(t *testing.T) {
	at := newClock()
	const keep = 7 * 24 * time.Hour
	s, l := serveAt(t, at, func(o *kafka.Options) { o.MaxSessionTimeout = 30 * 24 * time.Hour })
	ctx := context.Background()
	if _, err := l.Commit(ctx, &log.Commit{Group: "engine", Offsets: []log.GroupOffset{{TopicPartition: log.TopicPartition{Topic: "t"}, Offset: 3}}}); err != nil {
		t.Fatal(err)
	}
	m := newMember(t, s, "")
	req := m.joinRequest(3)
	req.SessionTimeoutMillis = int32((24 * 24 * time.Hour).Milliseconds())
	m.took(ask[*kmsg.JoinGroupResponse](m.client, req))
	m.sendSync()
	m.synced()
	is(t, "commit", m.commit(8), nil)
	expect := func(what string, want ...string) {
		t.Helper()
		s.ExpireOffsets()
		if got := l.Groups(); !slices.Equal(got, want) {
			t.Fatalf("%s: groups with offsets %q, want %q", what, got, want)
		}
	}
	at.advance(s, keep+time.Hour)
	expect("a week, with a member", "engine", "g")
	is(t, "leave", m.leave(), nil)
	at.advance(s, keep-time.Hour)
	expect("almost a week later", "engine", "g")
	is(t, "commit", commitAs(dial(t, s), "", nil, -1, 9), nil)
	at.advance(s, 2*time.Hour)
	expect("a week later, but after another commit", "engine", "g")
	at.advance(s, keep)
	expect("a week after that", "engine")
	if got := listGroups(dial(t, s)); len(got) != 1 {
		t.Errorf("groups %q, want the engine's", got)
	}
}

// RequireStable waits out a transaction that has committed offsets.
func TestOffsetFetchStable(t *testing.T) {
	s, l := serveAt(t, newClock(), nil)
	c := dial(t, s)
	topic, err := l.Topic(context.Background(), "t")
	if err != nil {
		t.Fatal(err)
	}
	is(t, "commit", commitAs(c, "", nil, -1, 1), nil)
	p := mustInit(dial(t, s), "a")
	add := kmsg.NewPtrAddOffsetsToTxnRequest()
	add.Version, add.TransactionalID, add.ProducerID, add.ProducerEpoch, add.Group = 3, "a", p.pid, p.epoch, "g"
	same(t, "add offsets", ask[*kmsg.AddOffsetsToTxnResponse](p.c, add).ErrorCode, nil)
	req := kmsg.NewPtrTxnOffsetCommitRequest()
	req.Version, req.TransactionalID, req.ProducerID, req.ProducerEpoch, req.Group = 3, "a", p.pid, p.epoch, "g"
	rt := kmsg.NewTxnOffsetCommitRequestTopic()
	rt.Topic = "t"
	rp := kmsg.NewTxnOffsetCommitRequestTopicPartition()
	rp.Offset, rp.Metadata = 6, kmsg.StringPtr("in doubt")
	rt.Partitions = append(rt.Partitions, rp)
	req.Topics = append(req.Topics, rt)
	commit := func() error {
		return kerr.ErrorForCode(ask[*kmsg.TxnOffsetCommitResponse](p.c, req).Topics[0].Partitions[0].ErrorCode)
	}
	is(t, "txn offset commit", commit(), nil)

	if o := fetchOffsets(c, 7, topic.ID, "g", true, 0)[0]; o.ErrorCode != kerr.UnstableOffsetCommit.Code || o.Offset != -1 {
		t.Errorf("stable offset is %+v, want it unstable", o)
	}
	if o := fetchOffsets(c, 7, topic.ID, "g", true, 1)[1]; o.ErrorCode != 0 {
		t.Errorf("stable offset of another partition is %+v", o)
	}
	if o := fetchOffsets(c, 7, topic.ID, "g", false, 0)[0]; o.ErrorCode != 0 || o.Offset != 1 {
		t.Errorf("offset is %+v, want 1", o)
	}
	want(t, "end", p.end(true), "")
	if o := fetchOffsets(c, 7, topic.ID, "g", true, 0)[0]; o.ErrorCode != 0 || o.Offset != 6 || *o.Metadata != "in doubt" {
		t.Errorf("offset is %+v, want 6", o)
	}

	// The member that a transaction commits for has to be one (KIP-447).
	m := newMember(t, s, "")
	form(m)
	p = mustInit(dial(t, s), "a")
	add.ProducerEpoch, req.ProducerEpoch = p.epoch, p.epoch
	same(t, "add offsets", ask[*kmsg.AddOffsetsToTxnResponse](p.c, add).ErrorCode, nil)
	req.MemberID, req.Generation = m.id, m.generation+1
	is(t, "commit of another generation", commit(), kerr.IllegalGeneration)
	req.MemberID, req.Generation = "who", m.generation
	is(t, "commit of nobody", commit(), kerr.UnknownMemberID)
	req.MemberID = m.id
	is(t, "commit of the member", commit(), nil)
}
