package kafka

import (
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
)

// What members say and are given is kept in memory, and is as long as they like:
// Options bound it for one member, one group, and all groups together.

// memberBytes is about what a member, or an id that was given out, takes up
// beside its strings.
const memberBytes = 512

// said is about how much memory it takes to keep what the member says.
func (m *member) said() int64 {
	n := memberBytes + len(m.id) + len(m.instance) + len(m.clientID) + len(m.host)
	for _, p := range m.protocols {
		n += 64 + len(p.name) + len(p.metadata)
	}
	return int64(n)
}

// size is said, and what the member was given.
func (m *member) size() int64 { return m.said() + int64(len(m.assignment)) }

// hold counts memory that the group takes up, or gives up if n is negative.
func (g *group) hold(n int64) {
	g.held += n
	g.c.held.Add(n)
}

// mayHold tells why a group cannot grow by n bytes, one member saying or being
// given at most most of them. What fits into no group, or not into this one, will
// not fit later; when there is no room for any, a client shall try again. Groups
// that grow at the same time may pass the bound of all together by what they grow.
func (g *group) mayHold(most, n int64) *kerr.Error {
	o := g.c.opts
	switch {
	case most > o.MaxMemberBytes:
		g.c.m.count("kafka.group.refused.member-bytes")
		return kerr.MessageTooLarge
	case n > 0 && g.held+n > o.MaxGroupBytes:
		g.c.m.count("kafka.group.refused.group-bytes")
		return kerr.GroupMaxSizeReached
	case n > 0 && g.c.held.Load()+n > o.MaxGroupsBytes:
		g.c.m.count("kafka.group.refused.all-bytes")
		return kerr.CoordinatorNotAvailable
	}
	return nil
}

// mayJoin is mayHold of what a Join says: in place of what the member said
// before, if there is one.
func (g *group) mayJoin(m, before *member) *kerr.Error {
	n := m.said()
	grows := n
	if before != nil {
		grows -= before.said()
	}
	return g.mayHold(n, grows)
}

// mayGive is mayHold of what a leader assigns. What is too large is an unknown
// error, as in Kafka where it does not fit into the record of the group.
func (g *group) mayGive(given map[string][]byte) *kerr.Error {
	var most, grows int64
	for id, m := range g.members {
		n := int64(len(given[id]))
		most = max(most, n)
		grows += n - int64(len(m.assignment))
	}
	code := g.mayHold(most, grows)
	if code == kerr.MessageTooLarge || code == kerr.GroupMaxSizeReached {
		return kerr.UnknownServerError
	}
	return code
}

// give makes an assignment a member's.
func (g *group) give(m *member, assignment []byte) {
	g.hold(int64(len(assignment) - len(m.assignment)))
	m.assignment = nonNil(assignment)
}

// setPending notes an id that was given out for the next Join.
func (g *group) setPending(id string, until time.Time) {
	g.pending[id] = until
	g.hold(g.pendingSize(id))
}

// dropPending forgets an id that was given out. It reports whether there was one.
func (g *group) dropPending(id string) bool {
	if _, ok := g.pending[id]; !ok {
		return false
	}
	delete(g.pending, id)
	g.hold(-g.pendingSize(id))
	return true
}

// pendingSize counts the group's name, too: there may be nothing else in it.
func (g *group) pendingSize(id string) int64 { return int64(memberBytes + len(id) + len(g.name)) }
