package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/cockroachdb/pebble"

	"github.com/gretestream/grete/jobs"
	"github.com/gretestream/grete/log"
	op "github.com/gretestream/grete/operators"
	"github.com/gretestream/grete/state"
)

// Inspection is the state of a job that is not running, opened for queries. It
// implements Source.
type Inspection struct {
	plan   *jobs.Plan
	stages []*op.Stage
	cache  *pebble.Cache
	never  chan struct{}
	parts  []inspected

	closing sync.Once
	err     error // of the close
}

// inspected is one task's state.
type inspected struct {
	name      string
	plan      *jobs.StagePlan
	partition int32
	db        *state.DB
	saved     *jobs.Checkpoint // nil: the task has committed nothing
	ends      []log.Offset
}

// Inspect opens the state of all tasks of a job as of their last commits,
// reading what is missing from the log, and runs nothing. No container of the
// job may run on the same Dir meanwhile. Of the options Job, Log, Dir, FS,
// Memory, Logger and Progress count. It returns ErrNotDeployed if the job never
// ran on this log.
func Inspect(ctx context.Context, opts Options) (*Inspection, error) {
	opts.EnsureDefaults()
	if err := opts.Validate(); err != nil {
		return nil, err
	}
	d, err := jobs.LoadDeployment(ctx, opts.Log, opts.Job.Name)
	if err != nil {
		return nil, err
	}
	if d == nil {
		return nil, fmt.Errorf("job %q: %w: run it first (grete run %s)", opts.Job.Name, ErrNotDeployed, opts.Job.Name)
	}
	stages, err := opts.Job.Compile(d.Plan.Settings)
	if err != nil {
		return nil, err
	}
	if len(stages) != len(d.Plan.Stages) {
		return nil, fmt.Errorf("job %q was changed since it ran last: it had %d stages and has %d; run it first", opts.Job.Name, len(d.Plan.Stages), len(stages))
	}
	points, err := readCheckpoints(ctx, opts.Log, jobs.CheckpointTopic(d.Plan.Job, d.Plan.Generation))
	if err != nil {
		return nil, err
	}
	budget := splitMemory(opts.Memory, &d.Plan)
	i := &Inspection{plan: &d.Plan, stages: stages, cache: pebble.NewCache(budget.cache), never: make(chan struct{})}
	for s := range d.Plan.Stages {
		for p := range d.Plan.Stages[s].Tasks {
			if err := i.open(ctx, &opts, budget, &d.Plan.Stages[s], int32(p), points); err != nil {
				return nil, errors.Join(err, i.Close())
			}
		}
	}
	return i, nil
}

// open opens one task's state.
func (i *Inspection) open(ctx context.Context, o *Options, b budget, stage *jobs.StagePlan, partition int32, points map[string]savedPoint) error {
	part := inspected{name: jobs.TaskName(stage.Name, int(partition)), plan: stage, partition: partition}
	if p, ok := points[part.name]; ok {
		part.saved = &p.checkpoint
	}
	for _, in := range stage.Inputs {
		end := log.Offset(0)
		if int(partition) < in.Partitions {
			tp := log.TopicPartition{Topic: in.Topic, Partition: partition}
			bounds, err := o.Log.Bounds(ctx, tp)
			if err != nil {
				return fmt.Errorf("bounds of %s: %w", tp, err)
			}
			end = bounds.Stable
		}
		part.ends = append(part.ends, end)
	}
	so := state.Options{FS: o.FS, BlockCache: i.cache, MemTableBytes: b.memtable, Logger: o.Logger, Metrics: o.Metrics, Now: o.Now}
	if o.Progress != nil {
		so.Progress = func(done, total int64) { o.Progress(Progress{Phase: "restore", Done: done, Total: total}) }
	}
	db, err := state.Open(ctx, o.Log, stateSpec(o.Dir, i.plan, stage, partition), so)
	if err != nil {
		return fmt.Errorf("open state of task %s: %w", part.name, err)
	}
	part.db = db
	i.parts = append(i.parts, part)
	if part.saved != nil {
		if err := db.SetMeta(part.saved.AppendTo(nil)); err != nil {
			return fmt.Errorf("open state of task %s: %w", part.name, err)
		}
	}
	return nil
}

// Job and Generation tell whose state it is.
func (i *Inspection) Job() string       { return i.plan.Job }
func (i *Inspection) Generation() int64 { return i.plan.Generation }

// Stores lists the stores of the job, ordered by name.
func (i *Inspection) Stores() []StoreInfo { return storesOf(i.plan, i.stages) }

// Views returns one snapshot per task that keeps the store: see Source.
func (i *Inspection) Views(store string) ([]TaskView, error) {
	var views []TaskView
	for k := range i.parts {
		p := &i.parts[k]
		if !slices.ContainsFunc(p.plan.Stores, func(s jobs.StorePlan) bool { return s.Name == store }) {
			continue
		}
		v, err := taskView(p.db, p.name, p.partition, p.plan)
		if err != nil {
			for j := range views {
				err = errors.Join(err, views[j].Close())
			}
			return nil, fmt.Errorf("store %q of job %q: task %s: %w", store, i.plan.Job, p.name, err)
		}
		views = append(views, v)
	}
	if views == nil {
		return nil, unknownStore(store, i.plan.Job, i.Stores())
	}
	return views, nil
}

// Changed returns a channel that is never closed: nothing runs.
func (i *Inspection) Changed() <-chan struct{} { return i.never }

// Status tells where the job stood when it ran last.
func (i *Inspection) Status() Status {
	s := Status{Job: i.plan.Job, Generation: i.plan.Generation, State: Stopped}
	for k := range i.parts {
		p := &i.parts[k]
		t := TaskStatus{Task: p.name, Stage: p.plan.Name, Partition: p.partition, State: TaskDone, Watermark: jobs.NoWatermark}
		for j, in := range p.plan.Inputs {
			is := InputStatus{TopicPartition: log.TopicPartition{Topic: in.Topic, Partition: p.partition}, Repartition: in.Repartition, End: p.ends[j]}
			if saved := savedInput(p.saved, in.Topic); saved != nil {
				is.Offset, is.Idle = saved.Offset, saved.Idle
			}
			t.Inputs = append(t.Inputs, is)
		}
		if p.saved != nil {
			t.Epoch, t.Watermark = p.saved.Epoch, p.saved.Watermark
		}
		s.Tasks = append(s.Tasks, t)
	}
	return s
}

// Close closes all state. It waits for the views to be closed.
func (i *Inspection) Close() error {
	i.closing.Do(func() {
		var errs []error
		for k := range i.parts {
			errs = append(errs, i.parts[k].db.Close())
		}
		i.cache.Unref()
		i.err = errors.Join(errs...)
	})
	return i.err
}
