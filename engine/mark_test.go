package engine

import (
	"errors"
	"testing"

	"github.com/gretestream/grete/jobs"
)

func TestMarkRoundTrip(t *testing.T) {
	for _, want := range []mark{
		{Generation: 1, Task: 0, Tasks: 1, Epoch: 1, Watermark: jobs.NoWatermark},
		{Generation: 300, Task: 7, Tasks: 8, Epoch: 1 << 40, Watermark: -5, Idle: true, CaughtUp: true, Ended: "run"},
	} {
		b := want.appendTo(nil)
		got, err := decodeMark(b)
		if err != nil || got != want {
			t.Errorf("got %+v, %v, want %+v", got, err, want)
		}
		for n := range b {
			if _, err := decodeMark(b[:n]); !errors.Is(err, errBadMark) {
				t.Errorf("cut to %d bytes: got %v", n, err)
			}
		}
		if _, err := decodeMark(append(b, 0)); !errors.Is(err, errBadMark) {
			t.Errorf("one byte too many: got %v", err)
		}
	}
}

func FuzzDecodeMark(f *testing.F) {
	f.Add((&mark{Tasks: 1, Watermark: 1, Ended: "x"}).appendTo(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := decodeMark(b)
		if err != nil {
			return
		}
		if again, err := decodeMark(m.appendTo(nil)); err != nil || again != m {
			t.Fatalf("got %+v, %v, want %+v", again, err, m)
		}
	})
}

// TestUpstream follows the rules of watermarks across repartition topics.
func TestUpstream(t *testing.T) {
	u := newUpstream(3, nil)
	want := func(what string, w int64, ok, idle bool) {
		t.Helper()
		if gw, gok, gidle := u.watermark(); gok != ok || gidle != idle || ok && gw != w {
			t.Errorf("%s: got %d, %v, idle %v; want %d, %v, idle %v", what, gw, gok, gidle, w, ok, idle)
		}
	}
	see := func(m mark) { u.observe(&m) }
	want("nothing heard", 0, false, false)
	see(mark{Task: 0, Epoch: 1, Watermark: 10})
	see(mark{Task: 1, Epoch: 1, Watermark: 20})
	want("a task not yet heard from holds", 0, false, false)
	see(mark{Task: 2, Epoch: 1, Watermark: jobs.NoWatermark, Idle: true})
	want("an idle task does not count", 10, true, false)
	see(mark{Task: 0, Epoch: 1, Watermark: 5})
	want("a step back is ignored", 10, true, false)
	see(mark{Task: 0, Epoch: 2, Watermark: 30})
	see(mark{Task: 0, Epoch: 1, Watermark: 90})
	want("so is an older epoch", 20, true, false)
	see(mark{Task: 9, Epoch: 1, Watermark: 1})
	want("and a task that the plan does not know", 20, true, false)
	see(mark{Task: 0, Epoch: 2, Watermark: 30, Idle: true})
	see(mark{Task: 1, Epoch: 1, Watermark: 20, Idle: true})
	want("all idle", 0, false, true)

	u.forget()
	want("after a start all count again, one of them never heard of time", 0, false, false)
	see(mark{Task: 2, Epoch: 2, Watermark: 25, CaughtUp: true, Ended: "r"})
	want("with what they declared last", 20, true, false)
	if u.ended() || u.caughtUp() {
		t.Error("got ended or caught up, want neither before all are")
	}
	see(mark{Task: 0, Epoch: 3, Watermark: 30, CaughtUp: true, Ended: "r"})
	see(mark{Task: 1, Epoch: 3, Watermark: 30, CaughtUp: true})
	if u.ended() || !u.caughtUp() {
		t.Error("got ended before all are, or not caught up")
	}
	see(mark{Task: 1, Epoch: 3, Watermark: 30, CaughtUp: true, Ended: "q"}) // in another container
	if !u.ended() {
		t.Error("got not ended, want ended")
	}
}
