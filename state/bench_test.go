package state

import (
	"fmt"
	"math/rand/v2"
	"syscall"
	"testing"
	"time"

	"github.com/gretestream/grete/log"
	"github.com/gretestream/grete/state/codec"
)

// cpuTime is what the process has used so far, user and system, all goroutines.
func cpuTime() time.Duration {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		panic(err)
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// BenchmarkApply is the state work of a counting job, one iteration per changed
// key: Ref, Drain, encoding the changelog, Apply, and Pebble's flushes and
// compactions until all is quiet. CPU time is that of the whole process.
func BenchmarkApply(b *testing.B) {
	for _, bc := range []struct{ keys, perInterval int }{{10_000, 10_000}, {2_500_000, 33_000}, {10_000_000, 400_000}} {
		b.Run(fmt.Sprintf("keys=%d", bc.keys), func(b *testing.B) {
			spec := testSpec("s")
			spec.Dir = b.TempDir()
			d := open(b, newFakeLog("s.changelog"), spec, Options{})
			c := NewCache[int64](d.Store("s"), AppendWindowStart(nil, 0), codec.Int64, true)
			var key []byte
			var parts [3]time.Duration
			offset := log.Offset(0)
			start := cpuTime()
			b.ResetTimer()
			for done := 0; done < b.N; {
				t0 := time.Now()
				for i := range min(bc.perInterval, b.N-done) {
					id := i
					if bc.keys > bc.perInterval {
						id = rand.IntN(bc.keys)
					}
					key = appendDigits(append(key[:0], "user-"...), id)
					v, _, err := c.Ref(key)
					if err != nil {
						b.Fatal(err)
					}
					*v++
				}
				done += min(bc.perInterval, b.N-done)
				t1 := time.Now()
				if err := c.Drain(); err != nil {
					b.Fatal(err)
				}
				changes := d.Freeze()
				t2 := time.Now()
				offsets := make([]log.Offset, len(changes.Writes()))
				for i := range offsets {
					offsets[i] = offset
				}
				offset += log.Offset(c.Len())
				if err := d.Apply(changes, offsets, nil); err != nil {
					b.Fatal(err)
				}
				parts[0] += t1.Sub(t0)
				parts[1] += t2.Sub(t1)
				parts[2] += time.Since(t2)
			}
			quiet(d)
			b.StopTimer()
			b.ReportMetric(float64(cpuTime()-start)/float64(b.N), "cpu-ns/key")
			for i, name := range []string{"ref", "drain", "apply"} {
				b.ReportMetric(float64(parts[i])/float64(b.N), name+"-ns/key")
			}
			b.ReportMetric(float64(d.pebble.Metrics().Total().BytesFlushed+d.pebble.Metrics().Total().BytesCompacted)/float64(b.N), "written-B/key")
			mustClose(b, d)
		})
	}
}

// quiet waits for Pebble's flushes and compactions to end. Pebble tells of the end
// of a compaction before it stops counting it, so this has to ask again and again.
func quiet(d *DB) {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for m := d.pebble.Metrics(); m.Compact.NumInProgress+m.Flush.NumInProgress > 0; m = d.pebble.Metrics() {
		<-tick.C
	}
}

// appendDigits appends id as ten digits.
func appendDigits(b []byte, id int) []byte {
	for div := 1_000_000_000; div > 0; div /= 10 {
		b = append(b, byte('0'+id/div%10))
	}
	return b
}

// BenchmarkRestore reads a changelog of random keys into an empty database; one
// iteration is one record.
func BenchmarkRestore(b *testing.B) {
	l := newFakeLog("s.changelog")
	topic := l.topics["s.changelog"]
	value := make([]byte, 8)
	for i := range b.N {
		key := AppendWindowStart(make([]byte, 0, 24), 0)
		topic.records = append(topic.records, log.Record{Offset: log.Offset(i), Key: appendDigits(append(key, "user-"...), rand.IntN(10_000_000)), Value: value})
	}
	spec := testSpec("s")
	spec.Dir = b.TempDir()
	start := cpuTime()
	b.ResetTimer()
	d := open(b, l, spec, Options{})
	quiet(d)
	b.StopTimer()
	b.ReportMetric(float64(cpuTime()-start)/float64(b.N), "cpu-ns/record")
	mustClose(b, d)
}

// BenchmarkScan is one entry of a View's scan over a store of a million, most of
// it in one level.
func BenchmarkScan(b *testing.B) {
	spec := testSpec("s")
	spec.Dir = b.TempDir()
	d := open(b, newFakeLog("s.changelog"), spec, Options{})
	const n = 1_000_000
	for i := range n {
		d.Store("s").Put(appendDigits(nil, i), []byte("12345678"))
	}
	changes := d.Freeze()
	if err := d.Apply(changes, make([]log.Offset, len(changes.Writes())), nil); err != nil {
		b.Fatal(err)
	}
	v, err := d.View()
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.ResetTimer()
	for left := b.N; left > 0; {
		if err := v.Scan("s", nil, nil, func(_, _ []byte) bool { left--; return left > 0 }); err != nil {
			b.Fatal(err)
		}
	}
	b.StopTimer()
	mustClose(b, v)
	mustClose(b, d)
}
