package kafka

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gretestream/grete/log"
)

// groupView is a group as others see it, at one moment.
type groupView struct {
	name         string
	kind         string // Kafka's group type
	state        string
	protocolType string
	protocol     string
	members      []memberView // sorted by id
}

type memberView struct {
	id, instance, clientID, host string
	metadata, assignment         []byte
}

// Kafka's group types.
const (
	classicGroup  = "classic"
	consumerGroup = "consumer"
)

// view looks at one group, wherever it is known; nil if nowhere.
func (c *coordinator) view(ctx context.Context, name string) (*groupView, error) {
	if parts := c.log.Members(name); len(parts) > 0 {
		return engineView(name, parts), nil
	}
	if g := c.lookup(name); g != nil {
		defer g.mu.Unlock()
		return g.view(), nil
	}
	offsets, err := c.log.Committed(ctx, name)
	if err != nil || len(offsets) == 0 {
		return nil, err
	}
	return &groupView{name: name, kind: classicGroup, state: groupEmpty.String()}, nil
}

// views looks at all groups, by name.
func (c *coordinator) views(ctx context.Context) ([]*groupView, error) {
	names := map[string]bool{}
	for _, g := range c.all() {
		names[g.name] = true
	}
	for _, name := range c.log.Groups() {
		names[name] = true
	}
	list := make([]*groupView, 0, len(names))
	for _, name := range slices.Sorted(maps.Keys(names)) {
		v, err := c.view(ctx, name)
		if err != nil {
			return nil, err
		}
		if v != nil {
			list = append(list, v)
		}
	}
	return list, nil
}

// view is the group as it is; its lock is held. What the members say and are
// given is shown of a stable group only, as in Kafka: before that it is of two
// generations.
func (g *group) view() *groupView {
	if g.ofConsumers() {
		return g.consumersView()
	}
	v := &groupView{name: g.name, kind: classicGroup, state: g.state.String(), protocolType: g.protocolType}
	if g.state == groupStable {
		v.protocol = g.protocol
	}
	for _, id := range g.sorted() {
		m := g.members[id]
		mv := memberView{id: m.id, instance: m.instance, clientID: m.clientID, host: m.host}
		if g.state == groupStable {
			mv.metadata, mv.assignment = m.metadata(g.protocol), m.assignment
		}
		v.members = append(v.members, mv)
	}
	return v
}

// engineView shows a group of the engine as if its members were consumers, so
// that Kafka's tools can tell who has what.
func engineView(name string, parts [][]log.TopicPartition) *groupView {
	v := &groupView{name: name, kind: classicGroup, state: groupStable.String(), protocolType: consumerProtocol, protocol: "engine"}
	for i, tps := range parts {
		m := memberView{id: fmt.Sprintf("engine-%d", i), clientID: "grete", host: "/127.0.0.1"}
		topics := m.assign(tps)
		m.subscribe(topics)
		v.members = append(v.members, m)
	}
	return v
}

// assign shows partitions, which are sorted, as a consumer's assignment, and
// returns their topics.
func (m *memberView) assign(tps []log.TopicPartition) (topics []string) {
	a := kmsg.NewConsumerMemberAssignment()
	for _, tp := range tps {
		n := len(a.Topics)
		if n == 0 || a.Topics[n-1].Topic != tp.Topic {
			t := kmsg.NewConsumerMemberAssignmentTopic()
			t.Topic = tp.Topic
			a.Topics, topics = append(a.Topics, t), append(topics, tp.Topic)
			n++
		}
		last := &a.Topics[n-1]
		last.Partitions = append(last.Partitions, tp.Partition)
	}
	m.assignment = a.AppendTo(nil)
	return topics
}

// subscribe shows topics as what a consumer wants.
func (m *memberView) subscribe(topics []string) {
	s := kmsg.NewConsumerMemberMetadata()
	s.Topics = topics
	m.metadata = s.AppendTo(nil)
}

// consumersView shows a group of the consumer protocol; its lock is held.
func (g *group) consumersView() *groupView {
	cs := g.consumers
	v := &groupView{name: g.name, kind: consumerGroup, state: g.state.String(), protocolType: consumerProtocol, protocol: cs.assignor()}
	for _, id := range cs.sorted() {
		m := cs.members[id]
		mv := memberView{id: m.id, instance: m.instance, clientID: m.clientID, host: m.host}
		var tps []log.TopicPartition
		for _, p := range m.assigned.sorted() {
			if name, ok := g.c.log.TopicName(p.topic); ok {
				tps = append(tps, log.TopicPartition{Topic: name, Partition: p.partition})
			}
		}
		mv.assign(tps)
		mv.subscribe(m.wants())
		v.members = append(v.members, mv)
	}
	return v
}
