package engine

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"strings"
	"testing"

	"github.com/gretestream/grete/jobs"
	"github.com/gretestream/grete/log"
	"github.com/gretestream/grete/log/logtest"
)

// hookedLog tells of what a deploy does. A container on it does not hear by itself
// that a new generation is current.
type hookedLog struct {
	log.Log
	bounded func(log.TopicPartition)                      // after Bounds; may be nil
	commit  func(*log.Commit) error                       // before a Commit; may be nil
	opened  func(tp log.TopicPartition, uncommitted bool) // before a reader; may be nil
}

func (l *hookedLog) Bounds(ctx context.Context, tp log.TopicPartition) (log.Bounds, error) {
	b, err := l.Log.Bounds(ctx, tp)
	if l.bounded != nil {
		l.bounded(tp)
	}
	return b, err
}

func (l *hookedLog) Commit(ctx context.Context, c *log.Commit) ([]log.Offset, error) {
	if l.commit != nil {
		if err := l.commit(c); err != nil {
			return nil, err
		}
	}
	return l.Log.Commit(ctx, c)
}

func (l *hookedLog) OpenReader(tp log.TopicPartition, from log.Offset, opts log.ReaderOptions) (log.Reader, error) {
	if l.opened != nil {
		l.opened(tp, opts.Uncommitted)
	}
	r, err := l.Log.OpenReader(tp, from, opts)
	if err == nil && strings.Contains(string(debug.Stack()), "jobs.AwaitGeneration") {
		return lateReader{r}, nil
	}
	return r, err
}

// lateReader has not heard of a new generation yet.
type lateReader struct{ log.Reader }

func (lateReader) Next(ctx context.Context) ([]log.Record, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// ranOnce is a node whose job has read ten views, a container of its first
// generation that has not run yet, with ten more to read, and the results of all.
func ranOnce(t *testing.T, l *hookedLog) (n *node, old *Container, all map[string][]int64) {
	t.Helper()
	n = newNode(t)
	n.create("views", 2)
	all = map[string][]int64{}
	for i := range 10 {
		n.view(i%2, int64(i)*20_000, "a")
	}
	n.runUntilEnd(countJob)
	for i := range 10 {
		n.view(i%2, int64(i+10)*20_000, "a")
	}
	o := n.options(countJob)
	o.UntilEnd = true
	l.Log = n.log
	o.Log = l
	old, err := Open(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		window := int64(i) * 20_000 / 60_000 * 60_000
		key := fmt.Sprintf("%d a", window)
		if all[key] == nil {
			all[key] = []int64{0}
		}
		all[key][0]++
	}
	return n, old, all
}

// checkSecond checks that the output has the results of the second generation alone.
func (n *node) checkSecond(all map[string][]int64) {
	n.t.Helper()
	n.runUntilEnd(countJob)
	wantRows(n.t, n.finals(), all)
	for _, r := range n.read("view-counts") {
		generation := ""
		for _, h := range r.Headers {
			if h.Key == "grete.generation" {
				generation = string(h.Value)
			}
		}
		if generation != "2" {
			n.t.Errorf("the output has a result of generation %q at %s", generation, r.Offset)
		}
	}
	d, err := jobs.LoadDeployment(context.Background(), n.log, countJob.Name)
	if err != nil || len(d.Dropping) > 0 || len(d.Dropped) == 0 {
		n.t.Errorf("got %+v and %v, want the earlier output dropped", d, err)
	}
}

// A task of the old generation that begins while the ends of the output are taken
// writes nothing behind them.
func TestDropOutputBesideOldTasks(t *testing.T) {
	n, old, all := ranOnce(t, &hookedLog{})
	var ran []error
	o := n.options(countJob)
	o.Log = &hookedLog{Log: n.log, bounded: func(tp log.TopicPartition) {
		if tp.Topic == "view-counts" && len(ran) == 0 {
			ran = append(ran, old.Run(context.Background()))
		}
	}}
	if _, err := Reprocess(context.Background(), o, From{}, true); err != nil {
		t.Fatal(err)
	}
	if len(ran) != 1 || !errors.Is(ran[0], ErrSuperseded) {
		t.Errorf("the old container ended with %v, want ErrSuperseded", ran)
	}
	n.checkSecond(all)
}

// A crash after the new generation was made current, and before it was known where
// the output of the old one ends, is made up for by the next start.
func TestDropOutputAfterCrash(t *testing.T) {
	for name, again := range map[string]bool{"run": false, "reprocess again": true} {
		t.Run(name, func(t *testing.T) {
			n, old, all := ranOnce(t, &hookedLog{})
			crash, commits := errors.New("crash"), 0
			o := n.options(countJob)
			o.Log = &hookedLog{Log: n.log, commit: func(*log.Commit) error {
				if commits++; commits == 2 {
					return crash
				}
				return nil
			}}
			if _, err := Reprocess(context.Background(), o, From{}, true); !errors.Is(err, crash) {
				t.Fatalf("got %v, want a crash", err)
			}
			d, err := jobs.LoadDeployment(context.Background(), n.log, countJob.Name)
			if err != nil || d.Plan.Generation != 2 || len(d.Dropping) == 0 || d.Dropped != nil {
				t.Fatalf("got %+v and %v, want the drop begun", d, err)
			}
			if err := old.Run(context.Background()); !errors.Is(err, ErrSuperseded) {
				t.Fatalf("the old container ended with %v, want ErrSuperseded", err)
			}
			if !again {
				n.checkSecond(all)
				return
			}
			if g, err := Reprocess(context.Background(), n.options(countJob), From{}, true); err != nil || g != 3 {
				t.Fatalf("got generation %d, %v", g, err)
			}
			n.runUntilEnd(countJob)
			wantRows(t, n.finals(), all)
		})
	}
}

// While another job's deploy hides whether a newer generation is current, a task
// does not begin.
func TestOldTaskBehindOpenTransaction(t *testing.T) {
	looked := make(chan struct{}, 1)
	n, old, _ := ranOnce(t, &hookedLog{opened: func(tp log.TopicPartition, uncommitted bool) {
		if tp.Topic == jobs.PlansTopic && uncommitted {
			select {
			case looked <- struct{}{}:
			default:
			}
		}
	}})
	before := len(n.read("view-counts"))
	plans := log.TopicPartition{Topic: jobs.PlansTopic}
	end := logtest.Begin(t, n.log, plans, log.Record{Timestamp: 1, Key: []byte("other"), Value: []byte("not committed")})
	if _, err := Reprocess(context.Background(), n.options(countJob), From{}, false); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- old.Run(context.Background()) }()
	select {
	case <-looked:
	case err := <-ended:
		ended <- err
		t.Errorf("the old container ended with %v before the transaction", err)
	}
	end(false)
	if err := <-ended; !errors.Is(err, ErrSuperseded) {
		t.Errorf("the old container ended with %v, want ErrSuperseded", err)
	}
	if after := len(n.read("view-counts")); after != before {
		t.Errorf("the old container wrote %d results", after-before)
	}
}
