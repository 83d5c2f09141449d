package log

import (
	"errors"
	"fmt"
)

// retain gives up whole segments that a topic's configs, or a raised start
// offset, no longer keep. Only sealed segments below the recovery point are
// touched; and the new start is durable before a file goes.
func (l *Embedded) retain() error {
	var errs []error
	_ = l.eachPartition(func(p *partition) error {
		if err := l.retainPartition(p); err != nil {
			errs = append(errs, fmt.Errorf("retention of %s: %w", p.tp, err))
		}
		return nil
	})
	return errors.Join(errs...)
}

func (l *Embedded) retainPartition(p *partition) error {
	l.checkpointMu.Lock()
	defer l.checkpointMu.Unlock()
	if l.failure.Load() != nil {
		return nil
	}
	l.metaMu.Lock()
	safe := p.safe.Recovery
	l.metaMu.Unlock()
	list := *p.segments.Load()
	n := expired(list, p.topic.config(), Offset(p.start.Load()), safe, l.now())
	if n == 0 {
		return nil
	}
	gone := list[:n]
	p.raiseStart(list[n].base)

	l.applyMu.Lock() // the list may have grown at its end
	kept := append([]*segment(nil), (*p.segments.Load())[n:]...)
	p.segments.Store(&kept)
	l.applyMu.Unlock()

	l.metaMu.Lock()
	drop := 0
	for drop < len(p.safe.Segments) && p.safe.Segments[drop].Base < kept[0].base {
		drop++
	}
	p.safe.Segments = append([]metaSegment(nil), p.safe.Segments[drop:]...)
	l.metaMu.Unlock()
	if err := l.storeMeta(*l.topics.Load()); err != nil {
		return err
	}
	var errs []error
	p.swapMu.Lock()
	for _, s := range gone {
		errs = append(errs, s.remove())
	}
	p.swapMu.Unlock()
	l.m.removed.Inc(int64(len(gone)))
	l.logger.Debug("removed segments", "partition", p.tp, "segments", len(gone), "start", kept[0].base)
	return errors.Join(errs...)
}

// expired returns how many segments from the front may go. The last one never
// does, nor does any that reaches beyond safe.
//
// Age counts from the later of the newest timestamp and the last append, so that
// old events just taken in are not deleted at once.
func expired(list []*segment, cfg *topicConfig, start, safe Offset, now Timestamp) int {
	var total int64
	for _, s := range list {
		total += s.size.Load()
	}
	n := 0
	for ; n < len(list)-1; n++ {
		s, end := list[n], list[n+1].base
		if end > safe {
			break
		}
		maxTime, appended := s.times()
		byStart := end <= start
		byAge := cfg.delete && cfg.retentionMs >= 0 && int64(now-max(maxTime, appended)) > cfg.retentionMs
		bySize := cfg.delete && cfg.retentionBytes >= 0 && total-s.size.Load() >= cfg.retentionBytes
		if !byStart && !byAge && !bySize {
			break
		}
		total -= s.size.Load()
	}
	return n
}
