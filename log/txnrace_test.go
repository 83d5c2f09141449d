package log

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"
)

// Readers that run along with transactions, segments that are begun and files
// that are compacted are given what was committed, all of it and nothing else.
func TestReadersBesideTransactions(t *testing.T) {
	for _, policy := range []string{"delete", "compact"} {
		t.Run(policy, func(t *testing.T) {
			o := testOptions(newMemFS())
			o.SegmentBytes = 4 << 10
			o.MaintainEvery = time.Millisecond
			l := mustOpen(t, "data", o)
			mustCreate(t, l, "a", 1, "cleanup.policy", policy, "min.cleanable.dirty.ratio", "0", "delete.retention.ms", "0")
			tp := TopicPartition{"a", 0}
			const producers, txns = 4, 400
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			var wg sync.WaitGroup
			for pid := range int64(producers) {
				wg.Go(func() {
					sequence := int32(0)
					for n := range txns {
						commit := n%3 != 0 || n == txns-1
						var waiting []*Produced
						for i := range 1 + n%3 {
							what := map[bool]string{true: "committed", false: "aborted"}[commit]
							pd, err := l.Produce(tp, keyed(pid, sequence, attrTransactional, fmt.Sprintf("%d %d %d", pid, n, i), what), ProduceOptions{})
							if err != nil {
								t.Error(err)
								return
							}
							sequence++
							waiting = append(waiting, pd)
						}
						for _, pd := range waiting {
							if _, err := pd.Wait(ctx); err != nil {
								t.Error(err)
							}
						}
						_, err := l.Commit(ctx, &Commit{Markers: []Marker{{TopicPartition: tp, ProducerID: pid, Commit: commit}}})
						if err != nil {
							t.Error(err)
							return
						}
					}
				})
			}
			want := 0
			for n := range txns {
				if n%3 != 0 || n == txns-1 {
					want += producers * (1 + n%3)
				}
			}
			for range 3 {
				wg.Go(func() {
					r, err := l.OpenReader(tp, 0, ReaderOptions{MaxBytes: 700})
					if err != nil {
						t.Error(err)
						return
					}
					defer r.Close()
					got := map[string]bool{}
					for len(got) < want {
						recs, err := r.Next(ctx)
						if err != nil {
							t.Errorf("after %d of %d records: %v", len(got), want, err)
							return
						}
						for _, rec := range recs {
							key := string(rec.Key)
							if !strings.HasPrefix(string(rec.Value), "committed") || got[key] {
								t.Errorf("at %d: got %q of %q, second time: %t", rec.Offset, rec.Value, key, got[key])
								return
							}
							got[key] = true
						}
					}
				})
			}
			wg.Wait()
		})
	}
}
