package engine

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"github.com/gretestream/grete/jobs"
	"github.com/gretestream/grete/log"

	"github.com/gretestream/grete/log/logtest"
)

// TestStories runs the files in testdata. Each tells of one job on one node, by
// these commands; go test -rewrite writes down what happens, to be read.
//
//	topic NAME partitions=N
//	append                  lines "<partition> <ms> <page>" go to the topic views
//	begin partition=N at=MS PAGE  a view, in a transaction
//	commit | abort          ends it
//	start | stop            a container runs in the background
//	settle                  until it has nothing to do, by a clock that stands still
//	run                     a bounded run
//	clock +30s              moves the wall clock of the tasks
//	crash                   cuts the power, keeping nothing unsynced, and opens the log again
//	lose-state              removes the directory of the state
//	reprocess [from=MS] [drop]
//	finals                  the output topic
//	counts                  the store
//	marks                   what the source tasks told the readers of by-page
//	tasks                   watermark, lag and idle inputs of each task
//	drops
func TestStories(t *testing.T) {
	datadriven.Walk(t, "testdata/stories", func(t *testing.T, path string) {
		n := newNode(t)
		s := &story{node: n, now: time.UnixMilli(0).Add(24 * time.Hour)}
		defer s.end()
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			n.t = t
			return s.do(d)
		})
	})
}

// story is the state of one file.
type story struct {
	*node
	r *running // nil: nothing runs

	mu  sync.Mutex
	now time.Time // guarded by mu: tasks ask for it

	txn func(commit bool) // ends the transaction that is open
}

func (s *story) clock() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now
}

func (s *story) end() {
	if s.r != nil {
		s.r.stop()
		s.r = nil
	}
}

func (s *story) do(d *datadriven.TestData) string {
	ctx := context.Background()
	withClock := func(o *Options) { o.Now, o.keepRepartition = s.clock, true }
	switch d.Cmd {
	case "topic":
		partitions := 1
		d.MaybeScanArgs(s.t, "partitions", &partitions)
		s.create(d.CmdArgs[0].Key, partitions)
	case "append":
		for _, line := range strings.Split(strings.TrimSpace(d.Input), "\n") {
			var partition int
			var at int64
			var page string
			if _, err := fmt.Sscan(line, &partition, &at, &page); err != nil {
				d.Fatalf(s.t, "%q: %v", line, err)
			}
			s.view(partition, at, page)
		}
	case "begin":
		var partition int
		var at int64
		d.ScanArgs(s.t, "partition", &partition)
		d.ScanArgs(s.t, "at", &at)
		page := []byte(d.CmdArgs[len(d.CmdArgs)-1].Key)
		s.txn = logtest.Begin(s.t, s.log, log.TopicPartition{Topic: "views", Partition: int32(partition)}, log.Record{Timestamp: log.Timestamp(at), Key: page, Value: page})
	case "commit", "abort":
		s.txn(d.Cmd == "commit")
	case "start":
		s.r = s.start(countJob, withClock)
		s.r.until("readiness", func() bool { st := s.r.Status(); return st.Ready() })
	case "stop":
		s.end()
	case "settle":
		if err := s.r.Settle(ctx); err != nil {
			return err.Error()
		}
	case "run":
		s.runUntilEnd(countJob, withClock)
	case "clock":
		step, err := time.ParseDuration(strings.TrimPrefix(d.CmdArgs[0].Key, "+"))
		if err != nil {
			d.Fatalf(s.t, "%v", err)
		}
		s.mu.Lock()
		s.now = s.now.Add(step)
		s.mu.Unlock()
	case "crash":
		s.end()
		_ = s.log.Close()
		s.disk = s.disk.Crash(logtest.KeepNothing)
		s.open()
	case "lose-state":
		if err := s.disk.RemoveAll("state"); err != nil {
			return err.Error()
		}
	case "reprocess":
		return s.reprocess(d)
	case "finals":
		return rowsText(s.finals())
	case "counts":
		return s.counts()
	case "marks":
		return s.marks()
	case "tasks":
		return s.tasks()
	case "drops":
		return s.drops()
	default:
		d.Fatalf(s.t, "unknown command %s", d.Cmd)
	}
	return ""
}

func (s *story) reprocess(d *datadriven.TestData) string {
	var from From
	if d.HasArg("from") {
		var ms int64
		d.ScanArgs(s.t, "from", &ms)
		from.Time = time.UnixMilli(ms)
	}
	g, err := Reprocess(context.Background(), s.options(countJob), from, d.HasArg("drop"))
	if err != nil {
		return err.Error()
	}
	return fmt.Sprintf("generation %d", g)
}

func rowsText[V any](rows map[string]V) string {
	var lines []string
	for k, v := range rows {
		lines = append(lines, fmt.Sprintf("%s: %v", k, v))
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// counts reads the store, of the container or, if none runs, at rest.
func (s *story) counts() string {
	if s.r != nil {
		return rowsText(counts(s.t, s.r, "views-per-page"))
	}
	i, err := Inspect(context.Background(), s.options(countJob))
	if err != nil {
		return err.Error()
	}
	text := rowsText(counts(s.t, i, "views-per-page"))
	if err := i.Close(); err != nil {
		return err.Error()
	}
	return text
}

// marks lists those in partition 0 of the repartition topic; all get the same.
func (s *story) marks() string {
	d, err := jobs.LoadDeployment(context.Background(), s.log, countJob.Name)
	if err != nil {
		return err.Error()
	}
	var lines []string
	topic := jobs.RepartitionTopic(countJob.Name, d.Plan.Generation, "by-page")
	for _, r := range s.readPartition(log.TopicPartition{Topic: topic}) {
		if !isMark(&r) {
			continue
		}
		m, err := decodeMark(r.Headers[0].Value)
		if err != nil {
			return err.Error()
		}
		line := fmt.Sprintf("source-%d: %s", m.Task, watermarkText(m.Watermark))
		if m.Idle {
			line += " idle"
		}
		if m.CaughtUp {
			line += " caught-up"
		}
		if m.Ended != "" {
			line += " ended"
		}
		lines = append(lines, line)
	}
	// Which task commits first is chance; what each says, and in which order, is not.
	slices.SortStableFunc(lines, func(a, b string) int { return strings.Compare(a[:len("source-0")], b[:len("source-0")]) })
	return strings.Join(lines, "\n")
}

func watermarkText(w int64) string {
	if w == jobs.NoWatermark {
		return "none"
	}
	return fmt.Sprint(w)
}

func (s *story) tasks() string {
	var src Source
	if s.r != nil {
		src = s.r
	} else {
		i, err := Inspect(context.Background(), s.options(countJob))
		if err != nil {
			return err.Error()
		}
		defer i.Close()
		src = i
	}
	var lines []string
	st := src.Status()
	for _, t := range st.Tasks {
		line := fmt.Sprintf("%s: watermark %s", t.Task, watermarkText(t.Watermark))
		for _, in := range t.Inputs {
			if in.Lag() > 0 {
				line += fmt.Sprintf(" lag %d", in.Lag())
			}
			if in.Idle {
				line += " idle"
			}
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n")
}

func (s *story) drops() string {
	var lines []string
	for _, t := range s.r.Status().Tasks {
		for _, d := range t.Drops {
			lines = append(lines, fmt.Sprintf("%s: %s: %s %d", t.Task, d.Operator, d.Reason, d.Count))
		}
	}
	return strings.Join(lines, "\n")
}
