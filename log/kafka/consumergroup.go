package kafka

import (
	"maps"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
)

// beat is a heartbeat of the consumer protocol, as the group takes it.
type beat struct {
	now          time.Time
	id, instance string
	epoch        int32
	clientID     string
	host         string
	rack         string        // empty: unchanged
	names        []string      // of topics, sorted; nil: unchanged
	pattern      *pattern      // nil: unchanged
	matched      []string      // topics that the member's pattern, or the new one, stands for
	sight        sight         // in which they were found
	assignor     *string       // nil: unchanged
	timeout      time.Duration // to give up partitions; negative: unchanged
	owned        partitionSet  // nil: unchanged
}

// beaten is the answer to a heartbeat.
type beaten struct {
	id       string
	epoch    int32
	assigned partitionSet // nil: as before
}

// ofConsumers tells whether the group is one of the consumer protocol.
func (g *group) ofConsumers() bool { return g.consumers != nil && !g.hasClassic() }

// hasClassic tells whether the group is in the hands of members of the classic
// protocol, or will be.
func (g *group) hasClassic() bool { return len(g.members) > 0 || len(g.pending) > 0 }

// beat takes in a heartbeat: the member joins, goes, says what it wants, or hears
// what it has to do. A group changes its protocol when it is empty.
func (g *group) beat(b *beat) (*beaten, *kerr.Error) {
	if g.hasClassic() {
		return nil, kerr.GroupIDNotFound
	}
	was := g.consumers
	if was == nil {
		was = newConsumers()
	}
	outdated := g.outdated(was)
	if m := was.unmoved(b); m != nil && !outdated {
		g.hearConsumer(m.id, b.now)
		g.looked(m.id, b.sight)
		return b.answer(m, m), nil
	}
	next := was.clone()
	m, code := next.identify(b)
	if code != nil {
		return nil, code
	}
	if m == nil {
		if len(next.members) >= g.c.opts.MaxGroupSize {
			return nil, kerr.GroupMaxSizeReached
		}
		m = &consumer{id: b.id, instance: b.instance}
	}
	switch b.epoch {
	case epochAway:
		return g.letAway(was, next, m, b.now)
	case epochLeave:
		return g.letGo(was, next, m, b.now)
	}
	next.put(m.update(b))
	if outdated || next.wantsElse(was, m.id) {
		next.advance(g.c.topicSize)
	}
	m = next.reconcile(next.members[m.id], b.owned, b.now)
	next.put(m)
	if code := g.change(was, next, b.now); code != nil {
		if was.members[b.id] != nil { // it lives, though nothing came of it
			g.hearConsumer(b.id, b.now)
		}
		return nil, code
	}
	g.hearConsumer(m.id, b.now)
	g.looked(m.id, b.sight)
	return b.answer(was.members[m.id], m), nil
}

// answer is what a member is told that was another one before the heartbeat, or nil.
// What it is assigned it hears if that is new, or if it has said all itself.
func (b *beat) answer(before, m *consumer) *beaten {
	answer := &beaten{id: m.id, epoch: m.epoch}
	if b.epoch == epochJoin || b.owned != nil || b.names != nil || b.pattern != nil || before == nil || !maps.Equal(before.assigned, m.assigned) {
		answer.assigned = m.assigned
	}
	return answer
}

// unmoved returns the member that a heartbeat is of if nothing comes of it, as of
// nearly all; else nil. It costs the same in a group of many as in one of few.
func (c *consumers) unmoved(b *beat) *consumer {
	m := c.members[b.id]
	if m == nil || b.epoch != m.epoch || b.instance != "" && b.instance != m.instance ||
		m.update(b) != m || c.reconcile(m, b.owned, b.now) != m {
		return nil
	}
	return m
}

// outdated tells whether topics have come, gone or grown since the epoch began.
// As long as no topic has, that is one comparison.
func (g *group) outdated(c *consumers) bool {
	version := g.c.log.TopicsVersion()
	if version == g.topicsAt {
		return false
	}
	if c.outdated(g.c.topicSize) {
		return true
	}
	g.topicsAt = version
	return false
}

// letAway keeps the place of a static member until its session ends.
func (g *group) letAway(was, next *consumers, m *consumer, now time.Time) (*beaten, *kerr.Error) {
	if m.instance == "" {
		return nil, kerr.InvalidRequest
	}
	away := *m
	away.epoch = epochAway
	if m.state == consumerRevoking { // it works on nothing any more
		away.state, away.revoked, away.revokeBy = consumerWaiting, nil, time.Time{}
	}
	next.put(&away)
	if code := g.change(was, next, now); code != nil {
		return nil, code
	}
	g.hearConsumer(m.id, now)
	return &beaten{id: m.id, epoch: epochAway}, nil
}

// letGo takes a member out that leaves.
func (g *group) letGo(was, next *consumers, m *consumer, now time.Time) (*beaten, *kerr.Error) {
	next.remove(m)
	next.advance(g.c.topicSize)
	if code := g.change(was, next, now); code != nil {
		return nil, code
	}
	g.c.m.count("kafka.group.members-removed.left")
	return &beaten{id: m.id, epoch: epochLeave}, nil
}

// removeConsumer takes out a member, by its id or, if that is empty, its instance.
func (g *group) removeConsumer(id, instance string) *kerr.Error {
	if id == "" {
		id = g.consumers.statics[instance]
	}
	_, code := g.beat(&beat{now: g.c.now(), id: id, instance: instance, epoch: epochLeave})
	return code
}

// identify finds the member that a heartbeat is of; nil if it is to be made. One
// that joins although it is there has lost all it had: it begins anew, and its
// share is kept for it. So does a static member that comes back under another id,
// in the place of the one that went.
func (c *consumers) identify(b *beat) (*consumer, *kerr.Error) {
	m := c.members[b.id]
	if b.instance != "" {
		id, ok := c.statics[b.instance]
		switch {
		case !ok && b.epoch != epochJoin:
			return nil, kerr.UnknownMemberID
		case id != b.id && m != nil:
			return nil, kerr.InvalidRequest // it is another member's id
		case !ok:
			return nil, nil
		case id != b.id && b.epoch != epochJoin:
			return nil, kerr.FencedInstanceID
		case id != b.id && c.members[id].epoch != epochAway:
			return nil, kerr.UnreleasedInstanceID
		}
		m = c.members[id]
	}
	switch {
	case m == nil && b.epoch == epochJoin:
		return nil, nil
	case m == nil:
		return nil, kerr.UnknownMemberID
	case b.epoch == epochJoin:
		return c.rejoin(m, b.id), nil
	case b.epoch < 0 || b.epoch == m.epoch:
		return m, nil
	case m.epoch != epochAway && b.epoch == m.before && b.owned != nil && !b.owned.leaves(m.assigned):
		return m, nil // the answer with the new epoch was lost
	}
	return nil, kerr.FencedMemberEpoch
}

// rejoin begins a member anew, perhaps under another id.
func (c *consumers) rejoin(m *consumer, id string) *consumer {
	again := *m
	again.id, again.epoch, again.before, again.state, again.revoked, again.revokeBy = id, epochJoin, epochJoin, consumerSettled, nil, time.Time{}
	if id != m.id {
		target := c.target[m.id]
		c.remove(m)
		c.target[id] = target
	}
	c.put(&again)
	return &again
}

// update is the member with what its heartbeat says: m itself if that is nothing new.
func (m *consumer) update(b *beat) *consumer {
	next := *m
	next.clientID, next.host = b.clientID, b.host
	if b.rack != "" {
		next.rack = b.rack
	}
	if b.names != nil {
		next.names = b.names
	}
	if b.pattern != nil {
		next.pattern = *b.pattern
	}
	next.matched = b.matched
	if b.assignor != nil {
		next.assignor = *b.assignor
	}
	if b.timeout >= 0 {
		next.rebalanceTimeout = b.timeout
	}
	if next.clientID == m.clientID && next.host == m.host && next.rack == m.rack && next.pattern.text == m.pattern.text && next.assignor == m.assignor &&
		next.rebalanceTimeout == m.rebalanceTimeout && slices.Equal(next.names, m.names) && slices.Equal(next.matched, m.matched) {
		return m
	}
	return &next
}

// wantsElse tells whether a member is new or wants something else than before.
func (c *consumers) wantsElse(was *consumers, id string) bool {
	before, m := was.members[id], c.members[id]
	for oldID, old := range was.members { // a static one under another id
		if before == nil && m.instance != "" && old.instance == m.instance && c.members[oldID] == nil {
			before = old
		}
	}
	return before == nil || before.assignor != m.assignor || !slices.Equal(before.wants(), m.wants())
}

// change stores what is different, and puts it in place. It is refused for want of
// room if members say more than before; not for what they are given, or nobody
// could be given what another one leaves.
func (g *group) change(was, next *consumers, now time.Time) *kerr.Error {
	grows := next.bytes() - was.bytes()
	if said := next.said() - was.said(); said > 0 {
		if code := g.mayHold(next.most(), said); code != nil {
			return code
		}
	}
	if err := g.storeConsumers(was, next); err != nil {
		g.c.logger.Error("a group was not stored", "group", g.name, "err", err)
		return storeCode(err)
	}
	if next.epoch != was.epoch {
		g.c.m.count("kafka.group.rebalances")
	}
	g.hold(grows)
	g.consumers = next
	g.generation = next.epoch // so it rises on, should the classic protocol come next
	for id := range g.heard {
		if next.members[id] == nil {
			delete(g.heard, id)
			delete(g.lookedAt, id)
		}
	}
	g.showConsumers()
	for _, m := range next.members {
		if !m.revokeBy.IsZero() {
			g.wakeBy(now, m.revokeBy)
		}
	}
	return nil
}

// showConsumers sets the state that follows from the members.
func (g *group) showConsumers() {
	state := groupReconciling
	switch {
	case len(g.consumers.members) == 0:
		state = groupEmpty
	case g.consumers.settled():
		state = groupStable
	}
	g.protocolType = consumerProtocol
	if state != g.state {
		g.become(state)
	}
}

// hearConsumer notes that a member is alive.
func (g *group) hearConsumer(id string, now time.Time) {
	if g.heard == nil {
		g.heard = map[string]time.Time{}
	}
	g.heard[id] = now.Add(g.c.consumerSession(g.name))
	g.wakeBy(now, g.heard[id])
}

// looked notes with what a member's pattern was matched, which it now has.
func (g *group) looked(id string, at sight) {
	if at.pattern == "" {
		delete(g.lookedAt, id)
		return
	}
	if g.lookedAt == nil {
		g.lookedAt = map[string]sight{}
	}
	g.lookedAt[id] = at
}

// storeAgain is when it is tried again to take out members who are gone, if that
// could not be stored.
const storeAgain = time.Second

// runConsumers takes out members who have been silent for too long, or have not
// given up what they were to.
func (g *group) runConsumers(now time.Time) {
	if g.consumers == nil {
		return
	}
	was, next := g.consumers, g.consumers.clone()
	reasons := map[string]string{}
	for _, id := range was.sorted() {
		m := was.members[id]
		switch {
		case !g.heard[id].After(now):
			reasons[id] = "session-timeout"
		case !m.revokeBy.IsZero() && !m.revokeBy.After(now):
			reasons[id] = "rebalance-timeout"
		default:
			continue
		}
		next.remove(m)
	}
	if len(reasons) == 0 {
		return
	}
	next.advance(g.c.topicSize)
	if g.change(was, next, now) != nil {
		for id := range reasons {
			g.heard[id] = now.Add(storeAgain)
			if m := *was.members[id]; !m.revokeBy.IsZero() {
				m.revokeBy = now.Add(storeAgain)
				g.consumers = g.consumers.clone()
				g.consumers.put(&m)
			}
		}
		return
	}
	for id, reason := range reasons {
		g.c.m.count("kafka.group.members-removed." + reason)
		g.c.logger.Debug("member is gone", "group", g.name, "member", id, "reason", reason)
	}
}

// nextConsumer is when something will be due with a member; zero: never.
func (g *group) nextConsumer() (next time.Time) {
	if g.consumers == nil {
		return
	}
	for id, m := range g.consumers.members {
		for _, t := range [2]time.Time{g.heard[id], m.revokeBy} {
			if !t.IsZero() && (next.IsZero() || t.Before(next)) {
				next = t
			}
		}
	}
	return next
}

// mayCommit tells why a member of the consumer protocol cannot commit or
// look up offsets, or nil.
func (c *consumers) mayCommit(id string, epoch int32) *kerr.Error {
	m := c.members[id]
	switch {
	case len(c.members) == 0 && epoch < 0:
		return nil
	case m == nil:
		return kerr.UnknownMemberID
	case epoch != m.epoch:
		return kerr.StaleMemberEpoch
	}
	return nil
}

// bytes is about how much memory the members take up.
func (c *consumers) bytes() (n int64) {
	for _, m := range c.members {
		n += m.bytes(c.target[m.id])
	}
	return n
}

// said is how much of that they have said.
func (c *consumers) said() (n int64) {
	for _, m := range c.members {
		n += m.said()
	}
	return n
}

// most is the most that one has said.
func (c *consumers) most() (n int64) {
	for _, m := range c.members {
		n = max(n, m.said())
	}
	return n
}

func (m *consumer) bytes(target partitionSet) int64 {
	const perPartition = 48 // of a map with keys of 20 bytes
	return m.said() + int64(perPartition*(len(m.assigned)+len(m.revoked)+len(target)))
}

func (m *consumer) said() int64 {
	const perName = 80 // with its place among the group's topics
	n := memberBytes + len(m.id) + len(m.instance) + len(m.rack) + len(m.clientID) + len(m.host) + len(m.pattern.text) + bytesPerStep*m.pattern.steps
	for _, names := range [2][]string{m.names, m.matched} {
		for _, name := range names {
			n += perName + len(name)
		}
	}
	return int64(n)
}
