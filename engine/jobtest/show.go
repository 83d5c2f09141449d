package jobtest

import (
	"fmt"
	"testing"

	"github.com/gretestream/grete/jobs"
)

// Show runs a job for an Example function, which has no testing.TB: f sends and
// prints, and the Example's Output comment is the test. What would fail a test
// panics.
func Show(job jobs.Job, f func(jt *Run), opts ...Options) {
	t := &exampleTB{}
	defer t.end()
	f(New(t, job, opts...))
}

// exampleTB is as much of a testing.TB as a Run needs. Calling anything else is
// a bug, and panics.
type exampleTB struct {
	testing.TB
	cleanups []func()
}

func (t *exampleTB) Helper()                           {}
func (t *exampleTB) Log(args ...any)                   {}
func (t *exampleTB) Logf(format string, args ...any)   {}
func (t *exampleTB) Name() string                      { return "Example" }
func (t *exampleTB) Failed() bool                      { return false }
func (t *exampleTB) Cleanup(f func())                  { t.cleanups = append(t.cleanups, f) }
func (t *exampleTB) Error(args ...any)                 { panic(fmt.Sprint(args...)) }
func (t *exampleTB) Errorf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }
func (t *exampleTB) Fatal(args ...any)                 { panic(fmt.Sprint(args...)) }
func (t *exampleTB) Fatalf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }

func (t *exampleTB) end() {
	for i := len(t.cleanups) - 1; i >= 0; i-- {
		t.cleanups[i]()
	}
}
