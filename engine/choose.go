package engine

import (
	"math"
	"time"

	"github.com/gretestream/grete/log"
)

// candidate is what the chooser knows of one input of a task.
type candidate struct {
	Ready    bool          // a record is at hand
	Time     log.Timestamp // log timestamp of that record
	Done     bool          // nothing more will come
	First    bool          // a table or bootstrap input below its captured end: nothing else runs
	Priority int           // higher ones run first
	Awaited  bool          // more is known to come that must not be overtaken
	MaxWait  time.Duration // how long to wait for the input beyond that
	Waited   time.Duration // how long the others have been waiting for it by now
}

// choice is which input runs next.
type choice struct {
	Input int           // -1: wait
	Until log.Timestamp // the run ends before the first record later than this
	Wait  time.Duration // with Input -1: when to choose again at the latest; 0: when a record arrives
}

// choose picks the next input: tables and bootstrap inputs to their captured
// ends, then the highest priority, then the lowest log timestamp, then the order
// of declaration. An input without a record at hand holds up those of its own
// and of lower priorities while it is awaited, and for MaxWait after that.
func choose(inputs []candidate) choice {
	first := false
	for i := range inputs {
		first = first || inputs[i].First && !inputs[i].Done
	}
	best := -1
	for i := range inputs {
		if c := &inputs[i]; c.Ready && c.First == first && (best < 0 || c.before(&inputs[best])) {
			best = i
		}
	}
	if best < 0 {
		return choice{Input: -1}
	}
	until, wait := log.Timestamp(math.MaxInt64), time.Duration(0)
	for i := range inputs {
		c := &inputs[i]
		if i == best || c.Done || c.First != first || c.Priority < inputs[best].Priority {
			continue
		}
		switch {
		case c.Ready && i > best:
			until = min(until, c.Time)
		case c.Ready:
			until = min(until, c.Time-1)
		case first:
			// Bootstrap inputs are read in any order; time begins after them.
		case c.Awaited:
			return choice{Input: -1}
		case c.MaxWait > c.Waited:
			wait = max(wait, c.MaxWait-c.Waited)
		}
	}
	if wait > 0 {
		return choice{Input: -1, Wait: wait}
	}
	return choice{Input: best, Until: until}
}

// before tells whether c runs before o, which was declared earlier.
func (c *candidate) before(o *candidate) bool {
	if c.Priority != o.Priority {
		return c.Priority > o.Priority
	}
	return c.Time < o.Time
}
