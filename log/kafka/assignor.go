package kafka

import (
	"cmp"
	"maps"
	"slices"

	"github.com/gretestream/grete/log"
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

// subscribers are all members in order, and which of them, by their place there,
// want each topic that there is.
func (c *consumers) subscribers() (members []*consumer, of map[string][]int) {
	members, of = slices.SortedFunc(maps.Values(c.members), byInstance), map[string][]int{}
	for i, m := range members {
		for _, name := range m.wants() {
			if _, ok := c.topics[name]; ok {
				of[name] = append(of[name], i)
			}
		}
	}
	return members, of
}

// sharesOf gives each member its own.
func sharesOf(members []*consumer, shares []partitionSet) map[string]partitionSet {
	of := make(map[string]partitionSet, len(members))
	for i, m := range members {
		of[m.id] = shares[i]
	}
	return of
}

// assignUniform gives every member about as many partitions, one more or less
// where all want the same topics, and leaves partitions where they are as far as
// that allows.
//
// It runs under the lock of the group, and goes through all members of a topic
// for each partition that is free or must move. So members go by their places,
// without a lookup for each: ten thousand partitions and a thousand members take
// some ten milliseconds (BenchmarkAssignUniform).
func assignUniform(c *consumers) map[string]partitionSet {
	members, wanted := c.subscribers()
	u := &uniform{who: map[log.TopicID][]int{}, shares: make([]partitionSet, len(members))}
	had := map[idPartition]int{}
	for i, m := range members {
		u.shares[i] = partitionSet{}
		for p := range c.target[m.id] {
			had[p] = i
		}
	}
	var all, free []idPartition
	for name, who := range wanted {
		t := c.topics[name]
		u.who[t.id] = who
		for n := range t.partitions {
			all = append(all, idPartition{t.id, n})
		}
	}
	slices.SortFunc(all, compareIDPartitions)
	for _, p := range all {
		owner, ok := had[p]
		if ok {
			_, ok = slices.BinarySearch(u.who[p.topic], owner)
		}
		if ok {
			u.shares[owner][p] = struct{}{}
		} else {
			free = append(free, p)
		}
	}
	for _, p := range free {
		u.shares[u.least(p)][p] = struct{}{}
	}
	// First down to what all would have if they wanted the same: so nobody gives
	// more than that, only to be given some by others.
	if len(members) > 0 {
		u.balance((len(all) + len(members) - 1) / len(members))
		u.balance(0)
	}
	return sharesOf(members, u.shares)
}

// uniform is an assignUniform under way. Members go by their places.
type uniform struct {
	who    map[log.TopicID][]int // may have partitions of a topic, in order
	shares []partitionSet
}

func bySize(a, b partitionSet) int { return len(a) - len(b) }

// least is the member with the smallest share of those who may have a partition,
// the first of them.
func (u *uniform) least(p idPartition) int {
	who := u.who[p.topic]
	best := who[0]
	for _, i := range who[1:] {
		if len(u.shares[i]) < len(u.shares[best]) {
			best = i
		}
	}
	return best
}

// balance takes from who has most, and more than least, and gives to who has two
// less or fewer, as long as there is such a one. Each step lowers the sum of the
// squares of the shares, so there is an end.
func (u *uniform) balance(least int) {
	order := make([]int, len(u.shares))
	for i := range order {
		order[i] = i
	}
	for moved := true; moved; {
		moved = false
		// Nobody falls below who has fewest now: who gives has more than who is given.
		few := len(slices.MinFunc(u.shares, bySize))
		slices.SortFunc(order, func(i, j int) int { return cmp.Or(bySize(u.shares[j], u.shares[i]), i-j) })
		mayGive := func(i int) bool { return len(u.shares[i]) > max(least, few+1) }
		for _, i := range order {
			if !mayGive(i) {
				continue
			}
			for _, p := range u.shares[i].sorted() {
				if !mayGive(i) {
					break
				}
				if to := u.least(p); len(u.shares[to]) < len(u.shares[i])-1 {
					delete(u.shares[i], p)
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
	members, wanted := c.subscribers()
	shares := make([]partitionSet, len(members))
	for i := range shares {
		shares[i] = partitionSet{}
	}
	for name, who := range wanted {
		t := c.topics[name]
		n := int32(len(who))
		each, more := t.partitions/n, t.partitions%n
		next := int32(0)
		for i, m := range who {
			end := next + each
			if int32(i) < more {
				end++
			}
			for ; next < end; next++ {
				shares[m][idPartition{t.id, next}] = struct{}{}
			}
		}
	}
	return sharesOf(members, shares)
}
