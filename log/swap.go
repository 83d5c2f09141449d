package log

import (
	"errors"
	"fmt"
	"slices"
)

// swap puts a new segment in the place of a group of neighbours. Its file, aside
// under name, is complete and synced. The steps and what a crash leaves:
//
//  1. the directory is synced: the new file has its name for good. A crash
//     leaves a file that nobody knows of; Open removes it.
//  2. the meta names the new file. From here on it is the one that counts: Open
//     renames it, and removes the segments that the meta has no more.
//  3. it is renamed over the first of the old files, the others are removed, and
//     the directory is synced.
//
// No checkpoint comes in between: it would store a meta without the name.
func (l *Embedded) swap(p *partition, group []*segment, s *segment, name string) error {
	l.checkpointMu.Lock()
	defer l.checkpointMu.Unlock()
	list := *p.segments.Load()
	at := slices.Index(list, group[0])
	if p.topic.gone(l) || at < 0 || at+len(group) >= len(list) || !slices.Equal(list[at:at+len(group)], group) {
		return fmt.Errorf("%w while it was compacted", errGone)
	}
	aborted := between(*p.txns.aborted.Load(), s.base, list[at+len(group)].base)
	if len(aborted) > 0 {
		// What it has too many of, should this end here, is passed over.
		f := txnIndexFile{s.path + txnIndexSuffix, appendTxnIndex(nil, aborted)}
		if err := f.store(l.fs); err != nil {
			return err
		}
	}
	if err := syncDir(l.fs, p.dir); err != nil {
		return l.fatal(err)
	}
	if err := l.nameSwap(p, group, s, name, len(aborted)); err != nil {
		return err
	}

	p.swapMu.Lock()
	defer p.swapMu.Unlock()
	if err := l.fs.Rename(l.fs.PathJoin(p.dir, name), s.logName()); err != nil {
		return l.fatal(fmt.Errorf("put compacted segment in place: %w", err))
	}
	l.applyMu.Lock() // the list may have grown at its end
	list = *p.segments.Load()
	changed := append(slices.Clone(list[:at]), s)
	changed = append(changed, list[at+len(group):]...)
	p.segments.Store(&changed)
	l.applyMu.Unlock()
	for _, old := range group[1:] {
		if err := old.remove(); err != nil {
			return l.fatal(fmt.Errorf("remove compacted segment: %w", err))
		}
	}
	if err := syncDir(l.fs, p.dir); err != nil {
		return l.fatal(err)
	}
	if err := s.writeIndexes(true); err != nil {
		l.logger.Warn("indexes of a compacted segment were not written, they will be made when needed", "err", err)
	}
	return nil
}

// nameSwap makes the meta say that the file called name replaces a group.
func (l *Embedded) nameSwap(p *partition, group []*segment, s *segment, name string, aborted int) error {
	l.metaMu.Lock() // until it is stored or undone: nobody else stores half of it
	defer l.metaMu.Unlock()
	old := p.safe.Segments
	changed := make([]metaSegment, 0, len(old))
	last := group[len(group)-1].base
	for _, ms := range old {
		switch {
		case ms.Base == s.base:
			changed = append(changed, metaSegment{Base: s.base, Bytes: s.size.Load(), MaxTime: s.maxTime, AppendTime: s.lastTime, FirstTime: s.firstTime, Aborted: aborted, Swap: name})
		case ms.Base < s.base || ms.Base > last:
			changed = append(changed, ms)
		}
	}
	p.safe.Segments = changed
	err := l.storeMetaLocked(*l.topics.Load())
	if errors.Is(err, ErrNoSpace) {
		p.safe.Segments = old // it was written aside, and not renamed
		return err
	}
	if err != nil {
		// It may have become durable or not.
		return l.fatal(err)
	}
	return nil
}

// fatal makes the log read-only for err, and returns it.
func (l *Embedded) fatal(err error) error {
	l.fail(err)
	return err
}
