package jobtest

import (
	"cmp"
	"context"
	"errors"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/gretestream/grete/engine"
	"github.com/gretestream/grete/jobs"
	"github.com/gretestream/grete/log"
	"github.com/gretestream/grete/log/logtest"
	op "github.com/gretestream/grete/operators"
)

// DefaultStart is where the clock begins unless Options.Start says otherwise.
var DefaultStart = time.Date(2026, time.January, 1, 0, 0, 0, 0, time.UTC)

// Options of a Run. The zero value is useful.
type Options struct {
	// Start is where the clock begins. Default: DefaultStart.
	Start time.Time
	// HoldClock keeps the clock where it is when later records are sent: only
	// Advance moves it.
	HoldClock bool
	// Partitions of the topics that the job reads, and of those it writes.
	// Default: 1.
	Partitions int
	// Settings are the values that --set would give. Default: none.
	Settings map[string]string
	// MayFail lets the test go on when the job fails, and ask for Failure.
	MayFail bool
	// Memory is what the job may take up, in bytes. Default: 64 MiB.
	Memory int64
	// Logger gets the warnings of the job. Default: the log of the test.
	Logger hclog.Logger
}

// Run is a job under test. Its methods end the test where something fails. It is
// used from one goroutine.
type Run struct {
	t     testing.TB
	job   jobs.Job
	opts  Options
	clock clock

	disk      *logtest.Disk
	log       *log.Embedded
	container *engine.Container
	stop      context.CancelFunc
	done      chan struct{} // closed when the container has ended with err
	err       error
	failed    bool // the test knows of err

	read map[log.TopicPartition]log.Offset // next to be returned by Read
}

// New starts a job on an empty log. It is stopped at the end of the test.
func New(t testing.TB, job jobs.Job, opts ...Options) *Run {
	t.Helper()
	jt := &Run{t: t, job: job, disk: logtest.NewDisk(1), read: map[log.TopicPartition]log.Offset{}}
	if len(opts) > 0 {
		jt.opts = opts[0]
	}
	jt.opts.ensureDefaults(t)
	jt.clock.move(jt.opts.Start)
	t.Cleanup(func() {
		if err := jt.close(); err != nil && !t.Failed() {
			t.Errorf("stop the job: %v", err)
		}
	})
	jt.open()
	jt.start(false)
	return jt
}

func (o *Options) ensureDefaults(t testing.TB) {
	if o.Start.IsZero() {
		o.Start = DefaultStart
	}
	if o.Partitions == 0 {
		o.Partitions = 1
	}
	if o.Memory == 0 {
		o.Memory = 64 << 20
	}
	if o.Logger == nil {
		o.Logger = hclog.New(&hclog.LoggerOptions{Level: hclog.Warn, Output: testLog{t}, DisableTime: true})
	}
}

// testLog writes lines to the log of a test.
type testLog struct{ t testing.TB }

func (w testLog) Write(line []byte) (int, error) {
	w.t.Log(strings.TrimSuffix(string(line), "\n"))
	return len(line), nil
}

// clock is the time of a Run, for all its goroutines.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// move sets the clock; it never goes back.
func (c *clock) move(to time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if to.After(c.now) {
		c.now = to.UTC()
	}
}

// open opens the log on the disk.
func (jt *Run) open() {
	jt.t.Helper()
	l, err := log.Open(logtest.Dir, log.Options{
		FS: jt.disk, Now: jt.clock.Now, Logger: jt.opts.Logger, DefaultPartitions: jt.opts.Partitions,
		MaintainEvery: -1, ReserveBytes: -1, BallastBytes: -1,
	})
	if err != nil {
		jt.t.Fatalf("open the log: %v", err)
	}
	jt.log = l
}

// start deploys and runs the job on the open log.
func (jt *Run) start(untilEnd bool) {
	jt.t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	c, err := engine.Open(ctx, engine.Options{
		Job: jt.job, Settings: jt.opts.Settings,
		Log: jt.log, Dir: path.Join(logtest.Dir, "state"), FS: jt.disk, Memory: jt.opts.Memory,
		CreateTopics: true, Partitions: jt.opts.Partitions, UntilEnd: untilEnd,
		Now: jt.clock.Now, Logger: jt.opts.Logger,
	})
	if err != nil {
		stop()
		jt.t.Fatalf("start the job: %v", err)
	}
	jt.container, jt.stop, jt.done, jt.err, jt.failed = c, stop, make(chan struct{}), nil, false
	go func(done chan struct{}) {
		jt.err = c.Run(ctx)
		close(done)
	}(jt.done)
}

// end stops the job and waits for it.
func (jt *Run) end() error {
	if jt.container == nil {
		return nil
	}
	jt.stop()
	<-jt.done
	jt.container = nil
	if jt.failed || jt.opts.MayFail {
		return nil
	}
	return jt.err
}

func (jt *Run) close() error {
	err := jt.end()
	if jt.log != nil {
		err = errors.Join(err, jt.log.Close())
		jt.log = nil
	}
	return err
}

// settle lets the job do all there is to do.
func (jt *Run) settle() {
	jt.t.Helper()
	err := jt.container.Settle(context.Background())
	if err == nil {
		return
	}
	// It has failed: say so now, unless the test wants to hear why (Failure).
	<-jt.done
	if !jt.opts.MayFail {
		jt.failed = true
		jt.t.Fatalf("the job has failed: %v", jt.err)
	}
}

// Now is the time on the clock.
func (jt *Run) Now() time.Time { return jt.clock.Now() }

// Advance moves the clock by d and lets the job do what is due.
func (jt *Run) Advance(d time.Duration) {
	jt.t.Helper()
	jt.settle() // what was sent before comes before
	jt.clock.move(jt.Now().Add(d))
	jt.settle()
}

// Restart crashes the job and its log, and starts them again. All that was sent
// is processed and committed first; then memory is lost, and of the disk
// everything that was not synced.
func (jt *Run) Restart() {
	jt.t.Helper()
	jt.settle()
	after := jt.disk.AfterCrash(logtest.KeepNothing)
	// The old ones end on their own disk, of which nobody takes notice.
	if err := jt.close(); err != nil {
		jt.t.Fatalf("stop the job: %v", err)
	}
	jt.disk = after
	jt.open()
	jt.start(false)
}

// Finish makes a bounded run, as `grete run --until-end`: it processes what is
// there and closes all windows. After that the job runs on as before: a window
// closed only by the end takes later records and emits a corrected result.
func (jt *Run) Finish() {
	jt.t.Helper()
	jt.settle()
	if err := jt.end(); err != nil {
		jt.t.Fatalf("stop the job: %v", err)
	}
	jt.start(true)
	<-jt.done
	if jt.err != nil {
		jt.t.Fatalf("run the job to its end: %v", jt.err)
	}
	jt.stop()
	jt.start(false)
}

// Failure is the error that ended the job, or nil if it is well. It wants
// Options.MayFail. A job that has failed can be restarted.
func (jt *Run) Failure() error {
	jt.t.Helper()
	jt.settle()
	select {
	case <-jt.done:
		return jt.err
	default:
		return nil
	}
}

// Drops counts the records that did not contribute, by operator and reason, over
// all tasks, ordered by both.
func (jt *Run) Drops() []op.Drop {
	jt.t.Helper()
	s := jt.Status()
	var sum []op.Drop
	for i := range s.Tasks {
		for _, d := range s.Tasks[i].Drops {
			same := func(o op.Drop) bool { return o.Operator == d.Operator && o.Reason == d.Reason }
			if j := slices.IndexFunc(sum, same); j >= 0 {
				sum[j].Count += d.Count
			} else {
				sum = append(sum, d)
			}
		}
	}
	slices.SortFunc(sum, func(a, b op.Drop) int {
		return cmp.Or(strings.Compare(a.Operator, b.Operator), strings.Compare(a.Reason, b.Reason))
	})
	return sum
}

// Status tells how the job is doing once it has nothing left to do.
func (jt *Run) Status() engine.Status {
	jt.t.Helper()
	jt.settle()
	return jt.container.Status()
}

// Log is the log that the job runs on, for what this package does not offer.
func (jt *Run) Log() log.Log { return jt.log }
