package kafka

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"math"
	"net"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// JoinGroup makes the client a member of a group, or of its next generation, and
// is answered when all members have joined. Version 1 brings the rebalance
// timeout, 4 the member id that has to be asked for first (KIP-394), 5 static
// members (KIP-345), 7 the protocol type in the answer (KIP-559), 8 the reason, 9
// the leader that need not assign (KIP-814).
var joinGroupAPI = api{key: kmsg.JoinGroup, min: 0, max: 9, handle: (*Server).joinGroup}

// newMemberTimeout is how long a new member may wait for the others: its client
// may be gone, and there is no session yet. Kafka has the same.
const newMemberTimeout = 5 * time.Minute

func refuseJoin(id string, code *kerr.Error) *kmsg.JoinGroupResponse {
	resp := kmsg.NewPtrJoinGroupResponse()
	resp.ErrorCode, resp.MemberID, resp.Generation = code.Code, id, -1
	return resp
}

func (s *Server) joinGroup(ctx context.Context, r *request) (kmsg.Response, error) {
	req := r.body.(*kmsg.JoinGroupRequest)
	if r.group(toRead, req.Group) != nil {
		return refuseJoin(req.MemberID, kerr.GroupAuthorizationFailed), nil
	}
	resp, wait := s.groups.join(r, req)
	if resp != nil {
		return resp, nil
	}
	id := req.MemberID
	r.forget() // of what it says the group has a copy
	select {
	case resp := <-wait:
		return resp, nil
	case <-s.stopping:
		return refuseJoin(id, kerr.NotCoordinator), nil
	case <-ctx.Done(): // no leave: the session of the member goes on
		return nil, ctx.Err()
	}
}

// joining is a JoinGroup on its way.
type joining struct {
	now        time.Time
	member     *member // as the request has it
	protocol   string  // type
	needsID    bool    // a new member has to ask for its id first
	canSkip    bool    // the client knows of SkipAssignment
	generateID func() string
}

// join answers, or returns what the answer will come by.
func (c *coordinator) join(r *request, req *kmsg.JoinGroupRequest) (*kmsg.JoinGroupResponse, <-chan *kmsg.JoinGroupResponse) {
	session := time.Duration(req.SessionTimeoutMillis) * time.Millisecond
	switch {
	case !validGroup(req.Group):
		return refuseJoin(req.MemberID, kerr.InvalidGroupID), nil
	case !storable(req.MemberID, instance(req.InstanceID), req.ProtocolType),
		slices.ContainsFunc(req.Protocols, func(p kmsg.JoinGroupRequestProtocol) bool { return !storable(p.Name) }):
		return refuseJoin(req.MemberID, kerr.InvalidRequest), nil
	case session < c.opts.MinSessionTimeout || session > c.opts.MaxSessionTimeout:
		return refuseJoin(req.MemberID, kerr.InvalidSessionTimeout), nil
	case len(c.log.Members(req.Group)) > 0: // the engine shares out the partitions
		return refuseJoin(req.MemberID, kerr.InconsistentGroupProtocol), nil
	}
	j := &joining{
		now: c.now(), protocol: req.ProtocolType,
		needsID: r.version >= 4 && instance(req.InstanceID) == "", canSkip: r.version >= 9,
		member: &member{
			id: req.MemberID, instance: instance(req.InstanceID), clientID: r.clientID, host: r.conn.host(),
			sessionTimeout: session, rebalanceTimeout: session,
			protocols: protocolsOf(req),
		},
	}
	if r.version >= 1 {
		j.member.rebalanceTimeout = time.Duration(max(req.RebalanceTimeoutMillis, 0)) * time.Millisecond
	}
	j.generateID = func() string {
		if j.member.static() {
			return j.member.instance + "-" + randomID()
		}
		return j.member.clientID + "-" + randomID()
	}
	var g *group
	if req.MemberID == "" {
		g = c.ensure(req.Group)
	} else if g = c.lookup(req.Group); g == nil {
		return refuseJoin(req.MemberID, kerr.UnknownMemberID), nil
	}
	defer g.mu.Unlock()
	resp, wait := g.join(j)
	c.dropIfUnused(g)
	return resp, wait
}

// validGroup tells whether a group may have that name: it is stored with two
// bytes of length.
func validGroup(name string) bool { return name != "" && storable(name) }

// storable tells whether texts can be stored: with two bytes of length, too.
func storable(texts ...string) bool {
	return !slices.ContainsFunc(texts, func(s string) bool { return len(s) > math.MaxInt16 })
}

// instance is the static id of a request; empty: none.
func instance(id *string) string {
	if id == nil {
		return ""
	}
	return *id
}

// protocolsOf copies the protocols of a request; the first of a name counts.
func protocolsOf(req *kmsg.JoinGroupRequest) []protocol {
	list := make([]protocol, 0, len(req.Protocols))
	seen := make(map[string]bool, len(req.Protocols))
	for i := range req.Protocols {
		p := &req.Protocols[i]
		if !seen[p.Name] {
			seen[p.Name] = true
			list = append(list, protocol{p.Name, slices.Clone(nonNil(p.Metadata))})
		}
	}
	return list
}

// randomID is what makes a member id one that nobody has had before.
func randomID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	h := hex.EncodeToString(b[:])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}

// host is the client's address, as Kafka shows it.
func (c *conn) host() string {
	host, _, err := net.SplitHostPort(c.nc.RemoteAddr().String())
	if err != nil {
		return "/"
	}
	return "/" + host
}

func (g *group) join(j *joining) (*kmsg.JoinGroupResponse, <-chan *kmsg.JoinGroupResponse) {
	if g.consumers != nil && len(g.consumers.members) > 0 {
		return refuseJoin(j.member.id, kerr.InconsistentGroupProtocol), nil
	}
	id := j.member.id
	_, isPending := g.pending[id]
	known, static := g.members[id], g.members[g.statics[j.member.instance]]
	before := known
	if before == nil {
		before = static
	}
	if !g.accepts(j.protocol, j.member.protocols) {
		return refuseJoin(id, kerr.InconsistentGroupProtocol), nil
	}
	if code := g.mayJoin(j.member, before); code != nil {
		return refuseJoin(id, code), nil
	}
	switch {
	case known == nil && !isPending && static == nil && len(g.members)+len(g.pending) >= g.c.opts.MaxGroupSize:
		return refuseJoin(id, kerr.GroupMaxSizeReached), nil
	case id == "" && static != nil:
		return g.replace(j)
	case id == "" && j.needsID:
		return g.promise(j), nil
	case id == "":
		j.member.id = j.generateID()
		return nil, g.admit(j)
	case isPending && !j.member.static():
		g.dropPending(id)
		return nil, g.admit(j)
	}
	m, code := g.find(id, j.member.instance)
	if code != nil {
		return refuseJoin(id, code), nil
	}
	return g.joinAgain(j, m)
}

// promise gives out the id that a new member has to come back with, so that one
// who never gets the answer is no member.
func (g *group) promise(j *joining) *kmsg.JoinGroupResponse {
	id := j.generateID()
	until := j.now.Add(j.member.sessionTimeout)
	g.setPending(id, until)
	g.wakeBy(j.now, until)
	return refuseJoin(id, kerr.MemberIDRequired)
}

// admit takes in a new member, and begins a generation with it.
func (g *group) admit(j *joining) <-chan *kmsg.JoinGroupResponse {
	m := j.member
	m.isNew, m.deadline = true, j.now.Add(newMemberTimeout)
	if len(g.members) == 0 {
		g.protocolType = j.protocol
	}
	g.add(m)
	g.joinedMore = !g.delayUntil.IsZero()
	g.wakeBy(j.now, m.deadline)
	wait := g.await(m)
	g.proceed(j, "a member has come")
	return wait
}

// proceed begins a generation, or completes its join phase.
func (g *group) proceed(j *joining, reason string) {
	if g.state == groupPreparing {
		g.joinIfAll(j.now)
	} else {
		g.rebalance(j.now, reason)
	}
}

// joinAgain is the Join of a member that is known.
func (g *group) joinAgain(j *joining, m *member) (*kmsg.JoinGroupResponse, <-chan *kmsg.JoinGroupResponse) {
	same := m.matches(j.member.protocols)
	if same && (g.state == groupCompleting || g.state == groupStable && m.id != g.leader) {
		// The answer to its last Join was lost, or it did not need a new one.
		g.hear(m, j.now)
		return g.joined(m), nil
	}
	g.update(m, j)
	wait := g.await(m)
	g.proceed(j, "a member has joined again")
	return nil, wait
}

// update takes over what a Join says of a member.
func (g *group) update(m *member, j *joining) {
	g.hold(-m.size())
	g.setProtocols(m, j.member.protocols)
	m.sessionTimeout, m.rebalanceTimeout = j.member.sessionTimeout, j.member.rebalanceTimeout
	m.clientID, m.host = j.member.clientID, j.member.host
	g.hold(m.size())
	g.hear(m, j.now)
}

// replace lets a static member that was restarted take its place again, under a
// new id. What the old one still waits for is refused: it is fenced from now on.
//
// A stable group stays as it is, unless the member wants something else than
// before.
func (g *group) replace(j *joining) (*kmsg.JoinGroupResponse, <-chan *kmsg.JoinGroupResponse) {
	old := g.members[g.statics[j.member.instance]]
	leader := g.leader
	wasLeader := leader == old.id
	j.member.id, j.member.assignment, j.member.owesSync = j.generateID(), old.assignment, old.owesSync
	metadata := old.metadata(g.protocol)
	g.remove(old, kerr.FencedInstanceID)
	g.add(j.member)
	m := j.member
	if wasLeader {
		g.leader = m.id
	}
	g.hear(m, j.now)
	if g.state != groupStable || g.elect() != g.protocol || !sameInterest(g.protocolType, metadata, m.metadata(g.protocol)) {
		wait := g.await(m)
		g.proceed(j, "a static member has come back")
		return nil, wait
	}
	if err := g.store(g.given()); err != nil {
		g.c.logger.Error("a static member was not stored", "group", g.name, "instance", m.instance, "err", err)
		g.remove(m, kerr.UnknownMemberID)
		g.add(old)
		if wasLeader {
			g.leader = old.id
		}
		return refuseJoin("", storeCode(err)), nil
	}
	resp := g.joined(m)
	if m.id == g.leader {
		resp.SkipAssignment = true
		if !j.canSkip {
			// It would assign, and nobody listens: it must not know.
			resp.LeaderID, resp.Members, resp.SkipAssignment = leader, nil, false
		}
	}
	return resp, nil
}

// given is what the members have been given.
func (g *group) given() map[string][]byte {
	given := make(map[string][]byte, len(g.members))
	for id, m := range g.members {
		given[id] = m.assignment
	}
	return given
}

// sameInterest tells whether a consumer wants the same topics as before. What
// else its metadata says (which partitions it has) does not matter. Of other
// protocol types nothing is known: they keep what they have, as in Kafka.
func sameInterest(protocolType string, before, now []byte) bool {
	a, okA := subscription(protocolType, before)
	b, okB := subscription(protocolType, now)
	return okA == okB && slices.Equal(a, b)
}

// subscription is the topics that a consumer's metadata names, sorted.
func subscription(protocolType string, metadata []byte) (topics []string, ok bool) {
	if protocolType != consumerProtocol {
		return nil, false
	}
	topics, ok = subscribedTopics(metadata)
	slices.Sort(topics)
	return slices.Compact(topics), ok
}

// maxSubscribed bounds the topics of one member that are looked at.
const maxSubscribed = 1 << 20

// subscribedTopics reads a consumer's metadata as far as the topics:
//
//	2  version, from 0 on
//	4  number of topics, each
//	   2+ name
//
// What else newer versions say is not looked at. kmsg would make room for as many
// elements as a count claims, which takes forty times the size of the metadata.
func subscribedTopics(b []byte) (topics []string, ok bool) {
	if len(b) < 6 || b[0]&0x80 != 0 {
		return nil, false
	}
	n := int32(binary.BigEndian.Uint32(b[2:]))
	if n > maxSubscribed {
		return nil, false
	}
	for b = b[6:]; n > 0; n-- {
		if len(b) < 2 {
			return nil, false
		}
		size := int(int16(binary.BigEndian.Uint16(b)))
		if size < 0 || size > len(b)-2 {
			return nil, false
		}
		topics = append(topics, string(b[2:2+size]))
		b = b[2+size:]
	}
	return topics, true
}

// consumerProtocol is the protocol type of consumers: their metadata and
// assignments are in a form that all know.
const consumerProtocol = "consumer"
