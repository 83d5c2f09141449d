package engine

import (
	"math"

	"github.com/gretestream/grete/jobs"
)

// upstream is what a task knows of the tasks that write one of its repartition
// inputs: the last mark of each. It is part of the checkpoint.
type upstream struct {
	tasks []jobs.UpstreamMark
}

// newUpstream starts from a checkpoint, or, without one, from nothing heard.
func newUpstream(tasks int, saved []jobs.UpstreamMark) upstream {
	u := upstream{tasks: make([]jobs.UpstreamMark, tasks)}
	for i := range u.tasks {
		u.tasks[i].Watermark = jobs.NoWatermark
	}
	copy(u.tasks, saved)
	return u
}

// forget makes every task count again, with the watermark it declared last. A
// container does so when it starts, and its tasks say anew who is idle: else a
// task that was idle before the stop could be overtaken by the others.
func (u *upstream) forget() {
	for i := range u.tasks {
		u.tasks[i].Idle, u.tasks[i].CaughtUp, u.tasks[i].Ended = false, false, ""
	}
}

// observe takes in a mark. Watermarks that go back and marks of an older epoch
// are ignored; so is a mark of a task that the plan does not know.
func (u *upstream) observe(m *mark) {
	if m.Task >= len(u.tasks) {
		return
	}
	t := &u.tasks[m.Task]
	if m.Epoch < t.Epoch {
		return
	}
	t.Epoch, t.Heard = m.Epoch, true
	t.Idle, t.CaughtUp, t.Ended = m.Idle, m.CaughtUp, m.Ended
	t.Watermark = max(t.Watermark, m.Watermark)
}

// watermark is the least one among the tasks that count. idle: none counts. ok
// is false while a task that counts has declared none.
func (u *upstream) watermark() (w int64, ok, idle bool) {
	w, idle = math.MaxInt64, true
	for i := range u.tasks {
		if t := &u.tasks[i]; !t.Idle {
			idle = false
			w = min(w, t.Watermark)
		}
	}
	if idle || w == jobs.NoWatermark {
		return jobs.NoWatermark, false, idle
	}
	return w, true, false
}

// furthest is the largest watermark that a task declared; ok is false if there is
// none. A bounded run ends with it: tasks leave the minimum as they end, the one
// that came furthest in time after the others, whichever was slowest.
func (u *upstream) furthest() (w int64, ok bool) {
	w = jobs.NoWatermark
	for i := range u.tasks {
		w = max(w, u.tasks[i].Watermark)
	}
	return w, w != jobs.NoWatermark
}

// caughtUp tells that every task has read what its inputs held when its
// container started.
func (u *upstream) caughtUp() bool {
	for i := range u.tasks {
		if !u.tasks[i].CaughtUp {
			return false
		}
	}
	return true
}

// ended tells that every task has written all that it had to write. Whose bounded
// run it ended in does not matter: each container has an id of its own for it,
// and what was said in an earlier run is forgotten.
func (u *upstream) ended() bool {
	for i := range u.tasks {
		if u.tasks[i].Ended == "" {
			return false
		}
	}
	return true
}
