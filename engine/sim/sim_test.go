package sim

import (
	"context"
	"flag"
	"testing"

	"go.uber.org/goleak"

	"github.com/gretestream/grete/jobs"
)

var (
	seed  = flag.Uint64("seed", 0, "run this seed alone")
	seeds = flag.Int("seeds", 6, "how many seeds to run")
)

func TestMain(m *testing.M) {
	// A Pebble instance that loses its disk in the middle of its work cannot be
	// closed; what it leaves behind waits for ever and touches nothing.
	goleak.VerifyTestMain(m,
		goleak.IgnoreAnyFunction("github.com/cockroachdb/pebble/record.(*LogWriter).flushLoop"),
		goleak.IgnoreAnyFunction("github.com/cockroachdb/pebble.(*tableCacheShard).releaseLoop"),
		goleak.IgnoreAnyFunction("github.com/cockroachdb/pebble.(*cleanupManager).mainLoop"))
}

// TestExactlyOnce crashes nodes by many seeds.
func TestExactlyOnce(t *testing.T) {
	from, n := uint64(1), *seeds
	if *seed != 0 {
		from, n = *seed, 1
	}
	var sum Report
	for s := from; s < from+uint64(n); s++ {
		cfg := Config{Seed: s, Logf: t.Logf, Partitions: 1 + int(s%3)}
		if s%4 == 0 {
			cfg.Guarantee = jobs.AtLeastOnce // on one log it is no weaker
		}
		r, err := Run(context.Background(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		sum.Crashes += r.Crashes
		sum.Kills += r.Kills
		sum.Views += r.Views
		sum.Windows += r.Windows
	}
	t.Logf("%d power cuts, %d kills, %d views in %d windows: each counted once", sum.Crashes, sum.Kills, sum.Views, sum.Windows)
	if *seed == 0 && (sum.Crashes == 0 || sum.Views == 0) {
		t.Error("no power cut or no views: the simulation tests nothing")
	}
}

// TestContainersShare lets several containers come, go, be killed and be taken
// for dead while they share the job, with power cuts in between.
func TestContainersShare(t *testing.T) {
	from, n := uint64(1), *seeds
	if *seed != 0 {
		from, n = *seed, 1
	}
	var sum Report
	for s := from; s < from+uint64(n); s++ {
		r, err := Run(context.Background(), Config{Seed: s, Rounds: 3, Logf: t.Logf, Partitions: 2 + int(s%4), Views: 1000, Containers: 3})
		if err != nil {
			t.Fatal(err)
		}
		sum.Crashes += r.Crashes
		sum.Stops += r.Stops
		sum.Deaths += r.Deaths
		sum.Zombies += r.Zombies
		sum.Views += r.Views
		sum.Windows += r.Windows
	}
	t.Logf("%d power cuts; of containers %d stops, %d deaths and %d zombies; %d views in %d windows: each counted once",
		sum.Crashes, sum.Stops, sum.Deaths, sum.Zombies, sum.Views, sum.Windows)
	if *seed == 0 && (sum.Stops == 0 || sum.Deaths == 0 || sum.Zombies == 0 || sum.Views == 0) {
		t.Error("nothing happened to the containers: the simulation tests nothing")
	}
}
