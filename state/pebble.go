package state

import (
	"errors"
	"fmt"
	"io/fs"
	"runtime"
	"sync"

	pebbleerrors "github.com/cockroachdb/errors"
	"github.com/cockroachdb/pebble"
	"github.com/cockroachdb/pebble/bloom"
	"github.com/cockroachdb/pebble/objstorage/objstorageprovider"
	"github.com/cockroachdb/pebble/sstable"
	"github.com/hashicorp/go-hclog"
)

// Everything that depends on Pebble's version and tuning is in this file.

// pebbleOptions are what a task's database is opened with. The numbers behind
// them are in DESIGN.md.
func pebbleOptions(o *Options, f *failure, g *gate, cache *pebble.Cache) *pebble.Options {
	p := &pebble.Options{
		FS:    g,
		Cache: cache,
		// The default format of v1.1.5 is one that no later version opens.
		FormatMajorVersion: pebble.FormatNewest,
		// The changelog is the write-ahead log.
		DisableWAL: true,

		MemTableSize:                uint64(o.MemTableBytes),
		MemTableStopWritesThreshold: 1000, // see room
		MaxConcurrentCompactions:    func() int { return o.Compactions },
		// Keys of a big store are updated all over it, so every compaction out of
		// L0 rewrites most of the level below: many files are let gather first,
		// and one big level is cheaper than three of growing size.
		// (Pebble compares the threshold with twice the number of sublevels.)
		L0CompactionThreshold: 2 * l0Gather,
		L0StopWritesThreshold: 1000, // see room
		LBaseMaxBytes:         1 << 30,
		MaxOpenFiles:          256,

		Logger: pebbleLogger{o.Logger, f},
		EventListener: &pebble.EventListener{
			BackgroundError: func(err error) {
				g.endIfShut()
				f.background(err)
			},
			FlushEnd:      func(i pebble.FlushInfo) { f.ended(i.Err) },
			CompactionEnd: func(i pebble.CompactionInfo) { f.ended(i.Err) },
		},
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
	if err != nil && (isCorrupt(err) || errors.Is(err, fs.ErrNotExist) || errors.Is(err, errPanic)) {
		if err := d.remove(err.Error()); err != nil {
			return err
		}
		err = d.tryOpenPebble()
	}
	return err
}

// isCorrupt tells whether Pebble found damage. It marks such errors in a way of
// its own, which the standard errors.Is does not see.
func isCorrupt(err error) bool { return pebbleerrors.Is(err, pebble.ErrCorruption) }

func (d *DB) tryOpenPebble() error {
	d.failure = newFailure(d.logger, &d.counters)
	d.gate = &gate{FS: d.opts.FS}
	o := pebbleOptions(&d.opts, d.failure, d.gate, d.blockCache)
	err := d.guard(func() (err error) {
		d.pebble, err = openOrPanic(d.spec.Dir, o)
		return err
	})
	if err != nil {
		return errors.Join(err, d.gate.close())
	}
	d.tableOptions = o.MakeWriterOptions(0, d.pebble.FormatMajorVersion().MaxTableFormat())
	if err := d.removeTable(); err != nil {
		return errors.Join(err, d.closePebble())
	}
	return nil
}

// errPanic marks a panic of pebble.Open.
var errPanic = errors.New("pebble panicked")

// openOrPanic is pebble.Open, which panics where a sync fails, and seldom on
// what a power cut left behind. Here that is an error like others, and the gate
// gives back the lock of a directory that was not closed well.
func openOrPanic(dir string, o *pebble.Options) (p *pebble.DB, err error) {
	defer func() {
		if r := recover(); r != nil {
			rerr, ok := r.(error)
			if !ok {
				panic(r)
			}
			err = fmt.Errorf("%w: %w", errPanic, rerr)
		}
	}()
	return pebble.Open(dir, o)
}

// closePebble closes Pebble. An instance that gave up in the middle of its work,
// before Close or while Close waits for that work, would keep Close waiting: it
// is left behind, unable to touch the disk, and its files, which cannot be
// trusted, are removed.
func (d *DB) closePebble() error {
	if !d.failure.isDamaged() {
		err := d.guard(d.pebble.Close)
		if !d.failure.isDamaged() {
			return err
		}
	}
	return errors.Join(d.gate.close(), d.opts.FS.RemoveAll(d.spec.Dir))
}

// guard runs work of Pebble on a goroutine of its own, because Pebble may end
// that goroutine (see pebbleLogger.Fatalf) or keep it waiting for one that was
// ended. In that case guard returns why, and the work may be left behind.
func (d *DB) guard(work func() error) error {
	done := make(chan error, 1)
	go func() {
		defer close(done)
		done <- work()
	}()
	select {
	case err, ok := <-done:
		if ok {
			return err
		}
	case <-d.failure.gaveUp:
	}
	return d.failure.get()
}

const (
	// l0Gather is how many overlapping files gather in L0 before they are
	// compacted; at maxSublevels Apply waits.
	l0Gather     = 32
	maxSublevels = 3 * l0Gather
	// maxMemTables is with how many memtables Apply goes on: one that is filled
	// and two that are being flushed.
	maxMemTables = 3
)

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
//
// fill is not running any more when update returns, so it may read what is the
// caller's, even if Pebble was given up in the middle of it.
func (d *DB) update(n, size int, fill func(changeWriter) error) error {
	var mu sync.Mutex // held by fill
	over := false
	err := d.guard(func() error {
		return d.updateUnguarded(n, size, func(w changeWriter) error {
			mu.Lock()
			defer mu.Unlock()
			if over {
				return ErrFailed
			}
			return fill(w)
		})
	})
	mu.Lock()
	defer mu.Unlock()
	over = true
	return err
}

func (d *DB) updateUnguarded(n, size int, fill func(changeWriter) error) error {
	if err := d.room(); err != nil {
		return err
	}
	const perChange = 64 // bytes in a memtable beside key and value
	if int64(n*perChange+size) > d.opts.MemTableBytes/4 {
		return d.ingest(fill)
	}
	b := d.pebble.NewBatchWithSize(size + n*(storeIDSize+8) + 1024)
	defer b.Close()
	if err := fill(batchWriter{b}); err != nil {
		return err
	}
	return d.pebble.Apply(b, pebble.NoSync)
}

// room waits until Pebble is not too far behind with its flushes and compactions.
// Pebble would wait by itself, but for ever if the disk is gone.
func (d *DB) room() error {
	for {
		ended := d.failure.events()
		if err := d.failure.get(); err != nil {
			return err
		}
		m := d.pebble.Metrics()
		// By size, not by number: the first memtables are small, and Pebble does
		// not flush before half of a full one has gathered.
		if m.MemTable.Size <= uint64(maxMemTables*d.opts.MemTableBytes) && int(m.Levels[0].Sublevels) < maxSublevels {
			return nil
		}
		d.failure.wait(ended)
	}
}

// ingest makes a table of changes and adds it to Pebble.
func (d *DB) ingest(fill func(changeWriter) error) error {
	name := d.tableName()
	f, err := d.gate.Create(name)
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
	// Links it under another name and removes this one.
	return d.pebble.Ingest([]string{name})
}

// tableName is where a table is made. Pebble leaves files alone whose names it
// does not know.
func (d *DB) tableName() string { return d.opts.FS.PathJoin(d.spec.Dir, "apply.table") }

// removeTable removes what an ingest may have left behind. After a crash it can
// be a second name of a table in use, so it must not be written over.
func (d *DB) removeTable() error {
	err := d.gate.Remove(d.tableName())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// pebbleLogger passes on what Pebble has to say.
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

// Fatalf is called where Pebble cannot go on: the manifest could not be written
// because the disk is full, for instance. Pebble's own would end the process; to
// return would let it go on with tables it has lost track of. Here it ends the
// goroutine, whose deferred calls release Pebble's mutex, and the database,
// which can be restored from the log.
func (l pebbleLogger) Fatalf(format string, args ...any) {
	err := fmt.Errorf(format, args...)
	l.Error("state database failed", "err", err)
	l.f.fatal(err, true)
	runtime.Goexit()
}
