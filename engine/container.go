package engine

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"path"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble"
	"github.com/hashicorp/go-hclog"

	"github.com/gretestream/grete/jobs"
	"github.com/gretestream/grete/log"
	op "github.com/gretestream/grete/operators"
	"github.com/gretestream/grete/state"
)

// Container runs tasks of one job on one log: those that the group of the job's
// containers assigns to it, all of them while it is the only one. Made by Open,
// run once by Run; its other methods may be called from any goroutine, before,
// during and after.
type Container struct {
	opts   Options
	logger hclog.Logger
	plan   *jobs.Plan
	stages []*op.Stage
	from   log.Timestamp // where the generation began to read
	tasks  []*task       // stage by stage
	run    string        // id of the bounded run; empty: it is none

	group           string
	checkpointTopic string
	deadPartitions  int
	budget          budget
	cache           *pebble.Cache // while Run runs
	metrics         *containerMetrics
	janitor         *janitor

	restoring chan struct{} // a token per task that restores
	ran       chan struct{} // closed when the container is Running for the first time
	ended     chan struct{} // closed when Run returns

	whole atomic.Bool  // all tasks are here
	moves atomic.Int64 // counts that tasks were taken or lost

	checkpointBytes atomic.Int64 // written since the janitor looked

	mu struct {
		sync.Mutex
		state   ContainerState
		err     error
		started time.Time
		changed chan struct{} // nil: nobody waits for the next commit
	}
}

// Open deploys a job: it makes the plan, holds it against the stored one, makes
// the topics that are missing and sweeps older generations. Nothing runs yet.
//
// It returns *jobs.Mistakes for a graph or topics that do not fit together, and
// *jobs.Incompatible if the job cannot go on from its stored state.
func Open(ctx context.Context, opts Options) (*Container, error) {
	opts.EnsureDefaults()
	if err := opts.Validate(); err != nil {
		return nil, err
	}
	d, err := deploy(ctx, &opts)
	if err != nil {
		return nil, err
	}
	c := &Container{
		opts:            opts,
		logger:          opts.Logger.Named("engine").With("job", opts.Job.Name, "generation", d.stored.Plan.Generation),
		plan:            &d.stored.Plan,
		stages:          d.stages,
		from:            d.stored.From,
		group:           jobs.Group(opts.Job.Name, d.stored.Plan.Generation),
		checkpointTopic: jobs.CheckpointTopic(opts.Job.Name, d.stored.Plan.Generation),
		restoring:       make(chan struct{}, max(2, runtime.GOMAXPROCS(0))),
		ran:             make(chan struct{}),
		ended:           make(chan struct{}),
	}
	dead, err := opts.Log.Topic(ctx, c.plan.DeadLetters)
	if err != nil {
		return nil, fmt.Errorf("dead letters: %w", err)
	}
	c.deadPartitions = dead.Partitions
	if opts.UntilEnd {
		c.run = newRunID()
	}
	c.metrics = newContainerMetrics(&c.opts)
	c.janitor = newJanitor(c)
	c.makeTasks()
	c.budget = splitMemory(opts.Memory, c.plan)
	return c, nil
}

func newRunID() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

func (c *Container) makeTasks() {
	for i, stage := range c.stages {
		sp := &c.plan.Stages[i]
		for p := range sp.Tasks {
			name := jobs.TaskName(sp.Name, p)
			t := &task{
				c: c, stage: stage, plan: sp, partition: int32(p),
				name:     name,
				key:      []byte(name),
				producer: jobs.Producer(c.plan.Job, c.plan.Generation, name),
				logger:   c.logger.With("task", name),
				nudge:    make(chan struct{}, 1),
				settle:   make(chan chan<- bool),
				metrics:  c.metrics.task(name),
			}
			t.mu.checkpointAt = -1
			t.mu.status = TaskStatus{Task: name, Stage: sp.Name, Partition: int32(p), State: TaskElsewhere, Watermark: jobs.NoWatermark}
			for _, in := range sp.Inputs {
				t.mu.status.Inputs = append(t.mu.status.Inputs, InputStatus{
					TopicPartition: log.TopicPartition{Topic: in.Topic, Partition: int32(p)}, Repartition: in.Repartition})
			}
			c.tasks = append(c.tasks, t)
		}
	}
}

// Run runs tasks until ctx ends, one fails, or a bounded run is through. It
// returns when all its goroutines have ended and all that was processed is
// committed; nil unless something failed, and ErrSuperseded if another
// generation of the job was made current meanwhile: Open runs that one. Views
// must be closed before it can return. It may be called once.
func (c *Container) Run(ctx context.Context) error {
	if !c.move(Restoring, nil) {
		return fmt.Errorf("container of job %q was run before: it is %s", c.plan.Job, c.Status().State)
	}
	defer close(c.ended)
	c.mu.Lock()
	c.mu.started = c.opts.Now()
	c.mu.Unlock()

	// Work under way outlives ctx: a stop lets tasks commit what they processed.
	work, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cancel(nil)
	c.cache = pebble.NewCache(c.budget.cache)
	err := c.runTasks(ctx, work, cancel)
	for _, t := range c.tasks {
		err = errors.Join(err, t.close())
	}
	c.cache.Unref()
	if err != nil {
		err = fmt.Errorf("job %q: %w", c.plan.Job, err)
		c.move(Failed, err)
	} else {
		c.move(Stopped, nil)
	}
	c.notify()
	return err
}

// runTasks runs until every task has ended. ctx says when to stop, work when to
// give up.
func (c *Container) runTasks(ctx, work context.Context, giveUp context.CancelCauseFunc) error {
	var helpers sync.WaitGroup
	done := make(chan struct{})
	helpers.Go(func() { c.janitor.run(work, done) })
	if c.opts.Progress != nil {
		helpers.Go(func() { c.report(done) })
	}
	err := newKeeper(c, work, giveUp).run(ctx)
	close(done)
	helpers.Wait()
	if err == nil {
		c.janitor.purge(work) // what a short run leaves behind need not wait for the next
	}
	return err
}

// prepare fences earlier lives of tasks, and then finds their checkpoints and
// the ends of their inputs: one pass for all of them instead of one each.
func (c *Container) prepare(ctx context.Context, tasks []*task) error {
	fenced := make([]string, len(tasks))
	for i, t := range tasks {
		epoch, err := c.opts.Log.Fence(ctx, t.producer)
		if err != nil {
			return fmt.Errorf("fence task %s: %w", t.name, err)
		}
		t.epoch = epoch
		fenced[i] = t.name
	}
	if err := c.checkCurrent(ctx); err != nil {
		return err
	}
	points, err := readCheckpoints(ctx, c.opts.Log, c.checkpointTopic, fenced...)
	if err != nil {
		return err
	}
	for _, t := range tasks {
		t.findSaved(points, t.epoch)
		if err := t.captureEnds(ctx); err != nil {
			return err
		}
	}
	return nil
}

// checkCurrent returns ErrSuperseded unless the container's generation is current.
// Whoever has fenced asks for it before anything is written: a reprocess that drops
// output has fenced earlier lives after it made the next generation current, and
// then looked where their output ends.
func (c *Container) checkCurrent(ctx context.Context) error {
	newer, err := jobs.NewerGeneration(ctx, c.opts.Log, c.plan.Job, c.plan.Generation)
	if err == nil && newer > 0 {
		err = fmt.Errorf("%w: generation %d", ErrSuperseded, newer)
	}
	return err
}

// findSaved takes the task's own out of all checkpoints, and the term of the life
// that begins with it.
func (t *task) findSaved(points map[string]savedPoint, epoch log.Epoch) {
	last := t.term
	t.saved, t.term = nil, epoch
	if p, ok := points[t.name]; ok {
		t.saved = &p.checkpoint
		t.term = max(epoch, p.checkpoint.Epoch+1)
		if last > 0 && p.checkpoint.Epoch > last {
			t.taken, t.until = 0, nil // between two lives here, another container had the task
		}
		t.mu.Lock()
		t.mu.checkpointAt = p.offset
		t.mu.Unlock()
	}
	if t.taken == 0 {
		t.taken = t.term
	}
}

// captureEnds notes where the task's inputs end now.
func (t *task) captureEnds(ctx context.Context) error {
	until := make([]log.Offset, len(t.plan.Inputs))
	t.mu.Lock()
	t.mu.total, t.mu.started = 0, 0
	t.mu.Unlock()
	for i := range t.plan.Inputs {
		in := &t.plan.Inputs[i]
		if int(t.partition) >= in.Partitions {
			continue
		}
		tp := log.TopicPartition{Topic: in.Topic, Partition: t.partition}
		b, err := t.c.opts.Log.Bounds(ctx, tp)
		if err != nil {
			return fmt.Errorf("bounds of %s: %w", tp, err)
		}
		if in.Repartition {
			until[i] = b.End
			continue
		}
		until[i] = b.Stable
		start := b.Start
		if s := savedInput(t.saved, in.Topic); s != nil {
			start = s.Offset
		}
		t.mu.Lock()
		t.mu.status.Inputs[i].Offset, t.mu.status.Inputs[i].End = start, b.Stable
		t.mu.total += int64(max(0, b.Stable-start))
		t.mu.started += int64(start)
		t.mu.Unlock()
	}
	t.until = until
	return nil
}

// move changes the state, if that move exists.
func (c *Container) move(to ContainerState, err error) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	from := c.mu.state
	if !from.may(to) {
		return false
	}
	c.mu.state = to
	if err != nil {
		c.mu.err = err
		c.logger.Error("container failed", "err", err)
		return true
	}
	c.logger.Info("container is "+to.String(), "was", from.String())
	return true
}

// applied tells the container of a commit.
func (c *Container) applied(checkpointBytes int64) {
	c.checkpointBytes.Add(checkpointBytes)
	select {
	case c.janitor.kick <- struct{}{}:
	default:
	}
	c.notify()
}

func (c *Container) notify() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.mu.changed != nil {
		close(c.mu.changed)
		c.mu.changed = nil
	}
}

// spec says which stores a task has.
func (c *Container) spec(plan *jobs.StagePlan, t *task) state.Spec {
	return stateSpec(c.opts.Dir, c.plan, plan, t.partition)
}

func stateSpec(root string, plan *jobs.Plan, stage *jobs.StagePlan, partition int32) state.Spec {
	s := state.Spec{
		Dir:        path.Join(root, plan.Job, strconv.FormatInt(plan.Generation, 10), jobs.TaskName(stage.Name, int(partition))),
		Generation: plan.Generation,
	}
	for _, st := range stage.Stores {
		s.Stores = append(s.Stores, state.StoreSpec{Name: st.Name, ID: st.ID,
			Changelog: log.TopicPartition{Topic: st.Changelog, Partition: partition}})
	}
	return s
}

func (c *Container) stateOptions(t *task) state.Options {
	return state.Options{
		FS: c.opts.FS, BlockCache: c.cache, MemTableBytes: c.budget.memtable,
		Logger: t.logger, Metrics: c.opts.Metrics, Now: c.opts.Now,
		Progress: func(done, total int64) {
			t.mu.Lock()
			t.mu.restore = Progress{Phase: "restore", Done: done, Total: total}
			t.mu.Unlock()
		},
	}
}

// memtables is how many a database may have at once.
const memtables = 3

// budget is how Options.Memory is shared out, in bytes.
type budget struct {
	cache    int64 // blocks and memtables of all databases: Pebble takes memtables out of its cache
	memtable int64 // one memtable; a database may have three
	hot      int64 // hot state of one task
}

// splitMemory gives five eighths of it to hot state and an eighth each to
// memtables and blocks; the rest is left for records on the way. Hot state gets
// the most because what does not fit there costs a hundred times as much.
func splitMemory(total int64, plan *jobs.Plan) budget {
	keepers := int64(0)
	for i := range plan.Stages {
		if len(plan.Stages[i].Stores) > 0 {
			keepers += int64(plan.Stages[i].Tasks)
		}
	}
	keepers = max(keepers, 1)
	memtable := min(max(total/8/memtables/keepers, 256<<10), 64<<20)
	return budget{
		cache:    total/8 + memtables*keepers*memtable,
		memtable: memtable,
		hot:      total / 8 * 5 / keepers,
	}
}

// Job, Generation and Plan tell what is run.
func (c *Container) Job() string       { return c.plan.Job }
func (c *Container) Generation() int64 { return c.plan.Generation }
func (c *Container) Plan() *jobs.Plan  { return c.plan }

// Stores lists the stores of the job, ordered by name.
func (c *Container) Stores() []StoreInfo { return storesOf(c.plan, c.stages) }

func storesOf(plan *jobs.Plan, stages []*op.Stage) []StoreInfo {
	var list []StoreInfo
	for i, s := range stages {
		for _, d := range s.Stores {
			list = append(list, StoreInfo{StoreDecl: d, Stage: s.Name, Partitions: plan.Stages[i].Tasks})
		}
	}
	slices.SortFunc(list, func(a, b StoreInfo) int { return strings.Compare(a.Name, b.Name) })
	return list
}

// Views returns one snapshot per task that keeps the store: see Source.
func (c *Container) Views(store string) ([]TaskView, error) {
	var views []TaskView
	var elsewhere []string
	for _, t := range c.tasks {
		if !slices.ContainsFunc(t.plan.Stores, func(s jobs.StorePlan) bool { return s.Name == store }) {
			continue
		}
		v, err := t.view()
		if errors.Is(err, ErrElsewhere) {
			elsewhere = append(elsewhere, t.name)
			continue
		}
		if err != nil {
			for i := range views {
				err = errors.Join(err, views[i].Close())
			}
			return nil, fmt.Errorf("store %q of job %q: task %s: %w", store, c.plan.Job, t.name, err)
		}
		views = append(views, v)
	}
	switch {
	case views != nil:
		return views, nil
	case elsewhere != nil:
		return nil, fmt.Errorf("store %q of job %q: tasks %s: %w", store, c.plan.Job, strings.Join(elsewhere, ", "), ErrElsewhere)
	}
	return nil, unknownStore(store, c.plan.Job, c.Stores())
}

func unknownStore(store, job string, stores []StoreInfo) error {
	names := make([]string, len(stores))
	for i := range stores {
		names[i] = stores[i].Name
	}
	return fmt.Errorf("%w %q: job %q keeps %s", ErrUnknownStore, store, job, strings.Join(names, ", "))
}

// view takes a snapshot. It holds mu, so that the database is not closed between
// the look at it and the snapshot; once that is taken, its Close waits.
func (t *task) view() (TaskView, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.mu.db == nil {
		if t.mu.status.State == TaskElsewhere && t.c.running() {
			return TaskView{}, ErrElsewhere
		}
		return TaskView{}, ErrNotReady
	}
	return taskView(t.mu.db, t.name, t.partition, t.plan)
}

func taskView(db *state.DB, name string, partition int32, plan *jobs.StagePlan) (TaskView, error) {
	v, err := db.View()
	if err != nil {
		return TaskView{}, err
	}
	tv := TaskView{Task: name, Partition: partition, View: v}
	if meta := v.Meta(); len(meta) > 0 {
		if tv.Checkpoint, err = jobs.DecodeCheckpoint(meta); err != nil {
			return TaskView{}, errors.Join(err, v.Close())
		}
	} else {
		tv.Checkpoint.Watermark = jobs.NoWatermark
	}
	for _, in := range plan.Inputs {
		tv.Inputs = append(tv.Inputs, log.TopicPartition{Topic: in.Topic, Partition: partition})
	}
	return tv, nil
}

// running tells that the container has heard which tasks it has.
func (c *Container) running() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.mu.state == Running
}

// Changed returns a channel that is closed at the next applied commit, and when
// the container or a task has come to run or a task has left it.
func (c *Container) Changed() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.mu.changed == nil {
		c.mu.changed = make(chan struct{})
	}
	return c.mu.changed
}

// Status tells how the job is doing now.
func (c *Container) Status() Status {
	c.mu.Lock()
	s := Status{Job: c.plan.Job, Generation: c.plan.Generation, State: c.mu.state, Err: c.mu.err, Started: c.mu.started}
	c.mu.Unlock()
	s.Tasks = make([]TaskStatus, len(c.tasks))
	for i, t := range c.tasks {
		s.Tasks[i] = t.status()
	}
	s.Progress = c.progress(&s)
	return s
}

// progress sums the tasks': changelogs while they restore, then the inputs of
// the user's that were there when the container started.
func (c *Container) progress(s *Status) Progress {
	if s.State <= Restoring {
		p := Progress{Phase: "restore"}
		for _, t := range c.tasks {
			t.mu.Lock()
			p.Done += t.mu.restore.Done
			p.Total += t.mu.restore.Total
			t.mu.Unlock()
		}
		return p
	}
	p := Progress{Phase: "run"}
	for i, t := range c.tasks {
		if s.Tasks[i].State == TaskElsewhere {
			continue
		}
		t.mu.Lock()
		p.Total += t.mu.total
		p.Done -= t.mu.started
		t.mu.Unlock()
		for _, in := range s.Tasks[i].Inputs {
			if !in.Repartition {
				p.Done += int64(in.Offset)
			}
		}
	}
	p.Done = min(p.Total, max(0, p.Done))
	return p
}

// report calls Options.Progress until done is closed, and once after that.
func (c *Container) report(done <-chan struct{}) {
	ticker := time.NewTicker(250 * time.Millisecond)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-done:
			s := c.Status()
			c.opts.Progress(s.Progress)
			return
		}
		if s := c.Status(); s.State <= Restoring || c.run != "" || s.Progress.Done < s.Progress.Total {
			c.opts.Progress(s.Progress)
		}
	}
}
