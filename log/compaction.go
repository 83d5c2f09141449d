package log

import (
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/cockroachdb/pebble/vfs"
)

// Compaction keeps, of a topic with cleanup.policy=compact, the last record of
// each key. It touches sealed segments below that of the recovery point only, in
// which the meta has a position, and no record younger than
// min.compaction.lag.ms. One pass over a partition:
//
//  1. read the part that was not compacted before, the dirty part, and remember
//     the last offset of each key, as far as memory goes;
//  2. write all segments up to there anew, aside, without the records whose key
//     comes again; neighbours that have become small are put together;
//  3. put the new files in place (swap.go).
//
// Offsets stay what they are, so there are gaps. A record without a key stays.
// A tombstone stays for delete.retention.ms after the pass that first met it,
// so that whoever read what it deletes meets it too: its batch is marked with
// that time, the delete horizon, in place of the base timestamp, as in Kafka.
//
// Of transactions (compacttxn.go), what was aborted goes and replaces nothing;
// nothing beyond the last stable offset is touched.
//
// A pass is due when the dirty part is min.cleanable.dirty.ratio of the whole,
// or holds something older than max.compaction.lag.ms.

// compactMapBytes bounds the memory of a pass: 2 million keys.
const compactMapBytes = 64 << 20

// compact runs passes over what is due, within the budget of a round. A pass
// that has begun is ended.
func (l *Embedded) compact() error {
	l.compactMu.Lock()
	defer l.compactMu.Unlock()
	budget := l.opts.CompactBytes
	var keys *keyMap
	var errs []error
	_ = l.eachPartition(func(p *partition) error {
		if budget <= 0 || !p.topic.config().compact || l.failure.Load() != nil {
			return nil
		}
		pass := l.planPass(p)
		if pass == nil {
			return nil
		}
		if keys == nil {
			keys = newKeyMap(compactMapBytes)
		}
		keys.reset()
		pass.keys = keys
		err := pass.run()
		budget -= pass.read
		l.m.compacted.Inc(pass.read)
		if err != nil && !p.topic.gone(l) {
			errs = append(errs, fmt.Errorf("compact %s: %w", p.tp, asNoSpace(err)))
		}
		select {
		case <-l.stop:
			return ErrClosed
		default:
			return nil
		}
	})
	return errors.Join(errs...)
}

// gone tells whether the topic was deleted.
func (t *topic) gone(l *Embedded) bool {
	now := (*l.topics.Load())[t.name]
	return now == nil || now.id != t.id
}

// pass is one compaction of one partition.
type pass struct {
	l     *Embedded
	p     *partition
	cfg   *topicConfig
	now   Timestamp
	keys  *keyMap
	clean []*segment // compacted before
	dirty []*segment // and to be compacted now
	read  int64      // bytes
	txns  passTxns

	d    decoder
	recs []Record
	out  []byte
}

// planPass chooses the segments, or returns nil if nothing is worth it.
func (l *Embedded) planPass(p *partition) *pass {
	l.metaMu.Lock()
	safe, from := p.safe.recoverySegment(), p.safe.Compacted
	l.metaMu.Unlock()
	ps := &pass{l: l, p: p, cfg: p.topic.config(), now: l.now()}
	stable := p.bounds().Stable // behind it, what a record comes to is not known
	list := *p.segments.Load()
	var cleanBytes, dirtyBytes int64
	late := false // for max.compaction.lag.ms
	for i := 0; i < len(list)-1; i++ {
		s, end := list[i], list[i+1].base
		if end <= from {
			ps.clean = append(ps.clean, s)
			cleanBytes += s.size.Load()
			continue
		}
		maxTime, appended := s.times()
		if end > min(safe, stable) || int64(ps.now-max(maxTime, appended)) < ps.cfg.minLagMs {
			break
		}
		first := s.firstAppend()
		late = late || first != NoTimestamp && int64(ps.now-first) > ps.cfg.maxLagMs
		ps.dirty = append(ps.dirty, s)
		dirtyBytes += s.size.Load()
	}
	if len(ps.dirty) == 0 || !late && float64(dirtyBytes) < ps.cfg.dirtyRatio*float64(cleanBytes+dirtyBytes) {
		return nil
	}
	ps.txns.begin(l, p)
	return ps
}

func (ps *pass) run() error {
	n, err := ps.index()
	if err != nil {
		return err
	}
	if n == 0 {
		return fmt.Errorf("%w: segment %s has more keys than compaction can remember; make segment.bytes smaller", ErrTooLarge, ps.dirty[0].logName())
	}
	all := append(slices.Clone(ps.clean), ps.dirty[:n]...)
	end := ps.endOf(all[len(all)-1])
	for len(all) > 0 {
		g := group1(all, ps.cfg.segmentBytes)
		if err := ps.rewrite(all[:g]); err != nil {
			return err
		}
		all = all[g:]
	}
	ps.l.metaMu.Lock()
	ps.p.safe.Compacted = max(ps.p.safe.Compacted, end)
	ps.l.metaMu.Unlock()
	return nil // durable with the next meta: a pass too many does no harm
}

// endOf is the base of the segment after s.
func (ps *pass) endOf(s *segment) Offset {
	_, next := ps.p.find(s.base)
	return next.base
}

// group1 returns how many segments from the front fit into one.
func group1(list []*segment, bytes int64) int {
	total := list[0].size.Load()
	n := 1
	for ; n < len(list); n++ {
		total += list[n].size.Load()
		if total > bytes || list[n].base-list[0].base > 1<<29 {
			break
		}
	}
	return n
}

// index remembers the keys of the dirty segments; it returns how many segments
// there was memory for.
func (ps *pass) index() (int, error) {
	for i, s := range ps.dirty {
		full := false
		err := ps.scan(s, func(info *BatchInfo, batch []byte, recs []Record) error {
			if ps.txns.isAborted(info) {
				return nil
			}
			for j := range recs {
				if r := &recs[j]; r.Key != nil && !ps.keys.put(r.Key, r.Offset) {
					full = true
				}
			}
			return nil
		})
		if err != nil {
			return 0, err
		}
		if full {
			return i, nil
		}
	}
	return len(ps.dirty), nil
}

// scan calls fn for every batch of a segment. Control batches have no records.
func (ps *pass) scan(s *segment, fn func(info *BatchInfo, batch []byte, recs []Record) error) error {
	r, err := ps.p.openSegment(s)
	if err != nil {
		return err
	}
	defer r.Close()
	sc := newBatchScanner(r, s.logName(), 0, s.size.Load())
	defer sc.Close()
	for {
		info, batch, err := sc.batch()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		ps.read += int64(info.Size)
		ps.d.reset()
		if ps.recs, err = ps.d.decodeBatch(ps.recs[:0], &info, batch); err != nil {
			return err
		}
		if err := fn(&info, batch, ps.recs); err != nil {
			return err
		}
	}
}

// rewrite writes a group of neighbours as one new segment and swaps it in.
func (ps *pass) rewrite(group []*segment) (err error) {
	base := group[0].base
	ps.l.swaps++
	name := fmt.Sprintf("%s%s.%d-%d%s", baseName(int64(base)), logSuffix, ps.l.boot, ps.l.swaps, cleanedSuffix)
	path := ps.l.fs.PathJoin(ps.p.dir, name)
	f, err := ps.l.fs.Create(path)
	if err != nil {
		return fmt.Errorf("create %s: %w", path, err)
	}
	defer func() {
		_ = f.Close()
		// Once the log has failed, the meta may name it: then it is the one that
		// counts for the next Open, and without it there would be none.
		if err != nil && ps.l.failure.Load() == nil {
			_ = ps.l.fs.Remove(path) // or the next Open does
		}
	}()
	s := newSegment(ps.l.fs, ps.p.dir, base, ps.cfg.indexBytes)
	changed, err := ps.copyGroup(f, s, group)
	if err != nil {
		return err
	}
	if !changed && len(group) == 1 {
		return ps.l.fs.Remove(path)
	}
	if err := f.Sync(); err != nil {
		return ps.l.fatal(fmt.Errorf("sync %s: %w", path, err))
	}
	return ps.l.swap(ps.p, group, s, name)
}

// copyGroup writes what is kept of a group to f, and describes it in s. It
// reports whether that differs from what there was.
func (ps *pass) copyGroup(f vfs.File, s *segment, group []*segment) (changed bool, err error) {
	var pos int64
	write := func() error {
		if _, err := f.Write(ps.out); err != nil {
			return fmt.Errorf("write compacted segment: %w", err)
		}
		ps.out = ps.out[:0]
		return nil
	}
	ps.out = ps.out[:0]
	for _, old := range group {
		_, appended := old.times()
		err := ps.scan(old, func(info *BatchInfo, batch []byte, recs []Record) error {
			from := len(ps.out)
			changed = ps.filter(info, batch, recs) || changed
			if run := ps.out[from:]; len(run) > 0 {
				s.note(run, pos, appended)
				pos += int64(len(run))
			}
			if len(ps.out) >= 1<<20 {
				return write()
			}
			return nil
		})
		if err != nil {
			return false, err
		}
		old.mu.RLock()
		if s.firstTime == NoTimestamp || old.firstTime < s.firstTime {
			s.firstTime = old.firstTime
		}
		old.mu.RUnlock()
		s.lastTime = max(s.lastTime, appended)
	}
	s.size.Store(pos)
	return changed, write()
}

// filter appends what is kept of a batch to out, and reports whether that is
// less, or other, than the batch.
func (ps *pass) filter(info *BatchInfo, batch []byte, recs []Record) (changed bool) {
	if info.IsControl() {
		return ps.filterMarker(info, batch)
	}
	aborted := ps.txns.meet(info)
	marked := info.Attributes&attrDeleteHorizon != 0
	tombstones := false
	n := 0
	for i := range recs {
		r := &recs[i]
		if aborted {
			break
		}
		if r.Key != nil {
			if ps.keys.superseded(r.Key, r.Offset) || r.IsTombstone() && marked && info.BaseTimestamp <= ps.now {
				continue
			}
			tombstones = tombstones || r.IsTombstone()
		}
		recs[n] = *r
		n++
	}
	switch {
	case n == 0:
		return ps.empty(info, batch)
	case n == len(recs) && (marked || !tombstones):
		ps.out = append(ps.out, batch...)
		return false
	}
	out, base := *info, info.BaseTimestamp
	if tombstones && !marked {
		out.Attributes |= attrDeleteHorizon
		base = ps.now + Timestamp(ps.cfg.tombstoneMs)
	}
	ps.out = appendBatch(ps.out, out, base, recs[:n])
	return true
}

// firstAppend is the append time of the first batch, or NoTimestamp.
func (s *segment) firstAppend() Timestamp {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.firstTime
}
