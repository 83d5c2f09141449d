package state

import (
	"errors"
	"fmt"
	"io/fs"
	"sync"

	"github.com/cockroachdb/pebble"
	"github.com/cockroachdb/pebble/bloom"
	"github.com/cockroachdb/pebble/objstorage/objstorageprovider"
	"github.com/cockroachdb/pebble/sstable"
	"github.com/hashicorp/go-hclog"
)

// Everything that depends on Pebble's version and tuning is in this file.

// pebbleOptions are what a task's database is opened with. The numbers behind
// them are in DESIGN.md.
func pebbleOptions(o *Options, f *failure, cache *pebble.Cache) *pebble.Options {
	p := &pebble.Options{
		FS:    o.FS,
		Cache: cache,
		// The default format of v1.1.5 is one that no later version opens.
		FormatMajorVersion: pebble.FormatNewest,
		// The changelog is the write-ahead log.
		DisableWAL: true,

		MemTableSize:                uint64(o.MemTableBytes),
		MemTableStopWritesThreshold: 3,
		MaxConcurrentCompactions:    func() int { return o.Compactions },
		// Keys of a big store are updated all over it, so every compaction out of
		// L0 rewrites most of the level below: many files are let gather first,
		// and one big level is cheaper than three of growing size.
		// (Pebble compares the threshold with twice the number of sublevels.)
		L0CompactionThreshold: 2 * l0Gather,
		L0StopWritesThreshold: 3 * l0Gather,
		LBaseMaxBytes:         1 << 30,
		MaxOpenFiles:          256,

		Logger:        pebbleLogger{o.Logger, f},
		EventListener: &pebble.EventListener{BackgroundError: f.background},
	}
	p.Levels = make([]pebble.LevelOptions, 7)
	for i := range p.Levels {
		p.Levels[i] = pebble.LevelOptions{
			BlockSize:      16 << 10,
			IndexBlockSize: 64 << 10,
			TargetFileSize: 8 << 20,
			// Counters and short keys do not shrink enough to pay for it.
			Compression: pebble.NoCompression,
		}
	}
	// A miss of a cache asks for keys that are mostly not there; L0 has the most
	// files to ask.
	p.Levels[0].FilterPolicy = bloom.FilterPolicy(10)
	p.Levels[0].FilterType = pebble.TableFilter
	return p
}

// openPebble opens the directory. One that is damaged is wiped: all that it
// held is in the changelogs.
func (d *DB) openPebble() error {
	err := d.tryOpenPebble()
	if err != nil && (errors.Is(err, pebble.ErrCorruption) || errors.Is(err, fs.ErrNotExist)) {
		if err := d.remove(err.Error()); err != nil {
			return err
		}
		err = d.tryOpenPebble()
	}
	return err
}

func (d *DB) tryOpenPebble() (err error) {
	d.failure = &failure{logger: d.logger, counters: &d.counters}
	o := pebbleOptions(&d.opts, d.failure, d.blockCache)
	if d.pebble, err = pebble.Open(d.spec.Dir, o); err != nil {
		return err
	}
	d.tableOptions = o.MakeWriterOptions(0, d.pebble.FormatMajorVersion().MaxTableFormat())
	if err := errors.Join(d.failure.get(), d.removeTable()); err != nil {
		return errors.Join(err, d.pebble.Close())
	}
	return nil
}

// l0Gather is how many overlapping files gather in L0 before they are compacted.
const l0Gather = 32

// changeWriter takes changes in key order: a batch or a table.
type changeWriter interface {
	Set(key, value []byte) error
	Delete(key []byte) error
}

type batchWriter struct{ b *pebble.Batch }

func (w batchWriter) Set(key, value []byte) error { return w.b.Set(key, value, nil) }
func (w batchWriter) Delete(key []byte) error     { return w.b.Delete(key, nil) }

// update writes n changes of size bytes, which fill makes in key order, into
// Pebble as one step: all or nothing after a crash, and in a View.
//
// Small ones are a batch for the memtable, which takes keys in order four times
// as fast as keys in disorder. Big ones are made a table at once and given to
// L0: what the memtable costs, to fill and to flush, is twice what the table does.
func (d *DB) update(n, size int, fill func(changeWriter) error) error {
	const perChange = 64 // bytes in a memtable beside key and value
	if int64(n*perChange+size) > d.opts.MemTableBytes/4 {
		// Ingesting never waits for compactions; a batch does when there are too
		// many files in L0.
		if d.pebble.Metrics().Levels[0].Sublevels < 2*l0Gather {
			return d.ingest(fill)
		}
	}
	b := d.pebble.NewBatchWithSize(size + n*(storeIDSize+8) + 1024)
	defer b.Close()
	if err := fill(batchWriter{b}); err != nil {
		return err
	}
	return d.pebble.Apply(b, pebble.NoSync)
}

// ingest makes a table of changes and adds it to Pebble.
func (d *DB) ingest(fill func(changeWriter) error) error {
	name := d.tableName()
	f, err := d.opts.FS.Create(name)
	if err != nil {
		return err
	}
	w := sstable.NewWriter(objstorageprovider.NewFileWritable(f), d.tableOptions)
	if err := fill(w); err != nil {
		return errors.Join(err, w.Close(), d.removeTable())
	}
	if err := w.Close(); err != nil { // syncs
		return errors.Join(err, d.removeTable())
	}
	return d.pebble.Ingest([]string{name}) // links it under another name and removes this one
}

// tableName is where a table is made. Pebble leaves files alone whose names it
// does not know.
func (d *DB) tableName() string { return d.opts.FS.PathJoin(d.spec.Dir, "apply.table") }

// removeTable removes what an ingest may have left behind. After a crash it can
// be a second name of a table in use, so it must not be written over.
func (d *DB) removeTable() error {
	err := d.opts.FS.Remove(d.tableName())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// failure remembers that Pebble can no longer be trusted. Any goroutine.
type failure struct {
	logger   hclog.Logger
	counters *counters

	mu  sync.Mutex // guards err
	err error
}

func (f *failure) fatal(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err == nil {
		f.err = err
	}
}

// get is nil, or an ErrFailed that says why.
func (f *failure) get() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err == nil {
		return nil
	}
	return fmt.Errorf("%w: %w", ErrFailed, f.err)
}

// background hears of a flush or compaction that failed. Pebble tries again
// with new files, so nothing is wrong yet.
func (f *failure) background(err error) {
	f.counters.diskErrors.Inc(1)
	f.logger.Warn("background work on state failed and is tried again", "err", err)
}

// pebbleLogger passes on what Pebble has to say. Pebble's own would end the
// process on Fatalf; here it ends the database, which can be restored.
type pebbleLogger struct {
	hclog.Logger
	f *failure
}

func (l pebbleLogger) Infof(format string, args ...any) {
	if l.IsTrace() {
		l.Trace(fmt.Sprintf(format, args...))
	}
}

func (l pebbleLogger) Errorf(format string, args ...any) {
	l.Error(fmt.Sprintf(format, args...))
}

func (l pebbleLogger) Fatalf(format string, args ...any) {
	err := fmt.Errorf(format, args...)
	l.Error("state database failed", "err", err)
	l.f.fatal(err)
}
