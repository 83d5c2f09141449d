package log_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"syscall"
	"testing"

	"github.com/gretestream/grete/log"
	"github.com/gretestream/grete/log/logtest"
)

// readable compares a log that cannot or need not be written to any more with
// the model: all that was acknowledged can be read.
func readable(l log.Log, h *history) error {
	s := h.state()
	for _, tp := range s.partitions() {
		p := s.part(tp)
		b, err := l.Bounds(context.Background(), tp)
		if errors.Is(err, log.ErrUnknownTopic) && h.deleting(tp.Topic) {
			continue
		}
		if err != nil {
			return fmt.Errorf("bounds of %s: %w", tp, err)
		}
		if int(b.End) < len(p.ids) {
			return fmt.Errorf("%s: end offset %d, want at least %d", tp, b.End, len(p.ids))
		}
		recs, err := readFrom(l, tp, b.Start, b.End, s.compacted(tp))
		if err != nil {
			return fmt.Errorf("%s: %w", tp, err)
		}
		for _, r := range recs {
			if int(r.Offset) < len(p.ids) && p.ids[r.Offset] != 0 && p.ids[r.Offset] != int64(r.Timestamp)-timeBase {
				return fmt.Errorf("%s offset %d: record %d, want %d", tp, r.Offset, int64(r.Timestamp)-timeBase, p.ids[r.Offset])
			}
		}
	}
	return nil
}

// TestFaultSync lets each sync of a workload fail once. The log must never
// acknowledge anything from there on, say why, and lose nothing.
func TestFaultSync(t *testing.T) {
	eachSeed(t, 1, func(t *testing.T, seed uint64) {
		for n := 1; ; n += 1 + int(seed+uint64(n))%3 {
			d, h := newDisk(seed), newHistory()
			l, err := mount(d, log.SyncPolicy{})
			if err != nil {
				t.Fatal(err)
			}
			fault := d.FailSync("*", n)
			where := func() string { return fmt.Sprintf("seed %d, sync %d fails", seed, n) }
			w := &workload{r: rand.New(rand.NewPCG(seed, 8)), l: l, h: h, burst: 3}
			for i := 0; i < 60 && err == nil; i++ {
				if err = w.run(1); err == nil && i%10 == 9 {
					err = maintain(l)
				}
			}
			if fault.Fired() == 0 {
				l.Close()
				if err != nil {
					t.Fatalf("%s: %v without a fault", where(), err)
				}
				return // n is beyond the last sync
			}
			if err == nil {
				t.Fatalf("%s: the log says nothing of it", where())
			}
			// Only writers need to know, and know at once.
			for _, tp := range h.state().partitions() {
				_, after := l.Append(context.Background(), tp, encode(h.ids(1)))
				if errors.Is(after, log.ErrUnknownTopic) && h.deleting(tp.Topic) {
					continue
				}
				if !errors.Is(after, log.ErrReadOnly) {
					t.Fatalf("%s: %v; append after it: got %v, want %v", where(), err, after, log.ErrReadOnly)
				}
			}
			if err := readable(l, h); err != nil {
				t.Fatalf("%s: %v", where(), err)
			}
			_ = l.Close() // it may well complain
			// The usual reaction is to start it again. The OS still shows the bytes
			// that it failed to write, and takes them for written.
			restarted := &crash{where: where() + ", then a restart", policy: logtest.KeepNothing, disk: d.Kill(), h: h.snapshot()}
			if err := restarted.verify(log.SyncPolicy{}, false); err != nil {
				t.Fatalf("%s: %v", restarted, err)
			}
			for _, policy := range policies(uint64(n), seed) {
				c := &crash{where: where(), policy: policy, disk: d.Crash(policy), h: h.snapshot()}
				if err := c.verify(log.SyncPolicy{}, false); err != nil {
					t.Fatalf("%s: %v", c, err)
				}
			}
		}
	})
}

// TestFaultWrite lets writes of a workload fail, some after a part of their
// bytes. The call fails; the log goes on or says that it is read-only; nothing
// acknowledged is lost.
func TestFaultWrite(t *testing.T) {
	eachSeed(t, 1, func(t *testing.T, seed uint64) {
		for n := 1; ; n += 1 + int(seed+uint64(n))%5 {
			d, h := newDisk(seed), newHistory()
			l, err := mount(d, log.SyncPolicy{})
			if err != nil {
				t.Fatal(err)
			}
			fault := d.FailWrite("*", n, []int{0, 7, 300, -1}[n%4])
			where := func() string { return fmt.Sprintf("seed %d, write %d fails", seed, n) }
			w := &workload{r: rand.New(rand.NewPCG(seed, 9)), l: l, h: h, burst: 3}
			failed := 0
			for i := 0; i < 60; i++ {
				err = w.run(1)
				if err == nil && i%10 == 9 {
					err = maintain(l)
				}
				if err == nil {
					continue
				}
				if fault.Fired() == 0 {
					t.Fatalf("%s: %v without a fault", where(), err)
				}
				if failed++; failed > 1 && !errors.Is(err, log.ErrReadOnly) {
					t.Fatalf("%s: a second call fails with %v, want %v", where(), err, log.ErrReadOnly)
				}
				if failed > 3 {
					break
				}
			}
			if fault.Fired() == 0 {
				l.Close()
				return
			}
			if err := readable(l, h); err != nil {
				t.Fatalf("%s: %v", where(), err)
			}
			_ = l.Close()
			for _, policy := range policies(uint64(n), seed) {
				c := &crash{where: where(), policy: policy, disk: d.Crash(policy), h: h.snapshot()}
				if err := c.verify(log.SyncPolicy{}, false); err != nil {
					t.Fatalf("%s: %v", c, err)
				}
			}
		}
	})
}

// TestFaultInCompaction lets each call on the disk fail that a round of
// maintenance makes, most of them in compaction. Whatever the meta names by then
// must be there for the next Open.
func TestFaultInCompaction(t *testing.T) {
	for _, kind := range []string{"sync", "rename", "remove", "create", "write"} {
		for _, fails := range []error{syscall.EIO, syscall.ENOSPC} {
			t.Run(fmt.Sprintf("%s %v", kind, fails), func(t *testing.T) {
				eachSeed(t, 1, func(t *testing.T, seed uint64) {
					for n := 1; faultInCompaction(t, seed, kind, fails, n); n++ {
					}
				})
			})
		}
	}
}

// faultInCompaction lets the nth call fail; it reports whether there was one.
func faultInCompaction(t *testing.T, seed uint64, kind string, fails error, n int) bool {
	d, h := newDisk(seed), newHistory()
	l, err := mount(d, log.SyncPolicy{})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	w := &workload{r: rand.New(rand.NewPCG(seed, 13)), l: l, h: h}
	o := &op{kind: opCreate, topic: "t1", parts: 1, configs: map[string]string{"cleanup.policy": "compact", "min.cleanable.dirty.ratio": "0", "delete.retention.ms": "0"}}
	h.begin(o)
	_, err = l.CreateTopic(context.Background(), log.TopicSpec{Name: o.topic, Partitions: o.parts, Configs: o.configs})
	if err := w.done(o, o, err); err != nil {
		t.Fatal(err)
	}
	for range 30 {
		if err := w.append(log.TopicPartition{Topic: "t1"}, 5); err != nil {
			t.Fatal(err)
		}
	}
	fault := d.Fail(kind, "*", n).With(fails).Times(2) // a full disk is tried again
	err = maintain(l)
	where := fmt.Sprintf("seed %d, %s %d fails with %v", seed, kind, n, err)
	if fault.Fired() == 0 {
		if err != nil {
			t.Fatalf("%s without a fault", where)
		}
		return false
	}
	if err := readable(l, h); err != nil {
		t.Fatalf("%s: %v", where, err)
	}
	for _, next := range []*logtest.Disk{d.AfterCrash(logtest.KeepAll), d.AfterCrash(logtest.KeepNothing), d.AfterCrash(logtest.Random(uint64(n))), d.Kill()} {
		c := &crash{where: where, policy: logtest.KeepNothing, disk: next, h: h.snapshot()}
		if err := c.verify(log.SyncPolicy{}, false); err != nil {
			t.Fatalf("%s: %v", where, err)
		}
	}
	return true
}

// TestFaultInRecovery lets syncs and writes of a recovery fail, or the disk be
// full. Open fails or it does not; after a restart, nothing is lost.
func TestFaultInRecovery(t *testing.T) {
	eachSeed(t, 1, func(t *testing.T, seed uint64) {
		d, h := newDisk(seed), newHistory()
		l, err := mount(d, log.SyncPolicy{})
		if err != nil {
			t.Fatal(err)
		}
		w := &workload{r: rand.New(rand.NewPCG(seed, 12)), l: l, h: h}
		if err := w.run(60); err != nil {
			t.Fatal(err)
		}
		crashed := d.Crash(logtest.Random(seed))
		_ = l.Close()
		faults := map[string]func(d *logtest.Disk, n int) func() bool{
			"sync fails": func(d *logtest.Disk, n int) func() bool {
				f := d.FailSync("*", n)
				return func() bool { return f.Fired() > 0 }
			},
			"write fails": func(d *logtest.Disk, n int) func() bool {
				f := d.FailWrite("*", n, -1)
				return func() bool { return f.Fired() > 0 }
			},
			"disk is full": func(d *logtest.Disk, n int) func() bool {
				d.SetSpace(d.Used() + int64(n-1)*5*4096)
				return func() bool { return true }
			},
		}
		for name, arm := range faults {
			for n := 1; ; n++ {
				where := fmt.Sprintf("seed %d, %s at %d", seed, name, n)
				d := crashed.AfterCrash(logtest.KeepAll)
				struck := arm(d, n)
				l, err := mount(d, log.SyncPolicy{})
				if !struck() {
					if err != nil {
						t.Fatalf("%s: open: %v without a fault", where, err)
					}
					l.Close()
					break
				}
				if err == nil {
					if err := readable(l, h); err != nil {
						t.Fatalf("%s: %v", where, err)
					}
					_ = l.Close()
				} else if errors.Is(err, log.ErrCorrupt) {
					t.Fatalf("%s: open: %v: no byte is damaged", where, err)
				}
				for _, next := range []*logtest.Disk{d.Kill(), d.Crash(logtest.KeepNothing), d.Crash(logtest.Random(uint64(n)))} {
					next.SetSpace(1 << 40)
					c := &crash{where: where, policy: logtest.KeepNothing, disk: next, h: h.snapshot()}
					if err := c.verify(log.SyncPolicy{}, false); err != nil {
						t.Fatalf("%s: %v", c, err)
					}
				}
				if err == nil && name == "disk is full" {
					break // so it was not
				}
			}
		}
	})
}

// TestFaultDiskFull fills the disk, works on in vain, and gives space again. With a
// reserve, appends resume by themselves. Without one, the disk can fill between
// journal and segment: then the log may have to stay read-only.
func TestFaultDiskFull(t *testing.T) {
	eachSeed(t, 12, func(t *testing.T, seed uint64) {
		d, h := newDisk(seed), newHistory()
		r := rand.New(rand.NewPCG(seed, 10))
		o := tiny(d, log.SyncPolicy{})
		reserve := seed%3 > 0
		room := r.Int64N(100 << 10)
		if reserve {
			// The ballast has room for the largest burst, in journal and segment.
			o.ReserveBytes, o.BallastBytes = 128<<10, 512<<10
			room += 900 << 10
			d.SetSpace(4 << 20) // the reserve is a sixteenth of it at most
		}
		l, err := log.Open("data", o)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		w := &workload{r: r, l: l, h: h, burst: 3}
		if err := w.run(20); err != nil {
			t.Fatal(err)
		}
		d.SetSpace(d.Used() + room)
		full, readOnly := 0, false
		for i := 0; i < 2000 && full < 20 && !readOnly; i++ {
			err := w.run(1)
			switch {
			case err == nil:
			case errors.Is(err, log.ErrNoSpace):
				full++
			case errors.Is(err, log.ErrReadOnly) && !reserve:
				readOnly = true
			default:
				t.Fatalf("seed %d, reserve %t: step on a full disk: got %v, want %v", seed, reserve, err, log.ErrNoSpace)
			}
		}
		if full == 0 && !readOnly {
			t.Fatalf("seed %d: the disk never filled: %d of it used", seed, d.Used())
		}
		if err := readable(l, h); err != nil {
			t.Fatalf("seed %d: on a full disk: %v", seed, err)
		}
		while := &crash{where: "while full", policy: logtest.KeepNothing, disk: d.AfterCrash(logtest.KeepNothing), h: h.snapshot()}
		while.disk.SetSpace(1 << 40)
		if err := while.verify(log.SyncPolicy{}, false); err != nil {
			t.Fatalf("seed %d, %s: %v", seed, while, err)
		}

		d.SetSpace(1 << 40)
		if readOnly = readOnly || l.Failure() != nil; readOnly && reserve {
			t.Fatalf("seed %d: read-only in spite of the reserve: %v", seed, l.Failure())
		}
		if !readOnly {
			if err := w.run(40); err != nil {
				t.Fatalf("seed %d, reserve %t: with space again: %v", seed, reserve, err)
			}
			if err := maintain(l); err != nil {
				t.Fatalf("seed %d: maintain with space again: %v", seed, err)
			}
		}
		policy := logtest.Random(seed)
		c := &crash{where: "after it was full", policy: policy, disk: d.Crash(policy), h: h.snapshot()}
		if err := c.verify(log.SyncPolicy{}, false); err != nil {
			t.Fatalf("seed %d, %s: %v", seed, c, err)
		}
	})
}

// TestFaultFullDiskLeavesRoomForOffsets: appends stop at the reserve, so that
// consumers can go on committing.
func TestFaultFullDiskLeavesRoomForOffsets(t *testing.T) {
	d := newDisk(1)
	o := tiny(d, log.SyncPolicy{})
	o.ReserveBytes, o.BallastBytes = 256<<10, 64<<10
	d.SetSpace(4 << 20)
	l, err := log.Open("data", o)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ctx := context.Background()
	if _, err := l.CreateTopic(ctx, log.TopicSpec{Name: "t", Partitions: 1}); err != nil {
		t.Fatal(err)
	}
	tp := log.TopicPartition{Topic: "t"}
	h := newHistory()
	for err == nil {
		_, err = l.Append(ctx, tp, encode(h.ids(100)))
	}
	if !errors.Is(err, log.ErrNoSpace) {
		t.Fatalf("append: got %v, want %v", err, log.ErrNoSpace)
	}
	for i := range 100 {
		offsets := []log.GroupOffset{{TopicPartition: tp, Offset: log.Offset(i)}}
		if _, err := l.Commit(ctx, &log.Commit{Group: "g", Offsets: offsets}); err != nil {
			t.Fatalf("commit %d of offsets on a full disk: %v", i, err)
		}
	}
}

// TestFaultFullDiskCompaction gives compaction too little room, by a page more
// each time: it says that the disk is full, leaves the log as it was, and is
// done when there is room.
func TestFaultFullDiskCompaction(t *testing.T) {
	d := newDisk(1)
	l, err := log.Open("data", tiny(d, log.SyncPolicy{}))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ctx, tp := context.Background(), log.TopicPartition{Topic: "t"}
	compact := map[string]string{"cleanup.policy": "compact", "min.cleanable.dirty.ratio": "0"}
	if _, err := l.CreateTopic(ctx, log.TopicSpec{Name: "t", Partitions: 1, Configs: compact}); err != nil {
		t.Fatal(err)
	}
	h := newHistory()
	for range 30 {
		if _, err := l.Append(ctx, tp, encode(h.ids(20))); err != nil {
			t.Fatal(err)
		}
	}
	_, before, err := readWhole(l, tp, true)
	if err != nil {
		t.Fatal(err)
	}
	refused := 0
	for {
		d.SetSpace(d.Used() + int64(refused)<<12)
		err := l.Maintain()
		if err == nil {
			break
		}
		if !errors.Is(err, log.ErrNoSpace) {
			t.Fatalf("maintain with %d pages: got %v, want %v", refused, err, log.ErrNoSpace)
		}
		refused++
		_, now, err := readWhole(l, tp, true)
		if err != nil {
			t.Fatalf("after maintain with %d pages: %v", refused, err)
		}
		if len(now) != len(before) {
			t.Fatalf("after maintain with %d pages: %d records, want %d as before", refused, len(now), len(before))
		}
	}
	_, after, err := readWhole(l, tp, true)
	if err != nil {
		t.Fatal(err)
	}
	if refused < 3 || len(after) >= len(before) {
		t.Errorf("refused %d times, %d records of %d left: compaction had room from the start, or none", refused, len(after), len(before))
	}
	if err := l.Failure(); err != nil {
		t.Errorf("the log is read-only: %v", err)
	}
}

// TestFaultFullDiskDeleteTopic: what makes room must not be refused for want of
// room, as long as there is the ballast.
func TestFaultFullDiskDeleteTopic(t *testing.T) {
	d := newDisk(1)
	o := tiny(d, log.SyncPolicy{})
	o.BallastBytes = 64 << 10
	l, err := log.Open("data", o)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ctx := context.Background()
	for _, name := range []string{"a", "b"} {
		if _, err := l.CreateTopic(ctx, log.TopicSpec{Name: name, Partitions: 1}); err != nil {
			t.Fatal(err)
		}
	}
	d.SetSpace(d.Used())
	if err := l.DeleteTopic(ctx, "a"); err != nil {
		t.Fatalf("on a full disk: %v", err)
	}
	d.SetSpace(1 << 40)
	if _, err := log.AppendRecords(ctx, l, log.TopicPartition{Topic: "b"}, makeRecord(1)); err != nil {
		t.Fatalf("with space again: %v", err)
	}
}
