package log

import (
	"context"
	"fmt"
	"slices"
)

// Export copies a topic into dir as Kafka keeps it, so that it can be looked at
// with Kafka's tools or served by a Kafka broker: for each partition a directory
//
//	orders-0/00000000000000000000.log         batches, byte for byte
//	         00000000000000000000.index       and .timeindex: derived
//	         leader-epoch-checkpoint
//	         partition.metadata               the topic's id
//
// The copy is of one moment: what was committed together is in it together, or
// not at all. It is on the disk when Export returns. A partition's directory must
// not be there yet. What DeleteRecords has hidden of the first batch comes along.
func (l *Embedded) Export(ctx context.Context, topic, dir string) error {
	if err := l.export(ctx, topic, dir); err != nil {
		return fmt.Errorf("export topic %q to %s: %w", topic, dir, err)
	}
	return nil
}

func (l *Embedded) export(ctx context.Context, name, dir string) error {
	t, ok := (*l.topics.Load())[name]
	if !ok {
		return ErrUnknownTopic
	}
	bounds := make([]Bounds, len(t.parts))
	l.applyMu.Lock() // nothing is shown to readers meanwhile
	for i, p := range t.parts {
		bounds[i] = p.bounds()
	}
	l.applyMu.Unlock()
	for _, p := range t.parts {
		to := l.fs.PathJoin(dir, p.tp.String())
		if _, err := l.fs.Stat(to); !isNotExist(err) {
			return fmt.Errorf("%s is there already (%v), want it to be made", to, err)
		}
	}
	for i, p := range t.parts {
		x := &exporter{l: l, p: p, dir: l.fs.PathJoin(dir, p.tp.String()), bounds: bounds[i]}
		if err := x.run(ctx); err != nil {
			return fmt.Errorf("partition %s: %w", p.tp, err)
		}
	}
	return syncDir(l.fs, dir)
}

// exporter copies one partition.
type exporter struct {
	l      *Embedded
	p      *partition
	dir    string
	bounds Bounds

	s   *segment // being written, or nil
	pos int64    // of its end
}

func (x *exporter) run(ctx context.Context) (err error) {
	if err := x.l.fs.MkdirAll(x.dir, 0o755); err != nil {
		return fmt.Errorf("make directory %s: %w", x.dir, err)
	}
	defer func() {
		if x.s != nil && x.s.file != nil {
			_ = x.s.file.Close() // after a failure
		}
	}()
	r, err := x.l.OpenReader(x.p.tp, x.bounds.Start, ReaderOptions{Uncommitted: true, MaxBytes: 1 << 20})
	if err != nil {
		return err
	}
	defer r.Close()
	for next := x.bounds.Start; next < x.bounds.End; {
		if err := ctx.Err(); err != nil {
			return err
		}
		run, err := r.(*reader).PollBatches()
		if err != nil {
			return err
		}
		if len(run) == 0 {
			break // compaction has left nothing up to the end
		}
		err = ForEachBatch(run, func(info BatchInfo, batch []byte) error {
			if info.BaseOffset >= x.bounds.End {
				return nil
			}
			next = info.NextOffset()
			return x.write(&info, batch)
		})
		if err != nil {
			return err
		}
		if last := r.Position(); last > next {
			next = last
		}
	}
	return x.finish()
}

// write adds a batch, in the next file if the one before is full.
func (x *exporter) write(info *BatchInfo, batch []byte) error {
	cfg := x.p.topic.config()
	if x.s != nil && (x.pos+int64(len(batch)) > cfg.segmentBytes || int64(info.LastOffset()-x.s.base) > 1<<30) {
		if err := x.seal(); err != nil {
			return err
		}
	}
	if x.s == nil {
		x.s, x.pos = newSegment(x.l.fs, x.dir, info.BaseOffset, cfg.indexBytes), 0
		if _, err := x.s.openForWrite(); err != nil {
			return err
		}
	}
	if err := x.s.writeAt(batch, x.pos); err != nil {
		return err
	}
	x.s.x.add(info, x.pos)
	x.pos += int64(len(batch))
	return nil
}

// seal makes the file that is being written whole.
func (x *exporter) seal() error {
	s := x.s
	s.x.finish()
	if err := writeFile(s.fs, s.path+indexSuffix, appendIndex(nil, s.x.offsets), true); err != nil {
		return err
	}
	if err := writeFile(s.fs, s.path+timeIndexSuffix, appendTimeIndex(nil, s.x.times), true); err != nil {
		return err
	}
	if err := s.file.Sync(); err != nil {
		return fmt.Errorf("sync %s: %w", s.logName(), err)
	}
	err := s.file.Close()
	x.s.file, x.s = nil, nil
	return err
}

// finish writes what lies beside the segments.
func (x *exporter) finish() error {
	if x.s != nil {
		if err := x.seal(); err != nil {
			return err
		}
	}
	x.p.epochs.mu.Lock()
	epochs := leaderEpochs{list: slices.DeleteFunc(slices.Clone(x.p.epochs.list), func(e epochStart) bool { return e.start >= x.bounds.End })}
	x.p.epochs.mu.Unlock()
	fs := x.l.fs
	if err := writeFile(fs, fs.PathJoin(x.dir, leaderEpochName), epochs.encode(), true); err != nil {
		return err
	}
	if err := writeFile(fs, fs.PathJoin(x.dir, partitionMetadataName), x.p.metadata(), true); err != nil {
		return err
	}
	return syncDir(fs, x.dir)
}
