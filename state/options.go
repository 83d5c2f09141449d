package state

import (
	"errors"
	"fmt"
	"runtime"
	"time"

	"github.com/cockroachdb/pebble"
	"github.com/hashicorp/go-hclog"
	"github.com/rcrowley/go-metrics"

	"github.com/gretestream/grete/log"
)

// Options tune a DB. The zero value is useful.
type Options struct {
	// FS is the door to the disk. Default: the file system of the machine.
	FS log.FS

	// BlockCache holds blocks read from the disk. One cache serves all databases
	// of a process; the caller keeps its own reference. Pebble takes the memory
	// of memtables out of it, so its size is that of blocks and memtables
	// together. Default: one of this database alone, with DefaultBlockCacheBytes
	// for blocks.
	BlockCache *pebble.Cache

	// MemTableBytes is the size of one memtable. A database has up to three of
	// them under load: one that is filled and two that are being flushed.
	// Default: 16 MiB.
	MemTableBytes int64

	// FlushEvery is the longest time, and FlushBytes the most bytes of
	// changelog, between two flushes of a database that changes. They bound what
	// is read again after a crash. Default: 10 minutes and 64 MiB.
	FlushEvery time.Duration
	FlushBytes int64

	// DeleteRetention is the smallest delete.retention.ms of the changelogs. A
	// database that was last known to be at the end of its changelogs longer ago
	// than half of it is restored whole, since a tombstone that it needs may
	// have been compacted away. Default: 24 hours.
	DeleteRetention time.Duration

	// Progress is called during a restore with the number of changelog offsets
	// read and the number to be read in all, over all stores of the task, from
	// the goroutine that called Open. Default: none.
	Progress func(done, total int64)

	// Logger hears of wipes, restores and what Pebble reports. Default: none.
	Logger hclog.Logger

	// Metrics is where counters are registered (see metrics.go); databases that
	// share a registry share the counters. Default: a registry of its own.
	Metrics metrics.Registry

	// Now is the clock of flushes, of positions and of changelog timestamps.
	// Default: time.Now.
	Now func() time.Time

	// Compactions is how many Pebble compactions may run at once. Default: 1,
	// or 2 on eight processors and more; a process has many databases.
	Compactions int
}

// DefaultBlockCacheBytes is the size of the block cache of a DB that is not
// given one.
const DefaultBlockCacheBytes = 8 << 20

// EnsureDefaults fills in every field that is zero, except BlockCache, and
// returns o.
func (o *Options) EnsureDefaults() *Options {
	if o.FS == nil {
		o.FS = log.DefaultFS
	}
	if o.MemTableBytes == 0 {
		o.MemTableBytes = 16 << 20
	}
	if o.FlushEvery == 0 {
		o.FlushEvery = 10 * time.Minute
	}
	if o.FlushBytes == 0 {
		o.FlushBytes = 64 << 20
	}
	if o.DeleteRetention == 0 {
		o.DeleteRetention = 24 * time.Hour
	}
	if o.Progress == nil {
		o.Progress = func(int64, int64) {}
	}
	if o.Logger == nil {
		o.Logger = hclog.NewNullLogger()
	}
	if o.Metrics == nil {
		o.Metrics = metrics.NewRegistry()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Compactions == 0 {
		o.Compactions = 1
		if runtime.GOMAXPROCS(0) >= 8 {
			o.Compactions = 2
		}
	}
	return o
}

// Validate reports all mistakes at once, by field name. Defaults are in place.
func (o *Options) Validate() error {
	var errs []error
	want := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	want(o.MemTableBytes >= 256<<10 && o.MemTableBytes <= 1<<30, "options: MemTableBytes is %d, want 256 KiB to 1 GiB", o.MemTableBytes)
	want(o.FlushEvery > 0, "options: FlushEvery is %v, want more than 0", o.FlushEvery)
	want(o.FlushBytes > 0, "options: FlushBytes is %d, want more than 0", o.FlushBytes)
	want(o.DeleteRetention > 0, "options: DeleteRetention is %v, want more than 0", o.DeleteRetention)
	want(o.Compactions > 0, "options: Compactions is %d, want more than 0", o.Compactions)
	return errors.Join(errs...)
}

// Validate reports all mistakes at once.
func (s *Spec) Validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if s.Dir == "" {
		bad("spec: Dir is empty")
	}
	names, ids, changelogs := map[string]bool{}, map[uint32]bool{}, map[log.TopicPartition]bool{}
	for _, st := range s.Stores {
		switch {
		case st.Name == "":
			bad("spec: store %d has no name", st.ID)
		case names[st.Name]:
			bad("spec: store %q is named twice", st.Name)
		}
		switch {
		case st.ID == ownID:
			bad("spec: store %q has id %#x, which is reserved", st.Name, st.ID)
		case ids[st.ID]:
			bad("spec: store %q has id %d, which another store has too", st.Name, st.ID)
		}
		switch {
		case st.Changelog.Topic == "":
			bad("spec: store %q has no changelog", st.Name)
		case changelogs[st.Changelog]:
			bad("spec: store %q has changelog %v, which another store has too", st.Name, st.Changelog)
		}
		names[st.Name], ids[st.ID], changelogs[st.Changelog] = true, true, true
	}
	return errors.Join(errs...)
}
