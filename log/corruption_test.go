package log_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/gretestream/grete/log"
	"github.com/gretestream/grete/log/logtest"
)

// TestCorruptBits damages one bit at a time, anywhere. The damage is harmless
// (in what is derived or not in use), or it is reported with ErrCorrupt and the
// name of the file; a wrong record is never handed out, and nothing is cut: with
// the bit put right, all is there again.
func TestCorruptBits(t *testing.T) {
	eachSeed(t, 1, func(t *testing.T, seed uint64) {
		for _, clean := range []bool{true, false} {
			d, h := newDisk(seed), newHistory()
			l, err := mount(d, log.SyncPolicy{})
			if err != nil {
				t.Fatal(err)
			}
			r := rand.New(rand.NewPCG(seed, 11))
			// Where compaction leaves gaps, a base offset has nothing to be held
			// against, and the checksum does not cover it.
			w := &workload{r: r, l: l, h: h, noGaps: true}
			if err := w.run(80); err != nil {
				t.Fatal(err)
			}
			last := h.snapshot() // as if the last call was under way
			if n := len(last.past); n > 0 {
				last.underWay[last.past[n-1]] = true
				last.past = last.past[:n-1]
			}
			if clean {
				if err := l.Close(); err != nil {
					t.Fatal(err)
				}
				d = d.Crash(logtest.KeepAll)
			} else {
				d = d.Crash(logtest.KeepAll)
				l.Close()
			}
			reported := 0
			for _, name := range d.Files("data") {
				size := d.Size(name)
				if size <= 0 {
					continue
				}
				for range 4 {
					bit := r.Int64N(size * 8)
					if r.IntN(3) == 0 {
						bit = r.Int64N(min(size, 128) * 8) // headers
					}
					damaged := d.AfterCrash(logtest.KeepAll)
					damaged.FlipBit(name, bit)
					where := fmt.Sprintf("seed %d, clean %t: bit %d of byte %d of %s (%d bytes)", seed, clean, bit%8, bit/8, name, size)
					err := readDamaged(damaged, h)
					if err == nil {
						continue
					}
					if errors.Is(err, errLost) && !clean && strings.HasSuffix(name, ".journal") {
						// The last write to the journal cannot be told from a torn one.
						if err := readDamaged(damaged, last); err != nil {
							t.Fatalf("%s: %v", where, err)
						}
						continue
					}
					if !errors.Is(err, log.ErrCorrupt) && !errors.Is(err, log.ErrNewerFormat) {
						t.Fatalf("%s: %v, want %v", where, err, log.ErrCorrupt)
					}
					if !strings.Contains(err.Error(), path.Base(name)) {
						t.Fatalf("%s: the error does not name the file: %v", where, err)
					}
					reported++
					damaged = damaged.Crash(logtest.KeepAll)
					damaged.FlipBit(name, bit)
					c := &crash{where: where + ", put right", policy: logtest.KeepAll, disk: damaged, h: h.snapshot()}
					if err := c.verify(log.SyncPolicy{}, false); err != nil {
						t.Fatalf("%s: %v", c, err)
					}
				}
			}
			if reported == 0 {
				t.Fatalf("seed %d: no damage was ever reported", seed)
			}
			t.Logf("seed %d, clean %t: %d times damage was reported", seed, clean, reported)
		}
	})
}

// TestCorruptHeaders turns over every bit of every batch header, one at a time,
// of a log with transactions and committed offsets. Headers decide what is passed
// over: whatever changes what can be read must be reported.
func TestCorruptHeaders(t *testing.T) {
	for _, clean := range []bool{true, false} {
		for _, checkpoint := range []bool{true, false} {
			if clean && !checkpoint {
				continue // a close is one
			}
			t.Run(fmt.Sprintf("clean %t checkpoint %t", clean, checkpoint), func(t *testing.T) {
				corruptHeaders(t, clean, checkpoint)
			})
		}
	}
}

func corruptHeaders(t *testing.T, clean, checkpoint bool) {
	every := 7 // batches of a kind have different bits, so that most come up
	if os.Getenv("GRETE_TORTURE_ROUNDS") != "" {
		every = 1
	}
	d := newDisk(1)
	l := openTiny(t, d)
	writeHeaders(t, l, checkpoint)
	want, err := readHeaders(d.AfterCrash(logtest.KeepAll))
	if err != nil {
		t.Fatal(err)
	}
	if clean {
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	d = d.Crash(logtest.KeepAll)
	l.Close()
	reported := 0
	for _, name := range d.Files("data/topics") {
		if !strings.HasSuffix(name, ".log") {
			continue
		}
		file, err := d.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		pos := 0
		err = log.ForEachBatch(file, func(info log.BatchInfo, _ []byte) error {
			for bit := range log.BatchHeaderSize * 8 {
				if bit%every != pos%every {
					continue
				}
				damaged := d.AfterCrash(logtest.KeepAll)
				damaged.FlipBit(name, int64(pos*8+bit))
				got, err := readHeaders(damaged)
				switch {
				case errors.Is(err, log.ErrCorrupt):
					reported++
				case err == nil:
					err = sameUpToDamage(got, want)
					fallthrough
				default:
					if err != nil {
						t.Errorf("bit %d of byte %d of the batch at byte %d of %s: %v", bit%8, bit/8, pos, name, err)
					}
				}
			}
			pos += info.Size
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if checkpoint && reported == 0 {
		t.Fatal("no damage was ever reported")
	}
	t.Logf("%d times damage was reported", reported)
}

// A size that damage has made huge is not worth the memory that it asks for.
func TestCorruptSize(t *testing.T) {
	d := newDisk(1)
	l := openTiny(t, d)
	if _, err := l.CreateTopic(t.Context(), log.TopicSpec{Name: "t", Partitions: 1}); err != nil {
		t.Fatal(err)
	}
	tp := log.TopicPartition{Topic: "t"}
	for id := range int64(3) {
		if _, err := l.Append(t.Context(), tp, encode([]int64{id})); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	d = d.Crash(logtest.KeepAll)
	name := "data/topics/t-0/00000000000000000000.log"
	file, err := d.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	second, err := log.ParseBatch(file)
	if err != nil {
		t.Fatal(err)
	}
	d.FlipBit(name, int64(second.Size+8)*8+6) // 1 GiB more than it has
	l = openTiny(t, d)
	defer l.Close()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	got := readTo(l, tp, 0, false)
	runtime.ReadMemStats(&after)
	if took := after.TotalAlloc - before.TotalAlloc; !strings.HasSuffix(got, damageHere) || took > 64<<20 {
		t.Errorf("%s; it took %d bytes", got, took)
	}
}

func openTiny(t *testing.T, d *logtest.Disk) *log.Embedded {
	t.Helper()
	l, err := log.Open("data", tiny(d, log.SyncPolicy{}))
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// writeHeaders writes batches of every kind: plain ones, of a producer, of
// transactions that were committed, aborted and are open, committed offsets in
// and outside of them, and markers.
func writeHeaders(t *testing.T, l *log.Embedded, checkpoint bool) {
	t.Helper()
	ctx := context.Background()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	_, err := l.CreateTopic(ctx, log.TopicSpec{Name: "t", Partitions: 1})
	must(err)
	tp, offsets := log.TopicPartition{Topic: "t"}, log.TopicPartition{Topic: "__consumer_offsets"}
	id := int64(0)
	produce := func(pid int64, sequence int32, txn bool) {
		t.Helper()
		id++
		b := encode([]int64{id})
		if pid >= 0 {
			log.StampProducer(b, pid, 0, sequence, txn)
		}
		p, err := l.Produce(tp, b, log.ProduceOptions{})
		must(err)
		_, err = p.Wait(ctx)
		must(err)
	}
	commit := func(group string, at log.Offset) {
		t.Helper()
		_, err := l.Commit(ctx, &log.Commit{Group: group, Offsets: []log.GroupOffset{{TopicPartition: tp, Offset: at}}})
		must(err)
	}
	end := func(pid int64, committed bool, tps ...log.TopicPartition) {
		t.Helper()
		c := &log.Commit{}
		for _, tp := range tps {
			c.Markers = append(c.Markers, log.Marker{TopicPartition: tp, ProducerID: pid, Commit: committed})
		}
		_, err := l.Commit(ctx, c)
		must(err)
	}
	produce(-1, 0, false)
	commit("g", 1)
	commit("h", 2)
	produce(4, 0, false)
	if checkpoint { // snapshots of producers, which the batches from here on go on from
		must(l.CommitTxnOffsets(ctx, "h", 8, 0, []log.GroupOffset{{TopicPartition: tp, Offset: 9}}))
		end(8, true, offsets)
		must(l.Maintain())
	}
	produce(4, 1, false)
	produce(5, 0, true)
	must(l.CommitTxnOffsets(ctx, "g", 5, 0, []log.GroupOffset{{TopicPartition: tp, Offset: 3}}))
	end(5, true, tp, offsets)
	produce(6, 0, true)
	must(l.CommitTxnOffsets(ctx, "h", 6, 0, []log.GroupOffset{{TopicPartition: tp, Offset: 4}}))
	end(6, false, tp, offsets)
	produce(-1, 0, false)
	produce(7, 0, true)
	commit("h", 5)
	produce(4, 2, false)
	if checkpoint {
		must(l.Maintain())
	}
}

// readHeaders says all that can be read of what writeHeaders has written, one
// thing beside the other: damage that one reports must not hide from the others.
func readHeaders(d *logtest.Disk) (said []string, err error) {
	l, err := log.Open("data", tiny(d, log.SyncPolicy{}))
	if err != nil {
		return nil, err
	}
	defer l.Close()
	say := func(format string, args ...any) { said = append(said, fmt.Sprintf(format, args...)) }
	ctx, tp := context.Background(), log.TopicPartition{Topic: "t"}
	for _, group := range []string{"g", "h"} {
		m, err := l.Committed(ctx, group)
		if err != nil {
			return nil, err
		}
		say("%s %d, pending %t", group, m[tp].Offset, l.PendingOffsets(group))
	}
	bounds, err := l.Bounds(ctx, tp)
	if err != nil {
		return nil, err
	}
	say("bounds %+v", bounds)
	states, err := l.Producers(tp)
	if err != nil {
		return nil, err
	}
	slices.SortFunc(states, func(x, y log.ProducerState) int { return cmp.Compare(x.ProducerID, y.ProducerID) })
	for _, s := range states {
		say("producer %d epoch %d sequence %d transaction from %d", s.ProducerID, s.Epoch, s.LastSequence, s.TxnStart)
	}
	aborted, err := l.Aborted(tp, bounds.Start, bounds.End)
	if err != nil {
		return nil, err
	}
	say("aborted %+v", aborted)
	for _, uncommitted := range []bool{false, true} {
		for from := bounds.Start; from <= bounds.End; from++ {
			said = append(said, readTo(l, tp, from, uncommitted))
		}
	}
	return said, nil
}

// readTo says what a reader reads, up to the end or to damage.
func readTo(l log.Log, tp log.TopicPartition, from log.Offset, uncommitted bool) string {
	var b strings.Builder
	fmt.Fprintf(&b, "from %d uncommitted %t:", from, uncommitted)
	r, err := l.OpenReader(tp, from, log.ReaderOptions{Uncommitted: uncommitted})
	if err != nil {
		return fmt.Sprintf("%s %v", b.String(), err)
	}
	defer r.Close()
	for {
		recs, err := r.Poll()
		if errors.Is(err, log.ErrCorrupt) {
			b.WriteString(damageHere)
			return b.String()
		}
		if err != nil {
			return fmt.Sprintf("%s %v", b.String(), err)
		}
		if len(recs) == 0 {
			return fmt.Sprintf("%s position %d", b.String(), r.Position())
		}
		for i := range recs {
			fmt.Fprintf(&b, " %d: %d,", recs[i].Offset, idOf(recs[i]))
		}
	}
}

const damageHere = " damage"

// sameUpToDamage compares what was read with what there is.
func sameUpToDamage(got, want []string) error {
	if len(got) != len(want) {
		return fmt.Errorf("got %q, want %q", got, want)
	}
	for i := range got {
		if good, damaged := strings.CutSuffix(got[i], damageHere); got[i] != want[i] && !(damaged && strings.HasPrefix(want[i], good)) {
			return fmt.Errorf("got %q, want %q", got[i], want[i])
		}
	}
	return nil
}

var errLost = errors.New("lost")

// readDamaged opens a log and reads all of it. An error that is not of the
// log's own making is errLost.
func readDamaged(d *logtest.Disk, h *history) error {
	l, err := mount(d, log.SyncPolicy{})
	if err != nil {
		return err
	}
	defer l.Close()
	if _, err := h.check(l, false); err != nil {
		if errors.Is(err, log.ErrCorrupt) {
			return err
		}
		return fmt.Errorf("%w: %w", errLost, err)
	}
	return nil
}
