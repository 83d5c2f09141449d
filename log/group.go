package log

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
)

// members are the members of all groups of an embedded log, all in this process.
type members struct {
	mu     sync.Mutex // guards the fields below and those of member
	groups map[string][]*member
	closed bool
}

// member implements Member.
type member struct {
	l      *Embedded
	group  string
	topics []string
	// share is what the member shall have, tps what it has: its share without
	// what another still works on.
	share, tps []TopicPartition
	// owes is what has left tps and was not released yet.
	owes    map[TopicPartition]bool
	changed chan struct{}
}

// Join implements Log. Members share out the partitions evenly; one that stays
// keeps as many of its own as that allows.
func (l *Embedded) Join(ctx context.Context, spec GroupSpec) (Member, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if spec.Group == "" {
		return nil, fmt.Errorf("join: no group")
	}
	topics := *l.topics.Load()
	for _, name := range spec.Topics {
		if _, ok := topics[name]; !ok {
			return nil, fmt.Errorf("join group %q: %w %q", spec.Group, ErrUnknownTopic, name)
		}
	}
	m := &member{l: l, group: spec.Group, topics: slices.Clone(spec.Topics), owes: map[TopicPartition]bool{}, changed: make(chan struct{})}
	g := &l.members
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return nil, fmt.Errorf("join group %q: %w", spec.Group, ErrClosed)
	}
	if g.groups == nil {
		g.groups = map[string][]*member{}
	}
	g.groups[spec.Group] = append(g.groups[spec.Group], m)
	g.shareLocked(l, spec.Group)
	return m, nil
}

// Assignment implements Member.
func (m *member) Assignment() ([]TopicPartition, <-chan struct{}) {
	m.l.members.mu.Lock()
	defer m.l.members.mu.Unlock()
	return slices.Clone(m.tps), m.changed
}

// Release implements Member.
func (m *member) Release(tps ...TopicPartition) {
	g := &m.l.members
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, tp := range tps {
		delete(m.owes, tp)
	}
	g.handOverLocked(m.group)
}

// Close implements Member.
func (m *member) Close() error {
	g := &m.l.members
	g.mu.Lock()
	defer g.mu.Unlock()
	list := g.groups[m.group]
	i := slices.Index(list, m)
	if i < 0 {
		return nil
	}
	g.groups[m.group] = slices.Delete(list, i, i+1)
	if len(g.groups[m.group]) == 0 {
		delete(g.groups, m.group)
	}
	m.give(nil)
	g.shareLocked(m.l, m.group)
	return nil
}

// Members tells what the members of a group have that have joined in this
// process, in the order of their coming; none if there are none.
func (l *Embedded) Members(group string) [][]TopicPartition {
	g := &l.members
	g.mu.Lock()
	defer g.mu.Unlock()
	var list [][]TopicPartition
	for _, m := range g.groups[group] {
		list = append(list, slices.Clone(m.tps))
	}
	return list
}

// close takes everything from everybody.
func (g *members) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = true
	for _, list := range g.groups {
		for _, m := range list {
			m.give(nil)
		}
	}
	g.groups = nil
}

// topicsChanged shares out anew after a topic has come or gone.
func (g *members) topicsChanged(l *Embedded) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for group := range g.groups {
		g.shareLocked(l, group)
	}
}

func (g *members) shareLocked(l *Embedded, group string) {
	list := g.groups[group]
	var all []TopicPartition
	topics := *l.topics.Load()
	seen := map[string]bool{}
	wants := make([][]string, len(list))
	owned := make([][]TopicPartition, len(list))
	for i, m := range list {
		wants[i], owned[i] = m.topics, m.share
		for _, name := range m.topics {
			if t := topics[name]; t != nil && !seen[name] {
				seen[name] = true
				for _, p := range t.parts {
					all = append(all, p.tp)
				}
			}
		}
	}
	for i, tps := range share(all, wants, owned) {
		list[i].share = tps
	}
	g.handOverLocked(group)
}

// handOverLocked gives every member of a group its share as far as nobody else
// works on it: first all are told what they lose.
func (g *members) handOverLocked(group string) {
	list := g.groups[group]
	for _, m := range list {
		for _, tp := range m.tps {
			if !slices.Contains(m.share, tp) {
				m.owes[tp] = true
			}
		}
	}
	for _, m := range list {
		var tps []TopicPartition
		for _, tp := range m.share {
			if m.owes[tp] {
				delete(m.owes, tp) // back before it was released
			}
			if !slices.ContainsFunc(list, func(o *member) bool { return o.owes[tp] }) {
				tps = append(tps, tp)
			}
		}
		m.give(tps)
	}
}

// give replaces the partitions of a member, and tells it if they differ.
func (m *member) give(tps []TopicPartition) {
	if slices.Equal(m.tps, tps) {
		return
	}
	m.tps = tps
	close(m.changed)
	m.changed = make(chan struct{})
}

// share gives every partition to one of the members that want its topic: first
// to its owner, while that one has no more than its share, then to whoever has
// least. It is pure; the result is sorted.
func share(all []TopicPartition, wants [][]string, owned [][]TopicPartition) [][]TopicPartition {
	slices.SortFunc(all, compareTP)
	given := make([][]TopicPartition, len(wants))
	if len(wants) == 0 {
		return given
	}
	most := (len(all) + len(wants) - 1) / len(wants)
	var left []TopicPartition
	for _, tp := range all {
		i := slices.IndexFunc(owned, func(tps []TopicPartition) bool { return slices.Contains(tps, tp) })
		if i >= 0 && len(given[i]) < most && slices.Contains(wants[i], tp.Topic) {
			given[i] = append(given[i], tp)
		} else {
			left = append(left, tp)
		}
	}
	for _, tp := range left {
		least := -1
		for i := range wants {
			if slices.Contains(wants[i], tp.Topic) && (least < 0 || len(given[i]) < len(given[least])) {
				least = i
			}
		}
		given[least] = append(given[least], tp)
	}
	for _, tps := range given {
		slices.SortFunc(tps, compareTP)
	}
	return given
}

func compareTP(a, b TopicPartition) int {
	if c := strings.Compare(a.Topic, b.Topic); c != 0 {
		return c
	}
	return cmp.Compare(a.Partition, b.Partition)
}
