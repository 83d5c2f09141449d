package engine

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/gretestream/grete/log"
)

func TestChoose(t *testing.T) {
	ready := func(at log.Timestamp) candidate { return candidate{Ready: true, Time: at} }
	f := func(name string, want choice, inputs ...candidate) {
		t.Helper()
		if got := choose(inputs); got != want {
			t.Errorf("%s: got %+v, want %+v", name, got, want)
		}
	}
	with := func(c candidate, change func(*candidate)) candidate { change(&c); return c }
	none := choice{Input: -1}

	f("no inputs", none)
	f("nothing at hand", none, candidate{}, candidate{})
	f("one input runs as far as it goes", choice{0, maxTimestamp, 0}, ready(5))
	f("lowest timestamp first, up to the other's", choice{1, 6, 0}, ready(7), ready(5))
	f("the first declared wins a tie and runs through it", choice{0, 5, 0}, ready(5), ready(5))
	f("a done input is not waited for", choice{0, maxTimestamp, 0}, ready(5), candidate{Done: true, Awaited: true})
	f("more is known to come", none, ready(5), candidate{Awaited: true})
	f("an input at its end is overtaken", choice{0, maxTimestamp, 0}, ready(5), candidate{})
	f("unless it is waited for", choice{-1, 0, 3 * time.Second}, ready(5), candidate{MaxWait: 5 * time.Second, Waited: 2 * time.Second})
	f("the longest wait counts", choice{-1, 0, 4 * time.Second}, ready(5),
		candidate{MaxWait: 4 * time.Second}, candidate{MaxWait: time.Second})
	f("long enough", choice{0, maxTimestamp, 0}, ready(5), candidate{MaxWait: time.Second, Waited: time.Second})
	f("priority goes before time", choice{1, maxTimestamp, 0}, ready(1), with(ready(9), func(c *candidate) { c.Priority = 1 }))
	f("a lower priority is not waited for", choice{1, maxTimestamp, 0}, candidate{Awaited: true}, with(ready(9), func(c *candidate) { c.Priority = 1 }))
	f("a higher one is", none, ready(1), candidate{Awaited: true, Priority: 1})
	f("bootstrap first", choice{1, maxTimestamp, 0}, ready(1), with(ready(9), func(c *candidate) { c.First = true }))
	f("nothing overtakes a bootstrap input", none, ready(1), candidate{First: true, Awaited: true})
	f("bootstrap inputs do not wait for each other", choice{1, maxTimestamp, 0}, ready(1),
		with(ready(9), func(c *candidate) { c.First = true }), candidate{First: true, Awaited: true})
}

// chooserCase is one of Samza's cases of which message runs next.
type chooserCase struct {
	Name  string `json:"name"`
	Input []struct {
		I   int    `json:"i"`
		Op  string `json:"op"`
		Msg string `json:"msg"`
	} `json:"input"`
	Expected []struct {
		After  int     `json:"after"`
		Chosen *string `json:"chosen"`
	} `json:"expected"`
	Priority map[string]int `json:"priority"`
}

// disagree says why Grete chooses otherwise, by case.
var disagree = map[string]string{
	"samza_chooser_bootstrap_blocks_others":         "a normal message offered before never goes first here: what is ready is chosen anew each time",
	"samza_chooser_batching_prefers_same_partition": "runs are cut by log timestamp, not by a count",
}

// TestSamzaChooser runs the conformance cases, offer order standing in for the
// log's timestamps.
func TestSamzaChooser(t *testing.T) {
	b, err := os.ReadFile(filepath.Join("..", "..", "shared", "conformance", "cases.json"))
	if err != nil {
		if os.Getenv("GRETE_SHARED") != "" {
			b, err = os.ReadFile(filepath.Join(os.Getenv("GRETE_SHARED"), "conformance", "cases.json"))
		}
		if err != nil {
			t.Skip("conformance cases are not at ../../shared/conformance; set GRETE_SHARED to their directory")
		}
	}
	var all []json.RawMessage
	if err := json.Unmarshal(b, &all); err != nil {
		t.Fatal(err)
	}
	ran := 0
	for _, raw := range all {
		var c chooserCase
		if err := json.Unmarshal(raw, &c); err != nil || len(c.Name) < 13 || c.Name[:13] != "samza_chooser" {
			continue
		}
		t.Run(c.Name, func(t *testing.T) {
			if why := disagree[c.Name]; why != "" {
				t.Skip(why)
			}
			runChooserCase(t, &c)
			ran++
		})
	}
	if ran == 0 {
		t.Error("no case ran")
	}
}

func runChooserCase(t *testing.T, c *chooserCase) {
	var names []string
	var queues [][]string
	var times [][]log.Timestamp
	want := map[int]*string{}
	for _, e := range c.Expected {
		want[e.After] = e.Chosen
	}
	for _, in := range c.Input {
		if in.Op == "offer" {
			k := -1
			for i, n := range names {
				if n == in.Msg[:1] {
					k = i
				}
			}
			if k < 0 {
				k = len(names)
				names, queues, times = append(names, in.Msg[:1]), append(queues, nil), append(times, nil)
			}
			queues[k] = append(queues[k], in.Msg)
			times[k] = append(times[k], log.Timestamp(in.I))
			continue
		}
		cands := make([]candidate, len(names))
		for i := range names {
			cands[i].Priority = c.Priority[names[i]]
			if len(queues[i]) > 0 {
				cands[i].Ready, cands[i].Time = true, times[i][0]
			}
		}
		got := "nothing"
		if ch := choose(cands); ch.Input >= 0 {
			got = queues[ch.Input][0]
			queues[ch.Input], times[ch.Input] = queues[ch.Input][1:], times[ch.Input][1:]
		}
		w := "nothing"
		if p := want[in.I]; p != nil {
			w = *p
		}
		if got != w {
			t.Errorf("step %d: got %s, want %s", in.I, got, w)
		}
	}
}

func TestRunLength(t *testing.T) {
	f := func(until log.Timestamp, want int, times ...log.Timestamp) {
		t.Helper()
		recs := make([]log.Record, len(times))
		for i, at := range times {
			recs[i].Timestamp = at
		}
		if got := runLength(recs, until); got != want {
			t.Errorf("%v until %d: got %d, want %d", times, until, got, want)
		}
	}
	f(maxTimestamp, 3, 1, 2, 3)
	f(2, 2, 1, 2, 3)
	f(2, 1, 5, 6)
	f(4, 2, 3, 1, 9, 2)
}
