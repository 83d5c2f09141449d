package log_test

import (
	"fmt"
	"math/rand/v2"
	"path"
	"strings"
	"testing"

	"github.com/gretestream/grete/log"
	"github.com/gretestream/grete/log/logtest"
)

// A process that is killed leaves what the operating system knows, of which any
// part may not be durable. The next one sees it, does what follows from it, and
// may lose its power before that part is safe.

// killed is a workload and the model of what it did.
type killed interface {
	// live works on a new disk until it is done or the disk fails.
	live(d *logtest.Disk) error
	// verify looks at what a power cut has left. It changes neither model nor workload.
	verify(d *logtest.Disk, p logtest.Policy) error
	// next is the life after the kill: some work and a round of maintenance.
	next(d *logtest.Disk) error
}

// crashAfterKill kills the process where it is about to make names or bytes durable,
// and then cuts the power before each sync of its next life.
func crashAfterKill(t *testing.T, seed uint64, start func() killed) {
	var syncs []int // of directories, and some of files
	some := 1
	if testing.Short() {
		some = 4
	}
	d := newDisk(seed)
	seen := map[bool]int{}
	d.OnSync(func(p logtest.SyncPoint) {
		isDir := !strings.Contains(path.Base(p.Name), ".")
		every := 4 * some
		if isDir {
			every = some
		}
		if p.When == logtest.Before {
			if seen[isDir]%every == 0 {
				syncs = append(syncs, p.N)
			}
			seen[isDir]++
		}
	})
	if err := start().live(d); err != nil {
		t.Fatalf("seed %d: %v", seed, err)
	}
	r := rand.New(rand.NewPCG(seed, 13))
	crashes := 0
	for _, n := range syncs {
		d, k := newDisk(seed), start()
		d.CrashAtSync(n, logtest.Before)
		if err := k.live(d); !d.Crashed() {
			t.Fatalf("seed %d: sync %d never came: %v", seed, n, err)
		}
		d = d.Kill()
		d.OnSync(func(p logtest.SyncPoint) {
			if t.Failed() || p.When == logtest.After {
				return
			}
			crashes++
			policy := logtest.Random(r.Uint64())
			if err := k.verify(d.AfterCrash(policy), policy); err != nil {
				t.Errorf("seed %d, killed at sync %d, %s of the next life, %s: %v", seed, n, p, policy, err)
			}
		})
		if err := k.next(d); err != nil {
			t.Errorf("seed %d, killed at sync %d: %v", seed, n, err)
		}
		if t.Failed() {
			return
		}
	}
	t.Logf("seed %d: killed at %d syncs, %d crashes of the next life", seed, len(syncs), crashes)
}

func TestCrashAfterKill(t *testing.T) {
	eachSeed(t, 3, func(t *testing.T, seed uint64) {
		crashAfterKill(t, seed, func() killed { return &killedLog{newHistory(), rand.New(rand.NewPCG(seed, 12))} })
	})
}

type killedLog struct {
	h *history
	r *rand.Rand
}

func (k *killedLog) live(d *logtest.Disk) error {
	l, err := mount(d, log.SyncPolicy{})
	if err != nil {
		return err
	}
	defer l.Close()
	for range 4 {
		if err := k.work(l, 12); err != nil {
			return err
		}
	}
	return l.Close()
}

func (k *killedLog) work(l log.Log, steps int) error {
	w := &workload{r: k.r, l: l, h: k.h}
	if err := w.run(steps); err != nil {
		return err
	}
	return maintain(l)
}

func (k *killedLog) verify(d *logtest.Disk, p logtest.Policy) error {
	return (&crash{policy: p, disk: d, h: k.h.snapshot()}).verify(log.SyncPolicy{}, false)
}

func (k *killedLog) next(d *logtest.Disk) error {
	l, err := mount(d, log.SyncPolicy{})
	if err != nil {
		return fmt.Errorf("open: %w", err)
	}
	defer l.Close()
	h, err := k.h.check(l, false)
	if err != nil {
		return err
	}
	k.h = h
	return k.work(l, 4)
}

func TestTxnCrashAfterKill(t *testing.T) {
	eachSeed(t, 2, func(t *testing.T, seed uint64) {
		crashAfterKill(t, seed, func() killed { return &killedTxns{newTxnModel(), rand.New(rand.NewPCG(seed, 12)), seed} })
	})
}

type killedTxns struct {
	m    *txnModel
	r    *rand.Rand
	seed uint64
}

func (k *killedTxns) live(d *logtest.Disk) error {
	l, err := log.Open("data", txnOptions(d, k.seed))
	if err != nil {
		return err
	}
	defer l.Close()
	w := &txnWorkload{r: k.r, l: l, m: k.m}
	if err := w.begin(); err != nil {
		return err
	}
	for range 3 {
		if err := w.run(20); err != nil {
			return err
		}
		if err := l.Maintain(); err != nil {
			return err
		}
	}
	return l.Close()
}

func (k *killedTxns) verify(d *logtest.Disk, p logtest.Policy) error {
	return verifyTxns(d, k.m.clone(), k.seed, rand.New(rand.NewPCG(p.Seed, 3)))
}

func (k *killedTxns) next(d *logtest.Disk) error {
	l, err := log.Open("data", txnOptions(d, k.seed))
	if err != nil {
		return fmt.Errorf("open: %w", err)
	}
	defer l.Close()
	w := &txnWorkload{r: k.r, l: l, m: k.m}
	if err := w.resume(); err != nil {
		return err
	}
	if err := w.run(4); err != nil {
		return err
	}
	return l.Maintain()
}
