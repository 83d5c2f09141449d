package operators

import (
	"fmt"
	"slices"
	"strings"
)

// sourceStage is the name of the stage that no KeyBy feeds.
const sourceStage = "source"

// sourceDecl is what a graph knows of an input.
type sourceDecl struct {
	repartition bool
	table       bool
	options     Input
	input       int // index into the stage's Inputs; set by compile
	wire        func(w *wiring) source
}

// sinkDecl is what a graph knows of an output.
type sinkDecl struct {
	topic       string
	repartition bool
	partitions  int
	step        *step // the first that writes to it
	key, value  func() (string, error)
}

// feedDecl is a clock that a step hears, and how far behind it the step runs.
type feedDecl struct {
	clock *step // a source, or an EventTime
	input int
	lag   int64 // ms
}

// lineDecl is a set of steps with one watermark: they hear the same clocks with
// the same lags.
type lineDecl struct {
	feeds   []feedDecl
	holders []*step
	key     string // stable: names the clocks, not numbers that change when a step is added
}

// compile splits the graph into stages and works out, step by step in order of
// declaration, what each step needs of its inputs and which clocks it hears.
func (g *Graph) compile() {
	defer g.complain()
	if len(g.mistakes) > 0 {
		return // the rest would only repeat them
	}
	for _, s := range g.steps {
		if s.extra != nil {
			s.extra()
		}
	}
	g.split()
	for i := len(g.steps) - 1; i >= 0; i-- {
		g.steps[i].demand()
	}
	for _, s := range g.steps {
		s.trace(g.stages[s.stage])
	}
	for _, st := range g.stages {
		st.meet()
	}
}

// complain puts mistakes into the order of their lines of declaration.
func (g *Graph) complain() {
	seen := make(map[mistake]bool)
	g.mistakes = slices.DeleteFunc(g.mistakes, func(m mistake) bool {
		again := seen[m]
		seen[m] = true
		return again
	})
}

// split groups the steps that run in one task: those connected without a
// repartition. Parts that no repartition feeds are one stage, "source"; another
// is named by its first KeyBy.
func (g *Graph) split() {
	root := make([]*step, len(g.steps)+1) // union-find by step id
	for _, s := range g.steps {
		root[s.id] = s
	}
	find := func(s *step) *step {
		for root[s.id] != s {
			root[s.id] = root[root[s.id].id]
			s = root[s.id]
		}
		return s
	}
	union := func(a, b *step) {
		ra, rb := find(a), find(b)
		if ra.id > rb.id {
			ra, rb = rb, ra
		}
		root[rb.id] = ra
	}
	for _, s := range g.steps {
		for _, f := range append(s.from, s.tables...) {
			union(s, f)
		}
	}
	names := make(map[*step]string)
	for _, s := range g.steps {
		if s.source != nil && s.source.repartition && names[find(s)] == "" {
			names[find(s)] = s.name
		}
	}
	stages := make(map[string]*Stage)
	for _, s := range g.steps {
		name := names[find(s)]
		if name == "" {
			name = sourceStage
		}
		if stages[name] == nil {
			stages[name] = &Stage{Name: name}
			g.stages = append(g.stages, stages[name])
		}
		stages[name].steps = append(stages[name].steps, s)
	}
	g.order()
	for i, st := range g.stages {
		for _, s := range st.steps {
			s.stage = i
		}
	}
	for _, st := range g.stages {
		st.declare()
	}
}

// order sorts the stages so that each repartition is written before it is read.
func (g *Graph) order() {
	written := make(map[string]bool)
	var sorted []*Stage
	for len(sorted) < len(g.stages) {
		n := len(sorted)
		for _, st := range g.stages {
			if slices.Contains(sorted, st) || slices.ContainsFunc(st.steps, func(s *step) bool {
				return s.source != nil && s.source.repartition && !written[s.name]
			}) {
				continue
			}
			sorted = append(sorted, st)
			for _, s := range st.steps {
				if s.sink != nil && s.sink.repartition {
					written[s.name] = true
				}
			}
		}
		if len(sorted) > n {
			continue
		}
		for _, s := range g.steps { // a circle: name one of its KeyBys
			if s.source != nil && s.source.repartition && !written[s.name] {
				g.mistake(s.at, "key-by %q is made from a stream that its own results meet again, so neither can run before the other; write the results to a topic and read it in another job", s.name)
				break
			}
		}
		return
	}
	g.stages = sorted
}

// declare lists what the stage reads, writes and keeps.
func (st *Stage) declare() {
	for _, s := range st.steps {
		key, value := "", ""
		if s.keyCodec != nil && (s.source != nil || s.store != nil) {
			key, value = s.resolve(s.keyCodec, "key"), s.resolve(s.valueCodec, "value")
		}
		if d := s.source; d != nil {
			d.input = len(st.Inputs)
			st.Inputs = append(st.Inputs, InputSpec{
				Topic: s.name, Repartition: d.repartition, Table: d.table, Options: d.options,
				KeyCodec: key, ValueCodec: value,
			})
		}
		if d := s.sink; d != nil {
			s.output = slices.IndexFunc(st.Outputs, func(o OutputSpec) bool { return o.Topic == d.topic && o.Repartition == d.repartition })
			if s.output < 0 {
				s.output = len(st.Outputs)
				st.Outputs = append(st.Outputs, OutputSpec{
					Topic: d.topic, Repartition: d.repartition, Partitions: d.partitions,
					KeyCodec: s.resolve(d.key, "key"), ValueCodec: s.resolve(d.value, "value"),
				})
			}
		}
		if s.store != nil {
			st.Stores = append(st.Stores, *s.store)
		}
	}
}

// resolve returns the codec's name, or reports why there is none.
func (s *step) resolve(name func() (string, error), what string) string {
	n, err := name()
	if err != nil {
		s.g.mistake(s.at, "%s: its %s: %v; use op.Encoded", s, what, err)
	}
	return n
}

// demand tells the steps before s which columns must be decoded. Steps are
// visited last to first, so what is behind s has spoken.
func (s *step) demand() {
	for _, f := range s.from {
		f.needKey = f.needKey || s.usesKey || s.keepsKey && s.needKey
		f.needValue = f.needValue || s.usesValue || s.keepsValue && s.needValue
	}
}

// trace works out which inputs, clocks and original bytes reach s.
func (s *step) trace(st *Stage) {
	rekeys := false
	switch {
	case s.source != nil:
		s.inputs = []int{s.source.input}
		s.rawKey, s.rawValue = s.resolve(s.keyCodec, "key"), s.resolve(s.valueCodec, "value")
		if !s.source.table {
			s.feeds = []feedDecl{{clock: s, input: s.source.input}}
		}
	default:
		rekeys = s.inherit()
	}
	if s.clock {
		s.feeds = nil
		if s.made {
			s.g.mistake(s.at, "%s stands behind results of a window, whose time the window has set; put EventTime before Window", s)
		}
		for _, in := range s.inputs {
			s.feeds = append(s.feeds, feedDecl{clock: s, input: in})
			if st.Inputs[in].Repartition {
				s.g.mistake(s.at, "%s stands behind key-by %q, where records of several tasks are mixed and the largest time seen says nothing; put EventTime before KeyBy",
					s, st.Inputs[in].Topic)
			}
		}
	}
	if s.timed || s.sink != nil {
		s.line = st.lineOf(s)
	}
	if s.keyed {
		if c := s.keyChanged; c != nil {
			s.g.mistake(s.at, "%s needs equal keys in one task, but %s at %s changed the key; put KeyBy between them", s, c, c.at)
		}
		for _, in := range s.inputs {
			st.Inputs[in].Keyed = st.Inputs[in].Keyed || !st.Inputs[in].Repartition
		}
		if len(s.inputs) > 1 {
			st.Together = append(st.Together, s.inputs)
		}
	}
	if rekeys {
		s.keyChanged = s
	}
	s.feeds = slices.Clone(s.feeds)
	for i := range s.feeds {
		s.feeds[i].lag += s.lag
	}
	if s.holds {
		s.holders = append(slices.Clone(s.holders), s)
	}
}

// inherit takes over from the steps before s what passes through it, and tells
// whether s changes the keys.
func (s *step) inherit() (rekeys bool) {
	for i, f := range s.from {
		if i == 0 {
			s.rawKey, s.rawValue, s.keyChanged = f.rawKey, f.rawValue, f.keyChanged
		}
		if s.rawKey != f.rawKey {
			s.rawKey = ""
		}
		if s.rawValue != f.rawValue {
			s.rawValue = ""
		}
		if s.keyChanged == nil {
			s.keyChanged = f.keyChanged
		}
		s.made = s.made || f.made
		for _, in := range f.inputs {
			if !slices.Contains(s.inputs, in) {
				s.inputs = append(s.inputs, in)
			} else if i > 0 {
				s.diamond = true
			}
		}
		for _, feed := range f.feeds {
			s.hear(feed)
		}
		for _, h := range f.holders {
			if !slices.Contains(s.holders, h) {
				s.holders = append(s.holders, h)
			}
		}
	}
	for _, t := range s.tables {
		for _, in := range t.inputs {
			if !slices.Contains(s.inputs, in) {
				s.inputs = append(s.inputs, in)
			}
		}
	}
	slices.Sort(s.inputs)
	changes := s.rekeys || s.kind == dropWindowKind && s.rawKey != "" // a topic of windowed keys is partitioned by key and window
	if !s.keepsKey {
		s.rawKey = ""
	}
	if !s.keepsValue {
		s.rawValue = ""
	}
	return changes
}

// hear adds a clock to those of s; of two paths from one clock the longer lag
// counts.
func (s *step) hear(feed feedDecl) {
	for i := range s.feeds {
		if have := &s.feeds[i]; have.clock == feed.clock && have.input == feed.input {
			have.lag = max(have.lag, feed.lag)
			return
		}
	}
	s.feeds = append(s.feeds, feed)
}

// lineOf returns the timeline of s, whose feeds are those of what it takes.
func (st *Stage) lineOf(s *step) int {
	if len(s.feeds) == 0 {
		return -1
	}
	var parts []string
	for _, f := range s.feeds {
		parts = append(parts, fmt.Sprintf("%s-%d", st.clockLabel(f), f.lag))
	}
	slices.Sort(parts)
	for _, h := range s.holders {
		parts = append(parts, "after "+h.name)
	}
	key := strings.Join(parts, " ")
	for i, l := range st.lines {
		if l.key == key {
			return i
		}
	}
	st.lines = append(st.lines, lineDecl{feeds: slices.Clone(s.feeds), holders: slices.Clone(s.holders), key: key})
	return len(st.lines) - 1
}

// clockLabel names a clock in the checkpoint: the topic, and for an EventTime
// how many the stage declared before it.
func (st *Stage) clockLabel(f feedDecl) string {
	topic := st.Inputs[f.input].Topic
	if !f.clock.clock {
		return topic
	}
	n := 0
	for _, s := range st.steps {
		if s == f.clock {
			break
		}
		if s.clock {
			n++
		}
	}
	return fmt.Sprintf("%s/event-time-%d", topic, n)
}

// meet merges overlapping groups of inputs that must be partitioned alike, and
// finds what has to be taken record by record: where a source's branches come
// together again, and where a step asks for it.
func (st *Stage) meet() {
	for i := 0; i < len(st.Together); i++ {
		for j := i + 1; j < len(st.Together); j++ {
			if slices.ContainsFunc(st.Together[j], func(in int) bool { return slices.Contains(st.Together[i], in) }) {
				merged := slices.Concat(st.Together[i], st.Together[j])
				slices.Sort(merged)
				st.Together[i] = slices.Compact(merged)
				st.Together = slices.Delete(st.Together, j, j+1)
				i, j = -1, len(st.Together)
			}
		}
	}
	st.single = make([]bool, len(st.Inputs))
	for _, s := range st.steps {
		if s.diamond || s.single {
			for _, in := range s.inputs {
				st.single[in] = true
			}
		}
	}
}
