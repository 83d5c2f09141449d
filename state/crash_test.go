package state

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"testing"

	"github.com/rcrowley/go-metrics"

	"github.com/gretestream/grete/log"
	"github.com/gretestream/grete/log/logtest"
	"github.com/gretestream/grete/state/codec"
)

// The power fails at any sync of the log or of Pebble: in the middle of a commit,
// a flush, an ingest, a compaction, a restore. Afterwards the stores equal what
// has been committed, with the commit under way either whole or absent.
func TestPowerCut(t *testing.T) {
	seeds := 25
	if testing.Short() {
		seeds = 5
	}
	registry := metrics.NewRegistry()
	opens := 0
	for seed := range uint64(seeds) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			n := &node{t: t, rnd: rand.New(rand.NewPCG(seed, 1)), disk: logtest.NewDisk(seed), metrics: registry, committed: map[string]int64{}}
			for range 8 {
				n.live()
			}
			if n.cuts == 0 {
				t.Error("the power never failed")
			}
			opens += n.opens
		})
	}
	// The test would also pass if every power cut led to a whole restore.
	c := newCounters(registry)
	t.Logf("%d opens: %d wipes, %d whole restores, %d records restored of %d changes, %d flushes, %d disk errors",
		opens, c.wipes.Count(), c.restores.Count(), c.restoreRecord.Count(), c.changes.Count(), c.flushes.Count(), c.diskErrors.Count())
	// A cut while a database is being made can leave one that Pebble does not open.
	if opens > 100 && (c.wipes.Count() > int64(opens)/20 || c.restores.Count() > int64(opens)/4) {
		t.Error("Pebble does not survive power cuts")
	}
}

// node is a log and the state of one task on one disk.
type node struct {
	t           *testing.T
	rnd         *rand.Rand
	disk        *logtest.Disk
	cuts, opens int
	metrics     metrics.Registry

	committed map[string]int64 // acknowledged
	unknown   map[string]int64 // nil, or what was being committed when the power failed
}

// live runs the node until the power fails or it is killed.
func (n *node) live() {
	n.disk.CrashAtSync(1+n.rnd.IntN(60), logtest.When(n.rnd.IntN(2)))
	err := n.run()
	if err != nil && !n.disk.Crashed() {
		n.t.Fatal(err)
	}
	n.cuts++
	if n.rnd.IntN(4) == 0 {
		n.disk = n.disk.Kill() // the next life may lose what this one has not synced
		return
	}
	policies := []logtest.Policy{logtest.KeepNothing, logtest.KeepAll, logtest.Random(n.rnd.Uint64())}
	n.disk = n.disk.Crash(policies[n.rnd.IntN(len(policies))])
}

func (n *node) run() (err error) {
	l, err := log.Open("data", log.Options{FS: n.disk, ReserveBytes: -1, BallastBytes: -1, JournalBytes: 64 << 10, SegmentBytes: 64 << 10})
	if err != nil {
		return err
	}
	defer l.Close()
	ctx := context.Background()
	if _, err := l.CreateTopic(ctx, log.TopicSpec{Name: "s.changelog", Partitions: 1, Configs: map[string]string{"cleanup.policy": "compact"}}); err != nil && !errors.Is(err, log.ErrTopicExists) {
		return err
	}
	spec := testSpec("s")
	d, err := Open(ctx, l, spec, Options{FS: n.disk, Metrics: n.metrics, MemTableBytes: 256 << 10, FlushBytes: int64(1 + n.rnd.IntN(100<<10))})
	if err != nil {
		return err
	}
	defer d.Close()

	n.opens++
	d.pendingMin = n.rnd.IntN(20 << 10)
	s := d.Store("s")
	got, err := counts(s)
	if err != nil {
		return err
	}
	if n.unknown != nil && maps.Equal(got, n.unknown) {
		n.committed = n.unknown
	}
	n.unknown = nil
	if !maps.Equal(got, n.committed) {
		n.t.Fatalf("after crash %d: got %d keys, want %d: %s", n.cuts, len(got), len(n.committed), difference(got, n.committed))
	}

	c := NewCache[int64](s, nil, codec.Int64, false)
	for range n.rnd.IntN(30) {
		if err := n.interval(ctx, l, d, c); err != nil {
			return err
		}
	}
	return nil
}

// interval changes some keys, or many, and commits them.
func (n *node) interval(ctx context.Context, l log.Log, d *DB, c *Cache[int64]) error {
	next := maps.Clone(n.committed)
	for range 1 << n.rnd.IntN(12) {
		key := fmt.Sprint(n.rnd.IntN(2000))
		if n.rnd.IntN(4) == 0 {
			delete(next, key)
			if err := c.Delete([]byte(key)); err != nil {
				return err
			}
			continue
		}
		v, _, err := c.RefString(key)
		if err != nil {
			return err
		}
		*v += n.rnd.Int64N(100)
		next[key] = *v
	}
	if err := c.Drain(); err != nil {
		return err
	}
	changes := d.Freeze()
	n.unknown = next
	offsets, err := l.Commit(ctx, &log.Commit{Writes: changes.Writes()})
	if err != nil {
		return err
	}
	n.committed, n.unknown = next, nil
	return d.Apply(changes, offsets, nil)
}

func counts(s *Store) (map[string]int64, error) {
	got := map[string]int64{}
	var bad error
	err := s.Scan(nil, nil, func(key, value []byte) bool {
		var v int64
		bad = codec.Int64.Decode(&v, value, nil)
		got[string(key)] = v
		return bad == nil
	})
	return got, errors.Join(err, bad)
}

// difference names the first few keys that differ.
func difference(got, want map[string]int64) string {
	var out string
	say := func(k string) {
		if len(out) < 200 {
			out += fmt.Sprintf("%s: got %d, want %d; ", k, got[k], want[k])
		}
	}
	for k, v := range want {
		if g, ok := got[k]; !ok || g != v {
			say(k)
		}
	}
	for k := range got {
		if _, ok := want[k]; !ok {
			say(k)
		}
	}
	return out
}
