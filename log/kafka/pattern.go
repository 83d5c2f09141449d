package kafka

import (
	"context"
	"fmt"
	"regexp"
	"regexp/syntax"
)

// pattern stands for topics: those whose whole names it matches. The zero value
// stands for none.
type pattern struct {
	text   string
	regexp *regexp.Regexp // nil for none
}

// maxPattern bounds what a pattern is compiled to, in steps: a few characters that
// repeat each other would take a hundred megabytes.
const maxPattern = 10_000

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
	if patternSize(re) > maxPattern {
		return p, fmt.Errorf("it repeats itself more than %d times in all", maxPattern)
	}
	whole, err := regexp.Compile("^(?:" + text + ")$")
	return pattern{text, whole}, err
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

// match lists the topics that a pattern stands for, internal ones too, as in Kafka:
// those that the client may see, or that any may if there is none.
func (c *coordinator) match(p pattern, r *request) (names []string) {
	if p.regexp == nil {
		return nil
	}
	topics, _ := c.log.Topics(context.Background())
	for _, t := range topics {
		if t.Name != accessTopic && p.regexp.MatchString(t.Name) && (r == nil || r.topic(toDescribe, t.Name) == nil) {
			names = append(names, t.Name)
		}
	}
	return names
}
