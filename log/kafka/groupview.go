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
const classicGroup = "classic"

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
		assignment, metadata := kmsg.NewConsumerMemberAssignment(), kmsg.NewConsumerMemberMetadata()
		for _, tp := range tps {
			n := len(assignment.Topics)
			if n == 0 || assignment.Topics[n-1].Topic != tp.Topic {
				t := kmsg.NewConsumerMemberAssignmentTopic()
				t.Topic = tp.Topic
				assignment.Topics = append(assignment.Topics, t)
				metadata.Topics = append(metadata.Topics, tp.Topic)
				n++
			}
			last := &assignment.Topics[n-1]
			last.Partitions = append(last.Partitions, tp.Partition)
		}
		v.members = append(v.members, memberView{
			id: fmt.Sprintf("engine-%d", i), clientID: "grete", host: "/127.0.0.1",
			metadata: metadata.AppendTo(nil), assignment: assignment.AppendTo(nil),
		})
	}
	return v
}
