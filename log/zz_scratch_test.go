package log_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/gretestream/grete/log"
	"github.com/gretestream/grete/log/logtest"
)

func scratchOpts(d log.FS, mode log.SyncMode) log.Options {
	return log.Options{FS: d, MaintainEvery: -1, BallastBytes: -1, JournalBytes: 4096, SegmentBytes: 2048, ReserveBytes: -1, Sync: log.SyncPolicy{Mode: mode}}
}

func readVals(l log.Log, tp log.TopicPartition) ([]string, error) {
	b, err := l.Bounds(context.Background(), tp)
	if err != nil {
		return nil, err
	}
	r, err := l.OpenReader(tp, b.Start, log.ReaderOptions{})
	if err != nil {
		return nil, err
	}
	defer r.Close()
	var out []string
	for r.Position() < b.End {
		recs, err := r.Poll()
		if err != nil {
			return nil, err
		}
		for _, rec := range recs {
			out = append(out, string(rec.Value))
		}
	}
	return out, nil
}

func TestScratchCrash(t *testing.T) {
	for seed := uint64(45); seed < 75; seed++ {
		d := logtest.NewDisk(seed)
		rng := rand.New(rand.NewPCG(seed, 1))
		acked := 0   // commits acked
		tried := 0
		created := false
		ctx := context.Background()
		tps := []log.TopicPartition{{Topic: "a", Partition: 0}, {Topic: "a", Partition: 1}}
		check := func(d log.FS, when string, min, max int) int {
			before := fmt.Sprint(d)
			meta, _ := d.(*logtest.Disk).ReadFile("data/meta/meta.json")
			l, err := log.Open("data", scratchOpts(d, log.SyncGroup))
			if err != nil {
				t.Fatalf("seed %d %s: %v\n%s\n%s", seed, when, err, before, meta)
			}
			defer l.Close()
			n := -1
			if !created {
				return 0
			}
			for _, tp := range tps {
				vals, err := readVals(l, tp)
				if err != nil {
					t.Fatalf("seed %d %s: %v", seed, when, err)
				}
				for i, v := range vals {
					if len(v) < 6 || v[:6] != fmt.Sprintf("%06d", i) {
						t.Fatalf("seed %d %s: %s value %d is %.10q", seed, when, tp, i, v)
					}
				}
				if n >= 0 && n != len(vals) {
					t.Fatalf("seed %d %s: half a commit: %d and %d", seed, when, n, len(vals))
				}
				n = len(vals)
			}
			if n < min || n > max {
				t.Fatalf("seed %d %s: %d commits, want %d to %d", seed, when, n, min, max)
			}
			return n
		}
		for round := range 5 {
			crashAt := 0
			syncs := 0
			d.OnSync(func(p logtest.SyncPoint) {
				syncs++
				if rng.IntN(4) == 0 {
					for _, pol := range []logtest.Policy{logtest.KeepNothing, logtest.KeepAll, logtest.Random(rng.Uint64())} {
						check(d.AfterCrash(pol), fmt.Sprintf("round %d %v %v", round, p, pol), acked, tried)
					}
				}
			})
			_ = crashAt
			l, err := log.Open("data", scratchOpts(d, log.SyncGroup))
			if err != nil {
				t.Fatalf("seed %d round %d: %v", seed, round, err)
			}
			if !created {
				if _, err := l.CreateTopic(ctx, log.TopicSpec{Name: "a", Partitions: 2}); err != nil {
					t.Fatal(err)
				}
				created = true
			}
			for range rng.IntN(60) {
				var b0, b1 log.Builder
				pad := make([]byte, rng.IntN(600))
				b0.Append(1, nil, append(fmt.Appendf(nil, "%06d", tried), pad...))
				b1.Append(1, nil, append(fmt.Appendf(nil, "%06d", tried), pad...))
				tried++
				if _, err := l.Commit(ctx, &log.Commit{Writes: []log.Write{{tps[0], b0.Bytes()}, {tps[1], b1.Bytes()}}, Group: "g", Offsets: []log.GroupOffset{{TopicPartition: tps[0], Offset: log.Offset(tried)}}}); err != nil {
					t.Fatal(err)
				}
				acked++
				if rng.IntN(20) == 0 {
					if err := l.Maintain(); err != nil {
						t.Fatal(err)
					}
				}
			}
			d.OnSync(nil)
			if rng.IntN(3) == 0 {
				l.Close()
			}
			d = d.Crash(logtest.Random(rng.Uint64()))
			n := check(d.AfterCrash(logtest.KeepAll), "end", acked, tried)
			acked, tried = n, n
		}
	}
}
