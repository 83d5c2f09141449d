package kafka_test

import (
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// A static member that was restarted takes its place again, with what it had
// been given, and nobody else notices. Its old self is fenced.
func TestStaticMemberComesBack(t *testing.T) {
	for _, leads := range []bool{true, false} {
		s, _ := serveAt(t, newClock(), nil)
		a, b := newMember(t, s, "one"), newMember(t, s, "two")
		form(a, b)
		restarted, other := a, b
		if !leads {
			restarted, other = b, a
		}
		old := *restarted
		restarted.reconnect()
		restarted.id = ""
		resp := ask[*kmsg.JoinGroupResponse](restarted.client, restarted.joinRequest(9))
		restarted.took(resp)
		if resp.Generation != other.generation || resp.MemberID == old.id || resp.SkipAssignment != leads {
			t.Fatalf("generation %d, id %q, skip %v; want generation %d, a new id, skip %v", resp.Generation, resp.MemberID, resp.SkipAssignment, other.generation, leads)
		}
		if leads && (resp.LeaderID != resp.MemberID || len(resp.Members) != 2) {
			t.Errorf("leader %q of %d members", resp.LeaderID, len(resp.Members))
		}
		sync := ask[*kmsg.SyncGroupResponse](restarted.client, restarted.syncRequest())
		same(t, "sync", sync.ErrorCode, nil)
		if string(sync.MemberAssignment) != old.assignment {
			t.Errorf("assignment %q, want %q", sync.MemberAssignment, old.assignment)
		}
		is(t, "heartbeat of the other", other.heartbeat(), nil)
		is(t, "heartbeat", restarted.heartbeat(), nil)

		old.client = dial(t, s)
		is(t, "old heartbeat", old.heartbeat(), kerr.FencedInstanceID)
		is(t, "old commit", old.commit(3), kerr.FencedInstanceID)
		is(t, "old leave", old.leave(), kerr.FencedInstanceID)
		same(t, "old sync", ask[*kmsg.SyncGroupResponse](old.client, old.syncRequest()).ErrorCode, kerr.FencedInstanceID)
		same(t, "old join", ask[*kmsg.JoinGroupResponse](old.client, old.joinRequest(9)).ErrorCode, kerr.FencedInstanceID)
		is(t, "commit", restarted.commit(3), nil)
	}
}

// Before version 9 a client cannot be told that it leads and need not assign: it
// is told that somebody else leads.
func TestStaticLeaderOfOldClient(t *testing.T) {
	s, _ := serveAt(t, newClock(), nil)
	a := newMember(t, s, "one")
	form(a)
	old := a.id
	a.id = ""
	resp := ask[*kmsg.JoinGroupResponse](a.client, a.joinRequest(8))
	same(t, "join", resp.ErrorCode, nil)
	if resp.LeaderID != old || len(resp.Members) > 0 || resp.SkipAssignment {
		t.Errorf("leader %q with %d members, want the old id", resp.LeaderID, len(resp.Members))
	}
}

// Two clients of the same static id: the younger one has it. What the older one
// waits for is refused.
func TestStaticMemberIsFencedWhileItWaits(t *testing.T) {
	s, _ := serveAt(t, newClock(), nil)
	a, b := newMember(t, s, ""), newMember(t, s, "two")
	form(a)
	b.sendJoin()
	a.waitFor("PreparingRebalance", 1)
	double := newMember(t, s, "two")
	double.sendJoin()
	resp := kmsg.NewPtrJoinGroupResponse()
	resp.Version = 9
	b.receive(resp)
	same(t, "join of the older", resp.ErrorCode, kerr.FencedInstanceID)
	a.waitFor("PreparingRebalance", 1)
	a.sendJoin()
	each([]*groupMember{a, double}, (*groupMember).joined)

	// Between Join and Sync the leader has the old id: all join again.
	double.send(double.syncRequest())
	triple := newMember(t, s, "two")
	triple.sendJoin()
	synced := kmsg.NewPtrSyncGroupResponse()
	synced.Version = 5
	double.receive(synced)
	same(t, "sync of the older", synced.ErrorCode, kerr.FencedInstanceID)
	is(t, "heartbeat", a.heartbeat(), kerr.RebalanceInProgress)
	a.sendJoin()
	each([]*groupMember{a, triple}, (*groupMember).joined)
	syncAll(a, triple)
}

// A static member that wants other topics, or another protocol, begins a new
// generation; what it has been given so far does not matter.
func TestStaticMemberWantsSomethingElse(t *testing.T) {
	metadata := func(owned int32, topics ...string) []byte {
		m := kmsg.NewConsumerMemberMetadata()
		m.Version, m.Topics = 1, topics
		o := kmsg.NewConsumerMemberMetadataOwnedPartition()
		o.Topic, o.Partitions = "t", []int32{owned}
		m.OwnedPartitions = append(m.OwnedPartitions, o)
		return m.AppendTo(nil)
	}
	s, _ := serveAt(t, newClock(), nil)
	a := newMember(t, s, "one")
	join := func(metadata []byte) *kmsg.JoinGroupResponse {
		a.id = ""
		req := a.joinRequest(9)
		req.Protocols[0].Metadata = metadata
		resp := ask[*kmsg.JoinGroupResponse](a.client, req)
		a.took(resp)
		if !resp.SkipAssignment {
			a.sendSync()
			a.synced()
		}
		return resp
	}
	f := func(name string, metadata []byte, wantGeneration int32) {
		t.Helper()
		if resp := join(metadata); resp.Generation != wantGeneration {
			t.Fatalf("%s: generation %d, want %d", name, resp.Generation, wantGeneration)
		}
	}
	f("first", metadata(0, "t", "u"), 1)
	f("other partitions", metadata(1, "t", "u"), 1)
	f("other order", metadata(1, "u", "t"), 1)
	f("other topics", metadata(1, "u"), 2)
	f("not understood", []byte{9}, 3)
	f("not understood either", []byte{8, 7}, 3)
}

// A static member keeps its place while it is away, also through a rebalance,
// until its session ends. Leaving takes it out at once; an administrator needs
// only its instance for that.
func TestStaticMemberIsAway(t *testing.T) {
	at := newClock()
	s, _ := serveAt(t, at, nil)
	a, b := newMember(t, s, ""), newMember(t, s, "two")
	a.rebalance, b.rebalance = 8*time.Second, 8*time.Second // less than a session
	form(a, b)
	_ = b.Close()
	a.sendJoin() // a leader's wish
	a.waitFor("PreparingRebalance", 1)
	at.advance(s, 8*time.Second)
	a.joined()
	if len(a.roster) != 2 {
		t.Fatalf("%d members, want 2: the one who is away as well", len(a.roster))
	}
	syncAll(a)
	at.advance(s, 8*time.Second) // it has not synced
	is(t, "heartbeat", a.heartbeat(), kerr.RebalanceInProgress)
	a.sendJoin()
	a.joined()
	if len(a.roster) != 1 {
		t.Fatalf("%d members, want 1", len(a.roster))
	}
	syncAll(a)

	b.reconnect()
	b.id = ""
	b.sendJoin()
	a.waitFor("PreparingRebalance", 1)
	a.sendJoin()
	each([]*groupMember{a, b}, (*groupMember).joined)
	syncAll(a, b)
	req := kmsg.NewPtrLeaveGroupRequest()
	req.Version, req.Group = 3, "g"
	for _, name := range []string{"two", "nobody", "two"} {
		m := kmsg.NewLeaveGroupRequestMember()
		m.InstanceID = &name
		req.Members = append(req.Members, m)
	}
	resp := ask[*kmsg.LeaveGroupResponse](a.client, req)
	same(t, "leave", resp.ErrorCode, nil)
	for i, want := range []error{nil, kerr.UnknownMemberID, kerr.UnknownMemberID} {
		same(t, "leave "+*req.Members[i].InstanceID, resp.Members[i].ErrorCode, want)
	}
	is(t, "heartbeat", b.heartbeat(), kerr.UnknownMemberID)
	is(t, "heartbeat", a.heartbeat(), kerr.RebalanceInProgress)
}
