package kafka

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kbin"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gretestream/grete/log"
)

// Groups are stored as Kafka stores them: one record each in the internal topic
// __consumer_offsets, beside the committed offsets (log/offsets.go). The last
// one counts; a null value removes the group.
//
//	key    2  version 2           value  2  version 3
//	       2+ group                      2+ protocol type
//	                                     4  generation
//	                                     2+ protocol, or -1
//	                                     2+ leader, or -1
//	                                     8  when the state began, ms
//	                                     4  members, of each:
//	                                          2+ member id
//	                                          2+ instance id, or -1
//	                                          2+ client id
//	                                          2+ client host
//	                                          4  rebalance timeout, ms
//	                                          4  session timeout, ms
//	                                          4+ subscription, under the protocol
//	                                          4+ assignment
//
// Strings have two bytes of length before them, bytes four; big-endian. A group
// without members is empty, one with members is stable.
const (
	offsetsTopic      = "__consumer_offsets"
	groupKeyVersion   = 2
	groupValueVersion = 3
	maxGroupValue     = 3 // the highest version that is read
)

var errNotGroup = errors.New("not a group")

// store writes the group, with what is given to its members, and returns when it
// is durable. The group's lock is held: nobody sees a state that is not stored.
func (g *group) store(given map[string][]byte) error {
	v := kmsg.NewGroupMetadataValue()
	v.Version, v.ProtocolType, v.Generation = groupValueVersion, g.protocolType, g.generation
	v.CurrentStateTimestamp = int64(log.TimestampOf(g.c.now()))
	if len(g.members) > 0 {
		v.Protocol, v.Leader = kmsg.StringPtr(g.protocol), kmsg.StringPtr(g.leader)
	}
	for _, id := range g.sorted() {
		m := g.members[id]
		s := kmsg.NewGroupMetadataValueMember()
		s.MemberID, s.InstanceID, s.ClientID, s.ClientHost = m.id, m.instanceID(), m.clientID, m.host
		s.RebalanceTimeoutMillis, s.SessionTimeoutMillis = int32(m.rebalanceTimeout.Milliseconds()), int32(m.sessionTimeout.Milliseconds())
		s.Subscription, s.Assignment = nonNil(m.metadata(g.protocol)), nonNil(given[id])
		v.Members = append(v.Members, s)
	}
	recs := []kafkaRecord{{groupKey(groupKeyVersion, g.name), v.AppendTo(nil)}}
	if g.consumers != nil { // it was one of the consumer protocol
		recs = append(recs, g.unstoreConsumers()...)
	}
	if err := g.c.write(recs...); err != nil {
		return fmt.Errorf("store group %q: %w", g.name, err)
	}
	g.stored, g.consumers = true, nil
	return nil
}

// unstore removes what is stored of the group, but for its offsets.
func (g *group) unstore() error {
	recs := []kafkaRecord{{groupKey(groupKeyVersion, g.name), nil}}
	if g.consumers != nil {
		recs = g.unstoreConsumers()
	}
	if err := g.c.write(recs...); err != nil {
		return fmt.Errorf("remove group %q: %w", g.name, err)
	}
	g.stored = false
	return nil
}

// write adds records to the internal topic, all or none.
func (c *coordinator) write(recs ...kafkaRecord) error {
	var b log.Builder
	now := log.TimestampOf(c.now())
	for _, r := range recs {
		b.Append(now, r.key, r.value)
	}
	_, err := c.log.Commit(context.Background(), &log.Commit{Writes: []log.Write{{
		TopicPartition: log.TopicPartition{Topic: offsetsTopic}, Batches: b.Bytes(),
	}}})
	return err
}

// groupKey is the key of something that is stored of a group.
func groupKey(version uint16, name string) []byte {
	return kbin.AppendString(binary.BigEndian.AppendUint16(nil, version), name)
}

// decodeGroupKey reads the key of a stored group. Keys of other versions belong
// to other things.
func decodeGroupKey(key []byte) (name string, ok bool) {
	if len(key) < 4 || binary.BigEndian.Uint16(key) != groupKeyVersion {
		return "", false
	}
	name = string(key[4:])
	return name, len(name) == int(binary.BigEndian.Uint16(key[2:]))
}

// decodeGroup reads a stored group. It keeps nothing of value.
func (c *coordinator) decodeGroup(name string, value []byte) (*group, error) {
	if len(value) < 2 || binary.BigEndian.Uint16(value) > maxGroupValue {
		return nil, fmt.Errorf("%w: version of value is not 0 to %d", errNotGroup, maxGroupValue)
	}
	v := kmsg.NewGroupMetadataValue()
	if err := v.ReadFrom(append([]byte(nil), value...)); err != nil {
		return nil, fmt.Errorf("%w: %d bytes: %w", errNotGroup, len(value), err)
	}
	g := newGroup(c, name)
	g.protocolType, g.generation = v.ProtocolType, v.Generation
	if v.CurrentStateTimestamp >= 0 {
		g.since = time.UnixMilli(v.CurrentStateTimestamp)
	}
	if v.Protocol != nil {
		g.protocol = *v.Protocol
	}
	for i := range v.Members {
		s := &v.Members[i]
		m := &member{
			id: s.MemberID, clientID: s.ClientID, host: s.ClientHost,
			sessionTimeout:   time.Duration(s.SessionTimeoutMillis) * time.Millisecond,
			rebalanceTimeout: time.Duration(s.RebalanceTimeoutMillis) * time.Millisecond,
			protocols:        []protocol{{g.protocol, s.Subscription}},
			assignment:       nonNil(s.Assignment),
		}
		if s.InstanceID != nil {
			m.instance = *s.InstanceID
		}
		if g.members[m.id] != nil || m.static() && g.statics[m.instance] != "" {
			return nil, fmt.Errorf("%w: member %q twice", errNotGroup, m.id)
		}
		g.add(m)
	}
	if len(g.members) > 0 {
		g.state = groupStable
		if v.Leader == nil || g.members[*v.Leader] == nil {
			return nil, fmt.Errorf("%w: its leader is not a member", errNotGroup)
		}
		g.leader = *v.Leader
	}
	return g, nil
}

// maxGroupBytes bounds a stored group, as far as the log takes that much in one
// step: the members of a large Kafka Streams application say and are given more
// than the 1 MiB that a topic takes by default.
const maxGroupBytes = 64 << 20

// makeRoom lets the internal topic take large groups.
func (c *coordinator) makeRoom(ctx context.Context) error {
	const name = "max.message.bytes"
	topic, err := c.log.Topic(ctx, offsetsTopic)
	if err != nil || topic.Configs[name] != "" {
		return err
	}
	size := strconv.Itoa(maxGroupBytes)
	_, err = c.log.AlterTopic(ctx, offsetsTopic, map[string]*string{name: &size})
	return err
}

// load reads what is stored, also behind the begin of a transaction that has
// committed offsets and is open: groups are never part of one. Members are given the time of a session to be heard
// of again.
func (c *coordinator) load() error {
	if err := c.makeRoom(context.Background()); err != nil {
		return fmt.Errorf("load groups: %w", err)
	}
	tp := log.TopicPartition{Topic: offsetsTopic}
	bounds, err := c.log.Bounds(context.Background(), tp)
	if err != nil {
		return fmt.Errorf("load groups: %w", err)
	}
	r, err := c.log.OpenReader(tp, bounds.Start, log.ReaderOptions{Uncommitted: true})
	if err != nil {
		return fmt.Errorf("load groups: %w", err)
	}
	defer r.Close()
	for r.Position() < bounds.End {
		recs, err := r.Poll()
		if err == nil && len(recs) == 0 && r.Position() < bounds.End {
			err = fmt.Errorf("%w: nothing at %d, want records up to %d", io.ErrUnexpectedEOF, r.Position(), bounds.End)
		}
		if err != nil {
			return fmt.Errorf("load groups: %w", err)
		}
		for i := range recs {
			c.loadRecord(&recs[i])
		}
	}
	now := c.now()
	c.held.Store(0) // groups were read that are no more
	for _, g := range c.all() {
		g.mu.Lock()
		if g.consumers != nil {
			g.settleLoaded(now)
			g.mu.Unlock()
			continue
		}
		c.held.Add(g.held)
		for _, m := range g.members {
			g.hear(m, now)
		}
		g.mu.Unlock()
	}
	return nil
}

// loadRecord takes in one record of the internal topic.
func (c *coordinator) loadRecord(r *log.Record) {
	name, ok := decodeGroupKey(r.Key)
	if !ok {
		if _, err := c.loadConsumers(r); err != nil {
			c.m.count("kafka.group.not-loaded")
			c.logger.Error("something that was stored of a group was not understood", "offset", r.Offset, "err", err)
		}
		return
	}
	if g := c.groups[name]; r.IsTombstone() && g != nil && g.consumers != nil {
		return // it was one of the classic protocol before
	}
	delete(c.groups, name)
	if r.IsTombstone() {
		return
	}
	g, err := c.decodeGroup(name, r.Value)
	if err != nil {
		// Its members join again, and its offsets are not touched by this.
		c.m.count("kafka.group.not-loaded")
		c.logger.Error("a stored group was not understood and is as if it had no members", "group", name, "offset", r.Offset, "err", err)
		return
	}
	g.stored = true
	c.groups[name] = g
}
