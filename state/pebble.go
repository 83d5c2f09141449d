package state

import (
	"fmt"
	"sync"

	"github.com/cockroachdb/pebble"
	"github.com/cockroachdb/pebble/bloom"
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
		L0CompactionThreshold: 8,
		L0StopWritesThreshold: 64,
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
