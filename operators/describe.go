package operators

import (
	"fmt"
	"strings"
)

// Describe returns the graph as text: a numbered line for each step, by stage,
// with the steps it reads.
func (g *Graph) Describe() string {
	var b strings.Builder
	for i, st := range g.stages {
		if i > 0 {
			b.WriteByte('\n')
		}
		fmt.Fprintf(&b, "stage %s\n", st.Name)
		for _, s := range st.steps {
			var from []string
			for _, f := range append(s.from[:len(s.from):len(s.from)], s.tables...) {
				from = append(from, fmt.Sprint(f.id))
			}
			line := fmt.Sprintf("  %2d  %s", s.id, s.describe())
			if len(from) > 0 {
				line += "  ← " + strings.Join(from, ", ")
			}
			b.WriteString(line)
			b.WriteByte('\n')
		}
	}
	return b.String()
}

// describe is the step in a few words.
func (s *step) describe() string {
	words := []string{s.kind}
	if s.name != "" {
		words = append(words, s.name)
	}
	if s.detail != "" {
		words = append(words, s.detail)
	}
	if s.source != nil {
		words = append(words, "("+s.resolve(s.keyCodec, "key")+" → "+s.resolve(s.valueCodec, "value")+")")
	}
	return strings.Join(words, " ")
}

// DOT returns the graph in the language of Graphviz: a box for each stage, a
// dashed line for each repartition.
func (g *Graph) DOT() string {
	var b strings.Builder
	b.WriteString("digraph job {\n\trankdir=LR\n\tnode [shape=box]\n")
	for i, st := range g.stages {
		fmt.Fprintf(&b, "\tsubgraph cluster_%d {\n\t\tlabel=%q\n", i, st.Name)
		for _, s := range st.steps {
			fmt.Fprintf(&b, "\t\ts%d [label=%q]\n", s.id, s.describe())
		}
		b.WriteString("\t}\n")
	}
	for _, s := range g.steps {
		for _, f := range append(s.from[:len(s.from):len(s.from)], s.tables...) {
			fmt.Fprintf(&b, "\ts%d -> s%d\n", f.id, s.id)
		}
		if s.sink == nil || !s.sink.repartition {
			continue
		}
		for _, d := range g.steps {
			if d.source != nil && d.source.repartition && d.name == s.sink.topic {
				fmt.Fprintf(&b, "\ts%d -> s%d [style=dashed]\n", s.id, d.id)
			}
		}
	}
	b.WriteString("}\n")
	return b.String()
}
