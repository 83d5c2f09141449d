package operators

import (
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// Graph is a job under construction: it holds the steps that Build declares and
// collects mistakes, to be reported all at once. It never panics.
//
// Steps are declared in straight-line code, so a step's inputs always have lower
// numbers than the step: the order of declaration is a topological order, and
// everything below relies on it.
type Graph struct {
	steps    []*step
	names    map[string]*step // durable names: KeyBys, stores
	topics   map[string]any   // topic read → its *node, so that a topic is read once
	sinks    map[string]*sinkDecl
	mistakes []mistake
	stages   []*Stage // set by compile
	compiled bool
}

// Build runs the function that declares a job and checks the result. The error
// lists every mistake with the line that made it.
func Build(declare func(*Graph)) (g *Graph, err error) {
	g = &Graph{}
	defer func() {
		if r := recover(); r != nil {
			g.mistakes = append(g.mistakes, mistake{at: "build", text: fmt.Sprintf("the function panicked: %v", r)})
			err = g.Check()
		}
	}()
	if declare == nil {
		return g, errors.New("graph: the function that declares the job is nil")
	}
	declare(g)
	return g, g.Check()
}

// Check completes the graph and returns all mistakes in one error, or nil.
func (g *Graph) Check() error {
	if !g.compiled {
		g.compiled = true
		if len(g.steps) == 0 {
			g.mistakes = append(g.mistakes, mistake{at: "build", text: "the job has no steps; begin with op.From(g, topic)"})
		}
		g.compile()
	}
	if len(g.mistakes) == 0 {
		return nil
	}
	return &GraphError{g.mistakes}
}

// Stages returns the parts of a checked graph, each run by tasks of its own, in
// the order of declaration.
func (g *Graph) Stages() []*Stage { return g.stages }

// GraphError is the list of mistakes in a graph.
type GraphError struct{ mistakes []mistake }

func (e *GraphError) Error() string {
	var b strings.Builder
	if n := len(e.mistakes); n == 1 {
		b.WriteString("the job's graph has a mistake:")
	} else {
		fmt.Fprintf(&b, "the job's graph has %d mistakes:", n)
	}
	for _, m := range e.mistakes {
		b.WriteString("\n  ")
		b.WriteString(m.at)
		b.WriteString(": ")
		b.WriteString(m.text)
	}
	return b.String()
}

type mistake struct {
	at   string // file:line of the declaring call
	text string
}

func (g *Graph) mistake(at, format string, args ...any) {
	g.mistakes = append(g.mistakes, mistake{at, fmt.Sprintf(format, args...)})
}

// step is one operator of the graph, without its types: what planning, codecs
// and Describe need to know. The typed half is a node.
type step struct {
	g      *Graph
	id     int
	kind   string  // "from", "map", "key-by": the operator as users know it
	name   string  // what it keeps on disk is called, or its topic
	detail string  // for Describe
	at     string  // file:line of the declaring call
	from   []*step // steps whose batches it takes
	tables []*step // steps whose tables it looks up: same stage, but no clock of theirs counts

	// What it does with the columns of its batches.
	usesKey, usesValue   bool // reads decoded keys, values
	keepsKey, keepsValue bool // hands them on as they came

	source *sourceDecl // of "from" steps
	sink   *sinkDecl   // of steps that write
	store  *StoreDecl  // of steps that keep state
	clock  bool        // EventTime
	timed  bool        // runs an operator that the watermark drives
	rekeys bool        // may change keys, so that equal ones no longer meet
	made   bool        // its records are results, made from no single record of an input
	keyed  bool        // equal keys must meet in one task
	lag    int64       // ms: how far results may stay behind the watermark
	holds  bool        // results may wait for a later commit: see operator.earliest
	single bool        // may ask for the watermark at any time: its inputs are taken record by record
	extra  func()      // checks that need the whole graph; run by compile

	// Codec names of the step's output, resolved by compile.
	keyCodec, valueCodec func() (string, error)

	// Set by compile.
	stage            int
	output           int    // of steps that write: index into the stage's Outputs
	needKey          bool   // some consumer reads decoded keys of the output
	needValue        bool   // … values
	rawKey, rawValue string // codec that the source's bytes at Rows are in, as long as they stand for the column; "" if not
	inputs           []int  // indices into the stage's Inputs that reach the step
	feeds            []feedDecl
	holders          []*step // steps upstream that may hold results back
	keyChanged       *step   // what changed the key since its partition was chosen
	line             int     // index into the stage's timelines; -1: none
	diamond          bool
}

// add appends a step to the graph, with the line that declared it.
func (g *Graph) add(kind, name string, from ...*step) *step {
	s := &step{g: g, id: len(g.steps) + 1, kind: kind, name: name, at: caller(), line: -1}
	for _, f := range from {
		if f.g != g {
			g.mistake(s.at, "%s: its input belongs to another graph (declared at %s)", s, f.at)
			continue
		}
		s.from = append(s.from, f)
	}
	g.steps = append(g.steps, s)
	return s
}

// String is how mistakes and dead letters call the step.
func (s *step) String() string {
	if s.name == "" {
		return s.kind
	}
	return fmt.Sprintf("%s %q", s.kind, s.name)
}

// wants reports a nil function.
func (s *step) wants(ok bool, what string) {
	if !ok {
		s.g.mistake(s.at, "%s: %s is nil", s, what)
	}
}

// durable claims the step's name for what it keeps on disk.
func (s *step) durable() {
	g := s.g
	if !ValidName(s.name) {
		if s.name == "" {
			g.mistake(s.at, "%s has no name; it keeps something on disk, so name it, such as \"views-per-page\"", s.kind)
		} else {
			g.mistake(s.at, "%s: got name %q, want lower-case letters, digits and dashes, not beginning with a dash", s.kind, s.name)
		}
		return
	}
	if first, taken := g.names[s.name]; taken {
		g.mistake(s.at, "%s: the name %q is used twice, first by %s at %s", s.kind, s.name, first.kind, first.at)
		return
	}
	if s.name == sourceStage {
		g.mistake(s.at, "%s: the name %q is taken by the stage that reads the inputs", s.kind, s.name)
		return
	}
	if g.names == nil {
		g.names = make(map[string]*step)
	}
	g.names[s.name] = s
}

// ValidName tells whether a job, store or step may have the name: lower-case
// letters, digits and dashes, not beginning with a dash, at most 100.
func ValidName(name string) bool {
	if name == "" || len(name) > 100 || name[0] == '-' {
		return false
	}
	for _, c := range []byte(name) {
		if c != '-' && (c < '0' || c > '9') && (c < 'a' || c > 'z') {
			return false
		}
	}
	return true
}

// validTopic tells whether Kafka allows the topic name.
func validTopic(name string) bool {
	if name == "" || len(name) > 249 || name == "." || name == ".." {
		return false
	}
	return !slices.ContainsFunc([]byte(name), func(c byte) bool {
		return c != '.' && c != '_' && c != '-' && (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z')
	})
}

// caller returns file:line of the innermost call from outside of this package.
func caller() string {
	var pcs [16]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(3, pcs[:])])
	for {
		f, more := frames.Next()
		inside := strings.Contains(f.Function, "/grete/operators.") && !strings.HasSuffix(f.File, "_test.go")
		if !inside || !more {
			return fmt.Sprintf("%s:%d", filepath.Base(f.File), f.Line)
		}
	}
}
