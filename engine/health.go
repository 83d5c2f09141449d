package engine

import (
	"fmt"
	"time"

	"github.com/gretestream/grete/jobs"
)

// Health is what a process that runs containers answers to those who watch it.
type Health struct {
	// Healthy: nothing has failed for good. A task that is being rebuilt after a
	// failure that may pass leaves the container healthy, and not ready.
	Healthy bool `json:"healthy"`
	// Ready: all tasks run and answer queries.
	Ready bool `json:"ready"`
	// Reasons says, in words, why the container is not healthy or not ready.
	Reasons []string `json:"reasons,omitempty"`
}

// Health sums up the status.
func (s *Status) Health() Health {
	h := Health{Healthy: s.State != Failed, Ready: s.Ready()}
	if s.Err != nil {
		h.Reasons = append(h.Reasons, s.Err.Error())
	}
	if !h.Ready && s.State != Failed {
		h.Reasons = append(h.Reasons, fmt.Sprintf("job %q is %s", s.Job, s.State))
	}
	for i := range s.Tasks {
		t := &s.Tasks[i]
		if t.Err != nil && t.State != TaskFailed {
			h.Reasons = append(h.Reasons, fmt.Sprintf("task %s is %s after %d failures: %v", t.Task, t.State, t.Restarts, t.Err))
		}
	}
	return h
}

// Behind is how far the watermark of the task lies behind a point in time; ok is
// false if it has none.
func (t *TaskStatus) Behind(now time.Time) (d time.Duration, ok bool) {
	if t.Watermark == jobs.NoWatermark {
		return 0, false
	}
	return now.Sub(time.UnixMilli(t.Watermark)), true
}
