package kafka

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/gretestream/grete/log"
)

// consumers are the members of a group of the consumer protocol (KIP-848): the
// coordinator shares out the partitions, and each member is moved to its share by
// itself, by the answers to its heartbeats.
//
// Three epochs say how far that is. The group's counts who the members are, what
// they want, and which partitions there are. The target's is the group's for which
// the shares were worked out. A member's is the target's that it has reached.
//
// A value is not changed once a group has it: who changes something does so with
// a copy, stores what is different, and puts it in place. So does consumer.
type consumers struct {
	epoch       int32
	targetEpoch int32
	members     map[string]*consumer
	statics     map[string]string       // ids by instance
	target      map[string]partitionSet // by member
	topics      map[string]topicSize    // that members want, as of the epoch; nil: not known since it was loaded
	early       map[string]*consumer    // how far members are of whom nothing else was read yet, while the group is loaded
}

// topicSize is what of a topic matters to who shares it out; zero: there is none.
type topicSize struct {
	id         log.TopicID
	partitions int32
}

// consumer is a member of the consumer protocol.
type consumer struct {
	id, instance, rack string // instance, rack: empty if there is none
	clientID, host     string
	rebalanceTimeout   time.Duration
	assignor           string   // that it would like; empty: any
	names              []string // of topics, sorted
	pattern            pattern  // of topics' names; empty: none
	matched            []string // topics that pattern stands for, sorted

	epoch, before int32 // before: the epoch that it had before this one
	state         consumerState
	assigned      partitionSet // what it may work on
	revoked       partitionSet // what it was told to give up, and may still work on

	revokeBy time.Time // by when it has given that up; zero: nothing is due
}

// consumerState is why a member is not further. The numbers are Kafka's.
type consumerState int8

const (
	consumerSettled  consumerState = iota // it has its share, of its epoch
	consumerRevoking                      // it is to give partitions up first
	consumerWaiting                       // others are to give up some of its share
)

// Epochs that stand for something else in a heartbeat.
const (
	epochJoin  = 0
	epochLeave = -1
	epochAway  = -2 // a static member, who will be back
)

func newConsumers() *consumers {
	return &consumers{members: map[string]*consumer{}, statics: map[string]string{}, target: map[string]partitionSet{}, topics: map[string]topicSize{}}
}

// clone is a copy of which members and targets can be put in and taken out.
func (c *consumers) clone() *consumers {
	next := *c
	next.members, next.statics, next.target = maps.Clone(c.members), maps.Clone(c.statics), maps.Clone(c.target)
	return &next
}

func (c *consumers) put(m *consumer) {
	c.members[m.id] = m
	if m.instance != "" {
		c.statics[m.instance] = m.id
	}
}

func (c *consumers) remove(m *consumer) {
	delete(c.members, m.id)
	delete(c.target, m.id)
	if c.statics[m.instance] == m.id {
		delete(c.statics, m.instance)
	}
}

func (c *consumers) sorted() []string { return slices.Sorted(maps.Keys(c.members)) }

// settled tells whether all members have their shares.
func (c *consumers) settled() bool {
	for _, m := range c.members {
		if m.state != consumerSettled || m.epoch != c.targetEpoch {
			return false
		}
	}
	return true
}

// wants are the topics that a member has subscribed to, sorted.
func (m *consumer) wants() []string {
	if m.pattern.text == "" {
		return m.names
	}
	all := slices.Concat(m.names, m.matched)
	slices.Sort(all)
	return slices.Compact(all)
}

// advance begins an epoch: it looks up the topics that members want, and works out
// who shall have what.
func (c *consumers) advance(lookup func(topic string) topicSize) {
	c.epoch++
	c.topics = map[string]topicSize{}
	for _, m := range c.members {
		for _, names := range [2][]string{m.names, m.matched} {
			for _, name := range names {
				if _, seen := c.topics[name]; !seen {
					c.topics[name] = lookup(name)
				}
			}
		}
	}
	c.aim()
}

// outdated tells whether topics have come, gone or grown since the epoch began.
func (c *consumers) outdated(lookup func(topic string) topicSize) bool {
	for name, t := range c.topics {
		if lookup(name) != t {
			return true
		}
	}
	return c.topics == nil
}

// aim works out the shares of the epoch that the group is in.
func (c *consumers) aim() {
	c.target = assignors[c.assignor()](c)
	c.targetEpoch = c.epoch
}

// assignor is the one that most members would like, or the first there is.
func (c *consumers) assignor() string {
	votes := map[string]int{}
	for _, m := range c.members {
		if m.assignor != "" {
			votes[m.assignor]++
		}
	}
	best := assignorNames[0]
	for _, name := range assignorNames {
		if votes[name] > votes[best] {
			best = name
		}
	}
	return best
}

// held are the partitions that members other than one may work on.
func (c *consumers) held(other *consumer) partitionSet {
	held := partitionSet{}
	for id, m := range c.members {
		if id == other.id {
			continue
		}
		for _, set := range [2]partitionSet{m.assigned, m.revoked} {
			for p := range set {
				held[p] = struct{}{}
			}
		}
	}
	return held
}

// reconcile moves a member, who has just been heard of and works on owned (nil if
// it has not said so), as far towards its share as the others let it. It returns
// the member as it is then: m itself if nothing is different.
//
// What it shall not have any more it gives up first; only then it comes to the new
// epoch, with those of its share that nobody else has. The order is Kafka's.
func (c *consumers) reconcile(m *consumer, owned partitionSet, now time.Time) *consumer {
	switch {
	case m.state == consumerRevoking && (owned == nil || owned.meets(m.revoked)):
		return m
	case m.state == consumerSettled && m.epoch == c.targetEpoch:
		return m
	}
	share := c.target[m.id]
	keeps, loses := m.assigned.split(share)
	next := *m
	if len(loses) > 0 && (owned == nil || owned.meets(loses)) {
		next.assigned, next.revoked = keeps, loses
		next.state, next.revokeBy = consumerRevoking, now.Add(m.rebalanceTimeout)
		return &next
	}
	held := c.held(m)
	next.assigned, next.revoked, next.revokeBy = keeps, nil, time.Time{}
	next.state = consumerSettled
	for p := range share {
		if held.has(p) {
			next.state = consumerWaiting
		} else {
			next.assigned[p] = struct{}{}
		}
	}
	if next.epoch != c.targetEpoch {
		next.before, next.epoch = next.epoch, c.targetEpoch
	}
	if next.state == m.state && next.epoch == m.epoch && len(m.revoked) == 0 && maps.Equal(next.assigned, m.assigned) {
		return m
	}
	return &next
}

// byInstance orders members as assignors do: static ones by their instance, so
// that one who comes back under another id has what it had.
func byInstance(a, b *consumer) int {
	return cmp.Or(cmp.Compare(cmp.Or(a.instance, a.id), cmp.Or(b.instance, b.id)), cmp.Compare(a.id, b.id))
}
