package kafka

import (
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kbin"

	"github.com/gretestream/grete/log"
)

// Groups of the consumer protocol are stored as Kafka stores them, beside the
// others (groupstore.go): a record for each thing, the last one of a key counts,
// a null value removes it. What one heartbeat changes is one batch.
//
//	key                                  value, version 0, flexible: lengths are varints
//	2  version 3, 2+ group               epoch 4
//	2  version 5, 2+ group, 2+ member    instance, rack or null; client id, host; topics;
//	                                     pattern or null; rebalance timeout 4, ms; assignor or null
//	2  version 6, 2+ group               target's epoch 4
//	2  version 7, 2+ group, 2+ member    share: topics of 16 bytes with their partitions
//	2  version 8, 2+ group, 2+ member    epoch 4, epoch before 4, state 1, assigned, revoked
//
// Which partitions there are and what patterns stand for is found out again.
// Compaction keeps the last record of each key: how far a member is may come
// before what it has said.
const (
	keyConsumers      = 3
	keyConsumer       = 5
	keyTarget         = 6
	keyConsumerTarget = 7
	keyConsumerNow    = 8

	consumerValueVersion = 0
)

// kafkaRecord is a record of the internal topic; a nil value removes.
type kafkaRecord struct{ key, value []byte }

func memberKey(version uint16, group, member string) []byte {
	return kbin.AppendString(groupKey(version, group), member)
}

func newValue() []byte { return binary.BigEndian.AppendUint16(nil, consumerValueVersion) }

// noTags ends a structure.
func noTags(b []byte) []byte { return append(b, 0) }

func epochValue(epoch int32) []byte { return noTags(kbin.AppendInt32(newValue(), epoch)) }

func nullable(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// value is what is stored of what the member has said.
func (m *consumer) value() []byte {
	b := newValue()
	b = kbin.AppendCompactNullableString(b, nullable(m.instance))
	b = kbin.AppendCompactNullableString(b, nullable(m.rack))
	b = kbin.AppendCompactString(b, m.clientID)
	b = kbin.AppendCompactString(b, m.host)
	b = kbin.AppendCompactArrayLen(b, len(m.names))
	for _, name := range m.names {
		b = kbin.AppendCompactString(b, name)
	}
	b = kbin.AppendCompactNullableString(b, nullable(m.pattern.text))
	b = kbin.AppendInt32(b, int32(m.rebalanceTimeout.Milliseconds()))
	b = kbin.AppendCompactNullableString(b, nullable(m.assignor))
	return noTags(b)
}

// nowValue is what is stored of how far it is.
func (m *consumer) nowValue() []byte {
	b := kbin.AppendInt32(newValue(), m.epoch)
	b = kbin.AppendInt32(b, m.before)
	b = kbin.AppendInt8(b, int8(m.state))
	b = appendPartitions(b, m.assigned)
	b = appendPartitions(b, m.revoked)
	return noTags(b)
}

func appendPartitions(b []byte, set partitionSet) []byte {
	topics := set.byTopic()
	b = kbin.AppendCompactArrayLen(b, len(topics))
	for _, t := range topics {
		b = append(b, t.topic[:]...)
		b = kbin.AppendCompactArrayLen(b, len(t.partitions))
		for _, p := range t.partitions {
			b = kbin.AppendInt32(b, p)
		}
		b = noTags(b)
	}
	return b
}

// storeConsumers writes what is different between two states of the group, and
// returns when it is durable.
func (g *group) storeConsumers(was, next *consumers) error {
	recs := g.difference(was, next)
	if g.consumers == nil && g.stored { // it was one of the classic protocol
		recs = append(recs, kafkaRecord{groupKey(groupKeyVersion, g.name), nil})
	}
	if len(recs) == 0 {
		return nil
	}
	if err := g.c.write(recs...); err != nil {
		return fmt.Errorf("store group %q: %w", g.name, err)
	}
	g.stored = true
	return nil
}

func (g *group) difference(was, next *consumers) (recs []kafkaRecord) {
	add := func(key, value []byte) { recs = append(recs, kafkaRecord{key, value}) }
	for _, id := range was.sorted() {
		if next.members[id] == nil {
			add(memberKey(keyConsumerNow, g.name, id), nil)
			add(memberKey(keyConsumerTarget, g.name, id), nil)
			add(memberKey(keyConsumer, g.name, id), nil)
		}
	}
	for _, id := range next.sorted() {
		if old, m := was.members[id], next.members[id]; old != m && (old == nil || !slices.Equal(old.value(), m.value())) {
			add(memberKey(keyConsumer, g.name, id), m.value())
		}
	}
	if next.epoch != was.epoch {
		add(groupKey(keyConsumers, g.name), epochValue(next.epoch))
	}
	for _, id := range next.sorted() {
		if old, ok := was.target[id]; !ok || !maps.Equal(old, next.target[id]) {
			add(memberKey(keyConsumerTarget, g.name, id), noTags(appendPartitions(newValue(), next.target[id])))
		}
	}
	if next.targetEpoch != was.targetEpoch {
		add(groupKey(keyTarget, g.name), epochValue(next.targetEpoch))
	}
	for _, id := range next.sorted() {
		if old, m := was.members[id], next.members[id]; old != m && (old == nil || !slices.Equal(old.nowValue(), m.nowValue())) {
			add(memberKey(keyConsumerNow, g.name, id), m.nowValue())
		}
	}
	return recs
}

// unstoreConsumers are the records that remove a group without members.
func (g *group) unstoreConsumers() []kafkaRecord {
	return []kafkaRecord{{groupKey(keyTarget, g.name), nil}, {groupKey(keyConsumers, g.name), nil}}
}

// loadConsumers takes in a record of a group of the consumer protocol. It reports
// whether it is one.
func (c *coordinator) loadConsumers(r *log.Record) (bool, error) {
	key := kbin.Reader{Src: r.Key}
	version := key.Uint16()
	switch version {
	case keyConsumers, keyConsumer, keyTarget, keyConsumerTarget, keyConsumerNow:
	default:
		return false, nil
	}
	name, id := key.String(), ""
	if version != keyConsumers && version != keyTarget {
		id = key.String()
	}
	if err := key.Complete(); err != nil || len(key.Src) > 0 {
		return true, fmt.Errorf("%w: key of %d bytes", errNotGroup, len(r.Key))
	}
	g := c.groups[name]
	if g == nil || g.consumers == nil {
		if r.IsTombstone() {
			return true, nil
		}
		g = newGroup(c, name)
		g.consumers, g.stored = newConsumers(), true
		c.groups[name] = g
	}
	if r.IsTombstone() {
		g.forgetStored(version, id)
		return true, nil
	}
	return true, g.takeStored(version, id, r.Value)
}

// forgetStored takes in a record that removes something.
func (g *group) forgetStored(version uint16, id string) {
	switch version {
	case keyConsumers:
		delete(g.c.groups, g.name)
	case keyConsumer:
		if m := g.consumers.members[id]; m != nil {
			g.consumers.remove(m)
		}
	case keyConsumerTarget:
		delete(g.consumers.target, id)
	case keyConsumerNow:
		delete(g.consumers.early, id)
	}
}

// takeStored takes in a record that says something.
func (g *group) takeStored(version uint16, id string, value []byte) error {
	b := kbin.Reader{Src: value}
	if v := b.Uint16(); v != consumerValueVersion {
		return fmt.Errorf("%w: version of value is %d, want %d", errNotGroup, v, consumerValueVersion)
	}
	cs := g.consumers
	m := &consumer{id: id}
	if old := cs.members[id]; old != nil {
		*m = *old
	} else if old := cs.early[id]; old != nil {
		*m = *old
	}
	switch version {
	case keyConsumers:
		cs.epoch = b.Int32()
	case keyTarget:
		cs.targetEpoch = b.Int32()
	case keyConsumerTarget:
		cs.target[id] = readPartitions(&b)
	case keyConsumer:
		m.read(&b)
	case keyConsumerNow:
		m.epoch, m.before, m.state = b.Int32(), b.Int32(), consumerState(b.Int8())
		m.assigned, m.revoked = readPartitions(&b), readPartitions(&b)
	}
	if err := b.Complete(); err != nil {
		return fmt.Errorf("%w: value of %d bytes: %w", errNotGroup, len(value), err)
	}
	switch {
	case version == keyConsumer || version == keyConsumerNow && cs.members[id] != nil:
		cs.put(m)
	case version == keyConsumerNow:
		if cs.early == nil {
			cs.early = map[string]*consumer{}
		}
		cs.early[id] = m
	}
	return nil
}

// read takes in what value has made.
func (m *consumer) read(b *kbin.Reader) {
	text := func(s *string) string {
		if s == nil {
			return ""
		}
		return *s
	}
	m.instance, m.rack = text(b.CompactNullableString()), text(b.CompactNullableString())
	m.clientID, m.host = b.CompactString(), b.CompactString()
	m.names = nil
	for range b.CompactArrayLen() {
		m.names = append(m.names, b.CompactString())
		if !b.Ok() {
			return
		}
	}
	m.pattern.text = text(b.CompactNullableString())
	m.rebalanceTimeout = time.Duration(b.Int32()) * time.Millisecond
	m.assignor = text(b.CompactNullableString())
}

func readPartitions(b *kbin.Reader) partitionSet {
	set := partitionSet{}
	for range b.CompactArrayLen() {
		topic := log.TopicID(b.Uuid())
		for range b.CompactArrayLen() {
			set[idPartition{topic, b.Int32()}] = struct{}{}
			if !b.Ok() {
				return set
			}
		}
		skipTags(b)
		if !b.Ok() {
			return set
		}
	}
	return set
}

// skipTags passes over fields that newer versions may have. That of kmsg goes on to
// the end of a count that lies.
func skipTags(b *kbin.Reader) {
	for n := b.Uvarint(); n > 0 && b.Ok(); n-- {
		b.Uvarint()
		b.Span(int(b.Uvarint()))
	}
}

// settleLoaded makes what was loaded a group: members of whom only half is known are
// none.
func (g *group) settleLoaded(now time.Time) {
	cs := g.consumers
	cs.early, cs.topics = nil, nil
	for id, m := range cs.members {
		if m.assigned == nil {
			m.assigned = partitionSet{}
		}
		if p, err := compilePattern(m.pattern.text); err == nil { // it was taken once
			m.pattern = p
		}
		m.matched = g.c.matchedBefore(m, cs.target[id])
		if m.state == consumerRevoking {
			m.revokeBy = now.Add(m.rebalanceTimeout)
			g.wakeBy(now, m.revokeBy)
		}
		g.hearConsumer(id, now)
	}
	for id := range cs.target {
		if cs.members[id] == nil {
			delete(cs.target, id)
		}
	}
	g.generation = cs.epoch
	g.hold(cs.bytes())
	g.showConsumers()
}
