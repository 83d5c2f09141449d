package pageviews_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/gretestream/grete/engine/jobtest"
	"github.com/gretestream/grete/examples/pageviews"
)

// Two people and a crawler look at pages; an hour and a minute later the counts
// of their minute are final.
func ExampleCountPageViews() {
	jobtest.Show(pageviews.Job, func(jt *jobtest.Run) {
		at := jt.Now()
		for _, view := range []pageviews.PageView{
			{Path: "/", Status: 200, Agent: "Mozilla/5.0"},
			{Path: "/", Status: 200, Agent: "AdsBot-Google"},
			{Path: "/news", Status: 404, Agent: "Mozilla/5.0"},
		} {
			jobtest.Send(jt, pageviews.PageViews, nil, view, at)
		}
		for _, store := range []string{"views-per-page", "views-by-people", "views-per-status"} {
			for _, row := range jt.Rows(store) {
				fmt.Println(store, row.Key, row.Value)
			}
		}
		jobtest.Send(jt, pageviews.PageViews, nil, pageviews.PageView{Path: "/"}, at.Add(61*time.Minute))
		for _, final := range jobtest.Read(jt, pageviews.PageViewCounts) {
			fmt.Println("final", final.Key.Key, final.Value)
		}
	})
	// Output:
	// views-per-page / 2
	// views-per-page /news 1
	// views-by-people / 1
	// views-by-people /news 1
	// views-per-status 200 2
	// views-per-status 404 1
	// final / 2
	// final /news 1
}

func TestByPerson(t *testing.T) {
	f := func(agent string, want bool) {
		t.Helper()
		if got := (pageviews.PageView{Agent: agent}).ByPerson(); got != want {
			t.Errorf("agent %q: got %v, want %v", agent, got, want)
		}
	}
	f("", true)
	f("Mozilla/5.0 (X11; Linux x86_64)", true)
	f("Googlebot/2.1", false)
	f("Mozilla/5.0 (compatible; Yahoo! SLURP)", false)
	f("a bo", true)
	f("msnBOT", false)
	f("WebCrawler", false)
	f("Baiduspider", false)
	f("b\x4ft", false)
	f("\x42\x4f\x14", true) // not letters, though one bit away from them
}
