package query

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
	"slices"
	"strings"

	"github.com/gretestream/grete/engine"
	"github.com/gretestream/grete/jobs"
	"github.com/gretestream/grete/log"
	op "github.com/gretestream/grete/operators"
	"github.com/gretestream/grete/state"
)

// Answer is a consistent reading of one store. It is owned by one goroutine,
// and closed by it.
type Answer struct {
	Job        string
	Generation int64
	Store      engine.StoreInfo
	TrueUpTo   TrueUpTo
	// Elsewhere names the tasks whose part of the store is not in the answer:
	// other containers have them.
	Elsewhere []string

	query Query
	rng   op.Range
	views []engine.TaskView
}

// TrueUpTo says what an answer has seen.
type TrueUpTo struct {
	// Inputs are the offsets that come next, per input partition of the tasks
	// that keep the store, ordered by topic and partition.
	Inputs []log.GroupOffset
	// Watermark is the lowest of the tasks; jobs.NoWatermark if one has none.
	Watermark int64
}

// Open takes snapshots of a store for one query. The errors of a mistaken query
// are *BadQuery; errors.Is tells engine.ErrUnknownStore and engine.ErrNotReady.
// l is asked for the ends of internal topics where AtLeast names a topic that
// the store's tasks do not read themselves; it may be nil without AtLeast.
func Open(ctx context.Context, src engine.Source, l log.Log, q Query) (*Answer, error) {
	info, err := findStore(src, q.Store)
	if err != nil {
		return nil, err
	}
	if err := q.check(&info); err != nil {
		return nil, err
	}
	rng, err := q.bounds(&info)
	if err != nil {
		return nil, err
	}
	views, err := viewsAtLeast(ctx, src, l, &q)
	if err != nil {
		return nil, err
	}
	a := &Answer{
		Job: src.Job(), Generation: src.Generation(), Store: info,
		TrueUpTo: trueUpTo(views), Elsewhere: elsewhere(&info, views), query: q, rng: rng, views: views,
	}
	return a, nil
}

// findStore returns the store that is asked for, if it can be queried.
func findStore(src engine.Source, name string) (engine.StoreInfo, error) {
	stores := src.Stores()
	var names []string
	for _, s := range stores {
		if s.Query == nil {
			continue
		}
		if s.Name == name {
			return s, nil
		}
		names = append(names, s.Name)
	}
	return engine.StoreInfo{}, fmt.Errorf("store %q: %w: job %q keeps %s", name, engine.ErrUnknownStore, src.Job(), list(names))
}

func list(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}

// Close releases the snapshots.
func (a *Answer) Close() error {
	var errs []error
	for i := range a.views {
		errs = append(errs, a.views[i].Close())
	}
	a.views = nil
	return errors.Join(errs...)
}

// elsewhere names the tasks of a store that have no view here.
func elsewhere(info *engine.StoreInfo, views []engine.TaskView) []string {
	var names []string
	for p := range info.Partitions {
		if !slices.ContainsFunc(views, func(v engine.TaskView) bool { return int(v.Partition) == p }) {
			names = append(names, jobs.TaskName(info.Stage, p))
		}
	}
	return names
}

// trueUpTo merges the checkpoints of all tasks.
func trueUpTo(views []engine.TaskView) TrueUpTo {
	t := TrueUpTo{Watermark: math.MaxInt64}
	for i := range views {
		v := &views[i]
		if v.Checkpoint.Epoch == 0 {
			t.Watermark = jobs.NoWatermark // nothing was committed yet
			continue
		}
		t.Watermark = min(t.Watermark, v.Checkpoint.Watermark)
		for j, tp := range v.Inputs {
			if j < len(v.Checkpoint.Inputs) {
				t.Inputs = append(t.Inputs, log.GroupOffset{TopicPartition: tp, Offset: v.Checkpoint.Inputs[j].Offset})
			}
		}
	}
	if t.Watermark == math.MaxInt64 {
		t.Watermark = jobs.NoWatermark
	}
	slices.SortFunc(t.Inputs, func(a, b log.GroupOffset) int {
		if c := strings.Compare(a.Topic, b.Topic); c != 0 {
			return c
		}
		return cmp.Compare(a.Partition, b.Partition)
	})
	return t
}

// errStop ends a scan early.
var errStop = errors.New("stop")

// Rows calls f for each row of the answer, in its order, until f returns an
// error, which Rows returns. A row and what it holds are valid during the call.
func (a *Answer) Rows(ctx context.Context, f func(*op.Row) error) error {
	left := a.query.Limit
	emit := func(r *op.Row) error {
		if err := f(r); err != nil {
			return err
		}
		if left--; left == 0 {
			return errStop
		}
		return nil
	}
	err := a.ranked(ctx, emit)
	if errors.Is(err, errStop) {
		return nil
	}
	return err
}

// ranked is the merged rows, or of each window only the top ones.
func (a *Answer) ranked(ctx context.Context, f func(*op.Row) error) error {
	if a.query.Top == 0 {
		return a.merged(ctx, f)
	}
	top := topRows{n: a.query.Top, less: rank(a.Store.Query.RowType)}
	var start, end int64
	flush := func() error {
		for _, r := range top.take() {
			if err := f(&r); err != nil {
				return err
			}
		}
		return nil
	}
	err := a.merged(ctx, func(r *op.Row) error {
		if r.Start != start || r.End != end {
			if err := flush(); err != nil {
				return err
			}
			start, end = r.Start, r.End
		}
		top.add(*r)
		return nil
	})
	if err != nil {
		return err
	}
	return flush()
}

// rangeOf is the range for one task: windows behind its watermark minus Retain
// have expired, whether or not they have been removed yet.
func (a *Answer) rangeOf(v *engine.TaskView) op.Range {
	r := a.rng
	if w := v.Checkpoint.Watermark; a.Store.Retain > 0 && v.Checkpoint.Epoch != 0 && w != jobs.NoWatermark {
		r.HideBefore = w - a.Store.Retain.Milliseconds()
	}
	return r
}

const checkEvery = 1024 // rows between two looks at the context

// merged is the k-way merge of the scans of all tasks. Each is ordered by window
// start, then key bytes; so is the result.
func (a *Answer) merged(ctx context.Context, f func(*op.Row) error) error {
	rows := 0
	visit := func(r *op.Row) error {
		if rows++; rows%checkEvery == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		return f(r)
	}
	scan := a.Store.Query.Scan
	if len(a.views) == 1 {
		v := &a.views[0]
		return scan(v.View, a.rangeOf(v), func(r op.Row) error { return visit(&r) })
	}

	m := make(merge, 0, len(a.views))
	defer func() {
		for _, c := range m {
			c.stop()
		}
	}()
	for i := range a.views {
		c := newCursor(scan, &a.views[i], a.rangeOf(&a.views[i]))
		ok, err := c.advance()
		if ok {
			m = append(m, c)
			m.up(len(m) - 1)
			continue
		}
		c.stop()
		if err != nil {
			return err
		}
	}
	for len(m) > 0 {
		if err := visit(&m[0].row); err != nil {
			return err
		}
		ok, err := m[0].advance()
		if err != nil {
			return err
		}
		if !ok {
			m[0].stop()
			m[0] = m[len(m)-1]
			m = m[:len(m)-1]
		}
		m.down()
	}
	return nil
}

// cursor pulls rows out of a scan that pushes them. The scan is suspended while
// its row is looked at, so nothing is copied.
type cursor struct {
	row  op.Row
	next func() (op.Row, error, bool)
	stop func()
}

func newCursor(scan func(*state.View, op.Range, func(op.Row) error) error, v *engine.TaskView, r op.Range) *cursor {
	c := &cursor{}
	c.next, c.stop = iter.Pull2(func(yield func(op.Row, error) bool) {
		err := scan(v.View, r, func(row op.Row) error {
			if !yield(row, nil) {
				return errStop
			}
			return nil
		})
		if err != nil && !errors.Is(err, errStop) {
			yield(op.Row{}, fmt.Errorf("scan task %s: %w", v.Task, err))
		}
	})
	return c
}

// advance moves to the next row; false at the end or after an error.
func (c *cursor) advance() (bool, error) {
	row, err, ok := c.next()
	if !ok || err != nil {
		return false, err
	}
	c.row = row
	return true, nil
}

// merge is a heap of cursors; the one with the next row is at 0.
type merge []*cursor

func (m merge) less(i, j int) bool {
	a, b := &m[i].row, &m[j].row
	if a.Start != b.Start {
		return a.Start < b.Start
	}
	return bytes.Compare(a.RawKey, b.RawKey) < 0
}

func (m merge) up(i int) {
	for i > 0 && m.less(i, (i-1)/2) {
		m[i], m[(i-1)/2] = m[(i-1)/2], m[i]
		i = (i - 1) / 2
	}
}

func (m merge) down() {
	for i := 0; ; {
		first := i
		for _, c := range [2]int{2*i + 1, 2*i + 2} {
			if c < len(m) && m.less(c, first) {
				first = c
			}
		}
		if first == i {
			return
		}
		m[i], m[first] = m[first], m[i]
		i = first
	}
}

// viewsAtLeast takes snapshots that have passed q.AtLeast.
func viewsAtLeast(ctx context.Context, src engine.Source, l log.Log, q *Query) ([]engine.TaskView, error) {
	if len(q.AtLeast) == 0 {
		return src.Views(q.Store)
	}
	wait := q.Wait
	if wait <= 0 {
		wait = DefaultWait
	}
	ctx, cancel := context.WithTimeout(ctx, min(wait, MaxWait))
	defer cancel()

	views, err := waitForViews(ctx, src, l, q)
	if err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return nil, fmt.Errorf("%w: waited %v for %v of job %q", ErrBehind, min(wait, MaxWait), positions(q.AtLeast), src.Job())
	}
	return views, err
}

// ErrBehind says that a job has not come as far as a query wants.
var ErrBehind = errors.New("not there yet")

func positions(offsets []log.GroupOffset) string {
	text := make([]string, len(offsets))
	for i, o := range offsets {
		text[i] = fmt.Sprintf("%v:%d", o.TopicPartition, o.Offset)
	}
	return strings.Join(text, ", ")
}

// waitForViews follows the wanted records through the job. A position that the
// store's own tasks read is compared with their snapshots. Any other has to
// come through repartition topics: once the tasks that read it have committed
// past it, what they made of it lies before the ends of those topics, so these
// ends are wanted next; and so on, once for each stage that may lie between.
func waitForViews(ctx context.Context, src engine.Source, l log.Log, q *Query) ([]engine.TaskView, error) {
	want := q.AtLeast
	stages := map[string]bool{}
	status := src.Status()
	for i := range status.Tasks {
		stages[status.Tasks[i].Stage] = true
	}
	direct, err := readsAll(src, q.Store, want)
	if err != nil {
		return nil, err
	}
	for hop := 0; !direct && hop < len(stages)-1; hop++ {
		if err := waitForTasks(ctx, src, want); err != nil {
			return nil, err
		}
		if want, err = repartitionEnds(ctx, src, l); err != nil {
			return nil, err
		}
	}
	for {
		changed := src.Changed()
		views, err := src.Views(q.Store)
		switch {
		case errors.Is(err, engine.ErrNotReady): // a task that starts has not come there either
		case err != nil:
			return nil, err
		case passed(views, want):
			return views, nil
		}
		for i := range views {
			views[i].Close()
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// readsAll tells whether the tasks of the store read all wanted partitions
// themselves. It is an error if no task of the job reads one.
func readsAll(src engine.Source, store string, want []log.GroupOffset) (bool, error) {
	stage := ""
	for _, s := range src.Stores() {
		if s.Name == store {
			stage = s.Stage
		}
	}
	byAny, byStage := map[log.TopicPartition]bool{}, map[log.TopicPartition]bool{}
	status := src.Status()
	for i := range status.Tasks {
		t := &status.Tasks[i]
		for j := range t.Inputs {
			tp := t.Inputs[j].TopicPartition
			byAny[tp] = true
			if t.Stage == stage {
				byStage[tp] = true
			}
		}
	}
	all := true
	for _, o := range want {
		if !byAny[o.TopicPartition] {
			return false, badf("at-least %v:%d: job %q does not read partition %v", o.TopicPartition, o.Offset, src.Job(), o.TopicPartition)
		}
		all = all && byStage[o.TopicPartition]
	}
	return all, nil
}

// waitForTasks waits until every task that reads a wanted partition has
// committed past it.
func waitForTasks(ctx context.Context, src engine.Source, want []log.GroupOffset) error {
	for {
		changed := src.Changed()
		status := src.Status()
		behind := false
		for i := range status.Tasks {
			for j := range status.Tasks[i].Inputs {
				in := &status.Tasks[i].Inputs[j]
				for _, o := range want {
					behind = behind || in.TopicPartition == o.TopicPartition && in.Offset < o.Offset
				}
			}
		}
		if !behind {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// repartitionEnds are the ends of all repartition partitions of the job: what lies
// behind an open transaction counts too.
func repartitionEnds(ctx context.Context, src engine.Source, l log.Log) ([]log.GroupOffset, error) {
	var ends []log.GroupOffset
	status := src.Status()
	for i := range status.Tasks {
		for j := range status.Tasks[i].Inputs {
			in := &status.Tasks[i].Inputs[j]
			if !in.Repartition {
				continue
			}
			b, err := l.Bounds(ctx, in.TopicPartition)
			if err != nil {
				return nil, fmt.Errorf("end of %v: %w", in.TopicPartition, err)
			}
			ends = append(ends, log.GroupOffset{TopicPartition: in.TopicPartition, Offset: b.End})
		}
	}
	return ends, nil
}

// passed tells whether the snapshots are at or past all of want that they read.
// One of a task that has committed nothing has passed nothing.
func passed(views []engine.TaskView, want []log.GroupOffset) bool {
	for i := range views {
		v := &views[i]
		for j, tp := range v.Inputs {
			var at log.Offset
			if v.Checkpoint.Epoch != 0 && j < len(v.Checkpoint.Inputs) {
				at = v.Checkpoint.Inputs[j].Offset
			}
			for _, w := range want {
				if w.TopicPartition == tp && at < w.Offset {
					return false
				}
			}
		}
	}
	return true
}
