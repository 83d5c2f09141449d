package kafka

import (
	"context"

	"github.com/rcrowley/go-metrics"

	"github.com/gretestream/grete/log"
)

// registerGauges registers what is worked out when it is read:
//
//	kafka.groups             groups that the coordinator knows
//	kafka.group.members      their members
//	kafka.group.bytes        what members say and are given, about; see Options.MaxGroupsBytes
//	kafka.consumer-lag       records that groups have not read, of all groups and partitions
//	kafka.consumer-lag-max   of the partition where it is most
//
// What it is by group and partition is shown at /metrics as
// kafka_consumergroup_lag: the names of groups are anybody's, and do not fit into
// names of this registry. Beside these it counts:
//
//	kafka.group.rebalances              generations that were begun, and epochs of the consumer protocol
//	kafka.group.commits                 requests that have committed offsets
//	kafka.group.members-removed.REASON  members who are gone: left, session-timeout, rebalance-timeout, sync-timeout, never-joined
//	kafka.group.refused.REASON          Joins and assignments for which there was no room: member-bytes, group-bytes, all-bytes
//	kafka.group.offsets-expired         offsets that were removed for their age
//	kafka.group.not-loaded              stored groups that were not understood
func (c *coordinator) registerGauges(r metrics.Registry) {
	for name, value := range map[string]func() int64{
		"kafka.groups":           func() int64 { return int64(len(c.all())) },
		"kafka.group.members":    c.countMembers,
		"kafka.group.bytes":      c.held.Load,
		"kafka.consumer-lag":     func() int64 { sum, _ := c.lag(); return sum },
		"kafka.consumer-lag-max": func() int64 { _, most := c.lag(); return most },
	} {
		r.Unregister(name) // of a server before this one
		_ = r.Register(name, metrics.NewFunctionalGauge(value))
	}
}

func (c *coordinator) countMembers() (n int64) {
	for _, g := range c.all() {
		g.mu.Lock()
		n += int64(len(g.members))
		if g.consumers != nil {
			n += int64(len(g.consumers.members))
		}
		g.mu.Unlock()
	}
	return n
}

// lag is how many records all groups have not read: of all partitions, and where
// it is most. What was deleted unread does not count.
func (c *coordinator) lag() (sum, most int64) {
	ctx := context.Background()
	for _, name := range c.log.Groups() {
		offsets, err := c.log.Committed(ctx, name)
		if err != nil {
			return sum, most
		}
		for tp, o := range offsets {
			b, err := c.log.Bounds(ctx, tp)
			if err != nil {
				continue // the topic has gone
			}
			n := int64(max(b.End-max(o.Offset, b.Start), log.Offset(0)))
			sum, most = sum+n, max(most, n)
		}
	}
	return sum, most
}
