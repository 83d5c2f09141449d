package operators_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gretestream/grete/log"
	op "github.com/gretestream/grete/operators"
	"github.com/gretestream/grete/state"
)

// runner runs a whole job in memory, one task per stage, as the engine would: it
// carries repartition records and watermarks from stage to stage.
type runner struct {
	t          testing.TB
	stages     []*op.Stage
	flows      []*op.Flow
	now        time.Time
	out        map[string][]log.Record // what was written, by topic
	dead       []op.DeadLetter
	offset     map[string]log.Offset
	partitions int

	l     log.Log
	fs    log.FS
	dbs   []*state.DB // by stage; nil where it keeps nothing
	saved [][]byte    // by stage, at the last commit
}

// start builds the job; mistakes are fatal.
func start(t testing.TB, build func(*op.Graph)) *runner {
	t.Helper()
	stages, err := op.Compile(build)
	if err != nil {
		t.Fatal(err)
	}
	r := &runner{t: t, stages: stages, partitions: 1, now: time.UnixMilli(1_000_000_000_000), out: map[string][]log.Record{}, offset: map[string]log.Offset{}}
	r.dbs, r.saved, r.flows = make([]*state.DB, len(stages)), make([][]byte, len(stages)), make([]*op.Flow, len(stages))
	r.wire()
	return r
}

// wire makes the tasks, from what was saved if there is something.
func (r *runner) wire() {
	r.t.Helper()
	for i := range r.stages {
		f, err := r.wireStage(i)
		r.must(err)
		r.flows[i] = f
	}
}

func (r *runner) wireStage(i int) (*op.Flow, error) {
	r.t.Helper()
	env := op.Env{Job: "test", Generation: 1, Now: func() time.Time { return r.now }, Partitions: func(int) int { return r.partitions }, Memory: 64 << 20}
	r.openDB(i)
	env.DB = r.dbs[i]
	return r.stages[i].Wire(env, r.saved[i])
}

// restart throws the tasks away and makes them anew from the last commit.
func (r *runner) restart() {
	r.t.Helper()
	for _, d := range r.dbs {
		if d != nil {
			r.must(d.Close())
		}
	}
	r.wire()
}

// rec is a record of a topic; an empty key or value is null.
func rec(at int64, key, value string) log.Record {
	r := log.Record{Timestamp: log.Timestamp(at)}
	if key != "" {
		r.Key = []byte(key)
	}
	if value != "" {
		r.Value = []byte(value)
	}
	return r
}

// send processes records of a topic and carries on what they bring.
func (r *runner) send(topic string, records ...log.Record) {
	r.t.Helper()
	for i := range records {
		records[i].Offset = r.offset[topic]
		r.offset[topic]++
	}
	for i, s := range r.stages {
		for in, spec := range s.Inputs {
			if spec.Topic == topic && !spec.Repartition {
				r.must(r.flows[i].Process(in, records))
			}
		}
	}
	r.settle()
}

// settle commits every stage until nothing moves.
func (r *runner) settle() {
	r.t.Helper()
	for i := range r.stages {
		r.commit(i)
		for r.flows[i].Busy() {
			r.must(r.flows[i].Resume())
			r.commit(i)
		}
	}
}

// commit takes what a stage collected; repartition records go to the stages that
// read them, then the watermark.
func (r *runner) commit(i int) {
	r.t.Helper()
	f, s := r.flows[i], r.stages[i]
	r.must(f.Drain())
	r.saved[i] = f.Save(nil)
	r.apply(i)
	f.Applied()
	r.dead = append(r.dead, f.DeadLetters()...)
	f.Writes(func(output int, partition int32, b *log.Builder) {
		records, err := log.DecodeRecords(nil, bytes.Clone(b.Bytes()))
		r.must(err)
		spec := s.Outputs[output]
		if !spec.Repartition {
			r.out[spec.Topic] = append(r.out[spec.Topic], records...)
			return
		}
		r.readers(spec.Topic, func(f *op.Flow, in int) { r.must(f.Process(in, records)) })
	})
	for output, spec := range s.Outputs {
		if w, ok, _ := f.Outgoing(output); ok && spec.Repartition {
			r.readers(spec.Topic, func(f *op.Flow, in int) { r.must(f.Advance(in, w)) })
		}
	}
}

func (r *runner) readers(name string, f func(f *op.Flow, in int)) {
	for i, s := range r.stages {
		for in, spec := range s.Inputs {
			if spec.Repartition && spec.Topic == name {
				f(r.flows[i], in)
			}
		}
	}
}

// finish ends the run: all windows close.
func (r *runner) finish() {
	r.t.Helper()
	for i, f := range r.flows {
		r.must(f.Finish())
		r.commit(i)
		for f.Busy() {
			r.must(f.Resume())
			r.commit(i)
		}
	}
}

func (r *runner) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

// wrote compares what a topic holds, a line "time key value" for each record.
func (r *runner) wrote(topic string, want ...string) {
	r.t.Helper()
	var got []string
	for _, rec := range r.out[topic] {
		got = append(got, fmt.Sprintf("%d %s %s", rec.Timestamp, text(rec.Key), text(rec.Value)))
	}
	r.same("topic "+topic, got, want)
}

func (r *runner) same(what string, got, want []string) {
	r.t.Helper()
	if !slices.Equal(got, want) {
		r.t.Errorf("%s: got\n\t%s\nwant\n\t%s", what, strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
}

func text(b []byte) string {
	if b == nil {
		return "null"
	}
	return string(b)
}

// dropped compares the counted drops of all stages: "operator: reason count".
func (r *runner) dropped(want ...string) {
	r.t.Helper()
	var got []string
	for _, f := range r.flows {
		for _, d := range f.Drops() {
			got = append(got, fmt.Sprintf("%s: %s %d", d.Operator, d.Reason, d.Count))
		}
	}
	if !slices.Equal(got, want) {
		r.t.Errorf("drops: got %q, want %q", got, want)
	}
}

// buried compares the dead letters: "operator offset: error".
func (r *runner) buried(want ...string) {
	r.t.Helper()
	var got []string
	for _, d := range r.dead {
		got = append(got, fmt.Sprintf("%s %d: %v", d.Operator, d.Offset, d.Err))
	}
	if !slices.Equal(got, want) {
		r.t.Errorf("dead letters: got\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
}
