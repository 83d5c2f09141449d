package log_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"path"
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
