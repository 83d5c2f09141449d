package engine

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gretestream/grete/jobs"
	"github.com/gretestream/grete/log"
	"github.com/gretestream/grete/log/logtest"
	op "github.com/gretestream/grete/operators"
)

// TestTop runs three stages, the last with one task: per page and minute, and
// from there the two best pages of each minute.
func TestTop(t *testing.T) {
	job := jobs.Job{Name: "top", Build: func(g *op.Graph) {
		byPage := op.KeyBy(op.From(g, views), "by-page", func(page string) string { return page })
		perMinute := op.Count(op.Window(byPage, op.Tumbling{Size: time.Minute}), "counts")
		op.Top(perMinute.Final(), "best", 2)
	}}
	n := newNode(t)
	n.create("views", 3)
	for i := range 900 {
		page := "rare"
		switch {
		case i%2 == 0:
			page = "home"
		case i%3 == 0:
			page = "news"
		}
		n.view(i%3, int64(i)*200, page)
	}
	n.runUntilEnd(job)
	i, err := Inspect(context.Background(), n.options(job))
	if err != nil {
		t.Fatal(err)
	}
	defer i.Close()
	var names []string
	for _, s := range i.Stores() {
		names = append(names, fmt.Sprintf("%s by %d", s.Name, s.Partitions))
	}
	if want := []string{"best by 1", "counts by 3"}; !slices.Equal(names, want) {
		t.Fatalf("got stores %v, want %v", names, want)
	}
	views, err := i.Views("best")
	if err != nil {
		t.Fatal(err)
	}
	query := i.Stores()[0].Query
	rows := 0
	for k := range views {
		err := query.Scan(views[k].View, op.Range{}, func(r op.Row) error {
			rows++
			text := fmt.Sprint(r.Value)
			if home, news := strings.Index(text, "home"), strings.Index(text, "rare"); home < 0 || news < 0 || home > news {
				t.Errorf("minute %d: got %s, want home before rare", r.Start/60_000, text)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := views[k].Close(); err != nil {
			t.Fatal(err)
		}
	}
	if rows != 3 {
		t.Errorf("got %d minutes, want 3", rows)
	}
}

// TestFollowClock: a silent input moves with the clock, once a second, and does
// not while a transaction has something behind it.
func TestFollowClock(t *testing.T) {
	n := newNode(t)
	n.create("views", 1)
	var now atomic.Int64
	now.Store(time.Hour.Milliseconds())
	job := jobs.Job{Name: "visits", Build: func(g *op.Graph) {
		in := op.From(g, views, op.Input{Idle: op.FollowClock(10 * time.Second)})
		op.To(op.Count(op.Window(op.KeyBy(in, "by-page", func(page string) string { return page }), op.Tumbling{Size: time.Minute}), "views-per-page").Final(), viewCounts)
	}}
	r := n.start(job, func(o *Options) { o.Now = func() time.Time { return time.UnixMilli(now.Load()) } })
	defer r.stop()
	watermark := func(step time.Duration, want int64) {
		t.Helper()
		now.Add(step.Milliseconds())
		if err := r.Settle(t.Context()); err != nil {
			t.Fatal(err)
		}
		for _, task := range r.Status().Tasks {
			if task.Stage == "source" && task.Watermark != want {
				t.Errorf("the watermark is %d, want %d", task.Watermark, want)
			}
		}
	}
	n.view(0, 1_000, "a")
	watermark(0, 1_000)
	end := logtest.Begin(t, n.log, log.TopicPartition{Topic: "views"}, log.Record{Timestamp: 2_000, Key: []byte("a"), Value: []byte("a")})
	watermark(30*time.Second, 1_000)
	end(true)
	watermark(0, 2_000)
	watermark(9*time.Second, 2_000)
	watermark(time.Second, 3_630_000)
	watermark(500*time.Millisecond, 3_630_000)
	watermark(500*time.Millisecond, 3_631_000)
	wantRows(t, n.finals(), map[string][]int64{"0 a": {2}})
}

var (
	profiles = op.NewTopic("profiles", op.String, op.String)
	clicks   = op.NewTopic("clicks", op.String, op.String)
	joined   = op.NewTopic("joined", op.String, op.String)
)

var joinJob = jobs.Job{Name: "join", Build: func(g *op.Graph) {
	table := op.TableFrom(g, profiles, "profiles")
	op.To(op.LeftJoin(op.From(g, clicks), table, func(click, country string, ok bool) string {
		if !ok {
			return click + " from nowhere"
		}
		return click + " from " + country
	}), joined)
}}

// TestTableBehindTransaction: a table ends where it ends, and not where a
// transaction begins that is open when the job first runs.
func TestTableBehindTransaction(t *testing.T) {
	for _, commit := range []bool{true, false} {
		n := newNode(t)
		n.create("profiles", 1)
		n.create("clicks", 1)
		record := func(key, value string) log.Record {
			return log.Record{Timestamp: 1_000, Key: []byte(key), Value: []byte(value)}
		}
		end := logtest.Begin(t, n.log, log.TopicPartition{Topic: "profiles"}, record("a", "Prague"))
		n.append("profiles", 0, record("b", "Vienna"))
		n.append("clicks", 0, record("a", "a"), record("b", "b"))
		r := n.start(joinJob)
		if err := r.Settle(t.Context()); err != nil {
			t.Fatal(err)
		}
		end(commit)
		if err := r.Settle(t.Context()); err != nil {
			t.Fatal(err)
		}
		r.stop()
		want := "a from nowhere, b from Vienna"
		if commit {
			want = "a from Prague, b from Vienna"
		}
		var got []string
		for _, rec := range n.read("joined") {
			got = append(got, string(rec.Value))
		}
		if strings.Join(got, ", ") != want {
			t.Errorf("commit %t: got %q, want %q", commit, got, want)
		}
	}
}

// TestTableIsReadFirst joins a stream with a table whose records are all younger
// than the stream's: what the table held when the job first ran is there for the
// first record.
func TestTableIsReadFirst(t *testing.T) {
	n := newNode(t)
	n.create("profiles", 2)
	n.create("clicks", 2)
	const users = 200
	put := func(topic string, at int64, user int, value string) {
		key := fmt.Appendf(nil, "user-%d", user)
		n.append(topic, int(log.PartitionFor(key, 2)), log.Record{Timestamp: log.Timestamp(at), Key: key, Value: []byte(value)})
	}
	for u := range users {
		put("clicks", int64(u), u, "click")
	}
	for u := range users {
		put("profiles", 1_000_000+int64(u), u, "Prague")
	}
	check := func(want map[string]int) {
		t.Helper()
		got := map[string]int{}
		for _, r := range n.read("joined") {
			got[string(r.Value)]++
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("got %v, want %v", got, want)
		}
	}
	n.runUntilEnd(joinJob)
	check(map[string]int{"click from Prague": users})

	// From then on the table goes along in time order.
	for i := range 30 {
		switch at := int64(2_000_000 + i); i / 10 {
		case 0:
			put("clicks", at, i%10, "before")
		case 1:
			put("profiles", at, i%10, "Vienna")
		case 2:
			put("clicks", at, i%10, "after")
		}
	}
	n.runUntilEnd(joinJob)
	check(map[string]int{"click from Prague": users, "before from Prague": 10, "after from Vienna": 10})
}

// TestCoPartitioning reports, in words, inputs that cannot be joined.
func TestCoPartitioning(t *testing.T) {
	job := jobs.Job{Name: "join", Build: func(g *op.Graph) {
		table := op.TableFrom(g, op.NewTopic("profiles", op.String, op.String), "profiles")
		clicks := op.From(g, op.NewTopic("clicks", op.String, op.String))
		op.To(op.Join(clicks, table, func(a, b string) string { return a + b }), op.NewTopic("joined", op.String, op.String))
	}}
	n := newNode(t)
	n.create("profiles", 2)
	n.create("clicks", 3)
	_, err := Open(context.Background(), n.options(job))
	if err == nil || !strings.Contains(err.Error(), `"profiles" has 2 partitions`) || !strings.Contains(err.Error(), `"clicks" has 3 partitions`) {
		t.Errorf("got %v", err)
	}
}

// TestPurge cuts repartition topics behind the checkpoint of their readers.
func TestPurge(t *testing.T) {
	n := newNode(t)
	n.create("views", 1)
	for i := range 100 {
		n.view(0, int64(i), "a")
	}
	n.runUntilEnd(countJob)
	tp := log.TopicPartition{Topic: jobs.RepartitionTopic("visits", 1, "by-page")}
	b, err := n.log.Bounds(context.Background(), tp)
	if err != nil || b.Start != b.End || b.End < 100 {
		t.Errorf("got bounds %+v, %v, want an empty partition behind its 100 records", b, err)
	}
	n.view(0, 101, "a")
	n.runUntilEnd(countJob)
	wantRows(t, n.finals(), map[string][]int64{"0 a": {100, 101}})
}
