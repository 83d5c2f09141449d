package engine

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/gretestream/grete/log/logtest"
)

// in lets a container work in a directory of its own.
func in(dir string) func(*Options) { return func(o *Options) { o.Dir = dir } }

// held names the tasks that process in the container.
func (r *running) held() []string {
	var names []string
	s := r.Status()
	for i := range s.Tasks {
		if t := &s.Tasks[i]; t.State == TaskRunning {
			names = append(names, t.Task)
		}
	}
	return names
}

// share waits until the containers have all tasks between them and none twice,
// each at least some.
func share(t *testing.T, rs ...*running) {
	t.Helper()
	eventually(t, "the tasks to be shared out", func() (string, bool) {
		seen, text, ok := map[string]bool{}, "", true
		for _, r := range rs {
			held := r.held()
			for _, name := range held {
				ok = ok && !seen[name]
				seen[name] = true
			}
			ok = ok && len(held) > 0
			text += fmt.Sprint(held)
		}
		return text, ok && len(seen) == len(rs[0].Plan().Tasks())
	})
}

// eventually waits until f holds.
func eventually(t *testing.T, what string, f func() (string, bool)) {
	t.Helper()
	deadline := time.Now().Add(60 * time.Second)
	for {
		got, ok := f()
		if ok {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("wait for %s: got %s", what, got)
		}
		<-time.After(2 * time.Millisecond)
	}
}

// all adds up what the containers answer.
func all(t *testing.T, store string, rs ...*running) map[string]int64 {
	t.Helper()
	sum := map[string]int64{}
	for _, r := range rs {
		views, err := r.Views(store)
		if errors.Is(err, ErrElsewhere) || errors.Is(err, ErrNotReady) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		maps.Copy(sum, countsIn(t, r, store, views))
	}
	return sum
}

// settleAll lets containers do what there is to do, until none finds anything.
func settleAll(t *testing.T, rs ...*running) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	for range 3 { // what one writes the other has to read: as many rounds as stages, and one
		for _, r := range rs {
			if err := r.Settle(ctx); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestTwoContainersShareTheTasks(t *testing.T) {
	n := newNode(t)
	n.create("views", 4)
	a := n.start(countJob, in("a"))
	a.until("readiness", func() bool { s := a.Status(); return s.Ready() })
	n.fill(0, 50)
	settleAll(t, a)

	b := n.start(countJob, in("b"))
	share(t, a, b)
	n.fill(50, 100)
	settleAll(t, a, b)
	want := filled(100)
	wantRows(t, all(t, "views-per-page", a, b), want)

	a.stop() // and says goodbye
	share(t, b)
	n.fill(100, 150)
	settleAll(t, b)
	wantRows(t, counts(t, b, "views-per-page"), filled(150))

	a = n.start(countJob, in("a")) // with state that is partly old
	share(t, a, b)
	n.fill(150, 200)
	settleAll(t, a, b)
	wantRows(t, all(t, "views-per-page", a, b), filled(200))
	b.stop()
	a.stop()
	n.closeWindows(t, filled(200))
}

// fill writes views with the numbers [from, to), all in the first minute.
func (n *node) fill(from, to int) {
	n.t.Helper()
	for i := from; i < to; i++ {
		n.view(i%4, int64(i), "p"+fmt.Sprint(i%7))
	}
}

// filled is what n views count to.
func filled(n int) map[string]int64 {
	want := map[string]int64{}
	for i := range n {
		want[fmt.Sprintf("0 p%d", i%7)]++
	}
	return want
}

// closeWindows makes a bounded run, and wants each final once.
func (n *node) closeWindows(t *testing.T, want map[string]int64) {
	t.Helper()
	n.runUntilEnd(countJob, in("last"))
	got := n.finals()
	for row, count := range want {
		if !slices.Equal(got[row], []int64{count}) {
			t.Errorf("finals of %s: got %v, want %d once", row, got[row], count)
		}
	}
	if len(got) != len(want) {
		t.Errorf("got finals of %d windows, want %d: %v", len(got), len(want), got)
	}
}

func TestKilledContainerIsReplaced(t *testing.T) {
	n := newNode(t)
	n.create("views", 4)
	victim := &logtest.Mortal{Log: n.log}
	a := n.start(countJob, in("a"), func(o *Options) { o.Log = victim })
	b := n.start(countJob, in("b"))
	share(t, a, b)
	n.fill(0, 100)
	settleAll(t, a, b)
	n.fill(100, 200) // some of which it is in the middle of
	if err := victim.Kill(); err != nil {
		t.Fatal(err)
	}
	share(t, b)
	n.fill(200, 300)
	settleAll(t, b)
	wantRows(t, counts(t, b, "views-per-page"), filled(300))
	a.cancel()
	<-a.err // whatever it says
	b.stop()
	n.closeWindows(t, filled(300))
}

// A container that is taken for dead and lives commits nothing any more, lets go
// of what it had, and does not end for that.
func TestZombieIsFenced(t *testing.T) {
	n := newNode(t)
	n.create("views", 4)
	zombie := &logtest.Mortal{Log: n.log}
	a := n.start(countJob, in("a"), func(o *Options) { o.Log = zombie })
	a.until("readiness", func() bool { s := a.Status(); return s.Ready() })
	n.fill(0, 100)
	settleAll(t, a)
	b := n.start(countJob, in("b"))
	if err := zombie.Expire(); err != nil {
		t.Fatal(err)
	}
	share(t, b)
	n.fill(100, 200)
	settleAll(t, b)
	eventually(t, "the zombie to let go", func() (string, bool) { held := a.held(); return fmt.Sprint(held), len(held) == 0 })
	if s := a.Status(); s.State == Failed || s.State == Stopped {
		t.Errorf("the zombie is %s: %v", s.State, s.Err)
	}
	eventually(t, "it to say so", func() (string, bool) {
		_, err := a.Views("views-per-page")
		return fmt.Sprint(err), errors.Is(err, ErrElsewhere)
	})
	wantRows(t, counts(t, b, "views-per-page"), filled(200))
	a.stop()
	b.stop()
	n.closeWindows(t, filled(200))
}

// Whoever fenced a task and does not have it: it goes on.
func TestFencedTaskIsTakenAgain(t *testing.T) {
	n := newNode(t)
	n.create("views", 4)
	r := n.start(countJob, func(o *Options) { o.retakeAfter = 20 * time.Millisecond })
	r.until("readiness", func() bool { s := r.Status(); return s.Ready() })
	if err := fenceAll(context.Background(), n.log, producers(r.Plan())); err != nil {
		t.Fatal(err)
	}
	n.fill(0, 50)
	eventually(t, "all to be counted", func() (string, bool) {
		got, want := fmt.Sprint(all(t, "views-per-page", r)), fmt.Sprint(filled(50))
		return got, got == want
	})
	r.stop()
	n.closeWindows(t, filled(50))
}

func TestContainerEndsWhenSuperseded(t *testing.T) {
	n := newNode(t)
	n.create("views", 4)
	a := n.start(countJob, in("a"))
	a.until("readiness", func() bool { s := a.Status(); return s.Ready() })
	n.fill(0, 50)
	if _, err := Reprocess(context.Background(), n.options(countJob), From{}, false); err != nil {
		t.Fatal(err)
	}
	if err := <-a.err; !errors.Is(err, ErrSuperseded) {
		t.Fatalf("got %v, want ErrSuperseded", err)
	}
	b := n.start(countJob, in("a"))
	share(t, b)
	settleAll(t, b)
	wantRows(t, counts(t, b, "views-per-page"), filled(50))
	b.stop()
}

// A reader that comes to another container waits for no task that has been idle
// all the while.
func TestIdleTaskSpeaksUp(t *testing.T) {
	n := newNode(t)
	n.create("views", 2)
	var mu sync.Mutex
	now := time.UnixMilli(0).Add(24 * time.Hour)
	clock := func(o *Options) {
		o.Now = func() time.Time { mu.Lock(); defer mu.Unlock(); return now }
	}
	a := n.start(countJob, in("a"), clock)
	a.until("readiness", func() bool { s := a.Status(); return s.Ready() })
	n.view(0, 1000, "x")
	n.view(1, 1000, "x")
	settleAll(t, a)
	mu.Lock()
	now = now.Add(time.Hour)
	mu.Unlock()
	settleAll(t, a) // both inputs are idle

	b := n.start(countJob, in("b"), clock)
	share(t, a, b)
	n.view(0, 200_000, "y")
	eventually(t, "the window to be closed, though partition 1 is silent", func() (string, bool) {
		got := n.finals()
		return fmt.Sprint(got), fmt.Sprint(got["0 x"]) == "[2]"
	})
	a.stop()
	b.stop()
}

// Containers that are started at the same time agree on what is deployed.
func TestDeployAtTheSameTime(t *testing.T) {
	n := newNode(t)
	n.create("views", 4)
	var wg sync.WaitGroup
	errs := make([]error, 6)
	for i := range errs {
		wg.Go(func() { _, errs[i] = Open(context.Background(), n.options(countJob)) })
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	if got := len(n.read("grete.jobs")); got != 1 {
		t.Errorf("the plan was stored %d times", got)
	}
}

// A bounded run of several containers ends in all of them, whoever comes late,
// has nothing to do, or is killed, and each window is closed with all it counts.
func TestContainersShareABoundedRun(t *testing.T) {
	until := func(o *Options) { o.UntilEnd = true }
	for _, kill := range []bool{false, true} {
		n := newNode(t)
		n.create("views", 4)
		n.fill(0, 400)
		victim := &logtest.Mortal{Log: n.log}
		a := n.start(countJob, until, in("a"), func(o *Options) { o.Log = victim })
		rs := []*running{n.start(countJob, until, in("b")), n.start(countJob, until, in("c"))}
		if kill {
			if err := victim.Kill(); err != nil {
				t.Fatal(err)
			}
			a.cancel()
			<-a.err // whatever it says
		} else {
			rs = append(rs, a)
		}
		for _, r := range rs {
			select {
			case err := <-r.err:
				if err != nil {
					t.Error(err)
				}
			case <-time.After(30 * time.Second):
				t.Fatalf("a bounded run does not end: %+v", r.Status())
			}
		}
		got, want := n.finals(), filled(400)
		for row, count := range want {
			if !slices.Equal(got[row], []int64{count}) {
				t.Errorf("finals of %s: got %v, want %d once", row, got[row], count)
			}
		}
		for _, r := range append(rs, a) {
			r.cancel()
		}
	}
}

// Two containers work in one directory. The state of a task is open as long as its
// last owner is asked about it: the next one waits, however long.
func TestContainersShareADirectory(t *testing.T) {
	n := newNode(t)
	n.create("views", 4)
	zombie := &logtest.Mortal{Log: n.log}
	a := n.start(countJob, func(o *Options) { o.Log = zombie })
	a.until("readiness", func() bool { s := a.Status(); return s.Ready() })
	n.fill(0, 100)
	settleAll(t, a)
	views, err := a.Views("views-per-page")
	if err != nil {
		t.Fatal(err)
	}
	b := n.start(countJob)
	if err := zombie.Expire(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "tries to open what is open", func() (string, bool) {
		s, tries := b.Status(), 0
		for i := range s.Tasks {
			tries = max(tries, s.Tasks[i].Restarts)
		}
		return fmt.Sprint(s.State, tries), tries > stateTries+1
	})
	for i := range views {
		if err := views[i].Close(); err != nil {
			t.Fatal(err)
		}
	}
	share(t, b)
	n.fill(100, 200)
	settleAll(t, b)
	wantRows(t, counts(t, b, "views-per-page"), filled(200))
	a.stop()
	b.stop()
	n.closeWindows(t, filled(200))
}
