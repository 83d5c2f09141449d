package kafka

import "github.com/rcrowley/go-metrics"

// registerGauges registers what is counted when it is read:
//
//	kafka.groups   groups that the coordinator knows
//
// Beside these it counts:
//
//	kafka.group.rebalances              generations that were begun
//	kafka.group.commits                 requests that have committed offsets
//	kafka.group.members-removed.REASON  members who are gone: left, session-timeout, rebalance-timeout, sync-timeout, never-joined
//	kafka.group.offsets-expired         offsets that were removed for their age
//	kafka.group.not-loaded              stored groups that were not understood
func (c *coordinator) registerGauges(r metrics.Registry) {
	r.Unregister("kafka.groups") // of a server before this one
	_ = r.Register("kafka.groups", metrics.NewFunctionalGauge(func() int64 {
		c.mu.Lock()
		defer c.mu.Unlock()
		return int64(len(c.groups))
	}))
}
