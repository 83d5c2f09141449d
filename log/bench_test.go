package log

import (
	"context"
	"encoding/binary"
	"sync"
	"syscall"
	"testing"
	"time"
)

func benchmarkAppend(b *testing.B, opts Options) {
	l := mustOpen(b, b.TempDir(), opts)
	mustCreate(b, l, "a", 1)
	tp := TopicPartition{"a", 0}
	var bl Builder
	key, val := []byte("0123456789"), make([]byte, 90)
	const n = 1000
	for i := range n {
		bl.Append(Timestamp(i), key, val)
	}
	run := bl.Bytes()
	b.SetBytes(int64(len(run)))
	b.ReportAllocs()
	cpu := startCPU(b)
	for b.Loop() {
		if _, err := l.Append(context.Background(), tp, run); err != nil {
			b.Fatal(err)
		}
	}
	cpu.report(b.N * n)
}

// cpuClock measures user and system time of the process: what a record costs,
// whatever else the machine is doing.
type cpuClock struct {
	b    *testing.B
	from time.Duration
}

func startCPU(b *testing.B) cpuClock { return cpuClock{b, cpuTime()} }

func (c cpuClock) report(records int) {
	c.b.ReportMetric(float64(cpuTime()-c.from)/float64(records), "cpu-ns/record")
	c.b.ReportMetric(float64(records)/c.b.Elapsed().Seconds(), "records/s")
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func BenchmarkAppend(b *testing.B)     { benchmarkAppend(b, Options{}) }
func BenchmarkAppendNone(b *testing.B) { benchmarkAppend(b, Options{Sync: SyncPolicy{Mode: SyncNone}}) }

func BenchmarkRead(b *testing.B) {
	l := mustOpen(b, b.TempDir(), Options{})
	mustCreate(b, l, "a", 1)
	tp := TopicPartition{"a", 0}
	var bl Builder
	key, val := []byte("0123456789"), make([]byte, 90)
	const n, batches = 1000, 200
	for i := range n {
		bl.Append(Timestamp(i), key, val)
	}
	for range batches {
		if _, err := l.Append(context.Background(), tp, bl.Bytes()); err != nil {
			b.Fatal(err)
		}
	}
	r, err := l.OpenReader(tp, 0, ReaderOptions{})
	if err != nil {
		b.Fatal(err)
	}
	defer r.Close()
	read := 0
	b.ReportAllocs()
	cpu := startCPU(b)
	for b.Loop() {
		recs, err := r.Poll()
		if err != nil {
			b.Fatal(err)
		}
		if read += len(recs); len(recs) == 0 {
			if err := r.Seek(0); err != nil {
				b.Fatal(err)
			}
		}
	}
	cpu.report(read)
}

// Many callers with a record each share syncs.
func BenchmarkAppendShared(b *testing.B) {
	l := mustOpen(b, b.TempDir(), Options{})
	mustCreate(b, l, "a", 8)
	const callers = 128
	key, val := []byte("0123456789"), make([]byte, 90)
	var wg sync.WaitGroup
	cpu := startCPU(b)
	b.ResetTimer()
	for c := range callers {
		wg.Go(func() {
			tp := TopicPartition{"a", int32(c % 8)}
			for range (b.N + callers - 1) / callers {
				if _, err := AppendRecords(context.Background(), l, tp, Record{Key: key, Value: val}); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	cpu.report(b.N)
	b.ReportMetric(float64(b.N)/float64(l.m.syncs.Count()), "records/sync")
}

// What a producer id costs: its state is checked and replaced under the
// admission lock, once for each batch.
func BenchmarkProduce(b *testing.B) {
	for _, kind := range []string{"plain", "idempotent", "transactional"} {
		b.Run(kind, func(b *testing.B) {
			l := mustOpen(b, b.TempDir(), Options{Sync: SyncPolicy{Mode: SyncNone}})
			mustCreate(b, l, "a", 1)
			tp := TopicPartition{"a", 0}
			pid, attributes := int64(-1), int16(0)
			if kind != "plain" {
				pid = 1
			}
			if kind == "transactional" {
				attributes = attrTransactional
			}
			const n = 10
			batch := clientBatch(pid, 0, 0, n, attributes)
			sequence := int32(0)
			b.ReportAllocs()
			cpu := startCPU(b)
			for b.Loop() {
				if pid >= 0 {
					binary.BigEndian.PutUint32(batch[batchSequencePos:], uint32(sequence))
					sealBatch(batch)
					sequence = addSequence(sequence, n)
				}
				pd, err := l.Produce(tp, batch, ProduceOptions{})
				if err != nil {
					b.Fatal(err)
				}
				if _, err := pd.Wait(context.Background()); err != nil {
					b.Fatal(err)
				}
			}
			cpu.report(b.N * n)
		})
	}
}
