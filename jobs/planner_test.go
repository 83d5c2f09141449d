package jobs

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/gretestream/grete/log"
	op "github.com/gretestream/grete/operators"
)

func topics(counts map[string]int) map[string]log.Topic {
	m := map[string]log.Topic{}
	for name, n := range counts {
		m[name] = log.Topic{Name: name, Partitions: n}
	}
	return m
}

// pageViews counts per page after a repartition and joins a table.
func pageViews() []*op.Stage {
	return []*op.Stage{{
		Name:    "source",
		Inputs:  []op.InputSpec{{Topic: "views", KeyCodec: "string", ValueCodec: "json"}},
		Outputs: []op.OutputSpec{{Topic: "by-page", Repartition: true, KeyCodec: "string", ValueCodec: "json"}},
	}, {
		Name: "by-page",
		Inputs: []op.InputSpec{
			{Topic: "by-page", Repartition: true, KeyCodec: "string", ValueCodec: "json"},
			{Topic: "pages", Table: true, KeyCodec: "string", ValueCodec: "json"},
		},
		Outputs:  []op.OutputSpec{{Topic: "counts", KeyCodec: "string", ValueCodec: "int64"}},
		Stores:   []op.StoreDecl{{Name: "views-per-page", Kind: "window", KeyCodec: "string", ValueCodec: "int64", Window: "tumbling 1m"}, {Name: "pages", Kind: "table"}},
		Together: [][]int{{0, 1}},
	}}
}

func TestPlan(t *testing.T) {
	job := &Job{Name: "visits", Build: build}
	p, err := New(Deploy{Job: job, Generation: 2, Stages: pageViews(), Topics: topics(map[string]int{"views": 4, "pages": 6})})
	if err != nil {
		t.Fatal(err)
	}
	source, byPage := p.Stage("source"), p.Stage("by-page")
	if source.Tasks != 4 || byPage.Tasks != 6 {
		t.Errorf("got %d and %d tasks, want 4 and, as the table, 6", source.Tasks, byPage.Tasks)
	}
	in := byPage.Inputs[0]
	if in.Topic != "visits.2.by-page.repartition" || in.Partitions != 6 || in.UpstreamStage != "source" || in.UpstreamTasks != 4 {
		t.Errorf("got repartition input %+v", in)
	}
	if source.AssignedBy != "views" || byPage.AssignedBy != "visits.2.by-page.repartition" {
		t.Errorf("tasks are assigned by %s and %s", source.AssignedBy, byPage.AssignedBy)
	}
	if byPage.Outputs[0].Partitions != 6 {
		t.Errorf("new output: got %d partitions, want 6, as the largest input", byPage.Outputs[0].Partitions)
	}
	if byPage.Stores[0].ID != 1 || byPage.Stores[1].ID != 2 || p.NextStoreID != 3 || byPage.Stores[0].Changelog != "visits.2.views-per-page.changelog" {
		t.Errorf("got stores %+v, next id %d", byPage.Stores, p.NextStoreID)
	}
	if got := len(p.Tasks()); got != 10 {
		t.Errorf("got %d tasks, want 10", got)
	}
	specs := map[string]int{}
	for _, s := range p.InternalTopics() {
		specs[s.Name] = s.Partitions
	}
	want := map[string]int{"visits.2.checkpoint": 1, "visits.dead-letters": 6, "visits.2.by-page.repartition": 6,
		"visits.2.views-per-page.changelog": 6, "visits.2.pages.changelog": 6}
	for name, n := range want {
		if specs[name] != n {
			t.Errorf("internal topic %s: got %d partitions, want %d", name, specs[name], n)
		}
	}
	if len(specs) != len(want) {
		t.Errorf("got internal topics %v", specs)
	}
}

func TestPlanKeepsStoreIDs(t *testing.T) {
	job := &Job{Name: "visits", Build: build}
	all := topics(map[string]int{"views": 4, "pages": 4})
	first, err := New(Deploy{Job: job, Generation: 1, Stages: pageViews(), Topics: all})
	if err != nil {
		t.Fatal(err)
	}
	stages := pageViews()
	stages[1].Stores = []op.StoreDecl{{Name: "new"}, {Name: "pages", Kind: "table"}}
	second, err := New(Deploy{Job: job, Generation: 2, Stages: stages, Topics: all, Previous: first})
	if err != nil {
		t.Fatal(err)
	}
	if got := second.Stages[1].Stores; got[0].ID != 3 || got[1].ID != 2 || second.NextStoreID != 4 {
		t.Errorf("got %+v, next %d: want the new store to get 3 and pages to keep 2", got, second.NextStoreID)
	}
}

// Containers of one generation must agree on what stands for a task, also while
// one of them runs the job as it was before an input was added.
func TestPlanKeepsAssignedBy(t *testing.T) {
	f := func(counts map[string]int, want string) {
		t.Helper()
		job := &Job{Name: "visits", Build: build}
		stage := func(inputs ...string) []*op.Stage {
			s := &op.Stage{Name: "source"}
			for _, in := range inputs {
				s.Inputs = append(s.Inputs, op.InputSpec{Topic: in})
			}
			return []*op.Stage{s}
		}
		first, err := New(Deploy{Job: job, Generation: 1, Stages: stage("clicks"), Topics: topics(counts)})
		if err != nil {
			t.Fatal(err)
		}
		second, err := New(Deploy{Job: job, Generation: 1, Stages: stage("added", "clicks"), Topics: topics(counts), Previous: first})
		if err != nil {
			t.Fatal(err)
		}
		if got := second.Stages[0].AssignedBy; got != want {
			t.Errorf("%v: got %s, want %s", counts, got, want)
		}
		if got := second.GroupTopics(); len(got) != 1 || got[0] != want {
			t.Errorf("%v: got topics of the group %v, want %s", counts, got, want)
		}
	}
	f(map[string]int{"clicks": 4, "added": 4}, "clicks")
	f(map[string]int{"clicks": 4, "added": 2}, "clicks")
	f(map[string]int{"clicks": 2, "added": 4}, "added") // the stage has more tasks: not compatible anyway
}

func TestPlanMistakes(t *testing.T) {
	f := func(counts map[string]int, change func([]*op.Stage), want ...string) {
		t.Helper()
		stages := pageViews()
		if change != nil {
			change(stages)
		}
		_, err := New(Deploy{Job: &Job{Name: "visits"}, Generation: 1, Stages: stages, Topics: topics(counts)})
		if err == nil {
			t.Errorf("got no error, want %q", want)
			return
		}
		for _, w := range want {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("got %v\nwant it to mention %s", err, w)
			}
		}
	}
	f(nil, nil, `input topic "views" does not exist`, `input topic "pages" does not exist`)
	f(map[string]int{"views": 4, "pages": 3}, func(s []*op.Stage) { s[0].Outputs[0].Partitions = 8 },
		`"by-page" has 8 partitions and "pages" has 3 partitions`, "op.Repartition{Partitions: 8}")
	f(map[string]int{"views": 4, "pages": 1}, func(s []*op.Stage) {
		s[0].Outputs[0].Partitions = -2
		s[1].Outputs = append(s[1].Outputs, s[0].Outputs[0])
	}, "-2 partitions", `"by-page" is used by two steps`)
	f(map[string]int{"views": 4, "pages": 1}, func(s []*op.Stage) { s[0].Outputs = nil }, `reads "by-page", which no step writes`)
}

func TestCompatible(t *testing.T) {
	base := func() *Plan {
		p, err := New(Deploy{Job: &Job{Name: "visits"}, Generation: 1, Stages: pageViews(), Settings: map[string]string{"key": "page"},
			Topics: topics(map[string]int{"views": 4, "pages": 4})})
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	f := func(change func(*Plan), want ...string) {
		t.Helper()
		p := base()
		change(p)
		got := Compatible(base(), p)
		if len(got) != len(want) {
			t.Errorf("got %d, want %d: %v", len(got), len(want), got)
			return
		}
		for i, w := range want {
			if !strings.Contains(got[i].String(), w) {
				t.Errorf("got %s\nwant it to mention %s", got[i], w)
			}
		}
	}
	f(func(p *Plan) {})
	f(func(p *Plan) { p.Settings = map[string]string{"key": "user"} }, `setting "key" was "page", now "user"`)
	f(func(p *Plan) { p.Stages[1].Stores[0].Window = "tumbling 5m" }, `window was "tumbling 1m", now "tumbling 5m"`)
	f(func(p *Plan) { p.Stages[1].Stores[0].ValueCodec = "json" }, `store "views-per-page": value codec`)
	f(func(p *Plan) { p.Stages[1].Stores = p.Stages[1].Stores[:1] }, `store "pages" is gone: all it holds`)
	f(func(p *Plan) { p.Stages = p.Stages[:1] }, `its stores "views-per-page", "pages" would be lost`)
	f(func(p *Plan) { p.Stages[0].Inputs[0].Partitions = 5; p.Stages[0].Tasks = 5 }, `stage "source" was 4 tasks, now 5 tasks`, `was 4 partitions, now 5`)
	f(func(p *Plan) { p.Stages[1].Inputs[0].ValueCodec = "int64" }, "records on the way")
	f(func(p *Plan) { p.Stages[0].Outputs = nil }, `repartition topic "visits.1.by-page.repartition" is gone`)
	f(func(p *Plan) { p.Stages[1].Inputs[1].Table = false }, "was a table, now a stream")
	f(func(p *Plan) { p.Stages[1].Stores = append(p.Stages[1].Stores, StorePlan{Name: "more"}) })

	err := &Incompatible{Job: "visits", List: Compatible(base(), &Plan{})}
	if !strings.Contains(err.Error(), "grete reprocess visits") {
		t.Errorf("got %v, want it to advise a reprocess", err)
	}
}

func TestDeploymentRoundTrip(t *testing.T) {
	p, err := New(Deploy{Job: &Job{Name: "visits"}, Generation: 3, Stages: pageViews(), Topics: topics(map[string]int{"views": 4, "pages": 4})})
	if err != nil {
		t.Fatal(err)
	}
	d := &Deployment{From: log.NoTimestamp, Plan: *p, Dropped: []DroppedOutput{{Topic: "counts", Partition: 1, Before: 7}}}
	b, err := d.Encode()
	if err != nil {
		t.Fatal(err)
	}
	got, err := DecodeDeployment(b)
	if err != nil {
		t.Fatal(err)
	}
	want, _ := json.Marshal(d.Plan)
	have, _ := json.Marshal(got.Plan)
	if string(want) != string(have) || got.From != d.From || got.Dropped[0] != d.Dropped[0] {
		t.Errorf("got %s\nwant %s", have, want)
	}
	for _, bad := range []string{"", "{}", `{"version":3,"plan":{"job":"a","generation":1}}`, `{"version":1,"plan":{"job":"a"}}`} {
		if _, err := DecodeDeployment([]byte(bad)); err == nil {
			t.Errorf("%q: got no error", bad)
		}
	}
}
