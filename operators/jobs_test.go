package operators_test

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	op "github.com/gretestream/grete/operators"
	"github.com/gretestream/grete/state/codec"
)

var rewrite = flag.Bool("rewrite", false, "write the golden files anew")

// golden compares text with a file under testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *rewrite {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s: got\n%s\nwant\n%s\n(run the test with -rewrite if the change is meant, and read the diff)", path, got, want)
	}
}

type (
	PageView struct {
		URL string    `json:"url"`
		At  time.Time `json:"at"`
	}
	Click struct {
		User string    `json:"user"`
		At   time.Time `json:"at"`
	}
	Profile struct {
		Country string `json:"country"`
	}
	Visit struct {
		Clicks  int
		Country string
	}
	Search struct {
		Text string
		At   time.Time
	}
)

func (v PageView) Time() time.Time  { return v.At }
func (v PageView) PageURL() string  { return v.URL }
func (c Click) Time() time.Time     { return c.At }
func (s Search) Time() time.Time    { return s.At }
func (s Search) Word() string       { return s.Text }
func (v Visit) Add(Click) Visit     { v.Clicks++; return v }
func (v Visit) Merge(o Visit) Visit { v.Clicks += o.Clicks; return v }
func (v Visit) WithProfile(p Profile, known bool) Visit {
	if known {
		v.Country = p.Country
	}
	return v
}

// ParseSearch reads "time word".
func ParseSearch(line string) (Search, error) {
	at, word, ok := strings.Cut(line, " ")
	t, err := time.Parse(time.RFC3339, at)
	if !ok || err != nil {
		return Search{}, errors.New("want a time and a word")
	}
	return Search{word, t}, nil
}

var (
	PageViews      = op.NewTopic("page-views", op.String, op.JSON[PageView]())
	PageViewCounts = op.NewTopic("page-view-counts", op.WindowKey(op.String), op.Int64)
	Clicks         = op.NewTopic("clicks", op.String, op.JSON[Click]())
	Profiles       = op.NewTopic("profiles", op.String, op.JSON[Profile]())
	Visits         = op.NewTopic("visits", op.String, op.JSON[Visit]())
	SearchLog      = op.NewTopic("search-log", op.String, op.String)
	BadSearches    = op.NewTopic("bad-searches", op.String, op.JSON[op.Rejected[string]]())
	TopKeywords    = op.NewTopic("top-keywords", codec.Span, op.JSON[[]op.Ranked[string, int64]]())
)

// CountPageViews counts views per page and minute. The running counts can be
// queried from the store "views-per-page"; the final ones go to PageViewCounts.
func CountPageViews(g *op.Graph) {
	views := op.EventTime(op.From(g, PageViews), PageView.Time)
	byPage := op.KeyBy(views, "views-by-page", PageView.PageURL)
	perMinute := op.Window(byPage, op.Tumbling{Size: time.Minute, Grace: 10 * time.Second})
	counts := op.Count(perMinute, "views-per-page")

	op.To(counts.Final(), PageViewCounts)
}

// SessionizeClicks is the design's second job, with tumbling windows where it
// has sessions.
func SessionizeClicks(g *op.Graph) {
	profiles := op.TableFrom(g, Profiles, "profiles")

	clicks := op.EventTime(op.From(g, Clicks), Click.Time)
	sessions := op.Window(clicks, op.Tumbling{Size: 30 * time.Minute, Grace: time.Minute})
	visits := op.Aggregate(sessions, "visits", Visit.Add, Visit.Merge)
	enriched := op.LeftJoin(op.DropWindow(visits.Final()), profiles, Visit.WithProfile)

	op.To(enriched, Visits)
}

// RankKeywords publishes, every minute, the ten keywords searched most in the
// last five. Lines that do not parse go to BadSearches.
func RankKeywords(g *op.Graph) {
	lines := op.From(g, SearchLog)
	searches, rejected := op.TryMap(lines, ParseSearch)
	op.To(rejected, BadSearches)

	byWord := op.KeyBy(op.EventTime(searches, Search.Time), "searches-by-word", Search.Word)
	lastFive := op.Window(byWord, op.Hopping{Size: 5 * time.Minute, Every: time.Minute})
	counts := op.Count(lastFive, "searches-per-word")

	op.To(op.Top(counts.Final(), "top-keywords", 10), TopKeywords)
}

func TestDescribeTheDesignsJobs(t *testing.T) {
	for name, build := range map[string]func(*op.Graph){
		"count-page-views": CountPageViews, "sessionize-clicks": SessionizeClicks, "rank-keywords": RankKeywords,
	} {
		g, err := op.Build(build)
		if err != nil {
			t.Fatal(err)
		}
		golden(t, name+".txt", g.Describe())
		golden(t, name+".dot", g.DOT())
	}
}

func TestCountPageViewsEndToEnd(t *testing.T) {
	r := start(t, CountPageViews)
	at := func(s string) int64 {
		d, err := time.Parse("15:04:05", s)
		if err != nil {
			t.Fatal(err)
		}
		return d.AddDate(2001, 0, 0).UnixMilli() // a year-0 time of day
	}
	view := func(clock, url string) {
		t := time.UnixMilli(at(clock)).UTC().Format(time.RFC3339)
		r.send("page-views", rec(1, "", `{"url":"`+url+`","at":"`+t+`"}`))
	}
	view("10:00:01", "/b")
	view("10:00:59", "/a")
	view("10:01:05", "/a")
	view("10:00:30", "/b") // within the grace
	view("10:01:10", "/a")
	view("10:00:40", "/b") // late
	if n := len(r.out["page-view-counts"]); n != 2 {
		t.Fatalf("got %d finals, want those of 2 pages: %v", n, lines(r.out["page-view-counts"]))
	}
	for i, want := range []struct {
		page  string
		count byte
	}{{"/a", 1}, {"/b", 2}} {
		rec := r.out["page-view-counts"][i]
		if page := string(rec.Key[:2]); page != want.page || rec.Value[7] != want.count || int64(rec.Timestamp) != at("10:01:00")-1 {
			t.Errorf("final %d: got %s %v at %v, want %s %d", i, page, rec.Value, rec.Timestamp, want.page, want.count)
		}
	}
	r.dropped(`count "views-per-page": late 1`)
}
