package kafka

import (
	"context"
	"fmt"
	"regexp"
	"regexp/syntax"
	"slices"
)

// pattern stands for topics: those whose whole names it matches. The zero value
// stands for none.
type pattern struct {
	text   string
	regexp *regexp.Regexp // nil for none
	steps  int            // about how many it is compiled to
}

// bytesPerStep is about what a step of a compiled pattern takes up.
const bytesPerStep = 40

// maxPattern bounds what a pattern is compiled to, in steps: a few characters that
// repeat each other would take a hundred megabytes.
const maxPattern = 4000

// compilePattern reads a pattern. The syntax is RE2's, as with Kafka.
func compilePattern(text string) (p pattern, err error) {
	if text == "" {
		return p, nil
	}
	if len(text) > maxPattern {
		return p, fmt.Errorf("%d bytes, want at most %d", len(text), maxPattern)
	}
	re, err := syntax.Parse(text, syntax.Perl)
	if err != nil {
		return p, err
	}
	steps := patternSize(re)
	if steps > maxPattern {
		return p, fmt.Errorf("it repeats itself more than %d times in all", maxPattern)
	}
	// Not the text as it is: a quotation in it may be open to the end.
	whole, err := regexp.Compile("^(?:" + re.String() + ")$")
	return pattern{text, whole, steps}, err
}

// patternSize is about how many steps a pattern has, or somewhat more than
// maxPattern.
func patternSize(re *syntax.Regexp) int {
	n := 1 + len(re.Rune)
	for _, sub := range re.Sub {
		n = min(n+patternSize(sub), maxPattern+1)
	}
	if re.Op == syntax.OpRepeat {
		n *= max(re.Min, re.Max, 1)
	}
	return min(n, maxPattern+1)
}

// sight is all that decides which topics a pattern stands for.
type sight struct {
	pattern string
	topics  uint64       // their version
	access  *accessState // what is allowed
	who     *identity    // to whom
}

// look finds the topics that the pattern of a member stands for, unless nothing
// has changed since it was last looked for them, and with what it did so. The caller
// has locked the group.
func (g *group) look(r *request, id string, p *pattern) ([]string, sight) {
	m := &consumer{}
	if g.consumers != nil && g.consumers.members[id] != nil {
		m = g.consumers.members[id]
	}
	if p == nil {
		p = &m.pattern
	}
	if p.text == "" {
		return nil, sight{}
	}
	now := sight{p.text, g.c.log.TopicsVersion(), r.conn.s.access.state.Load(), r.conn.who.Load()}
	if g.lookedAt[id] == now && m.pattern.text == p.text {
		return m.matched, now
	}
	return g.c.match(*p, r), now
}

// matchedBefore lists the topics that a member's pattern stood for when its share
// was worked out. What else it stands for depends on what its client may see, and
// is found when that is heard of again.
func (c *coordinator) matchedBefore(m *consumer, target partitionSet) []string {
	var names []string
	if m.pattern.regexp == nil {
		return nil
	}
	for _, set := range [2]partitionSet{m.assigned, target} {
		for _, t := range set.byTopic() {
			if name, ok := c.log.TopicName(t.topic); ok && m.pattern.regexp.MatchString(name) {
				names = append(names, name)
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// match lists the topics that a pattern stands for, internal ones too, as in Kafka:
// those that the client may see.
func (c *coordinator) match(p pattern, r *request) (names []string) {
	if p.regexp == nil {
		return nil
	}
	topics, _ := c.log.Topics(context.Background())
	for _, t := range topics {
		if t.Name != accessTopic && p.regexp.MatchString(t.Name) && r.topic(toDescribe, t.Name) == nil {
			names = append(names, t.Name)
		}
	}
	return names
}
