package sim

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/gretestream/grete/engine"
	"github.com/gretestream/grete/jobs"
	"github.com/gretestream/grete/log"
	"github.com/gretestream/grete/log/logtest"
	op "github.com/gretestream/grete/operators"
)

// hookedLog is a Log that tells of the commits of tasks.
type hookedLog struct {
	log.Log
	before func(n int) error // before the n-th commit, from 1; an error is its answer
	amid   func(n int) error // before the last of its writes, if it is not whole
	after  func(n int) error // after it is durable and before the task hears of it
	dead   func() bool       // tells that the power is gone
	// apart makes commits that may be so in parts, as a log kept by a Kafka
	// cluster does, one after the other: a crash in one is in no other.
	apart bool
	mu    sync.Mutex // held during a commit, if apart
	n     atomic.Int64
}

// Fence is the first thing that a task does when it is rebuilt: one whose power
// is gone need not try for long.
func (h *hookedLog) Fence(ctx context.Context, producer string) (log.Epoch, error) {
	if h.dead != nil && h.dead() {
		return 0, log.ErrReadOnly
	}
	return h.Log.Fence(ctx, producer)
}

func (h *hookedLog) Commit(ctx context.Context, c *log.Commit) ([]log.Offset, error) {
	if strings.HasSuffix(c.Producer, ".deploy") {
		return h.Log.Commit(ctx, c)
	}
	if h.apart {
		h.mu.Lock()
		defer h.mu.Unlock()
	}
	n := int(h.n.Add(1))
	if h.before != nil {
		if err := h.before(n); err != nil {
			return nil, err
		}
	}
	offsets, err := h.commit(ctx, c, n)
	if err == nil && h.after != nil {
		if err := h.after(n); err != nil {
			return nil, err
		}
	}
	return offsets, err
}

func (h *hookedLog) commit(ctx context.Context, c *log.Commit, n int) ([]log.Offset, error) {
	if !h.apart || !c.AtLeastOnce || len(c.Writes) == 0 {
		return h.Log.Commit(ctx, c)
	}
	var offsets []log.Offset
	for _, w := range c.Writes[:len(c.Writes)-1] {
		o, err := h.Log.Append(ctx, w.TopicPartition, w.Batches)
		if err != nil {
			return nil, err
		}
		offsets = append(offsets, o)
	}
	if h.amid != nil {
		if err := h.amid(n); err != nil {
			return nil, err
		}
	}
	last := *c
	last.Writes = c.Writes[len(c.Writes)-1:]
	o, err := h.Log.Commit(ctx, &last)
	return append(offsets, o...), err
}

// quiet calls f while no commit is under way, if they are made in parts.
func (h *hookedLog) quiet(f func()) {
	if h.apart {
		h.mu.Lock()
		defer h.mu.Unlock()
	}
	f()
}

var errNoAnswer = errors.New("connection lost")

// crashPoint is a row of the table in the doc of package engine.
type crashPoint struct {
	name string
	// arm sets the trap; cut takes the power, once.
	arm func(s *simulation, h *hookedLog, cut func())
	// again: records since the checkpoint count again where a commit is made in
	// parts. Elsewhere there is no such point.
	again bool
}

const trapAt = 9 // the commit, or the view in hundreds, at which the power goes

var crashPoints = []crashPoint{
	{name: "while records are processed", arm: func(s *simulation, h *hookedLog, cut func()) {
		var n atomic.Int64
		s.job.Build = buildJob(func() {
			if n.Add(1) == trapAt*10 {
				h.quiet(cut)
			}
		})
	}},
	{name: "after the cut, before the commit", arm: func(_ *simulation, h *hookedLog, cut func()) {
		h.before = func(n int) error {
			if n == trapAt {
				cut()
			}
			return nil
		}
	}},
	{name: "between the writes of a commit", again: true, arm: func(_ *simulation, h *hookedLog, cut func()) {
		h.amid = func(n int) error {
			if n >= trapAt {
				cut()
			}
			return nil
		}
	}},
	{name: "commit durable, no answer", arm: func(_ *simulation, h *hookedLog, cut func()) {
		h.after = func(n int) error {
			if n != trapAt {
				return nil
			}
			cut()
			return errNoAnswer
		}
	}},
	{name: "answered, before Apply", arm: func(_ *simulation, h *hookedLog, cut func()) {
		h.after = func(n int) error {
			if n == trapAt {
				cut()
			}
			return nil
		}
	}},
	{name: "after Apply, before the next cut", arm: func(_ *simulation, h *hookedLog, cut func()) {
		h.before = func(n int) error {
			if n == trapAt+1 { // the applied ones before it are in Pebble's memory alone
				cut()
			}
			return nil
		}
	}},
	{name: "while state is restored"},
}

// columns of the table in the doc of package engine.
var columns = []struct {
	name      string
	guarantee jobs.Guarantee
	apart     bool
}{
	{"exactly-once", jobs.ExactlyOnce, false},
	{"at-least-once, whole commits", jobs.AtLeastOnce, false},
	{"at-least-once, commits in parts", jobs.AtLeastOnce, true},
}

// TestGuarantees holds each cell of the table in the doc of package engine: at
// each crash point, under each guarantee, with little, some and all of what was
// not synced kept, every view counts once, in state and in output; where a commit
// is made in parts and the power goes between them, at least once, and some twice.
func TestGuarantees(t *testing.T) {
	for _, c := range columns {
		for _, p := range crashPoints {
			if p.again && !c.apart {
				continue // there is no such point
			}
			for _, policy := range []logtest.Policy{logtest.KeepNothing, logtest.KeepAll, logtest.Random(7)} {
				t.Run(fmt.Sprintf("%s/%s/%s", c.name, p.name, policy), func(t *testing.T) {
					s := newSimulation(Config{Seed: 1, Partitions: 2, Views: 600, Guarantee: c.guarantee})
					s.atLeast = p.again
					var err error
					if p.arm == nil {
						err = s.crashInRestore(policy, c.apart)
					} else {
						err = s.crashAt(p, policy, c.apart)
					}
					if err == nil {
						s.job = job
						err = s.finish(context.Background())
					}
					if err != nil {
						t.Fatal(err)
					}
					if p.again && s.report.Again == 0 {
						t.Error("nothing counted twice: the table promises too little, or the test does not get there")
					}
				})
			}
		}
	}
}

// crashAt runs the node until the trap goes off.
func (s *simulation) crashAt(p crashPoint, policy logtest.Policy, apart bool) error {
	l, err := s.openLog()
	if err != nil {
		return err
	}
	h := &hookedLog{Log: l, apart: apart}
	var once sync.Once
	left, disk := s.disk, s.disk
	p.arm(s, h, func() { once.Do(func() { left = disk.Crash(policy) }) })

	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var wg sync.WaitGroup
	var runErr error
	wg.Go(func() { runErr = s.runContainer(ctx, s.options(h, false)) }) // fails with the power
	for !disk.Crashed() && s.report.Acked < 1_000_000 {
		_ = s.write(ctx, h, alone)
	}
	cancel()
	wg.Wait()
	_ = l.Close() // complains: the power is gone
	if !disk.Crashed() {
		return fmt.Errorf("the trap did not go off after %d commits and %d views; the job ended with: %v", h.n.Load(), s.report.Acked, runErr)
	}
	s.disk = left
	return nil
}

// crashInRestore kills a node whose state was never flushed, and cuts the power
// at several syncs of the start that follows, the last while tasks restore.
func (s *simulation) crashInRestore(policy logtest.Policy, apart bool) error {
	l, err := s.openLog()
	if err != nil {
		return err
	}
	_ = s.write(context.Background(), l, alone)
	o := s.options(&hookedLog{Log: l, apart: apart}, true)
	c, err := engine.Open(context.Background(), o)
	if err == nil {
		err = c.Run(context.Background())
	}
	if err := errors.Join(err, l.Close()); err != nil {
		return err
	}
	if err := s.disk.RemoveAll("state"); err != nil { // as after a loss of the disk under it
		return err
	}
	for n := 2; n < 40; n += 3 {
		s.disk = s.disk.Kill()
		s.disk.CrashAtSync(n, logtest.Before)
		if l, err := s.openLog(); err == nil {
			ctx, cancel := context.WithCancel(context.Background())
			if c, err := engine.Open(ctx, s.options(&hookedLog{Log: l, dead: s.disk.Crashed, apart: apart}, true)); err == nil {
				_ = c.Run(ctx) // fails with the power, or is through before
			}
			cancel()
			_ = l.Close()
		}
		s.disk = s.disk.Crash(policy)
	}
	return nil
}

// TestCommitsWithoutAnswer fails one commit in four, half of them after they
// took effect, without ever stopping the job: tasks are rebuilt from the log,
// and every view counts once.
func TestCommitsWithoutAnswer(t *testing.T) {
	s := newSimulation(Config{Seed: 3, Partitions: 2, Views: 400})
	l, err := s.openLog()
	if err != nil {
		t.Fatal(err)
	}
	rnd := rand.New(rand.NewPCG(3, 3))
	var mu sync.Mutex
	fail := func(one, in int) func(int) error {
		return func(int) error {
			mu.Lock()
			defer mu.Unlock()
			if rnd.IntN(in) < one {
				return errNoAnswer
			}
			return nil
		}
	}
	h := &hookedLog{Log: l, before: fail(1, 8), after: fail(1, 8)}
	c, err := engine.Open(context.Background(), s.options(h, false))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	var runErr error
	wg.Go(func() { runErr = c.Run(ctx) })
	restarts := func() (n int) {
		for _, task := range c.Status().Tasks {
			n += task.Restarts
		}
		return n
	}
	for restarts() < 8 {
		changed := c.Changed()
		_ = s.write(ctx, l, alone)
		if st := c.Status().State; st == engine.Failed || st == engine.Stopped {
			break
		}
		<-changed
	}
	n := restarts()
	cancel()
	wg.Wait()
	if runErr != nil && !errors.Is(runErr, errNoAnswer) {
		t.Fatal(runErr)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.finish(context.Background()); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d lives of tasks, %d views", n, s.report.Views)
}

// buildJob is job's graph with a look at every view.
func buildJob(look func()) func(*op.Graph) {
	return graph(func(page string) string {
		look()
		return page
	})
}
