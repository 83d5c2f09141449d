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

// form has members join the group that nobody is in yet, together.
func form(members ...*groupMember) {
	first := members[0]
	first.t.Helper()
	first.sendJoin()
	first.joined()
	if len(members) > 1 {
		for _, m := range members[1:] {
			m.sendJoin()
		}
		first.waitFor("PreparingRebalance", len(members)-1)
		first.sendJoin()
		each(members, (*groupMember).joined)
	}
	syncAll(members...)
}

// syncAll takes members from the end of Join to a stable group.
func syncAll(members ...*groupMember) {
	members[0].t.Helper()
	each(members, (*groupMember).sendSync)
	each(members, (*groupMember).synced)
}

func each(members []*groupMember, f func(*groupMember)) {
	members[0].t.Helper()
	for _, m := range members {
		m.t.Helper()
		f(m)
	}
}

// waitFor waits until the group is in a state and so many members wait in Join.
func (m *groupMember) waitFor(state string, waiting int) {
	m.t.Helper()
	eventually(m.t, fmt.Sprintf("group is %s and %d wait", state, waiting), func() bool {
		s, n := m.s.GroupWaiting("g")
		return s == state && n == waiting
	})
}

// is fails unless err is want.
func is(t testing.TB, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("%s: %v, want %v", what, err, want)
	}
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

// What JoinGroup refuses, in every version.
func TestJoinRefused(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*kmsg.JoinGroupRequest)
		want   error
	}{
		{"no group", func(r *kmsg.JoinGroupRequest) { r.Group = "" }, kerr.InvalidGroupID},
		{"short session", func(r *kmsg.JoinGroupRequest) { r.SessionTimeoutMillis = 5999 }, kerr.InvalidSessionTimeout},
		{"long session", func(r *kmsg.JoinGroupRequest) { r.SessionTimeoutMillis = 30*60_000 + 1 }, kerr.InvalidSessionTimeout},
		{"unknown member", func(r *kmsg.JoinGroupRequest) { r.MemberID = "who" }, kerr.UnknownMemberID},
		{"no protocols", func(r *kmsg.JoinGroupRequest) { r.Protocols = nil }, kerr.InconsistentGroupProtocol},
		{"no protocol type", func(r *kmsg.JoinGroupRequest) { r.ProtocolType = "" }, kerr.InconsistentGroupProtocol},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, _ := serveAt(t, newClock(), nil)
			m := newMember(t, s, "")
			for version := int16(0); version <= 9; version++ {
				req := m.joinRequest(version)
				c.change(req)
				resp := ask[*kmsg.JoinGroupResponse](m.client, req)
				same(t, fmt.Sprint("version ", version), resp.ErrorCode, c.want)
			}
			if state, _ := s.GroupWaiting("g"); state != "" {
				t.Errorf("a group was made, and is %s", state)
			}
		})
	}
}

// What a group that has a member refuses another.
func TestJoinRefusedByOthers(t *testing.T) {
	s, _ := serveAt(t, newClock(), func(o *kafka.Options) { o.MaxGroupSize = 2 })
	m := newMember(t, s, "")
	form(m)
	other := newMember(t, s, "")
	for _, c := range []struct {
		name   string
		change func(*kmsg.JoinGroupRequest)
		want   error
	}{
		{"other type", func(r *kmsg.JoinGroupRequest) { r.ProtocolType = "connect" }, kerr.InconsistentGroupProtocol},
		{"other protocol", func(r *kmsg.JoinGroupRequest) { r.Protocols[0].Name = "sticky" }, kerr.InconsistentGroupProtocol},
		{"unknown member", func(r *kmsg.JoinGroupRequest) { r.MemberID = "who" }, kerr.UnknownMemberID},
		{"the last place", func(r *kmsg.JoinGroupRequest) {}, kerr.MemberIDRequired},
		{"no place is left", func(r *kmsg.JoinGroupRequest) {}, kerr.GroupMaxSizeReached},
	} {
		req := other.joinRequest(9)
		c.change(req)
		same(t, c.name, ask[*kmsg.JoinGroupResponse](other.client, req).ErrorCode, c.want)
	}
	is(t, "heartbeat of the first", m.heartbeat(), nil)
}

// Before version 4 a member is one at once, without being given an id first; and
// every version goes from Join to Leave.
func TestGroupVersions(t *testing.T) {
	for version := int16(0); version <= 9; version++ {
		t.Run(fmt.Sprint(version), func(t *testing.T) {
			s, _ := serveAt(t, newClock(), nil)
			m := newMember(t, s, "")
			resp := ask[*kmsg.JoinGroupResponse](m.client, m.joinRequest(version))
			if version >= 4 {
				same(t, "first join", resp.ErrorCode, kerr.MemberIDRequired)
				m.id = resp.MemberID
				resp = ask[*kmsg.JoinGroupResponse](m.client, m.joinRequest(version))
			}
			m.took(resp)
			sync := m.syncRequest()
			sync.Version = min(version, 5)
			a := kmsg.NewSyncGroupRequestGroupAssignment()
			a.MemberID, a.MemberAssignment = m.id, []byte("all")
			sync.GroupAssignment = append(sync.GroupAssignment, a)
			synced := ask[*kmsg.SyncGroupResponse](m.client, sync)
			same(t, "sync", synced.ErrorCode, nil)
			if string(synced.MemberAssignment) != "all" {
				t.Errorf("assignment %q, want all", synced.MemberAssignment)
			}
			if version >= 5 && (*synced.ProtocolType != "consumer" || *synced.Protocol != "range") {
				t.Errorf("sync answers protocol %q of %q", *synced.Protocol, *synced.ProtocolType)
			}
			hb := kmsg.NewPtrHeartbeatRequest()
			hb.Version, hb.Group, hb.MemberID, hb.Generation = min(version, 4), "g", m.id, m.generation
			same(t, "heartbeat", ask[*kmsg.HeartbeatResponse](m.client, hb).ErrorCode, nil)
			leave := kmsg.NewPtrLeaveGroupRequest()
			leave.Version, leave.Group, leave.MemberID = min(version, 5), "g", m.id
			who := kmsg.NewLeaveGroupRequestMember()
			who.MemberID = m.id
			leave.Members = append(leave.Members, who)
			same(t, "leave", ask[*kmsg.LeaveGroupResponse](m.client, leave).ErrorCode, nil)
			if version < 3 {
				same(t, "leave again", ask[*kmsg.LeaveGroupResponse](m.client, leave).ErrorCode, kerr.UnknownMemberID)
			}
		})
	}
}

func TestThreeMembers(t *testing.T) {
	s, _ := serveAt(t, newClock(), nil)
	a, b, c := newMember(t, s, ""), newMember(t, s, ""), newMember(t, s, "")
	form(a, b, c)
	if !a.leads || b.leads || c.leads {
		t.Errorf("leaders: %v %v %v, want the first", a.leads, b.leads, c.leads)
	}
	if a.generation != 2 || b.generation != 2 || c.generation != 2 {
		t.Errorf("generations %d %d %d, want 2", a.generation, b.generation, c.generation)
	}

	// One goes: the others hear of it by their heartbeat, and join again.
	is(t, "leave", a.leave(), nil)
	is(t, "heartbeat", b.heartbeat(), kerr.RebalanceInProgress)
	is(t, "commit while members join", b.commit(1), nil)
	b.sendJoin()
	b.waitFor("PreparingRebalance", 1)
	is(t, "heartbeat", c.heartbeat(), kerr.RebalanceInProgress)
	c.sendJoin()
	each([]*groupMember{b, c}, (*groupMember).joined)
	if b.generation != 3 || b.leads == c.leads {
		t.Errorf("generation %d, leaders %v %v, want one in 3", b.generation, b.leads, c.leads)
	}

	// Between Join and Sync: heartbeats are well, commits have to wait.
	is(t, "heartbeat", b.heartbeat(), nil)
	is(t, "commit before sync", b.commit(1), kerr.RebalanceInProgress)
	syncAll(b, c)
	is(t, "commit", b.commit(2), nil)

	// A leader who joins again wants a new generation; another does not, unless
	// it says something new.
	leader, follower := b, c
	if c.leads {
		leader, follower = c, b
	}
	follower.sendJoin()
	follower.joined()
	if follower.generation != 3 {
		t.Errorf("generation %d after a follower has joined again, want 3", follower.generation)
	}
	follower.sendSync()
	follower.synced()
	leader.sendJoin()
	leader.waitFor("PreparingRebalance", 1)
	follower.sendJoin()
	each([]*groupMember{leader, follower}, (*groupMember).joined)
	if leader.generation != 4 || follower.generation != 4 {
		t.Errorf("generations %d %d, want 4", leader.generation, follower.generation)
	}
	syncAll(leader, follower)

	// The zombie of an old generation is refused everywhere.
	zombie := *follower
	zombie.generation = 3
	is(t, "zombie's heartbeat", zombie.heartbeat(), kerr.IllegalGeneration)
	is(t, "zombie's commit", zombie.commit(9), kerr.IllegalGeneration)
	same(t, "zombie's sync", ask[*kmsg.SyncGroupResponse](zombie.client, zombie.syncRequest()).ErrorCode, kerr.IllegalGeneration)
	is(t, "commit of one who has left", a.commit(9), kerr.UnknownMemberID)
	is(t, "heartbeat of one who has left", a.heartbeat(), kerr.UnknownMemberID)
	is(t, "leaving twice", a.leave(), kerr.UnknownMemberID)
}

// A follower that is given nothing, or is not named by the leader, is told
// nothing: bytes of no length.
func TestSyncAnswersEmptyAssignments(t *testing.T) {
	s, _ := serveAt(t, newClock(), nil)
	a, b := newMember(t, s, ""), newMember(t, s, "")
	a.sendJoin()
	a.joined()
	b.sendJoin()
	a.waitFor("PreparingRebalance", 1)
	a.sendJoin()
	each([]*groupMember{a, b}, (*groupMember).joined)
	for _, m := range []*groupMember{b, a} {
		m.send(m.syncRequest())
	}
	for _, m := range []*groupMember{a, b} {
		resp := kmsg.NewPtrSyncGroupResponse()
		resp.Version = 5
		m.receive(resp)
		same(t, "sync", resp.ErrorCode, nil)
		if resp.MemberAssignment == nil || len(resp.MemberAssignment) != 0 || *resp.Protocol != "range" {
			t.Errorf("assignment %v under %v, want none", resp.MemberAssignment, resp.Protocol)
		}
	}
	for _, c := range []struct {
		name     string
		typ, how *string
		want     error
	}{
		{"another type", kmsg.StringPtr("connect"), nil, kerr.InconsistentGroupProtocol},
		{"another protocol", nil, kmsg.StringPtr("sticky"), kerr.InconsistentGroupProtocol},
		{"none said", nil, nil, nil},
	} {
		req := b.syncRequest()
		req.ProtocolType, req.Protocol = c.typ, c.how
		same(t, c.name, ask[*kmsg.SyncGroupResponse](b.client, req).ErrorCode, c.want)
	}
}

// The protocol that most members like best wins, among those that all know.
func TestProtocolIsVoted(t *testing.T) {
	f := func(want string, lists ...[]string) {
		t.Helper()
		s, _ := serveAt(t, newClock(), nil)
		var members []*groupMember
		for _, list := range lists {
			m := newMember(t, s, "")
			m.protocols = list
			members = append(members, m)
		}
		form(members...)
		if got := members[len(members)-1].protocol; got != want {
			t.Errorf("%v: %q, want %q", lists, got, want)
		}
	}
	f("a", []string{"a", "b"})
	f("b", []string{"a", "b"}, []string{"b"})
	f("b", []string{"a", "b"}, []string{"b", "a"}, []string{"b", "a"})
	f("a", []string{"a", "b"}, []string{"b", "a"})
	f("b", []string{"c", "a", "b"}, []string{"b", "a"}, []string{"b", "a"})
	f("a", []string{"a", "a", "b"}, []string{"a"})
}

// Who was given an id and never came back holds the others up until its time is
// over.
func TestPendingMember(t *testing.T) {
	at := newClock()
	s, _ := serveAt(t, at, nil)
	a, lost := newMember(t, s, ""), newMember(t, s, "")
	form(a)
	resp := ask[*kmsg.JoinGroupResponse](lost.client, lost.joinRequest(9))
	same(t, "first join", resp.ErrorCode, kerr.MemberIDRequired)
	a.sendJoin()
	a.waitFor("PreparingRebalance", 1)
	at.advance(s, testSession-time.Millisecond)
	a.waitFor("PreparingRebalance", 1)
	at.advance(s, time.Millisecond)
	a.joined()
	lost.id = resp.MemberID
	same(t, "late join", ask[*kmsg.JoinGroupResponse](lost.client, lost.joinRequest(9)).ErrorCode, kerr.UnknownMemberID)

	// It may also say that it will not come.
	syncAll(a)
	again := newMember(t, s, "")
	again.id = ask[*kmsg.JoinGroupResponse](again.client, again.joinRequest(9)).MemberID
	a.sendJoin()
	a.waitFor("PreparingRebalance", 1)
	is(t, "leave before join", again.leave(), nil)
	a.joined()
}

// Members that fall silent: in a stable group, in Join, between Join and Sync,
// and in their first Join.
func TestMembersVanish(t *testing.T) {
	t.Run("stable", func(t *testing.T) {
		at := newClock()
		s, _ := serveAt(t, at, nil)
		a, b := newMember(t, s, ""), newMember(t, s, "")
		form(a, b)
		_ = b.Close() // no leave
		at.advance(s, testSession/2)
		is(t, "heartbeat", a.heartbeat(), nil)
		at.advance(s, testSession/2)
		is(t, "heartbeat", a.heartbeat(), kerr.RebalanceInProgress)
		a.sendJoin()
		a.joined()
		if len(a.roster) != 1 {
			t.Errorf("%d members, want 1", len(a.roster))
		}
		b.reconnect()
		is(t, "heartbeat of the other", b.heartbeat(), kerr.UnknownMemberID)
	})
	t.Run("does not join again", func(t *testing.T) {
		at := newClock()
		s, _ := serveAt(t, at, nil)
		a, b, c := newMember(t, s, ""), newMember(t, s, ""), newMember(t, s, "")
		form(a, b)
		c.sendJoin()
		a.waitFor("PreparingRebalance", 1)
		a.sendJoin()
		a.waitFor("PreparingRebalance", 2)
		for waited := time.Duration(0); waited < testRebalance; waited += testSession / 2 {
			is(t, "heartbeat", b.heartbeat(), kerr.RebalanceInProgress) // alive, but busy
			at.advance(s, testSession/2)
		}
		each([]*groupMember{a, c}, (*groupMember).joined)
		if n := len(a.roster) + len(c.roster); n != 2 {
			t.Errorf("%d members, want 2", n)
		}
		is(t, "heartbeat", b.heartbeat(), kerr.UnknownMemberID)
	})
	t.Run("does not sync", func(t *testing.T) {
		at := newClock()
		s, _ := serveAt(t, at, nil)
		a, b := newMember(t, s, ""), newMember(t, s, "")
		a.sendJoin()
		a.joined()
		b.sendJoin()
		a.waitFor("PreparingRebalance", 1)
		a.sendJoin()
		each([]*groupMember{a, b}, (*groupMember).joined)
		b.sendSync() // and waits for the leader, which only keeps its session
		eventually(t, "the other waits in Sync", func() bool { return s.GroupSyncing("g") == 1 })
		for waited := time.Duration(0); waited < testRebalance; waited += testSession / 2 {
			is(t, "heartbeat", a.heartbeat(), nil)
			at.advance(s, testSession/2)
		}
		resp := kmsg.NewPtrSyncGroupResponse()
		resp.Version = 5
		b.receive(resp)
		same(t, "sync without a leader", resp.ErrorCode, kerr.RebalanceInProgress)
		b.sendJoin()
		b.joined()
		if !b.leads || len(b.roster) != 1 {
			t.Errorf("leads=%v with %d members, want it alone", b.leads, len(b.roster))
		}
	})
	t.Run("new", func(t *testing.T) {
		at := newClock()
		s, _ := serveAt(t, at, func(o *kafka.Options) { o.MaxSessionTimeout = time.Hour })
		a, b := newMember(t, s, ""), newMember(t, s, "")
		a.rebalance = time.Hour
		form(a)
		b.sendJoin()
		a.waitFor("PreparingRebalance", 1)
		for waited := time.Duration(0); waited < 5*time.Minute; waited += testSession / 2 {
			is(t, "heartbeat", a.heartbeat(), kerr.RebalanceInProgress)
			at.advance(s, testSession/2)
		}
		resp := kmsg.NewPtrJoinGroupResponse()
		resp.Version = 9
		b.receive(resp)
		same(t, "join that took too long", resp.ErrorCode, kerr.UnknownMemberID)
	})
}

// The last one to go leaves an empty group, of the next generation.
func TestEmptyGroup(t *testing.T) {
	at := newClock()
	s, _ := serveAt(t, at, nil)
	a := newMember(t, s, "")
	form(a)
	at.advance(s, testSession)
	if state, _ := s.GroupWaiting("g"); state != "Empty" {
		t.Fatalf("group is %s, want Empty", state)
	}
	b := newMember(t, s, "")
	b.protocols = []string{"sticky"} // no trace of what was agreed before
	form(b)
	if b.generation != 3 {
		t.Errorf("generation %d, want 3", b.generation)
	}
}

// The first members of a group wait for more, for as long as more come, but no
// longer than a rebalance may take.
func TestRebalanceDelay(t *testing.T) {
	at := newClock()
	s, _ := serveAt(t, at, func(o *kafka.Options) { o.RebalanceDelay = 25 * time.Second })
	a, b, c := newMember(t, s, ""), newMember(t, s, ""), newMember(t, s, "")
	a.sendJoin()
	a.waitFor("PreparingRebalance", 1)
	at.advance(s, 20*time.Second)
	b.sendJoin()
	a.waitFor("PreparingRebalance", 2)
	at.advance(s, 5*time.Second) // the delay is over; it begins again, as one has come
	c.sendJoin()
	a.waitFor("PreparingRebalance", 3)
	at.advance(s, 24*time.Second)
	a.waitFor("PreparingRebalance", 3)
	at.advance(s, time.Second)
	at.advance(s, 10*time.Second) // 60 s after the first
	each([]*groupMember{a, b, c}, (*groupMember).joined)
	if a.generation != 1 || c.generation != 1 {
		t.Errorf("generations %d %d, want 1", a.generation, c.generation)
	}
	syncAll(a, b, c)
}
