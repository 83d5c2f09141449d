package kafka

import (
	"context"
	"time"

	"github.com/gretestream/grete/log"
)

// expireEvery is how often offsets are looked through for those that are too old.
const expireEvery = 10 * time.Minute

// expireOffsets runs with the server.
func (s *Server) expireOffsets() {
	t := time.NewTicker(expireEvery)
	defer t.Stop()
	for {
		select {
		case <-s.stopping:
			return
		case <-t.C:
			s.groups.expire()
		}
	}
}

// expire forgets the offsets of groups that have had no members, and nothing
// committed, for Options.OffsetsRetention; and a group that has no offsets left.
//
// Groups that only the log knows are the engine's: their jobs go on from there
// whenever they are run again.
func (c *coordinator) expire() {
	if c.opts.OffsetsRetention < 0 {
		return
	}
	for _, g := range c.all() {
		if err := c.expireGroup(g.name); err != nil {
			c.logger.Warn("offsets of a group without members were not removed", "group", g.name, "err", err)
		}
	}
}

func (c *coordinator) expireGroup(name string) error {
	lock := c.offsetsOf(name)
	lock.Lock()
	defer lock.Unlock()
	g := c.lookup(name)
	if g == nil {
		return nil
	}
	defer g.mu.Unlock()
	before := c.now().Add(-c.opts.OffsetsRetention)
	if g.state != groupEmpty || len(g.pending) > 0 || g.since.After(before) || len(c.log.Members(name)) > 0 {
		return nil
	}
	offsets, err := c.log.Committed(context.Background(), name)
	if err != nil {
		return err
	}
	var old []log.TopicPartition
	for tp, o := range offsets {
		if !o.CommitTime.Time().After(before) && !c.log.PendingOffsets(name, tp) {
			old = append(old, tp)
		}
	}
	if len(old) == len(offsets) && !c.log.PendingOffsets(name) {
		err = c.forget(name, g, old)
	} else {
		err = c.forgetOffsets(name, old)
	}
	if err == nil {
		c.m.add("kafka.group.offsets-expired", int64(len(old)))
	}
	return err
}
