package state

import (
	"fmt"
	"sync"

	"github.com/hashicorp/go-hclog"
)

// failure hears how Pebble's background work goes, and remembers that Pebble can
// no longer be used. Any goroutine.
type failure struct {
	logger   hclog.Logger
	counters *counters
	happened chan struct{} // closed when err is set
	gaveUp   chan struct{} // closed when damaged is set

	mu      sync.Mutex // guards the fields below
	changed sync.Cond  // one of them has changed
	err     error
	damaged bool   // what is on the disk cannot be trusted either
	tries   int    // background errors in a row
	ends    uint64 // flushes and compactions that have ended, well or not
}

// maxTries is how often in a row background work may fail. Pebble tries again
// at once and for ever.
const maxTries = 100

func newFailure(logger hclog.Logger, c *counters) *failure {
	f := &failure{logger: logger, counters: c, happened: make(chan struct{}), gaveUp: make(chan struct{})}
	f.changed.L = &f.mu
	return f
}

// fatal ends the use of the database; damaged says that it has to be wiped.
func (f *failure) fatal(err error, damaged bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fatalLocked(err, damaged)
}

func (f *failure) fatalLocked(err error, damaged bool) {
	if f.err == nil {
		f.err = err
		close(f.happened)
	}
	if damaged && !f.damaged {
		f.damaged = true
		close(f.gaveUp)
	}
	f.changed.Broadcast()
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

func (f *failure) isDamaged() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.damaged
}

// background hears of a flush or compaction that failed: of a full disk, say.
// Pebble tries again with new files, so nothing is wrong yet; but a table that
// is damaged stays so.
func (f *failure) background(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.counters.diskErrors.Inc(1)
	if f.tries++; f.tries == 1 {
		f.logger.Warn("background work on state failed and is tried again", "err", err)
	}
	if damaged := isCorrupt(err); damaged || f.tries >= maxTries {
		f.fatalLocked(err, damaged)
	}
}

// ended hears of the end of a flush or compaction.
func (f *failure) ended(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err == nil {
		f.tries = 0
	}
	f.ends++
	f.changed.Broadcast()
}

// events counts the flushes and compactions that have ended; wait returns when
// there are more than that, or the database has failed.
func (f *failure) events() uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.ends
}

func (f *failure) wait(events uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for f.ends == events && f.err == nil {
		f.changed.Wait()
	}
}
