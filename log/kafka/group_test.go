package kafka_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gretestream/grete/log"
	"github.com/gretestream/grete/log/kafka"
)

// clock is moved by hand.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func newClock() *clock { return &clock{t: time.Unix(1_700_000_000, 0)} }

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

// advance moves the clock and lets the groups do what has become due.
func (c *clock) advance(s *kafka.Server, d time.Duration) {
	c.mu.Lock()
	c.t = c.t.Add(d)
	c.mu.Unlock()
	s.TickGroups()
}

// same fails unless err is the error with that code.
func same(t testing.TB, what string, code int16, want error) {
	t.Helper()
	if got := kerr.ErrorForCode(code); !errors.Is(got, want) {
		t.Fatalf("%s: %v, want %v", what, got, want)
	}
}

// groupMember is a member of group "g" as a client would be.
type groupMember struct {
	*client
	s          *kafka.Server
	id         string
	instance   *string
	generation int32
	protocols  []string // names; the metadata is "NAME of ID"
	protocol   string
	assignment string
	leads      bool
	roster     []kmsg.JoinGroupResponseMember
	rebalance  time.Duration // timeout
}

const (
	testSession   = 10 * time.Second
	testRebalance = 60 * time.Second
)

func newMember(t testing.TB, s *kafka.Server, instance string) *groupMember {
	m := &groupMember{client: dial(t, s), s: s, protocols: []string{"range"}, rebalance: testRebalance}
	if instance != "" {
		m.instance = &instance
	}
	return m
}

// reconnect is what a client does whose connection has gone.
func (m *groupMember) reconnect() {
	_ = m.Close()
	m.client = dial(m.t, m.s)
}

func (m *groupMember) joinRequest(version int16) *kmsg.JoinGroupRequest {
	req := kmsg.NewPtrJoinGroupRequest()
	req.Version, req.Group, req.MemberID, req.ProtocolType = version, "g", m.id, "consumer"
	req.InstanceID = m.instance
	req.SessionTimeoutMillis, req.RebalanceTimeoutMillis = int32(testSession.Milliseconds()), int32(m.rebalance.Milliseconds())
	for _, name := range m.protocols {
		p := kmsg.NewJoinGroupRequestProtocol()
		p.Name, p.Metadata = name, []byte("about "+name)
		req.Protocols = append(req.Protocols, p)
	}
	return req
}

// sendJoin joins, under an id that it asks for first if it has none, and does
// not wait for the others.
func (m *groupMember) sendJoin() {
	m.t.Helper()
	if m.id == "" && m.instance == nil {
		resp := ask[*kmsg.JoinGroupResponse](m.client, m.joinRequest(9))
		same(m.t, "first join", resp.ErrorCode, kerr.MemberIDRequired)
		m.id = resp.MemberID
	}
	m.send(m.joinRequest(9))
}

// joined is the end of sendJoin.
func (m *groupMember) joined() {
	m.t.Helper()
	resp := kmsg.NewPtrJoinGroupResponse()
	resp.Version = 9
	m.receive(resp)
	m.took(resp)
}

func (m *groupMember) took(resp *kmsg.JoinGroupResponse) {
	m.t.Helper()
	same(m.t, "join", resp.ErrorCode, nil)
	m.id, m.generation, m.leads, m.roster = resp.MemberID, resp.Generation, resp.LeaderID == resp.MemberID, resp.Members
	m.protocol = *resp.Protocol
}

func (m *groupMember) syncRequest() *kmsg.SyncGroupRequest {
	req := kmsg.NewPtrSyncGroupRequest()
	req.Version, req.Group, req.MemberID, req.Generation, req.InstanceID = 5, "g", m.id, m.generation, m.instance
	req.ProtocolType, req.Protocol = kmsg.StringPtr("consumer"), kmsg.StringPtr(m.protocol)
	return req
}

// sendSync asks for the assignment; the leader gives "GENERATION/ID" to all.
func (m *groupMember) sendSync() {
	req := m.syncRequest()
	if m.leads {
		for _, r := range m.roster {
			a := kmsg.NewSyncGroupRequestGroupAssignment()
			a.MemberID, a.MemberAssignment = r.MemberID, fmt.Appendf(nil, "%d/%s", m.generation, r.MemberID)
			req.GroupAssignment = append(req.GroupAssignment, a)
		}
	}
	m.send(req)
}

// synced is the end of sendSync.
func (m *groupMember) synced() {
	m.t.Helper()
	resp := kmsg.NewPtrSyncGroupResponse()
	resp.Version = 5
	m.receive(resp)
	same(m.t, "sync", resp.ErrorCode, nil)
	m.assignment = string(resp.MemberAssignment)
	if want := fmt.Sprintf("%d/%s", m.generation, m.id); m.assignment != want {
		m.t.Fatalf("assignment %q, want %q", m.assignment, want)
	}
}

// heartbeat returns the error of a heartbeat.
func (m *groupMember) heartbeat() error {
	m.t.Helper()
	req := kmsg.NewPtrHeartbeatRequest()
	req.Version, req.Group, req.MemberID, req.Generation, req.InstanceID = 4, "g", m.id, m.generation, m.instance
	return kerr.ErrorForCode(ask[*kmsg.HeartbeatResponse](m.client, req).ErrorCode)
}

// leave returns the error of leaving.
func (m *groupMember) leave() error {
	m.t.Helper()
	req := kmsg.NewPtrLeaveGroupRequest()
	req.Version, req.Group = 5, "g"
	who := kmsg.NewLeaveGroupRequestMember()
	who.MemberID, who.InstanceID = m.id, m.instance
	req.Members = append(req.Members, who)
	resp := ask[*kmsg.LeaveGroupResponse](m.client, req)
	same(m.t, "leave", resp.ErrorCode, nil)
	return kerr.ErrorForCode(resp.Members[0].ErrorCode)
}

// commit returns the error of committing offset for partition 0 of topic "t".
func (m *groupMember) commit(offset int64) error {
	m.t.Helper()
	return commitAs(m.client, m.id, m.instance, m.generation, offset)
}

func commitAs(c *client, id string, instance *string, generation int32, offset int64) error {
	c.t.Helper()
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Version, req.Group, req.MemberID, req.InstanceID, req.Generation = 9, "g", id, instance, generation
	topic := kmsg.NewOffsetCommitRequestTopic()
	topic.Topic = "t"
	p := kmsg.NewOffsetCommitRequestTopicPartition()
	p.Offset, p.LeaderEpoch, p.Metadata = offset, 7, kmsg.StringPtr(fmt.Sprint("at ", offset))
	topic.Partitions = append(topic.Partitions, p)
	req.Topics = append(req.Topics, topic)
	resp := ask[*kmsg.OffsetCommitResponse](c, req)
	return kerr.ErrorForCode(resp.Topics[0].Partitions[0].ErrorCode)
}

func serveAt(t testing.TB, at *clock, change func(*kafka.Options)) (*kafka.Server, *log.Embedded) {
	t.Helper()
	s, l := serve(t, func(o *kafka.Options) {
		o.Now = at.now
		if change != nil {
			change(o)
		}
	})
	if _, err := l.CreateTopic(context.Background(), log.TopicSpec{Name: "t", Partitions: 2}); err != nil {
		t.Fatal(err)
	}
	return s, l
}

func TestGroupOfOne(t *testing.T) {
	s, l := serveAt(t, newClock(), nil)
	m := newMember(t, s, "")
	m.sendJoin()
	m.joined()
	if !m.leads || m.generation != 1 || m.protocol != "range" || len(m.roster) != 1 || string(m.roster[0].ProtocolMetadata) != "about range" {
		t.Fatalf("leads=%v generation=%d protocol=%q roster=%v", m.leads, m.generation, m.protocol, m.roster)
	}
	m.sendSync()
	m.synced()
	if err := m.heartbeat(); err != nil {
		t.Error("heartbeat:", err)
	}
	if err := m.commit(5); err != nil {
		t.Error("commit:", err)
	}
	tp := log.TopicPartition{Topic: "t"}
	got, err := l.Committed(context.Background(), "g")
	if o := got[tp]; err != nil || o.Offset != 5 || o.LeaderEpoch != 7 || o.Metadata != "at 5" {
		t.Errorf("committed %+v, %v", got, err)
	}
	if err := m.leave(); err != nil {
		t.Error("leave:", err)
	}
	if err := m.heartbeat(); !errors.Is(err, kerr.UnknownMemberID) {
		t.Errorf("heartbeat after leaving: %v", err)
	}
	if state, _ := s.GroupWaiting("g"); state != "Empty" {
		t.Errorf("group is %q, want Empty", state)
	}
}
