package jobs

import (
	"fmt"
	"slices"
	"strings"

	"github.com/gretestream/grete/log"
	op "github.com/gretestream/grete/operators"
)

// Deploy is what a plan is made from.
type Deploy struct {
	Job        *Job
	Settings   map[string]string // all of them: see Job.Resolve
	Generation int64             // from 1
	Stages     []*op.Stage       // see Job.Compile
	// Topics are those of the log, by name. Topics that are missing and that New
	// would have to know (the inputs) are mistakes.
	Topics map[string]log.Topic
	// Previous is the plan stored last, of whatever generation, or nil: stores
	// keep the ids that it gave them, and none of its ids is given to another.
	Previous *Plan
}

// New makes the plan of a job on a log. All that stands in its way is reported
// at once, as *Mistakes.
func New(d Deploy) (*Plan, error) {
	p := planner{
		Deploy:   d,
		m:        &Mistakes{Job: d.Job.Name},
		writers:  map[string]int{},
		counts:   map[string]int{},
		mistaken: map[string]bool{},
	}
	p.collect()
	if err := p.m.err(); err != nil {
		return nil, err
	}
	p.countRepartitions()
	p.checkTogether()
	if err := p.m.err(); err != nil {
		return nil, err
	}
	return p.plan(), nil
}

// MissingInputs lists the user's topics that stages read and that the log does
// not have.
func MissingInputs(stages []*op.Stage, topics map[string]log.Topic) []string {
	var missing []string
	for _, s := range stages {
		for _, in := range s.Inputs {
			if _, ok := topics[in.Topic]; !ok && !in.Repartition && !slices.Contains(missing, in.Topic) {
				missing = append(missing, in.Topic)
			}
		}
	}
	return missing
}

// planner is the state of one New.
type planner struct {
	Deploy
	m        *Mistakes
	writers  map[string]int // repartition name → index of the stage that writes it
	counts   map[string]int // repartition name → partitions; 0 while open
	largest  int            // partition count among the user's inputs
	mistaken map[string]bool
}

// collect looks at what the stages name: user topics must be there, and every
// repartition must have one writer.
func (p *planner) collect() {
	for i, s := range p.Stages {
		for _, out := range s.Outputs {
			if !out.Repartition {
				continue
			}
			if j, ok := p.writers[out.Topic]; ok && j != i {
				p.m.addf("the name %q is used by two steps, in the stages %q and %q: names are unique in a job", out.Topic, p.Stages[j].Name, s.Name)
			}
			if out.Partitions < 0 {
				p.m.addf("%q wants %d partitions: want at least 1", out.Topic, out.Partitions)
			}
			p.writers[out.Topic] = i
			p.counts[out.Topic] = out.Partitions
		}
	}
	for _, s := range p.Stages {
		for _, in := range s.Inputs {
			p.collectInput(s, in)
		}
	}
}

func (p *planner) collectInput(s *op.Stage, in op.InputSpec) {
	if in.Repartition {
		if _, ok := p.writers[in.Topic]; !ok {
			p.m.addf("stage %q reads %q, which no step writes", s.Name, in.Topic)
		}
		return
	}
	t, ok := p.Topics[in.Topic]
	if !ok {
		if !p.mistaken[in.Topic] {
			p.mistaken[in.Topic] = true
			p.m.addf("input topic %q does not exist: create it first (grete topic create %s), or put records into it (grete ingest)", in.Topic, in.Topic)
		}
		return
	}
	p.largest = max(p.largest, t.Partitions)
}

// countRepartitions settles the partition counts that the graph leaves open: as
// the topics that the step is brought together with, else as the largest input.
func (p *planner) countRepartitions() {
	for _, s := range p.Stages {
		for _, group := range s.Together {
			n := 0
			for _, i := range group {
				n = max(n, p.partitions(s.Inputs[i]))
			}
			for _, i := range group {
				if in := s.Inputs[i]; in.Repartition && p.counts[in.Topic] == 0 {
					p.counts[in.Topic] = n
				}
			}
		}
	}
	for name, n := range p.counts {
		if n == 0 {
			p.counts[name] = max(1, p.largest)
		}
	}
}

// partitions of an input; 0 if it is a repartition not yet settled.
func (p *planner) partitions(in op.InputSpec) int {
	if in.Repartition {
		return p.counts[in.Topic]
	}
	return p.Topics[in.Topic].Partitions
}

// checkTogether reports inputs that are brought together by key but cut
// differently: equal keys would not meet.
func (p *planner) checkTogether() {
	for _, s := range p.Stages {
		for _, group := range s.Together {
			largest, equal := 0, true
			names := make([]string, len(group))
			for k, i := range group {
				in := s.Inputs[i]
				n := p.partitions(in)
				equal = equal && n == p.partitions(s.Inputs[group[0]])
				largest = max(largest, n)
				names[k] = fmt.Sprintf("%q has %s", in.Topic, partitionCount(n))
			}
			if !equal {
				p.m.addf("stage %q brings records together by key, so its inputs must have equal partition counts, but %s: "+
					"put a KeyBy with op.Repartition{Partitions: %d} before the smaller ones, or create them with %s",
					s.Name, strings.Join(names, " and "), largest, partitionCount(largest))
			}
		}
	}
}

func partitionCount(n int) string {
	if n == 1 {
		return "1 partition"
	}
	return fmt.Sprintf("%d partitions", n)
}

// plan puts down what has been settled. Stages come in an order in which tasks
// of a writer are counted before its readers ask.
func (p *planner) plan() *Plan {
	plan := &Plan{
		Job:         p.Job.Name,
		Generation:  p.Generation,
		Settings:    p.Settings,
		DeadLetters: p.Job.Options.DeadLetters,
		NextStoreID: 1,
	}
	if plan.DeadLetters == "" {
		plan.DeadLetters = DeadLettersTopic(plan.Job)
	}
	if p.Previous != nil {
		plan.NextStoreID = p.Previous.NextStoreID
	}
	plan.Stages = make([]StagePlan, len(p.Stages))
	for i, s := range p.Stages {
		plan.Stages[i] = p.stage(plan, s)
	}
	for i := range plan.Stages {
		for j := range plan.Stages[i].Inputs {
			in := &plan.Stages[i].Inputs[j]
			if in.Repartition {
				w := &plan.Stages[p.writers[p.Stages[i].Inputs[j].Topic]]
				in.UpstreamStage, in.UpstreamTasks = w.Name, w.Tasks
			}
		}
	}
	return plan
}

func (p *planner) stage(plan *Plan, s *op.Stage) StagePlan {
	sp := StagePlan{Name: s.Name, Tasks: 1}
	for _, in := range s.Inputs {
		n := p.partitions(in)
		sp.Tasks = max(sp.Tasks, n)
		sp.Inputs = append(sp.Inputs, InputPlan{
			Topic: p.topic(in.Topic, in.Repartition), Partitions: n, Repartition: in.Repartition,
			KeyCodec: in.KeyCodec, ValueCodec: in.ValueCodec, Table: in.Table,
		})
	}
	sp.AssignedBy = p.assignedBy(&sp)
	for _, out := range s.Outputs {
		sp.Outputs = append(sp.Outputs, OutputPlan{
			Topic: p.topic(out.Topic, out.Repartition), Partitions: p.outputPartitions(out), Repartition: out.Repartition,
			KeyCodec: out.KeyCodec, ValueCodec: out.ValueCodec,
		})
	}
	for _, d := range s.Stores {
		sp.Stores = append(sp.Stores, StorePlan{
			Name: d.Name, ID: p.storeID(plan, d.Name), Changelog: ChangelogTopic(plan.Job, plan.Generation, d.Name),
			Kind: d.Kind, KeyCodec: d.KeyCodec, ValueCodec: d.ValueCodec, Window: d.Window,
		})
	}
	return sp
}

// assignedBy is the input that the stage's tasks were assigned by before, else
// the first that has a partition for each.
func (p *planner) assignedBy(sp *StagePlan) string {
	before := ""
	if p.Previous != nil {
		if old := p.Previous.Stage(sp.Name); old != nil {
			before = old.AssignedBy
		}
	}
	first := ""
	for i := range sp.Inputs {
		in := &sp.Inputs[i]
		if in.Partitions != sp.Tasks {
			continue
		}
		if in.Topic == before {
			return before
		}
		if first == "" {
			first = in.Topic
		}
	}
	return first
}

func (p *planner) topic(name string, repartition bool) string {
	if repartition {
		return RepartitionTopic(p.Job.Name, p.Generation, name)
	}
	return name
}

func (p *planner) outputPartitions(out op.OutputSpec) int {
	if out.Repartition {
		return p.counts[out.Topic]
	}
	if t, ok := p.Topics[out.Topic]; ok {
		return t.Partitions
	}
	if out.Partitions > 0 {
		return out.Partitions
	}
	return max(1, p.largest)
}

// storeID is the id that a store of this name had, or the next free one.
func (p *planner) storeID(plan *Plan, name string) uint32 {
	if p.Previous != nil {
		for i := range p.Previous.Stages {
			for _, st := range p.Previous.Stages[i].Stores {
				if st.Name == name {
					return st.ID
				}
			}
		}
	}
	id := plan.NextStoreID
	plan.NextStoreID++
	return id
}
