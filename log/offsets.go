package log

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"
)

// Committed offsets are records of the internal topic __consumer_offsets, in
// Kafka's form, written in the same journal entry as the step that they belong
// to; memory holds the last of each.
//
//	key    2  version 1          value  2  version 3
//	       2+ group                     8  offset
//	       2+ topic                     4  leader epoch, -1: not known
//	       4  partition                 2+ metadata
//	                                    8  commit time
//
// Strings have two bytes of length. A null value forgets the offset.
const (
	offsetsTopic        = "__consumer_offsets"
	offsetsKeyVersion   = 1
	offsetsValueVersion = 3
	maxOffsetMetadata   = 4096
)

// groupOffsets are the committed offsets of all groups.
type groupOffsets struct {
	part *partition // of the internal topic; set on open

	mu     sync.RWMutex // guards the fields below
	groups map[string]map[TopicPartition]storedOffset
	// pending are those of open transactions, by producer id.
	pending map[int64]map[groupPartition]storedOffset
}

// storedOffset is a committed offset and where its record is: of two, the one
// that was written later counts, as it does for compaction.
type storedOffset struct {
	GroupOffset
	at Offset
}

// groupPartition is what a committed offset is the offset of.
type groupPartition struct {
	group string
	tp    TopicPartition
}

// applyPart takes in what a part of an entry says of committed offsets. The
// applier calls it, once the part is visible.
func (g *groupOffsets) applyPart(pt *part) {
	switch {
	case pt.marker != nil && pt.p == g.part:
		g.finish(pt.marker.ProducerID, pt.marker.Commit)
	case len(pt.offsets) == 0:
	case pt.txn:
		g.pend(parseHeader(pt.batches).ProducerID, pt.group, pt.offsets, pt.base)
	default:
		g.apply(pt.group, pt.offsets, pt.base)
	}
}

// apply takes in what has been committed, in records from offset at on.
func (g *groupOffsets) apply(group string, offsets []GroupOffset, at Offset) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for i, o := range offsets {
		if o.Offset < 0 {
			g.forgetLocked(groupPartition{group, o.TopicPartition})
		} else {
			g.setLocked(group, storedOffset{o, at + Offset(i)})
		}
	}
}

func (g *groupOffsets) setLocked(group string, o storedOffset) {
	m := g.groups[group]
	if m == nil {
		m = map[TopicPartition]storedOffset{}
		g.groups[group] = m
	}
	m[o.TopicPartition] = o
}

// forgetLocked forgets an offset, pending ones too: it was written before the
// record that says so.
func (g *groupOffsets) forgetLocked(of groupPartition) {
	m := g.groups[of.group]
	if delete(m, of.tp); len(m) == 0 {
		delete(g.groups, of.group)
	}
	for _, pending := range g.pending {
		delete(pending, of)
	}
}

// pend takes in offsets that wait for the end of a producer's transaction.
func (g *groupOffsets) pend(id int64, group string, offsets []GroupOffset, at Offset) {
	g.mu.Lock()
	defer g.mu.Unlock()
	m := g.pending[id]
	if m == nil {
		m = map[groupPartition]storedOffset{}
		g.pending[id] = m
	}
	for i, o := range offsets {
		m[groupPartition{group, o.TopicPartition}] = storedOffset{o, at + Offset(i)}
	}
}

// finish ends the transaction of a producer.
func (g *groupOffsets) finish(id int64, commit bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for of, o := range g.pending[id] {
		if has, ok := g.groups[of.group][of.tp]; commit && (!ok || has.at < o.at) {
			g.setLocked(of.group, o)
		}
	}
	delete(g.pending, id)
}

// isPending implements PendingOffsets.
func (g *groupOffsets) isPending(group string, tps []TopicPartition) bool {
	g.mu.RLock()
	defer g.mu.RUnlock()
	for _, m := range g.pending {
		for of := range m {
			if of.group == group && (len(tps) == 0 || slices.Contains(tps, of.tp)) {
				return true
			}
		}
	}
	return false
}

// offsetsPart adds the records of committed offsets to an entry, built in b.
func (l *Embedded) offsetsPart(en *entry, b *Builder, group string, offsets []GroupOffset) error {
	if group == "" {
		return errors.New("offsets without a group")
	}
	b.Reset()
	offsets = slices.Clone(offsets) // memory goes on to hold them
	of := make([]*partition, 0, len(offsets))
	var key, value []byte
	for i := range offsets {
		o := &offsets[i]
		p, err := l.offsetOf(o)
		if err != nil {
			return fmt.Errorf("offset of %s: %w", o.TopicPartition, err)
		}
		if p != nil {
			of = append(of, p)
		}
		if o.CommitTime == 0 {
			o.CommitTime = en.time
		}
		if len(o.Metadata) > maxOffsetMetadata {
			return fmt.Errorf("%w: metadata of %d bytes with the offset of %s, want at most %d", ErrTooLarge, len(o.Metadata), o.TopicPartition, maxOffsetMetadata)
		}
		if len(group) > 1<<15-1 || len(o.Topic) > 1<<15-1 {
			return fmt.Errorf("%w: group or topic name", ErrTooLarge)
		}
		key = appendOffsetKey(key[:0], group, o.TopicPartition)
		if o.Offset < 0 {
			b.Append(en.time, key, nil)
			continue
		}
		value = appendOffsetValue(value[:0], o)
		b.Append(en.time, key, value)
	}
	en.parts = append(en.parts, part{})
	pt := &en.parts[len(en.parts)-1]
	if err := l.checkWrite(pt, l.offsets.part, b.Bytes(), true, en.time); err != nil {
		return fmt.Errorf("write to %s: %w", offsetsTopic, err)
	}
	pt.group, pt.offsets, pt.of = group, offsets, of
	return nil
}

// offsetOf returns the partition that an offset is committed for: it has to be
// there when the offset is admitted. One that is forgotten need not be.
func (l *Embedded) offsetOf(o *GroupOffset) (*partition, error) {
	id := o.TopicID
	o.TopicID = TopicID{}
	if o.Offset < 0 {
		return nil, nil
	}
	p, err := l.partition(o.TopicPartition)
	if err != nil {
		return nil, err
	}
	if id != (TopicID{}) && id != p.topic.id {
		return nil, fmt.Errorf("%w: it was deleted and made again", ErrUnknownTopic)
	}
	return p, nil
}

func appendOffsetKey(dst []byte, group string, tp TopicPartition) []byte {
	dst = binary.BigEndian.AppendUint16(dst, offsetsKeyVersion)
	dst = appendString(dst, group)
	dst = appendString(dst, tp.Topic)
	return binary.BigEndian.AppendUint32(dst, uint32(tp.Partition))
}

func appendOffsetValue(dst []byte, o *GroupOffset) []byte {
	dst = binary.BigEndian.AppendUint16(dst, offsetsValueVersion)
	dst = binary.BigEndian.AppendUint64(dst, uint64(o.Offset))
	dst = binary.BigEndian.AppendUint32(dst, uint32(o.LeaderEpoch))
	dst = appendString(dst, o.Metadata)
	return binary.BigEndian.AppendUint64(dst, uint64(o.CommitTime))
}

func appendString(dst []byte, s string) []byte {
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(s)))
	return append(dst, s...)
}

// fields reads big-endian fields off the front of b. After a mistake bad stays
// set and all is zero.
type fields struct {
	b   []byte
	bad bool
}

func (f *fields) take(n int) []byte {
	if f.bad || len(f.b) < n {
		f.bad = true
		return make([]byte, n)
	}
	v := f.b[:n]
	f.b = f.b[n:]
	return v
}

func (f *fields) int16() int   { return int(int16(binary.BigEndian.Uint16(f.take(2)))) }
func (f *fields) int32() int32 { return int32(binary.BigEndian.Uint32(f.take(4))) }
func (f *fields) int64() int64 { return int64(binary.BigEndian.Uint64(f.take(8))) }

func (f *fields) string() string {
	n := f.int16()
	if n < 0 {
		f.bad = true
		return ""
	}
	return string(f.take(n))
}

// decodeOffset reads a record of the internal topic. Keys of other versions
// belong to other things that Kafka keeps there.
func decodeOffset(r *Record) (group string, o GroupOffset, ok bool) {
	k := fields{b: r.Key}
	if k.int16() > offsetsKeyVersion {
		return "", o, false
	}
	group = k.string()
	o.Topic = k.string()
	o.Partition = k.int32()
	if k.bad {
		return "", o, false
	}
	if r.IsTombstone() {
		o.Offset = -1
		return group, o, true
	}
	v := fields{b: r.Value}
	version := v.int16()
	o.Offset = Offset(v.int64())
	o.LeaderEpoch = -1
	if version >= 3 {
		o.LeaderEpoch = v.int32()
	}
	o.Metadata = v.string()
	o.CommitTime = Timestamp(v.int64())
	return group, o, !v.bad
}

// loadOffsets makes the internal topic if there is none, and reads it.
func (l *Embedded) loadOffsets() error {
	l.offsets.groups = map[string]map[TopicPartition]storedOffset{}
	l.offsets.pending = map[int64]map[groupPartition]storedOffset{}
	t, ok := (*l.topics.Load())[offsetsTopic]
	if !ok {
		var err error
		t, err = l.createTopic(TopicSpec{Name: offsetsTopic, Internal: true, Partitions: 1, Configs: map[string]string{
			"cleanup.policy": "compact", "segment.bytes": "16777216",
		}})
		if err != nil {
			return fmt.Errorf("create %s: %w", offsetsTopic, err)
		}
	}
	l.offsets.part = t.parts[0]
	b := t.parts[0].bounds()
	if b.Start == b.End {
		return nil
	}
	r, err := l.OpenReader(t.parts[0].tp, b.Start, ReaderOptions{Uncommitted: true})
	if err != nil {
		return err
	}
	defer r.Close()
	var d decoder
	for r.Position() < b.End {
		run, err := r.(BatchReader).PollBatches()
		if err == nil && len(run) == 0 && r.Position() < b.End {
			err = fmt.Errorf("%w: nothing at %d, want records up to %d", io.ErrUnexpectedEOF, r.Position(), b.End)
		}
		if err == nil {
			err = ForEachBatch(run, func(info BatchInfo, batch []byte) error {
				return l.offsets.loadBatch(&d, &info, batch)
			})
		}
		if err != nil {
			return fmt.Errorf("load committed offsets: %w", err)
		}
	}
	return nil
}

// loadBatch takes in one batch of the internal topic.
func (g *groupOffsets) loadBatch(d *decoder, info *BatchInfo, batch []byte) error {
	if info.IsControl() {
		m, ok, err := decodeMarker(info, batch)
		if ok {
			g.finish(m.ProducerID, m.Commit)
		}
		return err
	}
	d.reset()
	recs, err := d.decodeBatch(nil, info, batch)
	if err != nil {
		return err
	}
	for i := range recs {
		group, o, ok := decodeOffset(&recs[i])
		switch {
		case !ok:
		case info.IsTransactional():
			g.pend(info.ProducerID, group, []GroupOffset{o}, recs[i].Offset)
		default:
			g.apply(group, []GroupOffset{o}, recs[i].Offset)
		}
	}
	return nil
}

// Committed implements Log.
func (l *Embedded) Committed(ctx context.Context, group string, tps ...TopicPartition) (map[TopicPartition]GroupOffset, error) {
	l.offsets.mu.RLock()
	defer l.offsets.mu.RUnlock()
	m := l.offsets.groups[group]
	found := make(map[TopicPartition]GroupOffset, len(m))
	if len(tps) == 0 {
		for tp, o := range m {
			found[tp] = o.GroupOffset
		}
	}
	for _, tp := range tps {
		if o, ok := m[tp]; ok {
			found[tp] = o.GroupOffset
		}
	}
	return found, ctx.Err()
}

// Groups returns the names of all groups that have committed offsets or, in this
// process, members; sorted.
func (l *Embedded) Groups() []string {
	names := map[string]bool{}
	l.offsets.mu.RLock()
	for name := range l.offsets.groups {
		names[name] = true
	}
	l.offsets.mu.RUnlock()
	l.members.mu.Lock()
	for name := range l.members.groups {
		names[name] = true
	}
	l.members.mu.Unlock()
	return slices.Sorted(maps.Keys(names))
}

// OffsetPartitions returns the partitions for which a group has a committed
// offset, or an open transaction has one for it; in no order.
func (l *Embedded) OffsetPartitions(group string) []TopicPartition {
	found := map[TopicPartition]bool{}
	l.offsets.each(func(of groupPartition) {
		if of.group == group {
			found[of.tp] = true
		}
	})
	return slices.Collect(maps.Keys(found))
}

// each calls fn for all committed offsets and all that are pending.
func (g *groupOffsets) each(fn func(of groupPartition)) {
	g.mu.RLock()
	defer g.mu.RUnlock()
	for group, m := range g.groups {
		for tp := range m {
			fn(groupPartition{group, tp})
		}
	}
	for _, m := range g.pending {
		for of := range m {
			fn(of)
		}
	}
}

// forgetGone finishes deletions that a crash came in between of: no topic made
// again under an old name may begin where the old one was read to.
func (l *Embedded) forgetGone() {
	topics := *l.topics.Load()
	gone := map[string]bool{}
	l.offsets.each(func(of groupPartition) {
		if _, ok := topics[of.tp.Topic]; !ok {
			gone[of.tp.Topic] = true
		}
	})
	for name := range gone {
		if err := l.forgetOffsets(name); err != nil {
			l.logger.Warn("committed offsets of a deleted topic are still there", "topic", name, "err", err)
		}
	}
}

// forgetOffsets removes all committed offsets of a topic that is gone.
func (l *Embedded) forgetOffsets(topic string) error {
	gone := map[string][]GroupOffset{}
	l.offsets.each(func(of groupPartition) {
		if of.tp.Topic == topic {
			gone[of.group] = append(gone[of.group], GroupOffset{TopicPartition: of.tp, Offset: -1})
		}
	})
	for group, offsets := range gone {
		if _, err := l.commit(context.Background(), &Commit{Group: group, Offsets: offsets}); err != nil {
			return fmt.Errorf("forget offsets of group %q: %w", group, err)
		}
	}
	return nil
}
