package kafka_test

import (
	"fmt"
	"testing"

	"github.com/rcrowley/go-metrics"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gretestream/grete/log/kafka"
)

// roomy is a server whose groups may take up little.
func roomy(t *testing.T) (*kafka.Server, func(name string) int64) {
	registry := metrics.NewRegistry()
	s, _ := serveAt(t, newClock(), func(o *kafka.Options) {
		o.Metrics = registry
		o.MaxMemberBytes, o.MaxGroupBytes, o.MaxGroupsBytes = 8<<10, 20<<10, 28<<10
	})
	return s, func(name string) int64 {
		switch m := registry.Get(name).(type) {
		case metrics.Counter:
			return m.Count()
		case metrics.Gauge:
			return m.Value()
		}
		return 0
	}
}

// saying is a Join of a member that says something of n bytes.
func (m *groupMember) saying(group string, n int) *kmsg.JoinGroupRequest {
	req := m.joinRequest(9)
	req.Group, req.Protocols[0].Metadata = group, make([]byte, n)
	return req
}

// A Join that says more than there is room for is refused: for one member, for
// its group, and for all groups together. What leaves makes room.
func TestGroupsAreBounded(t *testing.T) {
	s, metric := roomy(t)
	// joins asks for an id first and then joins, and returns the last answer.
	joins := func(m *groupMember, group string, n int) *kmsg.JoinGroupResponse {
		t.Helper()
		resp := ask[*kmsg.JoinGroupResponse](m.client, m.saying(group, n))
		if resp.ErrorCode == kerr.MemberIDRequired.Code {
			m.id = resp.MemberID
			resp = ask[*kmsg.JoinGroupResponse](m.client, m.saying(group, n))
		}
		return resp
	}
	first := newMember(t, s, "")
	same(t, "one member's bound", joins(first, "g", 9<<10).ErrorCode, kerr.MessageTooLarge)
	many := first.saying("g", 1)
	for i := range 200 { // nor by many protocols
		many.Protocols = append(many.Protocols, kmsg.JoinGroupRequestProtocol{Name: fmt.Sprint(i)})
	}
	same(t, "one member's bound", ask[*kmsg.JoinGroupResponse](first.client, many).ErrorCode, kerr.MessageTooLarge)
	if n := metric("kafka.group.bytes"); n != 0 {
		t.Fatalf("nobody is there, and groups take up %d bytes", n)
	}
	first.took(joins(first, "g", 7<<10))
	syncAll(first)

	second := newMember(t, s, "two")
	second.send(second.saying("g", 7<<10))
	first.waitFor("PreparingRebalance", 1)
	same(t, "the group's bound", joins(newMember(t, s, ""), "g", 7<<10).ErrorCode, kerr.GroupMaxSizeReached)
	first.send(first.saying("g", 7<<10)) // as before: there is room for that
	each([]*groupMember{first, second}, (*groupMember).joined)
	syncAll(first, second)

	other := newMember(t, s, "")
	same(t, "a group of its own", joins(other, "h", 7<<10).ErrorCode, nil)
	third := newMember(t, s, "")
	same(t, "the bound of all", joins(third, "i", 7<<10).ErrorCode, kerr.CoordinatorNotAvailable)
	is(t, "leave", first.leave(), nil)
	third.id = ""
	same(t, "in the place of the first", joins(third, "i", 7<<10).ErrorCode, nil)
	for name, want := range map[string]int64{"member-bytes": 2, "group-bytes": 1, "all-bytes": 1} {
		if n := metric("kafka.group.refused." + name); n != want {
			t.Errorf("refused for %s: %d, want %d", name, n, want)
		}
	}
}

// An assignment for which there is no room is refused to all, and the members
// share anew. What it gives to those who are no members does not count.
func TestAssignmentsAreBounded(t *testing.T) {
	s, metric := roomy(t)
	a, b := newMember(t, s, ""), newMember(t, s, "")
	form(a, b)
	leader, other := a, b
	if b.leads {
		leader, other = b, a
	}
	before := metric("kafka.group.bytes")
	f := func(size int, want error) {
		t.Helper()
		leader.sendJoin()
		leader.waitFor("PreparingRebalance", 1)
		other.sendJoin()
		each([]*groupMember{leader, other}, (*groupMember).joined)
		req := leader.syncRequest()
		for _, id := range []string{leader.id, other.id, "nobody"} {
			n := size
			if id == "nobody" {
				n = 100 << 10
			}
			req.GroupAssignment = append(req.GroupAssignment, kmsg.SyncGroupRequestGroupAssignment{MemberID: id, MemberAssignment: make([]byte, n)})
		}
		other.send(other.syncRequest())
		eventually(t, "a member waits in Sync", func() bool { return s.GroupSyncing("g") == 1 })
		resp := ask[*kmsg.SyncGroupResponse](leader.client, req)
		same(t, "the leader's sync", resp.ErrorCode, want)
		resp = kmsg.NewPtrSyncGroupResponse()
		resp.Version = 5
		other.receive(resp)
		same(t, "the other's sync", resp.ErrorCode, want)
	}
	f(8<<10, nil)
	f(8<<10+1, kerr.UnknownServerError)
	f(10, nil)
	if n := metric("kafka.group.bytes"); n < before-100 || n > before {
		t.Errorf("the group takes up %d bytes, and %d when it began", n, before)
	}
}
