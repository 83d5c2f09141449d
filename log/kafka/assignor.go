package kafka

import (
	"cmp"
	"maps"
	"slices"
)

// assignors share out partitions among the members of the consumer protocol:
// each of a topic that somebody wants goes to one who does. They are named as
// Kafka's are; a client can ask for one of them.
var assignors = map[string]func(*consumers) map[string]partitionSet{
	"uniform": assignUniform,
	"range":   assignRange,
}

// assignorNames begins with the one that is taken if nobody asks for any.
var assignorNames = []string{"uniform", "range"}

// subscribers are the members who want each topic that there is, in order.
func (c *consumers) subscribers() map[string][]*consumer {
	of := map[string][]*consumer{}
	for _, m := range slices.SortedFunc(maps.Values(c.members), byInstance) {
		for _, name := range m.wants() {
			if _, ok := c.topics[name]; ok {
				of[name] = append(of[name], m)
			}
		}
	}
	return of
}

// assignUniform gives every member about as many partitions, one more or less
// where all want the same topics, and leaves partitions where they are as far as
// that allows.
func assignUniform(c *consumers) map[string]partitionSet {
	if len(c.members) == 0 {
		return map[string]partitionSet{}
	}
	u := &uniform{shares: map[string]partitionSet{}, who: map[idPartition][]*consumer{}}
	for id := range c.members {
		u.shares[id] = partitionSet{}
	}
	for name, members := range c.subscribers() {
		t := c.topics[name]
		for n := range t.partitions {
			u.who[idPartition{t.id, n}] = members
		}
	}
	had := map[idPartition]string{}
	for id, set := range c.target {
		for p := range set {
			had[p] = id
		}
	}
	var free []idPartition
	for _, p := range slices.SortedFunc(maps.Keys(u.who), compareIDPartitions) {
		id := had[p]
		if slices.ContainsFunc(u.who[p], func(m *consumer) bool { return m.id == id }) {
			u.shares[id][p] = struct{}{}
		} else {
			free = append(free, p)
		}
	}
	for _, p := range free {
		u.shares[u.least(p)][p] = struct{}{}
	}
	// First down to what all would have if they wanted the same: so nobody gives
	// more than that, only to be given some by others.
	u.balance((len(u.who) + len(u.shares) - 1) / len(u.shares))
	u.balance(0)
	return u.shares
}

// uniform is an assignUniform under way.
type uniform struct {
	who    map[idPartition][]*consumer // may have a partition
	shares map[string]partitionSet
}

// least is the member with the smallest share of those who may have a partition,
// the first of them.
func (u *uniform) least(p idPartition) string {
	best := ""
	for _, m := range u.who[p] {
		if best == "" || len(u.shares[m.id]) < len(u.shares[best]) {
			best = m.id
		}
	}
	return best
}

// balance takes from who has most, and more than least, and gives to who has two
// less or fewer, as long as there is such a one. Each step lowers the sum of the
// squares of the shares, so there is an end.
func (u *uniform) balance(least int) {
	for moved := true; moved; {
		moved = false
		ids := slices.SortedFunc(maps.Keys(u.shares), func(a, b string) int {
			return cmp.Or(len(u.shares[b])-len(u.shares[a]), cmp.Compare(a, b))
		})
		for _, id := range ids {
			for _, p := range u.shares[id].sorted() {
				to := u.least(p)
				if len(u.shares[id]) > least && len(u.shares[to]) < len(u.shares[id])-1 {
					delete(u.shares[id], p)
					u.shares[to][p] = struct{}{}
					moved = true
				}
			}
		}
	}
}

// assignRange gives the partitions of each topic to the members in rows: so
// partitions of the same number of topics of the same size go to the same member.
func assignRange(c *consumers) map[string]partitionSet {
	shares := map[string]partitionSet{}
	for id := range c.members {
		shares[id] = partitionSet{}
	}
	for name, members := range c.subscribers() {
		t := c.topics[name]
		n := int32(len(members))
		each, more := t.partitions/n, t.partitions%n
		next := int32(0)
		for i, m := range members {
			end := next + each
			if int32(i) < more {
				end++
			}
			for ; next < end; next++ {
				shares[m.id][idPartition{t.id, next}] = struct{}{}
			}
		}
	}
	return shares
}
