package operators_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/gretestream/grete/log"
	"github.com/gretestream/grete/log/logtest"
	op "github.com/gretestream/grete/operators"
)

// silence tells of keys that were quiet for a second: one timer a key, moved on
// by each record.
type silence struct{}

type lastSeen struct {
	Count int
	Timer int64
}

func (silence) Process(c *op.Context[string, lastSeen, string, string], r op.Record[string, string]) error {
	if r.Value == "bad" {
		return errors.New("bad value")
	}
	s := c.State()
	if s.Count > 0 {
		c.ClearTimer(time.UnixMilli(s.Timer))
	}
	s.Count++
	s.Timer = r.Time.Add(time.Second).UnixMilli()
	c.SetTimer(time.UnixMilli(s.Timer))
	if r.Value == "echo" {
		c.Emit(c.Key, "heard")
	}
	return nil
}

func (silence) OnTimer(c *op.Context[string, lastSeen, string, string], at time.Time) error {
	c.Emit(c.Key, "silent")
	c.Forget()
	return nil
}

func silent(g *op.Graph) {
	op.To(op.Process(op.From(g, clicks), "last-seen", silence{}), visits)
}

func TestProcessTimers(t *testing.T) {
	r := start(t, silent)
	r.send("clicks", rec(0, "a", "x"), rec(100, "b", "echo"), rec(500, "a", "x"), rec(600, "", "x"), rec(650, "a", "bad"))
	r.rows("last-seen", "0 0 a {2 1500}", "0 0 b {1 1100}")
	r.send("clicks", rec(1099, "c", "x"), rec(1100, "c", "x"), rec(1600, "c", "x"))
	r.wrote("visits", "100 b heard", "1100 b silent", "1500 a silent")
	r.rows("last-seen", "0 0 c {3 2600}")
	r.dropped(`process "last-seen": failed 1`, `process "last-seen": null key 1`)
	r.buried(`process "last-seen" 4: bad value`)
	r.finish()
	r.wrote("visits", "100 b heard", "1100 b silent", "1500 a silent", "2600 c silent")
	r.rows("last-seen")
}

// restless sets its timer again each time: a bounded run ends all the same.
type restless struct{}

func (restless) Process(c *op.Context[string, int, string, string], r op.Record[string, string]) error {
	c.SetTimer(r.Time.Add(time.Second))
	return nil
}

func (restless) OnTimer(c *op.Context[string, int, string, string], at time.Time) error {
	*c.State()++
	c.Emit(c.Key, "tick")
	c.SetTimer(at.Add(time.Second))
	return nil
}

func TestProcessFinishEnds(t *testing.T) {
	r := start(t, func(g *op.Graph) { op.To(op.Process(op.From(g, clicks), "ticks", restless{}), visits) })
	r.send("clicks", rec(0, "a", "x"), rec(2500, "b", "x"))
	r.wrote("visits", "1000 a tick", "2000 a tick")
	r.finish()
	r.wrote("visits", "1000 a tick", "2000 a tick", "3000 a tick", "3500 b tick")
}

// A record of another writer in the changelog that looks like a timer, but has no
// time, is an error that names it, and no panic.
func TestProcessForeignTimer(t *testing.T) {
	for _, key := range []string{"\x01", "\x01\x80\x00\x00\x00\x00\x00\x00"} {
		r := start(t, silent)
		r.send("clicks", rec(0, "a", "x"))
		tp := log.TopicPartition{Topic: r.stages[0].Name + ".last-seen"}
		logtest.Append(t, r.l, tp, log.Record{Key: []byte(key), Value: []byte{}})
		want := fmt.Sprintf(`store "last-seen": key %x is that of no timer`, key)
		f := func(what string, err error) {
			t.Helper()
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("key %x: %s: %v, want %q", key, what, err, want)
			}
		}
		r.must(r.dbs[0].Close())
		_, err := r.wireStage(0)
		f("go on from the checkpoint", err)
		r.saved[0] = nil
		r.restart()
		f("process", r.flows[0].Process(0, []log.Record{rec(5000, "b", "x")}))
		f("finish", r.flows[0].Finish())
	}
}
