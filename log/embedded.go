package log

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/vfs"
	"github.com/hashicorp/go-hclog"
)

// Embedded is the Log in a directory of this machine. Open makes one; all its
// methods may be called from any goroutine. DESIGN.md has the lock order.
type Embedded struct {
	dir    string
	fs     FS
	opts   Options
	logger hclog.Logger
	lock   interface{ Close() error }
	m      *logMetrics

	clusterID   string
	boot        int64
	leaderEpoch int32

	// topics is replaced as a whole; topicMu serialises who does.
	topics   atomic.Pointer[map[string]*topic]
	topicIDs atomic.Pointer[map[TopicID]*topic] // the same, a moment later
	topicMu  sync.Mutex
	// topicsVersion counts how often they were replaced.
	topicsVersion atomic.Uint64
	// topicDefaults are configs that hold for topics which do not set them; guarded
	// by topicMu.
	topicDefaults map[string]string

	mu      sync.Mutex // admission: guards the fields below, and next, durable, deleted of partitions
	closed  bool
	pending *group           // admitted, not yet taken by a leader
	storing *group           // taken by the leader, not yet durable
	tail    *group           // the last group made
	fences  map[string]Epoch // by producer
	fenced  int64            // fences raised since Open: the low half of epochs

	producerIDs int64 // given out since Open: the low half of producer ids
	producers   int   // remembered by all partitions; too many when a topic was deleted

	// token lies in the channel while no leader writes and syncs the journal.
	token   chan struct{}
	journal *journal // owned by who holds the token
	// unsynced partitions have batches that the journal refers to and that no sync
	// has made durable (SyncInterval). Owned by who holds the token.
	unsynced map[*partition]bool

	applyMu sync.Mutex // held by the applier: the leader, after the sync; guards applied
	applied uint64     // sequence of the last entry that is in the segments

	offsets groupOffsets
	members members

	metaMu       sync.Mutex // guards the meta file and safe of partitions
	safeSequence uint64     // everything up to this entry is synced in segments
	checkpointMu sync.Mutex // one checkpoint, removal or swap of segments at a time
	compactMu    sync.Mutex // one compaction at a time; guards swaps
	swaps        int64      // files made by compaction since Open

	space    space
	scrubber scrubber
	failure  atomic.Pointer[fatalError] // set once: the log is read-only

	stop    chan struct{} // closed by Close: background work ends
	kick    chan struct{} // a token: a journal file is full
	working sync.WaitGroup
}

var _ Log = (*Embedded)(nil)

// Open opens the log in dir, which it makes if there is none, and brings it to
// order after a crash. It returns ErrLocked if another process has it open,
// ErrNewerFormat if a newer version made it, and ErrCorrupt, with file and
// position, if stored bytes are not what was written; then nothing is changed.
func Open(dir string, opts Options) (*Embedded, error) {
	if err := opts.EnsureDefaults().Validate(); err != nil {
		return nil, fmt.Errorf("open log %s: %w", dir, err)
	}
	l, err := tryOpen(dir, opts)
	if vfs.IsNoSpaceError(err) && opts.FS.Remove(ballastPath(opts.FS, dir)) == nil {
		l, err = tryOpen(dir, opts) // recovery has to write a little
	}
	if err != nil {
		return nil, fmt.Errorf("open log %s: %w", dir, err)
	}
	l.token <- struct{}{}
	l.forgetGone()
	l.startWorkers()
	return l, nil
}

// tryOpen makes an Embedded and brings its directory to order.
func tryOpen(dir string, opts Options) (*Embedded, error) {
	l := &Embedded{
		dir: dir, fs: opts.FS, opts: opts, logger: opts.Logger.Named("log"),
		fences: map[string]Epoch{}, unsynced: map[*partition]bool{},
		token: make(chan struct{}, 1),
		stop:  make(chan struct{}),
		kick:  make(chan struct{}, 1),
	}
	l.setTopics(map[string]*topic{})
	l.m = newLogMetrics(opts.Metrics)
	err := l.open()
	if err == nil {
		l.setTopics(*l.topics.Load()) // recovery knows them by name alone
		return l, nil
	}
	l.closeFiles()
	if l.lock != nil {
		_ = l.lock.Close()
	}
	return nil, asNoSpace(err)
}

func (l *Embedded) startWorkers() {
	if l.opts.MaintainEvery > 0 {
		l.working.Add(1)
		go l.maintain()
	}
	if l.opts.Sync.Mode == SyncInterval {
		l.working.Add(1)
		go l.syncEvery(l.opts.Sync.Every)
	}
}

// syncEvery is the background of SyncInterval.
func (l *Embedded) syncEvery(d time.Duration) {
	defer l.working.Done()
	t := time.NewTicker(d)
	defer t.Stop()
	for {
		select {
		case <-l.stop:
			return
		case <-t.C:
			<-l.token
			err := l.syncJournal()
			l.token <- struct{}{}
			if err != nil {
				l.fail(err)
				return
			}
		}
	}
}

// maintain is the background work: it empties the journal when a file of it is
// full, and runs retention and compaction from time to time.
func (l *Embedded) maintain() {
	defer l.working.Done()
	t := time.NewTicker(l.opts.MaintainEvery)
	defer t.Stop()
	for {
		var err error
		select {
		case <-l.stop:
			return
		case <-l.kick:
			err = l.checkpoint()
		case <-t.C:
			err = l.Maintain()
		}
		if err != nil && l.failure.Load() == nil {
			l.logger.Error("background work failed, will try again", "err", err)
		}
	}
}

// Maintain runs one round of background work now: segments are synced and the
// journal emptied, retention and compaction do what is due, and some of the
// sealed segments are read again to find damage early.
func (l *Embedded) Maintain() error {
	if err := l.usable(); err != nil {
		return err
	}
	l.space.refresh(l)
	if err := l.checkpoint(); err != nil {
		return err
	}
	l.expireProducers()
	err := l.retain()
	l.pruneAborted()
	return errors.Join(err, l.compact(), l.scrub())
}

// now is the clock, in milliseconds.
func (l *Embedded) now() Timestamp { return TimestampOf(l.opts.Now()) }

// usable tells why the log cannot be written to.
func (l *Embedded) usable() error {
	if f := l.failure.Load(); f != nil {
		return fmt.Errorf("%w: %w", ErrReadOnly, f.err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return ErrClosed
	}
	return nil
}

// fail makes the log read-only for good.
func (l *Embedded) fail(err error) {
	if l.failure.CompareAndSwap(nil, &fatalError{err}) {
		l.logger.Error("log is read-only from now on; restart after the disk has been seen to", "err", err)
		l.m.readOnly.Update(1)
	}
}

// Failure returns what made the log read-only, or nil.
func (l *Embedded) Failure() error {
	if f := l.failure.Load(); f != nil {
		return f.err
	}
	return nil
}

// Dir is the directory of the log.
func (l *Embedded) Dir() string { return l.dir }

// ClusterID implements Log.
func (l *Embedded) ClusterID() string { return l.clusterID }

// LeaderEpoch rises whenever the log is opened after a crash.
func (l *Embedded) LeaderEpoch() int32 { return l.leaderEpoch }

// partition finds a partition.
func (l *Embedded) partition(tp TopicPartition) (*partition, error) {
	t, ok := (*l.topics.Load())[tp.Topic]
	if !ok {
		return nil, fmt.Errorf("%w %q", ErrUnknownTopic, tp.Topic)
	}
	if tp.Partition < 0 || int(tp.Partition) >= len(t.parts) {
		return nil, fmt.Errorf("%w %d of topic %q, which has %d", ErrUnknownPartition, tp.Partition, tp.Topic, len(t.parts))
	}
	return t.parts[tp.Partition], nil
}

// eachPartition calls fn for all partitions in order of topic name and number.
func (l *Embedded) eachPartition(fn func(p *partition) error) error {
	topics := *l.topics.Load()
	for _, name := range slices.Sorted(maps.Keys(topics)) {
		for _, p := range topics[name].parts {
			if err := fn(p); err != nil {
				return err
			}
		}
	}
	return nil
}

// Bounds implements Log.
func (l *Embedded) Bounds(ctx context.Context, tp TopicPartition) (Bounds, error) {
	p, err := l.partition(tp)
	if err != nil {
		return Bounds{}, err
	}
	return p.bounds(), ctx.Err()
}

// Close waits for what has been admitted, syncs everything, and gives the
// directory back. Readers that are still open return ErrClosed.
func (l *Embedded) Close() error {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return nil
	}
	l.closed = true
	l.mu.Unlock()
	close(l.stop)
	l.working.Wait()
	l.drain()
	l.members.close()
	_ = l.eachPartition(func(p *partition) error { p.wake(); return nil })

	err := errors.Join(l.closeClean(), l.closeFiles(), l.lock.Close())
	if err != nil {
		return fmt.Errorf("close log %s: %w", l.dir, err)
	}
	return nil
}

// closeFiles closes what is open for writing.
func (l *Embedded) closeFiles() error {
	var errs []error
	_ = l.eachPartition(func(p *partition) error {
		for _, s := range *p.segments.Load() {
			errs = append(errs, s.close())
		}
		return nil
	})
	if l.journal != nil && l.journal.file != nil {
		errs = append(errs, l.journal.file.Close())
	}
	return errors.Join(errs...)
}

// drain takes the token for good, once nothing that was admitted is left.
func (l *Embedded) drain() {
	for {
		<-l.token
		g := l.take()
		if g == nil {
			break
		}
		l.lead(g)
	}
	l.applyMu.Lock() // the last leader has applied
	defer l.applyMu.Unlock()
}

// closeClean syncs everything and leaves the mark that says so. A log that is
// read-only after a failure leaves no mark: its journal is needed.
func (l *Embedded) closeClean() error {
	if l.failure.Load() != nil {
		return nil
	}
	if err := l.syncJournal(); err != nil {
		return err
	}
	if err := l.checkpoint(); err != nil {
		return err
	}
	_ = l.eachPartition(func(p *partition) error {
		if s := p.last(); s != nil && p.written > 0 {
			_ = s.writeIndexes(false) // derived: the next Open makes them if need be
		}
		return nil
	})
	return replaceFile(l.fs, l.fs.PathJoin(l.dir, cleanShutdownName), fmt.Appendf(nil, "%d\n", l.applied))
}
