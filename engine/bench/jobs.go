package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/gretestream/grete/engine"
	"github.com/gretestream/grete/jobs"
	"github.com/gretestream/grete/log"
	op "github.com/gretestream/grete/operators"
)

// The topics of the measured jobs.
var (
	records = op.NewTopic(recordsTopic, op.Bytes, op.Bytes)
	copies  = op.NewTopic("copies", op.Bytes, op.Bytes)
	views   = op.NewTopic(viewsTopic, op.String, op.JSON[pageView]())
	counts  = op.NewTopic("page-view-counts", op.WindowKey(op.String), op.Int64)
)

// pageView is what the counting jobs read of a view.
type pageView struct {
	User string `json:"user"`
	Page string `json:"page"`
	Time int64  `json:"time"` // ms since 1970 UTC
}

// At is when the page was viewed.
func (v pageView) At() time.Time { return time.UnixMilli(v.Time) }

// copyRecords hands on what comes.
func copyRecords(g *op.Graph) {
	op.To(op.From(g, records), copies)
}

// countViews counts views per page and minute.
func countViews(g *op.Graph) {
	timed := op.EventTime(op.From(g, views), pageView.At)
	perMinute := op.Window(timed, op.Tumbling{Size: time.Minute, Grace: 10 * time.Second})
	perPage := op.Count(perMinute, "views-per-page")
	op.To(perPage.Final(), counts)
}

// everySecond is the commit interval of the counting jobs.
var everySecond = jobs.Options{CommitInterval: time.Second, CommitBytes: jobs.MaxCommitBytes}

func runPassthrough(ctx context.Context, t *task) (*Result, error) {
	return t.runJob(ctx, "records", jobs.Job{Name: "passthrough", Build: copyRecords})
}

func runCount(ctx context.Context, t *task) (*Result, error) {
	return t.runJob(ctx, "views", jobs.Job{Name: "count", Build: countViews, Options: everySecond})
}

func runCountMany(ctx context.Context, t *task) (*Result, error) {
	return t.runJob(ctx, "many-views", jobs.Job{Name: "count-10m", Build: countViews, Options: everySecond})
}

// runJob runs a job over an input that was prepared, until it has committed all
// of it. The job has a name of its own in each run, so that it begins anew.
func (t *task) runJob(ctx context.Context, input string, job jobs.Job) (*Result, error) {
	job.Name = fmt.Sprintf("%s-run-%d", job.Name, t.Run)
	l, err := t.openLog(input, log.SyncGroup)
	if err != nil {
		return nil, err
	}
	m, err := startMeter()
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	c, err := t.startJob(ctx, l, job)
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	if err := c.await(ctx, t.Records); err != nil {
		return nil, errors.Join(err, c.Close(), l.Close())
	}
	m.worked()
	r, err := finish(ctx, m, t.Records, l, c)
	return r, errors.Join(err, t.clean(ctx, input, job.Name))
}

// clean removes what a run has left in the log of its input, which later runs
// use again.
func (t *task) clean(ctx context.Context, input, job string) error {
	l, err := t.openLog(input, log.SyncGroup)
	if err != nil {
		return err
	}
	topics, err := l.Topics(ctx)
	for i := range topics {
		name := topics[i].Name
		_, internal := jobs.InternalTopic(job, name)
		if internal || name == jobs.DeadLettersTopic(job) || name == copies.Name || name == counts.Name {
			err = errors.Join(err, l.DeleteTopic(ctx, name))
		}
	}
	return errors.Join(err, l.Close(), os.RemoveAll(t.stateDir(job)))
}

func (t *task) stateDir(job string) string { return filepath.Join(t.Dir, "state-"+job) }

// running is a container that runs.
type running struct {
	*engine.Container
	stop context.CancelFunc
	done chan struct{} // closed when Run has returned err
	err  error
}

// startJob deploys a job and runs it until Close.
func (t *task) startJob(ctx context.Context, l log.Log, job jobs.Job) (*running, error) {
	c, err := engine.Open(ctx, engine.Options{
		Job: job, Log: l, Dir: t.stateDir(job.Name), FS: log.DefaultFS, Memory: t.Memory,
		CreateTopics: true, Partitions: partitions,
	})
	if err != nil {
		return nil, err
	}
	runCtx, stop := context.WithCancel(ctx)
	r := &running{Container: c, stop: stop, done: make(chan struct{})}
	go func() {
		r.err = c.Run(runCtx)
		close(r.done)
	}()
	return r, nil
}

// Close stops the job and waits for it.
func (r *running) Close() error {
	r.stop()
	<-r.done
	return r.err
}

// await returns when the job has committed n records of its inputs.
func (r *running) await(ctx context.Context, n int64) error {
	return r.until(ctx, func(s *engine.Status) bool {
		read := int64(0)
		for i := range s.Tasks {
			for j := range s.Tasks[i].Inputs {
				if in := &s.Tasks[i].Inputs[j]; !in.Repartition {
					read += int64(in.Offset)
				}
			}
		}
		return read >= n && s.State == engine.Running
	})
}

// ready returns when all tasks process.
func (r *running) ready(ctx context.Context) error {
	return r.until(ctx, func(s *engine.Status) bool { return s.State == engine.Running && s.Ready() })
}

// until returns when the status is as wanted. It looks 50 times a second: a
// look costs microseconds.
func (r *running) until(ctx context.Context, wanted func(*engine.Status) bool) error {
	for {
		select {
		case <-r.done:
			return fmt.Errorf("the job ended before its work was done: %w", r.err)
		default:
		}
		s := r.Status()
		for i := range s.Tasks {
			if t := &s.Tasks[i]; t.Restarts > 0 {
				return fmt.Errorf("task %s was rebuilt while it was measured: %w", t.Task, t.Err)
			}
		}
		if wanted(&s) {
			return nil
		}
		if err := pause(ctx, 20*time.Millisecond); err != nil {
			return err
		}
	}
}

// idleFor is how long the idle job is watched.
const idleFor = 5 * time.Second

// runIdle starts a job that has nothing to do and looks at its memory.
func runIdle(ctx context.Context, t *task) (*Result, error) {
	l, err := t.openLog("idle", log.SyncGroup)
	if err != nil {
		return nil, err
	}
	c, err := t.startJob(ctx, l, jobs.Job{Name: "idle", Build: countViews})
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	err = c.ready(ctx)
	if err == nil {
		err = pause(ctx, idleFor)
	}
	now, peak := residentMemory()
	if err := errors.Join(err, c.Close(), l.Close(), os.RemoveAll(t.stateDir("idle"))); err != nil {
		return nil, err
	}
	return &Result{RSSBytes: now, PeakRSSBytes: peak}, nil
}
