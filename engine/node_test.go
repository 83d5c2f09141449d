package engine

import (
	"context"

	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"go.uber.org/goleak"

	"github.com/gretestream/grete/jobs"
	"github.com/gretestream/grete/log"
	"github.com/gretestream/grete/log/logtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// node is a log and the state of jobs on one simulated disk.
type node struct {
	t    testing.TB
	disk *logtest.Disk
	log  log.Log
}

func newNode(t testing.TB) *node {
	t.Helper()
	n := &node{t: t, disk: logtest.NewDisk(1)}
	n.open()
	t.Cleanup(func() { _ = n.log.Close() })
	return n
}

func (n *node) open() {
	n.t.Helper()
	l, err := log.Open("data", log.Options{FS: n.disk, BallastBytes: -1, DefaultPartitions: 2})
	if err != nil {
		n.t.Fatal(err)
	}
	n.log = l
}

func (n *node) create(topic string, partitions int) {
	n.t.Helper()
	if _, err := n.log.CreateTopic(context.Background(), log.TopicSpec{Name: topic, Partitions: partitions}); err != nil {
		n.t.Fatal(err)
	}
}

// view appends one page view to a partition of "views", keyed by the page.
func (n *node) view(partition int, at int64, page string) {
	n.t.Helper()
	n.append("views", partition, log.Record{Timestamp: log.Timestamp(at), Key: []byte("user"), Value: []byte(page)})
}

func (n *node) append(topic string, partition int, recs ...log.Record) {
	n.t.Helper()
	tp := log.TopicPartition{Topic: topic, Partition: int32(partition)}
	if _, err := log.AppendRecords(context.Background(), n.log, tp, recs...); err != nil {
		n.t.Fatal(err)
	}
}

// read returns all records of a topic, partition by partition.
func (n *node) read(topic string) []log.Record {
	n.t.Helper()
	ctx := context.Background()
	tt, err := n.log.Topic(ctx, topic)
	if err != nil {
		n.t.Fatal(err)
	}
	var all []log.Record
	for p := range int32(tt.Partitions) {
		all = append(all, n.readPartition(log.TopicPartition{Topic: topic, Partition: p})...)
	}
	return all
}

func (n *node) readPartition(tp log.TopicPartition) []log.Record {
	n.t.Helper()
	ctx := context.Background()
	b, err := n.log.Bounds(ctx, tp)
	if err != nil {
		n.t.Fatal(err)
	}
	r, err := n.log.OpenReader(tp, b.Start, log.ReaderOptions{})
	if err != nil {
		n.t.Fatal(err)
	}
	var all []log.Record
	for r.Position() < b.End {
		recs, err := r.Next(ctx)
		if err != nil {
			n.t.Fatal(err)
		}
		for _, rec := range recs {
			rec.Key, rec.Value = slices.Clone(rec.Key), slices.Clone(rec.Value)
			rec.Headers = cloneHeaders(rec.Headers)
			all = append(all, rec)
		}
	}
	if err := r.Close(); err != nil {
		n.t.Fatal(err)
	}
	return all
}

func cloneHeaders(headers []log.Header) []log.Header {
	c := slices.Clone(headers)
	for i := range c {
		c[i].Value = slices.Clone(c[i].Value)
	}
	return c
}

func (n *node) options(job jobs.Job) Options {
	o := Options{Job: job, Log: n.log, Dir: "state", FS: n.disk, Memory: 64 << 20}
	if testing.Verbose() {
		o.Logger = hclog.New(&hclog.LoggerOptions{Level: hclog.Info, Output: testWriter{n.t}})
	}
	return o
}

type testWriter struct{ t testing.TB }

func (w testWriter) Write(b []byte) (int, error) {
	w.t.Log(strings.TrimSpace(string(b)))
	return len(b), nil
}

// runUntilEnd makes a bounded run.
func (n *node) runUntilEnd(job jobs.Job, change ...func(*Options)) {
	n.t.Helper()
	o := n.options(job)
	o.UntilEnd = true
	for _, f := range change {
		f(&o)
	}
	c, err := Open(context.Background(), o)
	if err != nil {
		n.t.Fatal(err)
	}
	if err := c.Run(context.Background()); err != nil {
		n.t.Fatal(err)
	}
	if s := c.Status(); s.State != Stopped || s.Lag() != 0 {
		n.t.Errorf("after a bounded run: got state %s, lag %d", s.State, s.Lag())
	}
}

// running is a container in the background.
type running struct {
	*Container
	t      testing.TB
	cancel context.CancelFunc
	err    chan error
}

func (n *node) start(job jobs.Job, change ...func(*Options)) *running {
	n.t.Helper()
	o := n.options(job)
	for _, f := range change {
		f(&o)
	}
	c, err := Open(context.Background(), o)
	if err != nil {
		n.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{c, n.t, cancel, make(chan error, 1)}
	go func() { r.err <- c.Run(ctx) }()
	return r
}

// until waits for commits until f holds.
func (r *running) until(what string, f func() bool) {
	r.t.Helper()
	deadline := time.After(60 * time.Second)
	for {
		changed := r.Changed()
		if f() {
			return
		}
		select {
		case <-changed:
		case err := <-r.err:
			r.t.Fatalf("wait for %s: container ended: %v", what, err)
		case <-deadline:
			r.t.Fatalf("wait for %s: status %+v", what, r.Status())
		}
	}
}

// caughtUp waits until nothing is left to read.
func (r *running) caughtUp(reads int64) {
	r.t.Helper()
	r.until("the end of the inputs", func() bool {
		s := r.Status()
		n := int64(0)
		for _, t := range s.Tasks {
			n += t.Records
		}
		return s.Ready() && n >= reads && s.Lag() == 0
	})
}

func (r *running) stop() {
	r.t.Helper()
	r.cancel()
	if err := <-r.err; err != nil {
		r.t.Fatal(err)
	}
}
