package kafka

import (
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gretestream/grete/log"
)

// groupState is where a group stands.
type groupState uint8

const (
	groupEmpty       groupState = iota // no members; perhaps offsets
	groupPreparing                     // members are to join again
	groupCompleting                    // members wait for what the leader assigns
	groupStable                        // every member has its assignment
	groupDead                          // removed from the coordinator
	groupReconciling                   // members of the consumer protocol are on their way to their shares
)

// String is Kafka's name.
func (s groupState) String() string {
	return [...]string{"Empty", "PreparingRebalance", "CompletingRebalance", "Stable", "Dead", "Reconciling"}[s]
}

// group is one group: of the consumer protocol if consumers is set, which has a page
// of its own, and else of the classic protocol: members who join, are told by
// the leader among them what each shall do, and join again when anybody comes
// or goes.
//
//	       first join                 all joined                  leader's sync
//	Empty ───────────▶ Preparing ──────────────────▶ Completing ──────────────▶ Stable
//	  ▲                 │  ▲  ▲     or time is up        │                        │
//	  └─────────────────┘  │  └──────────────────────────┘                        │
//	     nobody is left    └──────────────────────────────────────────────────────┘
//	                                  a member comes, goes, or joins again
//
// A generation is one round of that. What the members say and are given is
// opaque to the group. It is stored (groupstore.go) before the members hear of it,
// so after a restart they go on in the same generation.
//
// All of it happens under mu, on the goroutine of whoever asked or of the timer;
// a group waits for nothing but its store.
type group struct {
	c    *coordinator
	name string

	mu           sync.Mutex // guards the following
	state        groupState
	since        time.Time // of state
	stored       bool      // there is a record of it
	protocolType string    // such as "consumer"; empty if members never joined
	protocol     string    // that the members of this generation use
	generation   int32
	leader       string // id of the member who assigns
	members      map[string]*member
	statics      map[string]string    // ids by instance
	supported    map[string]int       // how many members know a protocol
	pending      map[string]time.Time // ids that were given out for the next Join, and until when
	waiting      int                  // members whose Join waits
	held         int64                // bytes of members and pending, about

	joinUntil time.Time // in groupPreparing: when those who have not joined are left out
	// delayUntil is set while the first members of a group wait for more;
	// joinedMore if some came since it was set.
	delayUntil time.Time
	joinedMore bool
	syncUntil  time.Time // by when who owes a Sync has sent it; zero: nobody owes one

	consumers *consumers           // of the consumer protocol; nil: the group is of the classic one
	heard     map[string]time.Time // by when each of these has to be heard of
	lookedAt  map[string]sight     // what their patterns were last held against
	topicsAt  uint64               // the version of the topics with which the epoch was found to be up to date; 0: none

	timer *time.Timer // nil: not armed
	wake  time.Time   // when the timer fires
}

func newGroup(c *coordinator, name string) *group {
	return &group{
		c: c, name: name, since: c.now(),
		members: map[string]*member{}, statics: map[string]string{}, supported: map[string]int{}, pending: map[string]time.Time{},
	}
}

func (g *group) become(s groupState) {
	g.c.logger.Debug("group", "group", g.name, "from", g.state, "to", s, "generation", g.generation, "members", len(g.members))
	g.state, g.since = s, g.c.now()
}

// add makes a member, who is not there yet.
func (g *group) add(m *member) {
	if len(g.members) == 0 {
		g.leader = m.id
	}
	g.members[m.id] = m
	if m.static() {
		g.statics[m.instance] = m.id
	}
	g.countProtocols(m, 1)
	g.hold(m.size())
}

// remove takes a member out. A Join or Sync of it that waits is answered with
// code.
func (g *group) remove(m *member, code *kerr.Error) {
	g.answerJoin(m, refuseJoin(m.id, code))
	g.answerSync(m, refuseSync(code))
	delete(g.members, m.id)
	if g.statics[m.instance] == m.id {
		delete(g.statics, m.instance)
	}
	g.countProtocols(m, -1)
	g.hold(-m.size())
	if g.leader == m.id {
		g.leader = ""
		for _, id := range g.sorted() { // the first, so that it does not hang on a map
			g.leader = id
			break
		}
	}
}

func (g *group) countProtocols(m *member, n int) {
	for _, p := range m.protocols {
		if g.supported[p.name] += n; g.supported[p.name] == 0 {
			delete(g.supported, p.name)
		}
	}
}

// setProtocols replaces what a member knows.
func (g *group) setProtocols(m *member, protocols []protocol) {
	g.countProtocols(m, -1)
	m.protocols = protocols
	g.countProtocols(m, 1)
}

// sorted are the ids of all members.
func (g *group) sorted() []string { return slices.Sorted(maps.Keys(g.members)) }

// accepts tells whether a member who knows these protocols can be in the group.
func (g *group) accepts(protocolType string, protocols []protocol) bool {
	if protocolType == "" || len(protocols) == 0 {
		return false
	}
	if len(g.members) == 0 {
		return true
	}
	return g.protocolType == protocolType && slices.ContainsFunc(protocols, func(p protocol) bool { return g.supported[p.name] == len(g.members) })
}

// elect chooses the protocol of the next generation: every member votes for the
// one it likes best of those that all know. The leader's order breaks a tie.
func (g *group) elect() string {
	votes := map[string]int{}
	for _, m := range g.members {
		for _, p := range m.protocols {
			if g.supported[p.name] == len(g.members) {
				votes[p.name]++
				break
			}
		}
	}
	best := ""
	for _, p := range g.members[g.leader].protocols {
		if votes[p.name] > votes[best] {
			best = p.name
		}
	}
	return best
}

// rebalance begins a new generation, if none is being prepared.
func (g *group) rebalance(now time.Time, reason string) {
	if g.state == groupPreparing || g.state == groupDead {
		return
	}
	g.c.m.count("kafka.group.rebalances")
	g.c.logger.Debug("group rebalances", "group", g.name, "reason", reason)
	g.refuseSyncs(now, kerr.RebalanceInProgress) // of groupCompleting
	g.syncUntil = time.Time{}
	if delay := g.c.opts.RebalanceDelay; g.state == groupEmpty && delay > 0 {
		g.delayUntil = now.Add(min(delay, g.rebalanceTimeout()))
	}
	g.joinUntil = now.Add(g.rebalanceTimeout())
	g.become(groupPreparing)
	g.wakeBy(now, g.joinUntil)
	if !g.delayUntil.IsZero() {
		g.wakeBy(now, g.delayUntil)
	}
	g.joinIfAll(now)
}

// rebalanceTimeout is the longest of the members'.
func (g *group) rebalanceTimeout() time.Duration {
	var longest time.Duration
	for _, m := range g.members {
		longest = max(longest, m.rebalanceTimeout)
	}
	return longest
}

// joinIfAll completes the join phase if everybody is there.
func (g *group) joinIfAll(now time.Time) {
	if g.state == groupPreparing && g.delayUntil.IsZero() && g.waiting == len(g.members) && len(g.pending) == 0 {
		g.completeJoin(now)
	}
}

// endDelay is called when the first members have waited long enough for more.
func (g *group) endDelay(now time.Time) {
	next := now.Add(g.c.opts.RebalanceDelay)
	if next.After(g.joinUntil) {
		next = g.joinUntil
	}
	if g.joinedMore {
		g.joinedMore, g.delayUntil = false, next
		g.wakeBy(now, next)
		return
	}
	g.delayUntil = time.Time{}
	g.completeJoin(now)
}

// completeJoin ends the join phase. Dynamic members who have not joined are no
// members any more.
func (g *group) completeJoin(now time.Time) {
	for _, id := range g.sorted() {
		if m := g.members[id]; m.joining == nil && !m.static() {
			g.c.m.count("kafka.group.members-removed.rebalance-timeout")
			g.remove(m, kerr.UnknownMemberID)
		}
	}
	if len(g.members) > 0 && !g.findLeader() {
		// Static members only, and all away: those who stay away go when their
		// sessions end.
		g.joinUntil = now.Add(g.rebalanceTimeout())
		g.wakeBy(now, g.joinUntil)
		return
	}
	g.generation = nextGeneration(g.generation)
	g.joinUntil, g.delayUntil, g.joinedMore = time.Time{}, time.Time{}, false
	if len(g.members) == 0 {
		g.protocol, g.leader = "", ""
		g.become(groupEmpty)
		if err := g.store(nil); err != nil {
			g.c.logger.Warn("an empty group was not stored", "group", g.name, "err", err)
		}
		return
	}
	g.protocol = g.elect()
	g.become(groupCompleting)
	g.syncUntil = now.Add(g.rebalanceTimeout())
	g.wakeBy(now, g.syncUntil)
	for _, id := range g.sorted() {
		m := g.members[id]
		m.owesSync = true
		g.answerJoin(m, g.joined(m))
		m.isNew = false
		g.hear(m, now)
	}
}

// nextGeneration counts on; after the last comes 1.
func nextGeneration(n int32) int32 {
	if n == 1<<31-1 {
		return 1
	}
	return n + 1
}

// findLeader makes sure that the leader is a member who has joined.
func (g *group) findLeader() bool {
	if m := g.members[g.leader]; m != nil && m.joining != nil {
		return true
	}
	for _, id := range g.sorted() {
		if g.members[id].joining != nil {
			g.leader = id
			return true
		}
	}
	return false
}

// joined is what a member is told of this generation.
func (g *group) joined(m *member) *kmsg.JoinGroupResponse {
	resp := kmsg.NewPtrJoinGroupResponse()
	resp.Generation, resp.LeaderID, resp.MemberID = g.generation, g.leader, m.id
	resp.ProtocolType, resp.Protocol = kmsg.StringPtr(g.protocolType), kmsg.StringPtr(g.protocol)
	if m.id == g.leader {
		resp.Members = g.roster()
	}
	return resp
}

// roster is what the leader is told about the members.
func (g *group) roster() []kmsg.JoinGroupResponseMember {
	list := make([]kmsg.JoinGroupResponseMember, 0, len(g.members))
	for _, id := range g.sorted() {
		m := g.members[id]
		r := kmsg.NewJoinGroupResponseMember()
		r.MemberID, r.InstanceID, r.ProtocolMetadata = m.id, m.instanceID(), m.metadata(g.protocol)
		list = append(list, r)
	}
	return list
}

// assigned is what a member is told to do.
func (g *group) assigned(m *member) *kmsg.SyncGroupResponse {
	resp := kmsg.NewPtrSyncGroupResponse()
	resp.ProtocolType, resp.Protocol = kmsg.StringPtr(g.protocolType), kmsg.StringPtr(g.protocol)
	resp.MemberAssignment = m.assignment
	return resp
}

// await has a member wait for the end of the join phase. A Join of it that waits
// already is from a connection that is not its last.
func (g *group) await(m *member) <-chan *kmsg.JoinGroupResponse {
	g.answerJoin(m, refuseJoin(m.id, kerr.RebalanceInProgress))
	wait := make(chan *kmsg.JoinGroupResponse, 1)
	m.joining = wait
	g.waiting++
	return wait
}

func (g *group) answerJoin(m *member, resp *kmsg.JoinGroupResponse) {
	if m.joining != nil {
		m.joining <- resp // has room for one
		m.joining = nil
		g.waiting--
	}
}

func (g *group) answerSync(m *member, resp *kmsg.SyncGroupResponse) {
	if m.syncing != nil {
		m.syncing <- resp // has room for one
		m.syncing = nil
	}
}

// assign takes in what the leader gives to the members, and tells them once it
// is stored.
func (g *group) assign(now time.Time, given map[string][]byte) {
	code := g.mayGive(given)
	if code == nil {
		if err := g.store(given); err != nil {
			g.c.logger.Error("what the leader has assigned was not stored", "group", g.name, "err", err)
			code = storeCode(err)
		}
	}
	if code != nil {
		g.refuseSyncs(now, code)
		g.rebalance(now, "the assignment was not stored")
		return
	}
	g.become(groupStable)
	for _, m := range g.members {
		g.give(m, given[m.id])
		if m.syncing != nil {
			g.answerSync(m, g.assigned(m))
			g.hear(m, now)
		}
	}
}

// refuseSyncs answers every Sync that waits. While it waited its member was taken
// to be alive.
func (g *group) refuseSyncs(now time.Time, code *kerr.Error) {
	for _, m := range g.members {
		if m.syncing != nil {
			g.answerSync(m, refuseSync(code))
			g.hear(m, now)
		}
		m.owesSync = false
	}
}

// storeCode is what members are told when the group could not be stored: what
// makes them try again.
func storeCode(err error) *kerr.Error {
	switch {
	case errors.Is(err, log.ErrTooLarge):
		return kerr.UnknownServerError
	case errors.Is(err, log.ErrNoSpace), errors.Is(err, log.ErrReadOnly):
		return kerr.CoordinatorNotAvailable
	}
	return kerr.NotCoordinator
}

func nonNil(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

// synced notes that a member has sent its Sync.
func (g *group) synced(m *member) {
	m.owesSync = false
	for _, m := range g.members {
		if m.owesSync {
			return
		}
	}
	g.syncUntil = time.Time{}
}

// leave takes members out and has the others share anew.
func (g *group) leave(now time.Time, reason string, gone ...*member) {
	for _, m := range gone {
		g.c.m.count("kafka.group.members-removed." + reason)
		g.c.logger.Debug("member is gone", "group", g.name, "member", m.id, "reason", reason)
		g.remove(m, kerr.UnknownMemberID)
	}
	if len(gone) == 0 {
		return
	}
	switch g.state {
	case groupStable, groupCompleting:
		g.rebalance(now, reason)
	case groupPreparing:
		g.joinIfAll(now)
	}
}

// hear notes that a member is alive.
func (g *group) hear(m *member, now time.Time) {
	m.touch(now)
	g.wakeBy(now, m.deadline)
}

// find returns a member that is who it says it is. A static member whose id
// another has taken over is fenced.
func (g *group) find(id, instance string) (*member, *kerr.Error) {
	if instance != "" {
		switch current, ok := g.statics[instance]; {
		case !ok:
			return nil, kerr.UnknownMemberID
		case current != id:
			return nil, kerr.FencedInstanceID
		}
	}
	m := g.members[id]
	if m == nil {
		return nil, kerr.UnknownMemberID
	}
	return m, nil
}

// run does what is due.
func (g *group) run(now time.Time) {
	for id, until := range g.pending {
		if !until.After(now) {
			g.c.m.count("kafka.group.members-removed.never-joined")
			g.dropPending(id)
		}
	}
	g.joinIfAll(now)
	var silent []*member
	for _, id := range g.sorted() {
		if m := g.members[id]; m.due(now) {
			silent = append(silent, m)
		}
	}
	g.leave(now, "session-timeout", silent...)

	g.runConsumers(now)

	due := func(t time.Time) bool { return !t.IsZero() && !t.After(now) }
	switch {
	case g.state == groupPreparing && due(g.joinUntil):
		g.delayUntil = time.Time{}
		g.completeJoin(now)
	case g.state == groupPreparing && due(g.delayUntil):
		g.endDelay(now)
	}
	if due(g.syncUntil) {
		var missing []*member
		for _, id := range g.sorted() {
			if m := g.members[id]; m.owesSync {
				missing = append(missing, m)
			}
		}
		g.syncUntil = time.Time{}
		g.leave(now, "sync-timeout", missing...)
	}
}

// next is when something will be due; zero: never.
func (g *group) next() (next time.Time) {
	sooner := func(t time.Time) {
		if !t.IsZero() && (next.IsZero() || t.Before(next)) {
			next = t
		}
	}
	for _, until := range g.pending {
		sooner(until)
	}
	for _, m := range g.members {
		if m.isNew || m.joining == nil && m.syncing == nil {
			sooner(m.deadline)
		}
	}
	if g.state == groupPreparing {
		sooner(g.joinUntil)
		sooner(g.delayUntil)
	}
	sooner(g.syncUntil)
	sooner(g.nextConsumer())
	return next
}

// wakeBy makes sure that the timer fires at t or before. One that fires too
// early finds nothing due: so a heartbeat does not have to move it.
func (g *group) wakeBy(now, t time.Time) {
	if g.timer != nil && !g.wake.After(t) {
		return
	}
	g.stopTimer()
	g.wake = t
	g.timer = g.c.after(t.Sub(now), g.tick)
}

func (g *group) stopTimer() {
	if g.timer != nil {
		g.c.stopTimer(g.timer)
		g.timer = nil
	}
}

// tick is the timer's.
func (g *group) tick() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.state == groupDead || g.c.isClosed() {
		return
	}
	now := g.c.now()
	g.run(now)
	g.stopTimer()
	if t := g.next(); !t.IsZero() {
		g.wakeBy(now, t)
	}
	g.c.dropIfUnused(g)
}
