package operators_test

import (
	"context"
	"fmt"

	"github.com/gretestream/grete/log"
	"github.com/gretestream/grete/log/logtest"
	op "github.com/gretestream/grete/operators"
	"github.com/gretestream/grete/state"
)

// openDB opens the stores of a stage over changelogs in a log of their own.
func (r *runner) openDB(s *op.Stage) *state.DB {
	r.t.Helper()
	if r.log == nil {
		r.log, r.disk = logtest.Open(r.t), logtest.NewDisk(1)
	}
	spec := state.Spec{Dir: "state/" + s.Name, Generation: 1}
	for i, d := range s.Stores {
		tps := logtest.Create(r.t, r.log, fmt.Sprintf("%s.%s.changelog", s.Name, d.Name), 1)
		spec.Stores = append(spec.Stores, state.StoreSpec{Name: d.Name, ID: uint32(i + 1), Changelog: tps[0]})
	}
	db, err := state.Open(context.Background(), r.log, spec, state.Options{FS: r.disk})
	r.must(err)
	r.t.Cleanup(func() { r.must(db.Close()) })
	r.dbs = append(r.dbs, db)
	return db
}

// apply commits what a stage has drained and makes it visible.
func (r *runner) apply(stage int) {
	r.t.Helper()
	db := r.dbs[stage]
	c := db.Freeze()
	var offsets []log.Offset
	if writes := c.Writes(); len(writes) > 0 {
		var err error
		offsets, err = r.log.Commit(context.Background(), &log.Commit{Writes: writes})
		r.must(err)
	}
	r.must(db.Apply(c, offsets, nil))
}

// rows compares what a query of a store finds: "start end key value".
func (r *runner) rows(store string, want ...string) {
	r.t.Helper()
	var got []string
	for i, s := range r.stages {
		for _, d := range s.Stores {
			if d.Name != store {
				continue
			}
			v, err := r.dbs[i].View()
			r.must(err)
			r.must(d.Query.Scan(v, op.Range{}, func(row op.Row) error {
				got = append(got, fmt.Sprintf("%d %d %v %v", row.Start, row.End, row.Key, row.Value))
				return nil
			}))
			r.must(v.Close())
		}
	}
	r.same("rows of "+store, got, want)
}
