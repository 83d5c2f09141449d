package operators_test

import (
	"context"
	"fmt"

	"github.com/cockroachdb/pebble/vfs"

	"github.com/gretestream/grete/log"
	"github.com/gretestream/grete/log/logtest"
	op "github.com/gretestream/grete/operators"
	"github.com/gretestream/grete/state"
)

// memFS is Pebble's memory file system as a log.FS.
type memFS struct{ vfs.FS }

func (memFS) Truncate(name string, _ int64) error {
	return fmt.Errorf("truncate %s: not for logs", name)
}

// openDB opens the database of a stage's only task.
func (r *runner) openDB(i int) {
	r.t.Helper()
	s := r.stages[i]
	if len(s.Stores) == 0 {
		return
	}
	if r.l == nil {
		r.l, r.fs = logtest.Open(r.t), memFS{vfs.NewMem()}
	}
	spec := state.Spec{Dir: s.Name, Generation: 1}
	for k, store := range s.Stores {
		tp := log.TopicPartition{Topic: s.Name + "." + store.Name}
		if _, err := r.l.Topic(context.Background(), tp.Topic); err != nil {
			logtest.Create(r.t, r.l, tp.Topic, 1)
		}
		spec.Stores = append(spec.Stores, state.StoreSpec{Name: store.Name, ID: uint32(k + 1), Changelog: tp})
	}
	d, err := state.Open(context.Background(), r.l, spec, state.Options{FS: r.fs})
	r.must(err)
	if r.dbs[i] == nil {
		r.t.Cleanup(func() { _ = r.dbs[i].Close() })
	}
	r.dbs[i] = d
}

// apply commits what the stage drained.
func (r *runner) apply(i int) {
	r.t.Helper()
	d := r.dbs[i]
	if d == nil {
		return
	}
	c := d.Freeze()
	offsets, err := r.l.Commit(context.Background(), &log.Commit{Writes: c.Writes()})
	r.must(err)
	r.must(d.Apply(c, offsets, nil))
}

// query returns a store's rows, "[start,end) key value" each, with a star for
// closed ones.
func (r *runner) query(store string, rng op.Range) (rows []string) {
	r.t.Helper()
	r.scan(store, rng, func(row op.Row) {
		star := ""
		if row.Closed {
			star = " *"
		}
		rows = append(rows, fmt.Sprintf("[%d,%d) %v %v%s", row.Start, row.End, row.Key, row.Value, star))
	})
	return rows
}

// scan calls f for the rows of a store in every stage that has it.
func (r *runner) scan(store string, rng op.Range, f func(op.Row)) {
	r.t.Helper()
	for i, s := range r.stages {
		for _, d := range s.Stores {
			if d.Name != store {
				continue
			}
			v, err := r.dbs[i].View()
			r.must(err)
			r.must(d.Query.Scan(v, rng, func(row op.Row) error {
				f(row)
				return nil
			}))
			r.must(v.Close())
		}
	}
}

// shows compares a query's rows.
func (r *runner) shows(store string, rng op.Range, want ...string) {
	r.t.Helper()
	r.same("rows of "+store, r.query(store, rng), want)
}

// rows compares all that a query of a store finds: "start end key value".
func (r *runner) rows(store string, want ...string) {
	r.t.Helper()
	var got []string
	r.scan(store, op.Range{}, func(row op.Row) {
		got = append(got, fmt.Sprintf("%d %d %v %v", row.Start, row.End, row.Key, row.Value))
	})
	r.same("rows of "+store, got, want)
}
