package log

import (
	"encoding/base64"
	"errors"
	"fmt"
	"hash/fnv"
	"runtime/debug"
	"slices"
	"strings"
)

// open brings the directory to order and fills in l. First everything is read
// and judged; nothing is changed before that has succeeded.
func (l *Embedded) open() error {
	if err := l.fs.MkdirAll(l.dir, 0o755); err != nil {
		return fmt.Errorf("make directory: %w", err)
	}
	if err := l.acquire(); err != nil {
		return err
	}
	m, err := l.loadOrInit()
	if err != nil {
		return err
	}
	cleanMark := l.fs.PathJoin(l.dir, cleanShutdownName)
	size, err := fileSize(l.fs, cleanMark)
	if err != nil {
		return err
	}
	clean := size >= 0

	r := &recovery{l: l, clean: clean, mode: m.Sync, byID: map[TopicID]*topic{}, walks: map[*partition]*walked{}}
	l.clusterID = m.ClusterID
	if r.journal, err = scanJournal(l.fs, l.journalDir(), l.seed(), m.Sequence); err != nil {
		return err
	}
	if err := r.load(m); err != nil {
		return err
	}
	if err := r.judge(); err != nil {
		return err
	}

	if !clean {
		if err := l.confirmNames(); err != nil {
			return err
		}
		if err := r.secureJournal(); err != nil {
			return err
		}
	} else {
		// Before the first write, or a crash would be taken for a clean end.
		if err := l.fs.Remove(cleanMark); err != nil {
			return fmt.Errorf("remove %s: %w", cleanMark, err)
		}
		if err := syncDir(l.fs, l.dir); err != nil {
			return err
		}
	}
	l.boot = m.Boot + 1
	l.leaderEpoch = m.LeaderEpoch
	if !clean && m.Boot > 0 {
		l.leaderEpoch++
	}
	if err := r.run(m); err != nil {
		return err
	}
	if r.journal.largest > 16<<20 {
		// The journal was read through a buffer of the size of its files: what
		// has just started and may be idle for long need not hold on to it.
		debug.FreeOSMemory()
	}
	return nil
}

func (l *Embedded) journalDir() string { return l.fs.PathJoin(l.dir, journalDirName) }

// seed makes the salts of this log's journal differ from those of another's.
func (l *Embedded) seed() uint64 { return journalSeed(l.clusterID) }

func journalSeed(clusterID string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(clusterID))
	return h.Sum64()
}

// acquire takes the directory lock.
func (l *Embedded) acquire() error {
	lock, err := l.fs.Lock(l.fs.PathJoin(l.dir, lockName))
	if err != nil {
		return fmt.Errorf("%w: %s: stop that process, or talk to it instead of opening the directory: %w", ErrLocked, l.dir, err)
	}
	l.lock = lock
	return nil
}

// loadOrInit returns the meta, and makes a new directory usable. The format
// file is written last: without it, there is no log yet.
func (l *Embedded) loadOrInit() (*meta, error) {
	formatFile := l.fs.PathJoin(l.dir, formatName)
	data, err := readFile(l.fs, formatFile)
	if err == nil {
		if err := checkFormat(formatFile, data); err != nil {
			return nil, err
		}
		return loadMeta(l.fs, l.dir)
	}
	if !isNotExist(err) {
		return nil, fmt.Errorf("read %s: %w", formatFile, err)
	}
	if names, err := l.fs.List(l.fs.PathJoin(l.dir, topicsDirName)); err == nil && len(names) > 0 {
		return nil, fmt.Errorf("%w: there are topics but no file %s", ErrCorrupt, formatFile)
	}
	for _, sub := range []string{metaDirName, journalDirName, topicsDirName} {
		if err := l.fs.MkdirAll(l.fs.PathJoin(l.dir, sub), 0o755); err != nil {
			return nil, fmt.Errorf("make directory %s: %w", sub, err)
		}
	}
	id := newTopicID()
	m := &meta{ClusterID: base64.RawURLEncoding.EncodeToString(id[:])}
	if err := m.store(l.fs, l.dir); err != nil {
		return nil, err
	}
	if err := syncDir(l.fs, l.dir); err != nil {
		return nil, err
	}
	if err := replaceFile(l.fs, formatFile, fmt.Appendf(nil, "%d\n", formatVersion)); err != nil {
		return nil, err
	}
	l.syncParents()
	return m, nil
}

// syncParents makes the directory's own entry durable, and those above it, which
// may be new too. A parent that cannot be opened is not ours, and holds no entry
// that could be lost.
func (l *Embedded) syncParents() {
	for dir := l.dir; l.fs.PathDir(dir) != dir; dir = l.fs.PathDir(dir) {
		_ = syncDir(l.fs, l.fs.PathDir(dir))
	}
}

// confirmNames makes durable which file is the meta, before anything is done that
// only this one speaks of. A process may have been killed between the rename and
// the sync of the directory: the operating system shows the new file, and a power
// cut would bring the old one back. So it is with the format file.
func (l *Embedded) confirmNames() error {
	if err := syncDir(l.fs, l.fs.PathJoin(l.dir, metaDirName)); err != nil {
		return err
	}
	if err := syncDir(l.fs, l.dir); err != nil {
		return err
	}
	l.syncParents()
	return nil
}

func checkFormat(name string, data []byte) error {
	var version int
	if _, err := fmt.Sscanf(string(data), "%d\n", &version); err != nil {
		return fmt.Errorf("%w: %s holds %.20q, want a number", ErrCorrupt, name, data)
	}
	if version > formatVersion {
		return fmt.Errorf("%w: %s says %d, this version knows up to %d: use the newer version", ErrNewerFormat, name, version, formatVersion)
	}
	return nil
}

// recovery is an Open under way.
type recovery struct {
	l       *Embedded
	clean   bool
	mode    SyncMode // that the directory was written under; a lost journal could not tell
	journal *foundJournal
	byID    map[TopicID]*topic
	topics  map[string]*topic
	walks   map[*partition]*walked
	order   []*partition
	// unfinished is where references would have ended that the journal ends before.
	unfinished map[*partition]Offset
	gone       []string // directories of deleted topics, under their last names
	going      []string // of those, the names that the last ones of gone still have
}

// load walks all partitions that the meta knows.
func (r *recovery) load(m *meta) error {
	l := r.l
	names, err := l.fs.List(l.fs.PathJoin(l.dir, topicsDirName))
	if err != nil {
		return fmt.Errorf("list topics: %w", err)
	}
	deleted := map[TopicID]bool{}
	known := map[string]bool{}
	for _, name := range names {
		if id, ok := parseDeletedDir(name); ok {
			deleted[id] = true
			r.gone = append(r.gone, name)
		}
	}
	r.topics = map[string]*topic{}
	for _, mt := range m.Topics {
		if deleted[mt.ID] {
			// A crash in the middle of the deletion, which is finished now.
			for i := range mt.Partitions {
				dir := TopicPartition{mt.Name, int32(i)}.String()
				if slices.Contains(names, dir) {
					r.going = append(r.going, dir)
					r.gone = append(r.gone, deletedDir(dir, mt.ID))
				}
			}
			continue
		}
		t, err := l.newTopic(mt.Name, mt.ID, mt.Internal, len(mt.Partitions), mt.Configs)
		if err != nil {
			return fmt.Errorf("topic %q: %w", mt.Name, err)
		}
		r.topics[mt.Name], r.byID[mt.ID] = t, t
		for i, p := range t.parts {
			known[p.tp.String()] = true
			mp := mt.Partitions[i]
			p.setSafe(mp)
			p.start.Store(int64(mp.Start))
			w, err := walk(l.fs, p, mp, r.clean, l.now())
			if err != nil {
				return fmt.Errorf("partition %s: %w", p.tp, err)
			}
			r.walks[p] = w
			r.order = append(r.order, p)
		}
	}
	for _, name := range names {
		if _, ok := parsePartitionDir(name); ok && !known[name] {
			l.logger.Warn("directory of no known topic is left alone", "dir", l.fs.PathJoin(l.dir, topicsDirName, name))
		}
	}
	return nil
}

// parseDeletedDir reads the topic id from "topic-0.<id>-delete".
func parseDeletedDir(name string) (TopicID, bool) {
	name, ok := strings.CutSuffix(name, deleteSuffix)
	if !ok || len(name) < 23 || name[len(name)-23] != '.' {
		return TopicID{}, false
	}
	id, err := ParseTopicID(name[len(name)-22:])
	return id, err == nil
}

// judge finds out, without changing anything, whether the journal joins on to
// the segments, and whether segments know of more than the journal does.
func (r *recovery) judge() error {
	if err := r.confirm(); err != nil {
		return err
	}
	ends := map[*partition]Offset{} // what recovery point and journal vouch for
	bytes := map[*partition]int64{} // what the journal will write beyond the walk
	for _, p := range r.order {
		ends[p] = r.walks[p].meta.Recovery
	}
	for _, e := range r.journal.entries {
		for _, fp := range e.parts {
			p := r.find(fp.id, fp.partition)
			if p == nil || fp.kind != partBatches {
				continue
			}
			if fp.base > max(ends[p], r.walks[p].end) {
				return fmt.Errorf("%w: partition %s: journal file %d at byte %d holds offsets from %d on, but what comes before ends at %d",
					ErrCorrupt, p.tp, e.file, e.pos, fp.base, max(ends[p], r.walks[p].end))
			}
			if fp.end > r.walks[p].end {
				bytes[p] += fp.bytes
			}
			ends[p] = max(ends[p], fp.end)
		}
	}
	for _, p := range r.order {
		if err := r.judgePartition(p, ends[p], bytes[p]); err != nil {
			return err
		}
	}
	return nil
}

// judgePartition compares a partition's files with the end that is vouched for.
func (r *recovery) judgePartition(p *partition, vouched Offset, replay int64) error {
	w := r.walks[p]
	beyond := func(file string, pos int64, info BatchInfo) error {
		err := fmt.Errorf("%w: partition %s: %s at byte %d holds a whole batch with offsets %d to %d, but the journal ends at %d: the journal has lost what it had acknowledged; nothing was changed",
			ErrCorrupt, p.tp, file, pos, info.BaseOffset, info.LastOffset(), vouched)
		if r.journal.torn != nil {
			err = fmt.Errorf("%w: %w", err, r.journal.torn)
		}
		return err
	}
	group := r.mode == SyncGroup
	// What a crash kept from being referred to for good may be there in part.
	unfinished := max(vouched, r.unfinished[p])
	if w.end > vouched {
		if group && w.end > unfinished {
			return beyond(w.segments[len(w.segments)-1].logName(), w.pos, BatchInfo{BaseOffset: vouched, LastOffsetDelta: int32(w.end - vouched - 1)})
		}
		return nil // unsynced leftovers, cut by run
	}
	if !group {
		return nil
	}
	if n := len(w.segments); n > 0 && w.tail > replay {
		s := w.segments[n-1]
		if info, ok := wholeBatchAt(r.l.fs, s.logName(), w.pos+replay); ok && info.BaseOffset == vouched && vouched == unfinished {
			return beyond(s.logName(), w.pos+replay, info)
		}
	}
	for _, base := range w.later {
		name := newSegment(r.l.fs, p.dir, base, 0).logName()
		if info, ok := wholeBatchAt(r.l.fs, name, 0); ok && info.BaseOffset >= unfinished {
			return beyond(name, 0, info)
		}
	}
	return nil
}

func (r *recovery) find(id TopicID, n int32) *partition {
	t := r.byID[id]
	if t == nil || int(n) >= len(t.parts) || n < 0 {
		return nil // deleted since
	}
	return t.parts[n]
}

// run makes the directory what judge found it to be, and syncs all of it
// before the journal is given up.
func (r *recovery) run(m *meta) error {
	l := r.l
	if err := r.finishDeletions(); err != nil {
		return fmt.Errorf("finish the deletion of a topic: %w", err)
	}
	l.topics.Store(&r.topics)
	vouched := r.vouched()
	for _, p := range r.order {
		if err := r.settle(p, vouched[p]); err != nil {
			return fmt.Errorf("partition %s: %w", p.tp, err)
		}
	}
	if err := r.syncReferences(); err != nil {
		return fmt.Errorf("sync what the journal refers to: %w", err)
	}
	if err := r.replay(); err != nil {
		return err
	}
	if err := r.loadProducers(); err != nil {
		return err
	}
	number := m.Journal
	if n := len(r.journal.numbers); n > 0 {
		number = max(number, r.journal.numbers[n-1])
	}
	l.journal = &journal{
		fs: l.fs, dir: l.journalDir(), mode: l.opts.Sync.Mode, limit: l.opts.JournalBytes,
		seed: l.seed(), first: number, number: number, seq: r.journal.last, synced: r.journal.last,
	}
	l.applied = r.journal.last
	if err := r.makeSafe(); err != nil {
		return err
	}
	if err := l.space.prepare(l); err != nil {
		return err
	}
	return l.loadOffsets()
}

// syncReferences makes durable what the journal refers to, before anything else of
// its entries is: a process that was killed may have written it and not synced it,
// so that a power cut would leave the other half of a commit.
func (r *recovery) syncReferences() error {
	for _, p := range r.order {
		if r.walks[p].ref == nil {
			continue
		}
		if err := r.l.syncPartition(p); err != nil {
			return err
		}
	}
	return nil
}

// finishDeletions takes their names from what is left of deleted topics, so that
// a topic made again never meets it. The files go later, once the meta is
// durable without the topic: without them it could not be opened.
func (r *recovery) finishDeletions() error {
	if len(r.gone) == 0 {
		return nil // else sync even if all are renamed: it may be what had failed
	}
	l := r.l
	topicsDir := l.fs.PathJoin(l.dir, topicsDirName)
	last := r.gone[len(r.gone)-len(r.going):]
	for i, name := range r.going {
		if err := l.fs.Rename(l.fs.PathJoin(topicsDir, name), l.fs.PathJoin(topicsDir, last[i])); err != nil {
			return err
		}
	}
	return syncDir(l.fs, topicsDir)
}

// vouched returns the end of each partition according to recovery point and journal.
func (r *recovery) vouched() map[*partition]Offset {
	ends := map[*partition]Offset{}
	for _, p := range r.order {
		ends[p] = r.walks[p].meta.Recovery
	}
	for _, e := range r.journal.entries {
		for _, fp := range e.parts {
			if p := r.find(fp.id, fp.partition); p != nil && fp.kind == partBatches {
				ends[p] = max(ends[p], fp.end)
			}
		}
	}
	return ends
}

// makeSafe syncs what was recovered, makes that known, and gives up the journal.
func (r *recovery) makeSafe() error {
	l := r.l
	work, applied := l.collectDirty()
	if err := l.syncDirty(work); err != nil {
		return err
	}
	for i := range work {
		work[i].safe.Compacted = work[i].p.safe.Compacted
		work[i].p.setSafe(work[i].safe)
	}
	l.safeSequence = applied
	if err := l.storeMeta(r.topics); err != nil {
		return err
	}
	l.journal.full = nil
	for _, n := range r.journal.numbers {
		l.journal.full = append(l.journal.full, journalFile{n, applied})
	}
	if err := l.journal.release(applied); err != nil {
		return err
	}
	r.removeStale()
	if !r.clean && l.boot > 1 {
		l.logger.Info("recovered after an unclean shutdown", "entries", len(r.journal.entries), "leader-epoch", l.leaderEpoch)
	}
	return nil
}

// removeStale removes what deletions, retention and compaction had given up
// before a crash. A file that cannot be removed is in nobody's way.
func (r *recovery) removeStale() {
	for _, name := range r.gone {
		dir := r.l.fs.PathJoin(r.l.dir, topicsDirName, name)
		if err := r.l.fs.RemoveAll(dir); err != nil && !isNotExist(err) {
			r.l.logger.Warn("leftover of a deleted topic cannot be removed", "dir", dir, "err", err)
		}
	}
	for _, p := range r.order {
		for _, base := range r.walks[p].stale {
			s := newSegment(r.l.fs, p.dir, base, 0)
			if err := s.remove(); err != nil {
				r.l.logger.Warn("leftover of retention or compaction cannot be removed", "file", s.logName(), "err", err)
			}
		}
		for _, name := range r.walks[p].cleaned {
			if err := r.l.fs.Remove(r.l.fs.PathJoin(p.dir, name)); err != nil && !isNotExist(err) {
				r.l.logger.Warn("leftover of compaction cannot be removed", "file", name, "err", err)
			}
		}
	}
}

// remove deletes the files of a segment.
func (s *segment) remove() error {
	var errs []error
	for _, suffix := range []string{logSuffix, indexSuffix, timeIndexSuffix, txnIndexSuffix} {
		if err := s.fs.Remove(s.path + suffix); err != nil && !isNotExist(err) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
