package engine

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/gretestream/grete/jobs"
	"github.com/gretestream/grete/log"
	op "github.com/gretestream/grete/operators"
	"github.com/gretestream/grete/state"
)

const (
	minBackoff = 50 * time.Millisecond
	maxBackoff = 5 * time.Second
	// boundedTries is how often a task of a bounded run is rebuilt in a row
	// before the run is given up. Others try for ever.
	boundedTries = 10
)

// task is one copy of a stage over one partition. Its goroutine owns it, and the
// life that it is in; what others may look at is under mu.
type task struct {
	c         *Container
	stage     *op.Stage
	plan      *jobs.StagePlan
	partition int32
	name      string // "<stage>-<partition>"
	key       []byte // name, as the checkpoint's key
	producer  string
	logger    hclog.Logger
	nudge     chan struct{}    // one token: write the checkpoint again
	settle    chan chan<- bool // do all there is to do, and tell whether there was anything: see Settle
	metrics   taskMetrics

	// What the container hands to the first life of a hold: the epoch that the log
	// gave it, and the last checkpoint.
	epoch log.Epoch
	saved *jobs.Checkpoint
	// term is what the life signs its checkpoints and marks with: its epoch or, where
	// the log's begin anew (the internal topics were copied from another log), one
	// above that of the last checkpoint. It rises from life to life, wherever.
	term log.Epoch
	// taken is the term of the first life of the hold: a checkpoint of a lower one is
	// of an earlier owner. until is the end of each input when the container took the
	// task.
	taken log.Epoch
	until []log.Offset

	life *life // of the task's goroutine; after that of the container's

	mu struct {
		sync.Mutex
		db           *state.DB // nil while restoring
		hold         *hold     // the last
		status       TaskStatus
		checkpointAt log.Offset // newest checkpoint record; -1: none
		readBefore   int64      // records of earlier lives
		dropsBefore  []op.Drop  // of earlier lives
		restore      Progress   // offsets of changelogs
		total        int64      // records that the inputs held when the task was taken
		started      int64      // sum of the offsets then
	}
}

// enter begins a hold.
func (t *task) enter(h *hold) {
	t.epoch, t.term, t.taken, t.saved, t.until = 0, 0, 0, nil, nil
	t.mu.Lock()
	defer t.mu.Unlock()
	t.mu.hold = h
	t.mu.checkpointAt = -1
	t.mu.total, t.mu.started, t.mu.restore = 0, 0, Progress{}
	t.mu.readBefore, t.mu.dropsBefore = t.mu.status.Records, t.mu.status.Drops
	t.mu.status.State, t.mu.status.Err = TaskRestoring, nil
}

// leave ends it: another container has the task. What is known of its progress
// is no longer true.
func (t *task) leave(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.mu.checkpointAt = -1
	t.mu.restore = Progress{}
	s := &t.mu.status
	s.State, s.Err, s.Watermark = TaskElsewhere, err, jobs.NoWatermark
	for i := range s.Inputs {
		in := &s.Inputs[i]
		in.Offset, in.End, in.Idle = 0, 0, false
	}
}

// run takes the task through its lives. It returns nil once it was stopped. tell
// is called when it begins to process, and when it is through with a bounded run.
func (t *task) run(h *hold, tell func()) error {
	failures := 0
	for {
		err := t.live(h, tell, &failures)
		if err == nil {
			t.setState(TaskDone, nil)
			return nil
		}
		var again *transient
		if !errors.As(err, &again) || h.work.Err() != nil || again.over(failures, t.c.run != "") {
			if !errors.Is(err, log.ErrFenced) && !errors.Is(err, ErrSuperseded) {
				t.setState(TaskFailed, err)
			}
			return fmt.Errorf("task %s: %w", t.name, err)
		}
		failures++
		backoff := min(maxBackoff, minBackoff<<min(failures-1, 10))
		t.logger.Warn("task is rebuilt from the log", "in", backoff, "failures", failures, "err", err)
		t.rebuild(err)
		if !sleepFor(h.work, h.stop, backoff) {
			t.setState(TaskDone, nil)
			return nil
		}
	}
}

// over tells that a task was rebuilt often enough because of errors like this.
func (t *transient) over(failures int, bounded bool) bool {
	switch {
	case t.tries > 0:
		return failures >= t.tries
	case bounded:
		return failures >= boundedTries
	}
	return false
}

// live is one life. It stays in t.life when it ends well, so that its state can
// be queried until the container ends.
func (t *task) live(h *hold, tell func(), failures *int) (err error) {
	ctx, stop := h.work, h.stop
	epoch, saved, err := t.begin(h)
	if err != nil || epoch == 0 {
		return err
	}
	l, err := t.restoreOne(ctx, stop, epoch, saved)
	if err != nil || l == nil {
		return err
	}
	t.life = l
	defer func() {
		if err != nil {
			t.hide()
			err = errors.Join(err, l.close())
			t.life = nil
		}
	}()
	if err := l.announce(ctx); err != nil {
		return err
	}
	t.show(l)
	if !h.arrived.Swap(true) {
		tell()
	}
	before := t.commits()
	err = l.loop(ctx, stop, func() {
		t.setState(TaskDone, nil)
		h.done.Store(true)
		tell()
	})
	if t.commits() > before {
		*failures = 0
	}
	return err
}

// begin fences earlier lives, after which no commit of theirs can come, and
// finds the checkpoint. The container does so for the first life. Epoch 0: the
// task is to stop.
func (t *task) begin(h *hold) (log.Epoch, *jobs.Checkpoint, error) {
	if h.batch != nil {
		select {
		case <-h.batch.ready:
		case <-h.stop:
			return 0, nil, nil
		}
		err := h.batch.err
		h.batch = nil
		if err != nil {
			return 0, nil, mayPass(err)
		}
		return t.epoch, t.saved, nil
	}
	epoch, err := t.c.opts.Log.Fence(h.work, t.producer)
	if err != nil {
		return 0, nil, mayPass(fmt.Errorf("fence: %w", err))
	}
	if err := t.c.checkCurrent(h.work); err != nil {
		return 0, nil, mayPass(err)
	}
	points, err := readCheckpoints(h.work, t.c.opts.Log, t.c.checkpointTopic, t.name)
	if err != nil {
		return 0, nil, mayPass(err)
	}
	t.findSaved(points, epoch)
	if t.until == nil {
		if err := t.captureEnds(h.work); err != nil {
			return 0, nil, mayPass(err)
		}
		t.c.moves.Add(1)
	}
	return epoch, t.saved, nil
}

// restoreOne opens a life; only a few tasks restore at a time. It returns nil if
// the container stops before the task's turn.
func (t *task) restoreOne(ctx context.Context, stop <-chan struct{}, epoch log.Epoch, saved *jobs.Checkpoint) (*life, error) {
	select {
	case t.c.restoring <- struct{}{}:
		defer func() { <-t.c.restoring }()
	case <-stop:
		return nil, nil
	}
	return t.open(ctx, epoch, saved)
}

// sleepFor waits; false if it was stopped.
func sleepFor(ctx context.Context, stop <-chan struct{}, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-stop:
	case <-ctx.Done():
	}
	return false
}

// close ends the last life.
func (t *task) close() error {
	t.hide()
	if t.life == nil {
		return nil
	}
	err := t.life.close()
	t.life = nil
	if err != nil {
		return fmt.Errorf("close task %s: %w", t.name, err)
	}
	return nil
}

// show makes the state of a life visible to queries, and tells those that wait.
func (t *task) show(l *life) {
	defer t.c.notify()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.mu.db = l.db
	s := &t.mu.status
	s.State, s.Err, s.Epoch = TaskRunning, nil, t.term
	for i := range l.inputs {
		in := &l.inputs[i]
		s.Inputs[i].Offset, s.Inputs[i].Idle = in.offset, in.idle
		s.Inputs[i].End = max(in.offset, in.until)
	}
	if w, ok := l.flow.Watermark(); ok {
		s.Watermark = w
	}
}

// hide takes the state away from queries; Close of the database waits for those
// under way.
func (t *task) hide() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.mu.db = nil
}

func (t *task) setState(s TaskState, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.mu.status.State, t.mu.status.Err = s, err
}

// rebuild notes that the task begins another life because of err.
func (t *task) rebuild(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := &t.mu.status
	s.State, s.Err = TaskRestoring, err
	s.Restarts++
	t.mu.readBefore = s.Records
	t.mu.dropsBefore = s.Drops
	t.metrics.rebuilds.Inc(1)
}

func (t *task) commits() int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.mu.status.Commits
}

// applied publishes a commit: what it holds is durable and in the state.
func (t *task) applied(l *life, iv *interval, checkpointAt log.Offset) {
	t.mu.Lock()
	s := &t.mu.status
	s.Commits++
	read := t.mu.readBefore + iv.read - s.Records
	s.Records += read
	s.Watermark = iv.point.Watermark
	for i := range s.Inputs {
		p := &iv.point.Inputs[i]
		s.Inputs[i].Offset, s.Inputs[i].End, s.Inputs[i].Idle = p.Offset, iv.ends[i], p.Idle
	}
	drops := addDrops(t.mu.dropsBefore, iv.drops)
	t.metrics.drop(s.Drops, drops)
	s.Drops = drops
	t.mu.checkpointAt = checkpointAt
	lag := int64(0)
	for i := range s.Inputs {
		lag += s.Inputs[i].Lag()
	}
	t.mu.Unlock()

	t.metrics.applied(read, iv, lag)
	t.c.applied(iv.checkpointBytes)
}

// addDrops sums counts of the same operator and reason.
func addDrops(before, now []op.Drop) []op.Drop {
	if len(before) == 0 {
		return now
	}
	sum := append([]op.Drop(nil), before...)
next:
	for _, d := range now {
		for i := range sum {
			if sum[i].Operator == d.Operator && sum[i].Reason == d.Reason {
				sum[i].Count += d.Count
				continue next
			}
		}
		sum = append(sum, d)
	}
	return sum
}

// status copies what is known of the task.
func (t *task) status() TaskStatus {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.mu.status
	s.Inputs = append([]InputStatus(nil), s.Inputs...)
	return s
}
