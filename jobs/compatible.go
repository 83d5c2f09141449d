package jobs

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Incompatibility is one way in which state would be lost or mixed up if a plan
// took over from another within a generation.
type Incompatibility struct {
	What string // the thing: `store "visits"`
	Old  string // what it was; empty: new
	New  string // what it would be; empty: gone
	Lost string // what would be lost or wrong
}

func (i Incompatibility) String() string {
	switch {
	case i.New == "":
		return fmt.Sprintf("%s is gone: %s", i.What, i.Lost)
	case i.Old == "":
		return fmt.Sprintf("%s is new (%s): %s", i.What, i.New, i.Lost)
	}
	return fmt.Sprintf("%s was %s, now %s: %s", i.What, i.Old, i.New, i.Lost)
}

// Incompatible is the refusal of a deploy: what would be lost, and what to do.
type Incompatible struct {
	Job  string
	List []Incompatibility
}

func (e *Incompatible) Error() string {
	lines := make([]string, len(e.List))
	for i, in := range e.List {
		lines[i] = in.String()
	}
	return fmt.Sprintf("job %q cannot go on from its stored state:\n  - %s\nrun the job as it was, or start it again from its first record: grete reprocess %s",
		e.Job, strings.Join(lines, "\n  - "), e.Job)
}

// Compatible lists what stands against a plan taking over from the one that its
// generation was deployed with. What is merely added (a stage, a store, an
// output, an input) begins where the job stands and loses nothing.
func Compatible(old, new *Plan) []Incompatibility {
	c := comparison{}
	c.settings(old.Settings, new.Settings)
	for i := range old.Stages {
		c.stage(&old.Stages[i], new.Stage(old.Stages[i].Name))
	}
	return c.list
}

type comparison struct{ list []Incompatibility }

func (c *comparison) add(what, old, new, lost string) {
	c.list = append(c.list, Incompatibility{What: what, Old: old, New: new, Lost: lost})
}

// changed adds an incompatibility if old and new differ.
func (c *comparison) changed(what, old, new, lost string) {
	if old != new {
		c.add(what, quoted(old), quoted(new), lost)
	}
}

func quoted(s string) string {
	if s == "" {
		return "none"
	}
	return fmt.Sprintf("%q", s)
}

// settings compares all of them: a value reaches functions of the user's, which
// a plan does not show.
func (c *comparison) settings(old, new map[string]string) {
	for _, name := range slices.Sorted(maps.Keys(old)) {
		if v, ok := new[name]; ok {
			c.changed(fmt.Sprintf("setting %q", name), old[name], v, "what was computed so far was computed with the old value")
		}
	}
}

func (c *comparison) stage(old, new *StagePlan) {
	what := fmt.Sprintf("stage %q", old.Name)
	if new == nil {
		if len(old.Stores) > 0 {
			c.add(what, old.Name, "", "its "+storeNames(old)+" would be lost")
		} else {
			c.add(what, old.Name, "", "its positions, and records on the way to it, would be lost")
		}
		return
	}
	if old.Tasks != new.Tasks {
		c.add(what, taskCount(old.Tasks), taskCount(new.Tasks), "keys would move to tasks that do not hold their state")
	}
	for i := range old.Inputs {
		c.input(old, &old.Inputs[i], new)
	}
	for i := range old.Outputs {
		if old.Outputs[i].Repartition {
			c.repartition(&old.Outputs[i], new)
		}
	}
	for i := range old.Stores {
		c.store(&old.Stores[i], new)
	}
}

func taskCount(n int) string {
	if n == 1 {
		return "1 task"
	}
	return fmt.Sprintf("%d tasks", n)
}

func storeNames(s *StagePlan) string {
	names := make([]string, len(s.Stores))
	for i := range s.Stores {
		names[i] = fmt.Sprintf("%q", s.Stores[i].Name)
	}
	if len(names) == 1 {
		return "store " + names[0]
	}
	return "stores " + strings.Join(names, ", ")
}

func (c *comparison) input(stage *StagePlan, old *InputPlan, new *StagePlan) {
	what := fmt.Sprintf("input %q of stage %q", old.Topic, stage.Name)
	i := slices.IndexFunc(new.Inputs, func(in InputPlan) bool { return in.Topic == old.Topic })
	if i < 0 {
		c.add(what, old.Topic, "", "the position in it would be lost, and its part in the state could not be taken back")
		return
	}
	in := &new.Inputs[i]
	if old.Partitions != in.Partitions {
		c.add(what, partitionCount(old.Partitions), partitionCount(in.Partitions), "keys would move to tasks that do not hold their state")
	}
	if old.UpstreamTasks != in.UpstreamTasks {
		c.add(what, "written by "+taskCount(old.UpstreamTasks), "by "+taskCount(in.UpstreamTasks), "its watermark would no longer be known")
	}
	if old.Table != in.Table {
		c.add(what, streamOrTable(old), streamOrTable(in), "what was read so far was taken for the other")
	}
	lost := "what was read so far was read by the old one"
	if old.Repartition {
		lost = "records on the way could not be read"
	}
	c.changed(what+": key codec", old.KeyCodec, in.KeyCodec, lost)
	c.changed(what+": value codec", old.ValueCodec, in.ValueCodec, lost)
}

func streamOrTable(in *InputPlan) string {
	if in.Table {
		return "a table"
	}
	return "a stream"
}

func (c *comparison) repartition(old *OutputPlan, new *StagePlan) {
	what := fmt.Sprintf("repartition topic %q", old.Topic)
	i := slices.IndexFunc(new.Outputs, func(out OutputPlan) bool { return out.Topic == old.Topic })
	if i < 0 {
		c.add(what, old.Topic, "", "records on the way would be lost")
		return
	}
	if n := new.Outputs[i].Partitions; n != old.Partitions {
		c.add(what, partitionCount(old.Partitions), partitionCount(n), "keys would move to tasks that do not hold their state")
	}
}

func (c *comparison) store(old *StorePlan, new *StagePlan) {
	what := fmt.Sprintf("store %q", old.Name)
	i := slices.IndexFunc(new.Stores, func(s StorePlan) bool { return s.Name == old.Name })
	if i < 0 {
		c.add(what, old.Name, "", "all it holds would be lost")
		return
	}
	st := &new.Stores[i]
	c.changed(what+": kind", old.Kind, st.Kind, "what it holds could not be read")
	c.changed(what+": key codec", old.KeyCodec, st.KeyCodec, "what it holds could not be read")
	c.changed(what+": value codec", old.ValueCodec, st.ValueCodec, "what it holds could not be read")
	c.changed(what+": window", old.Window, st.Window, "windows that are open were cut by the old bounds")
}
