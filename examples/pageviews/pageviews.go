// Package pageviews counts the requests of web access logs, minute by minute.
//
//	page-views ──► KeyBy path ──► Window 1 min ──► Count views-per-page ──► page-view-counts
//	   │                └──► Filter people ──► Window 1 min ──► Count views-by-people
//	   └──────────► KeyBy status ──► Window 1 min ──► Count views-per-status
//
// The records of page-views are what `grete ingest access.log --topic page-views`
// makes of a log line: a JSON object, timestamped with the time of the request.
// The running counts can be queried at any time; the final ones, an hour after
// their minute, go to page-view-counts.
package pageviews

import (
	"strconv"
	"time"

	"github.com/gretestream/grete/jobs"
	op "github.com/gretestream/grete/operators"
)

// PageView is what the job reads of a request.
type PageView struct {
	Path   string `json:"path"` // the request target up to the first '?'
	Status int    `json:"status"`
	Agent  string `json:"agent"`
}

// The topics of the job.
var (
	PageViews      = op.NewTopic("page-views", op.Bytes, op.JSON[PageView]())
	PageViewCounts = op.NewTopic("page-view-counts", op.WindowKey(op.String), op.Int64)
)

// Job is the job as the command line knows it.
var Job = jobs.Job{
	Name:  "pageviews",
	Doc:   "requests per page, per status, and per page without bots, each minute",
	Build: CountPageViews,
}

// CountPageViews counts requests per path, per path without bots, and per
// status. An hour of grace lets log files of several servers be loaded one after
// the other; a year of minutes stays queryable.
func CountPageViews(g *op.Graph) {
	perMinute := op.Tumbling{Size: time.Minute, Grace: time.Hour, Retain: 365 * 24 * time.Hour}
	views := op.From(g, PageViews)

	byPath := op.KeyBy(views, "views-by-page", PageView.PagePath)
	perPage := op.Count(op.Window(byPath, perMinute), "views-per-page")
	op.To(perPage.Final(), PageViewCounts)

	people := op.Filter(byPath, PageView.ByPerson)
	op.Count(op.Window(people, perMinute), "views-by-people")

	byStatus := op.KeyBy(views, "views-by-status", PageView.StatusCode)
	op.Count(op.Window(byStatus, perMinute), "views-per-status")
}

// PagePath is the path that was asked for.
func (v PageView) PagePath() string { return v.Path }

// StatusCode is the HTTP status in decimal.
func (v PageView) StatusCode() string {
	if v.Status >= 0 && v.Status < len(statusText) {
		return statusText[v.Status]
	}
	return strconv.Itoa(v.Status)
}

// statusText saves an allocation per record.
var statusText = func() (t [600]string) {
	for i := range t {
		t[i] = strconv.Itoa(i)
	}
	return t
}()

// ByPerson tells whether the user agent looks like a person's: it contains none
// of the words that crawlers put there, in any case.
func (v PageView) ByPerson() bool {
	for i := 0; i+3 <= len(v.Agent); i++ {
		for _, word := range botWords {
			if foldedPrefix(v.Agent[i:], word) {
				return false
			}
		}
	}
	return true
}

var botWords = [...]string{"bot", "crawl", "spider", "slurp"}

// foldedPrefix tells whether s begins with the lower-case ASCII word, in any
// case, without the copy that strings.ToLower makes.
func foldedPrefix(s, word string) bool {
	if len(s) < len(word) {
		return false
	}
	for i := range len(word) {
		if s[i]|0x20 != word[i] {
			return false
		}
	}
	return true
}
