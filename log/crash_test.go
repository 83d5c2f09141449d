package log_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gretestream/grete/log"
	"github.com/gretestream/grete/log/logtest"
)

// The promise under test: an acknowledged record survives a power cut, a commit
// is whole or absent, no offset is ever used twice, and no reader ever saw a
// record that vanished.
//
// GRETE_TORTURE_ROUNDS=n repeats every test here with n seeds; GRETE_SEED=n runs
// one seed. A failure prints the seed.

// tiny options roll a segment every few records and recycle the journal every
// few dozen.
func tiny(d *logtest.Disk, sync log.SyncPolicy) log.Options {
	clock, looks := time.UnixMilli(timeBase), new(atomic.Int64)
	return log.Options{
		FS:            d,
		Sync:          sync,
		SegmentBytes:  4 << 10,
		JournalBytes:  16 << 10,
		ReserveBytes:  -1,
		BallastBytes:  -1,
		MaintainEvery: -1,
		Now: func() time.Time { // each look is a second later
			return clock.Add(time.Duration(looks.Add(1)) * time.Second)
		},
	}
}

func mount(d *logtest.Disk, sync log.SyncPolicy) (log.Log, error) {
	return mountWith(tiny(d, sync))
}

func mountWith(o log.Options) (log.Log, error) {
	l, err := log.Open("data", o)
	if err != nil {
		return nil, err // not a Log that holds a nil pointer
	}
	return l, nil
}

// newDisk has a durable directory to begin in.
func newDisk(seed uint64) *logtest.Disk {
	d := logtest.NewDisk(seed)
	if err := d.MkdirAll("data", 0o755); err != nil {
		panic(err)
	}
	root, err := d.OpenDir("/")
	if err == nil {
		err = errors.Join(root.Sync(), root.Close())
	}
	if err != nil {
		panic(err)
	}
	return d
}

// maintain runs retention and empties the journal, as the background does.
func maintain(l log.Log) error {
	return l.(*log.Embedded).Maintain()
}

// eachSeed runs f with some seeds, or with as many as the environment asks for.
func eachSeed(t *testing.T, some int, f func(t *testing.T, seed uint64)) {
	first, n := uint64(1), some
	if s := os.Getenv("GRETE_TORTURE_ROUNDS"); s != "" {
		rounds, err := strconv.Atoi(s)
		if err != nil {
			t.Fatalf("GRETE_TORTURE_ROUNDS: %v", err)
		}
		n, first = rounds, uint64(time.Now().UnixNano())
	}
	if s := os.Getenv("GRETE_SEED"); s != "" {
		seed, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			t.Fatalf("GRETE_SEED: %v", err)
		}
		n, first = 1, seed
	} else if testing.Short() {
		n = 1
	}
	for i := range n {
		seed := first + uint64(i)
		f(t, seed)
		if t.Failed() {
			t.Fatalf("to see it again: GRETE_SEED=%d go test ./log -run '^%s$'", seed, t.Name())
		}
	}
	if n > some {
		t.Logf("%d rounds, no loss", n)
	}
}

// crash is one outcome of one crash.
type crash struct {
	where  string
	policy logtest.Policy
	disk   *logtest.Disk
	h      *history
}

func (c *crash) String() string { return fmt.Sprintf("%s, %s", c.where, c.policy) }

// verify opens the log, compares it with the model, goes on writing, cuts the
// power again, and compares again. It never changes c.h.
func (c *crash) verify(sync log.SyncPolicy, lossy bool) error {
	l, err := mount(c.disk, sync)
	if err != nil {
		return fmt.Errorf("open: %w", err)
	}
	h, err := c.h.check(l, lossy)
	if err != nil {
		l.Close()
		return err
	}
	if lossy {
		return l.Close()
	}
	w := &workload{r: rand.New(rand.NewPCG(c.policy.Seed, 3)), l: l, h: h}
	if err := w.run(4); err != nil {
		l.Close()
		return fmt.Errorf("go on: %w", err)
	}
	after := c.disk.Crash(logtest.KeepNothing)
	_ = l.Close() // its disk is gone: only to end its goroutines
	l, err = mount(after, sync)
	if err != nil {
		return fmt.Errorf("open after a second crash: %w", err)
	}
	defer l.Close()
	if _, err := h.check(l, sync.Mode != log.SyncGroup); err != nil {
		return fmt.Errorf("after a second crash: %w", err)
	}
	return nil
}

// TestCrashAtEverySync runs one workload and, on both sides of each of its
// syncs, looks at what a power cut there would leave.
func TestCrashAtEverySync(t *testing.T) {
	eachSeed(t, 1, func(t *testing.T, seed uint64) {
		d, h := newDisk(seed), newHistory()
		crashes := 0
		d.OnSync(func(p logtest.SyncPoint) {
			if t.Failed() {
				return
			}
			for _, policy := range policies(uint64(p.N), seed) {
				c := &crash{where: p.String(), policy: policy, disk: d.AfterCrash(policy), h: h.snapshot()}
				crashes++
				if err := c.verify(log.SyncPolicy{}, false); err != nil {
					t.Errorf("seed %d, %s: %v", seed, c, err)
					return
				}
			}
		})
		l, err := mount(d, log.SyncPolicy{})
		if err != nil {
			t.Fatal(err)
		}
		w := &workload{r: rand.New(rand.NewPCG(seed, 1)), l: l, h: h}
		for range 8 {
			if err := w.run(12); err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
			if err := maintain(l); err != nil {
				t.Fatalf("seed %d: maintain: %v", seed, err)
			}
			if t.Failed() {
				return
			}
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		t.Logf("seed %d: %d crashes at %d syncs", seed, crashes, d.Stats().Syncs)
	})
}

func policies(n, seed uint64) []logtest.Policy {
	return []logtest.Policy{logtest.KeepNothing, logtest.KeepAll, logtest.Random(n*1000 + seed)}
}

// TestCrashInRecovery cuts the power while the log recovers, at each sync of
// the recovery, again and again.
func TestCrashInRecovery(t *testing.T) {
	eachSeed(t, 1, func(t *testing.T, seed uint64) {
		d, h := newDisk(seed), newHistory()
		l, err := mount(d, log.SyncPolicy{})
		if err != nil {
			t.Fatal(err)
		}
		r := rand.New(rand.NewPCG(seed, 2))
		w := &workload{r: r, l: l, h: h}
		if err := w.run(40 + r.IntN(40)); err != nil {
			t.Fatal(err)
		}
		// The power goes in the middle of one more step.
		d.CrashAtSync(d.Stats().Syncs+1, logtest.When(seed%2))
		for err == nil {
			err = w.run(1)
		}
		l.Close()

		var nested func(d *logtest.Disk, h *history, depth int, trail string)
		nested = func(d *logtest.Disk, h *history, depth int, trail string) {
			if depth < 2 {
				d.OnSync(func(p logtest.SyncPoint) {
					if t.Failed() || depth > 0 && r.IntN(8) > 0 {
						return
					}
					policy := policies(uint64(p.N), seed)[r.IntN(3)]
					nested(d.AfterCrash(policy), h, depth+1, fmt.Sprintf("%s; %s of recovery, %s", trail, p, policy))
				})
			}
			l, err := mount(d, log.SyncPolicy{})
			if err != nil {
				t.Errorf("seed %d%s: open: %v", seed, trail, err)
				return
			}
			defer l.Close()
			d.OnSync(nil)
			if _, err := h.check(l, false); err != nil {
				t.Errorf("seed %d%s: %v", seed, trail, err)
			}
		}
		for _, policy := range policies(0, seed) {
			nested(d.Crash(policy), h.snapshot(), 0, "; "+policy.String())
		}
	})
}

// TestCrashAgainAndAgain lives many lives on one directory: power cuts and
// kills at random moments, of calls made at once, of recovery, after a clean
// close. Nothing of a life may live on in the next.
func TestCrashAgainAndAgain(t *testing.T) {
	eachSeed(t, 6, func(t *testing.T, seed uint64) {
		d, h := newDisk(seed), newHistory()
		mount := func() (log.Log, error) {
			o := tiny(d, log.SyncPolicy{})
			if seed%2 == 0 {
				o.MaintainEvery = time.Millisecond // in the background, which makes it hard to repeat
			}
			return mountWith(o)
		}
		r := rand.New(rand.NewPCG(seed, 4))
		for life := range 15 {
			where := fmt.Sprintf("seed %d, life %d", seed, life)
			if r.IntN(3) == 0 { // in recovery
				d.CrashAtSync(1+r.IntN(10), logtest.When(r.IntN(2)))
			}
			l, err := mount()
			d.CrashAtSync(0, logtest.Before)
			if d.Crashed() {
				if l != nil {
					l.Close()
				}
				d = d.Restart()
				if l, err = mount(); err != nil {
					t.Fatalf("%s: open after a crash in recovery: %v", where, err)
				}
			} else if err != nil {
				t.Fatalf("%s: open: %v", where, err)
			}
			if h, err = h.check(l, false); err != nil {
				l.Close()
				t.Fatalf("%s: %v", where, err)
			}
			w := &workload{r: r, l: l, h: h, burst: 6}
			if err := w.run(r.IntN(40)); err != nil {
				t.Fatalf("%s: %v", where, err)
			}
			if r.IntN(3) == 0 {
				if err := maintain(l); err != nil {
					t.Fatalf("%s: maintain: %v", where, err)
				}
			}
			switch r.IntN(4) {
			case 0: // a clean close
				if err := l.Close(); err != nil {
					t.Fatalf("%s: close: %v", where, err)
				}
				d = d.Crash(logtest.KeepNothing)
			case 1:
				d = d.Kill()
				l.Close()
			default: // in the middle of something
				d.CrashAtSync(d.Stats().Syncs+1+r.IntN(12), logtest.When(r.IntN(2)))
				for err == nil {
					if err = w.run(1); err == nil && r.IntN(10) == 0 {
						err = maintain(l)
					}
				}
				if !d.Crashed() {
					t.Fatalf("%s: %v", where, err)
				}
				l.Close()
				d = d.Crash([]logtest.Policy{logtest.KeepNothing, logtest.KeepAll, logtest.Random(r.Uint64())}[r.IntN(3)])
			}
		}
	})
}

// TestCrashByKillWithoutSyncs kills the process under the lazy policies: the OS has
// all bytes, so nothing is lost.
func TestCrashByKillWithoutSyncs(t *testing.T) {
	for _, sync := range lazy {
		t.Run(sync.String(), func(t *testing.T) {
			eachSeed(t, 4, func(t *testing.T, seed uint64) {
				d, h := newDisk(seed), newHistory()
				r := rand.New(rand.NewPCG(seed, 5))
				for life := range 6 {
					l, err := mount(d, sync)
					if err != nil {
						t.Fatalf("seed %d, life %d: open: %v", seed, life, err)
					}
					if h, err = h.check(l, false); err != nil {
						t.Fatalf("seed %d, life %d: %v", seed, life, err)
					}
					w := &workload{r: r, l: l, h: h, burst: 4}
					if err := w.run(40); err != nil {
						t.Fatalf("seed %d, life %d: %v", seed, life, err)
					}
					d = d.Kill()
					l.Close()
				}
			})
		})
	}
}

// TestCrashWithoutSyncs cuts the power under the lazy policies: a tail of
// each partition may be gone, and nothing else may be wrong.
func TestCrashWithoutSyncs(t *testing.T) {
	for _, sync := range lazy {
		t.Run(sync.String(), func(t *testing.T) {
			eachSeed(t, 10, func(t *testing.T, seed uint64) {
				d, h := newDisk(seed), newHistory()
				l, err := mount(d, sync)
				if err != nil {
					t.Fatal(err)
				}
				w := &workload{r: rand.New(rand.NewPCG(seed, 6)), l: l, h: h}
				for range 4 {
					if err := w.run(30); err != nil {
						t.Fatalf("seed %d: %v", seed, err)
					}
					for _, policy := range policies(seed, seed) {
						c := &crash{where: "between two calls", policy: policy, disk: d.AfterCrash(policy), h: h.snapshot()}
						if err := c.verify(sync, policy != logtest.KeepAll); err != nil {
							t.Fatalf("seed %d, %s: %v", seed, c, err)
						}
					}
				}
				if err := l.Close(); err != nil {
					t.Fatal(err)
				}
				c := &crash{where: "after a clean close", policy: logtest.KeepNothing, disk: d.Crash(logtest.KeepNothing), h: h.snapshot()}
				if err := c.verify(sync, false); err != nil {
					t.Fatalf("seed %d, %s: %v", seed, c, err)
				}
			})
		})
	}
}

var lazy = []log.SyncPolicy{
	{Mode: log.SyncInterval, Every: time.Hour},
	{Mode: log.SyncNone},
}
