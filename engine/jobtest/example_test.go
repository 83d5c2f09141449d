package jobtest_test

import (
	"testing"
	"time"

	"github.com/gretestream/grete/engine/jobtest"
	"github.com/gretestream/grete/jobs"
	op "github.com/gretestream/grete/operators"
)

// What is tested here is a job as in the tutorial: views per page and minute.

type pageView struct {
	Path string `json:"path"`
}

func (v pageView) pagePath() string { return v.Path }

var (
	pageViews      = op.NewTopic("page-views", op.String, op.JSON[pageView]())
	pageViewCounts = op.NewTopic("page-view-counts", op.WindowKey(op.String, time.Minute), op.Int64)
)

var countPageViews = jobs.Job{Name: "page-view-counts", Build: func(g *op.Graph) {
	byPage := op.KeyBy(op.From(g, pageViews), "views-by-page", pageView.pagePath)
	perMinute := op.Window(byPage, op.Tumbling{Size: time.Minute, Grace: 10 * time.Second})
	counts := op.Count(perMinute, "views-per-page")
	op.To(counts.Final(), pageViewCounts)
}}

// A minute's counts are written once the minute and its grace are over, that is,
// when a record of 70 s arrives.
func TestExampleFinals(t *testing.T) {
	jt := jobtest.New(t, countPageViews)
	at := jt.Now()
	for _, second := range []time.Duration{1, 5, 69} {
		jobtest.Send(jt, pageViews, "", pageView{"/"}, at.Add(second*time.Second))
	}
	if got := jobtest.Read(jt, pageViewCounts); len(got) != 0 {
		t.Fatalf("got %+v before the minute was closed", got)
	}
	jobtest.Send(jt, pageViews, "", pageView{"/news"}, at.Add(70*time.Second))
	got := jobtest.Read(jt, pageViewCounts)
	if len(got) != 1 || got[0].Key.Key != "/" || got[0].Key.Start != at.UnixMilli() || got[0].Value != 2 {
		t.Fatalf("got %+v, want 2 views of /", got)
	}
}

// The running counts can be queried at once, and survive a crash.
func TestExampleQueryAndCrash(t *testing.T) {
	jt := jobtest.New(t, countPageViews)
	jobtest.Send(jt, pageViews, "", pageView{"/"}, jt.Now())
	jt.Restart()
	jobtest.Send(jt, pageViews, "", pageView{"/"}, jt.Now())
	if rows := jt.Rows("views-per-page"); len(rows) != 1 || rows[0].Key != "/" || rows[0].Value != int64(2) {
		t.Fatalf("got %+v, want 2 views of /", rows)
	}
}

// A view that comes after its minute was closed is late: it is counted as such,
// and nowhere else.
func TestExampleLate(t *testing.T) {
	jt := jobtest.New(t, countPageViews)
	at := jt.Now()
	jobtest.Send(jt, pageViews, "", pageView{"/"}, at.Add(70*time.Second))
	jobtest.Send(jt, pageViews, "", pageView{"/"}, at.Add(59*time.Second))
	if drops := jt.Drops(); len(drops) != 1 || drops[0].Reason != "late" || drops[0].Count != 1 {
		t.Fatalf("got %+v, want one late view", drops)
	}
}

// A partition without records holds the watermark back until it is idle: after
// 30 s on the clock.
func TestExampleIdlePartition(t *testing.T) {
	jt := jobtest.New(t, countPageViews, jobtest.Options{Partitions: 2, HoldClock: true})
	at := jt.Now()
	jobtest.Send(jt, pageViews, "", pageView{"/"}, at) // to partition 0
	jt.Advance(29 * time.Second)
	jobtest.Send(jt, pageViews, "", pageView{"/"}, at.Add(70*time.Second)) // to partition 0 again
	if got := jobtest.Read(jt, pageViewCounts); len(got) != 0 {
		t.Fatalf("got %+v while partition 1 may still have something to say", got)
	}
	jt.Advance(time.Second)
	if got := jobtest.Read(jt, pageViewCounts); len(got) != 1 {
		t.Fatalf("got %+v, want the first minute", got)
	}
}

// A bounded run closes every window.
func TestExampleFinish(t *testing.T) {
	jt := jobtest.New(t, countPageViews)
	jobtest.Send(jt, pageViews, "", pageView{"/"}, jt.Now())
	jt.Finish()
	if got := jobtest.Read(jt, pageViewCounts); len(got) != 1 || got[0].Value != 1 {
		t.Fatalf("got %+v, want one view", got)
	}
}
