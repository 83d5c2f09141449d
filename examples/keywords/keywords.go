// Package keywords finds the words that people search for most.
//
//	searches ──► FlatMap words ──► KeyBy word ──► Window 5 min, every 1 min
//	                                                 └─► Count searches-per-word ──► Top 10 ──► top-keywords
//
// A search is a JSON object with the query text; its words are counted in
// windows of five minutes, a new one every minute.
package keywords

import (
	"strings"
	"time"

	"github.com/gretestream/grete/jobs"
	op "github.com/gretestream/grete/operators"
)

// Search is one search of a user.
type Search struct {
	User  string `json:"user"`
	Query string `json:"query"`
	Time  int64  `json:"time"` // ms since 1970 UTC
}

// The topics of the job.
var (
	Searches    = op.NewTopic("searches", op.Bytes, op.JSON[Search]())
	TopKeywords = op.NewTopic("top-keywords", op.SpanKey, op.JSON[[]op.Ranked[string, int64]]())
)

// Job is the job as the command line knows it.
var Job = jobs.Job{
	Name:  "keywords",
	Doc:   "the ten words searched most in the last five minutes, each minute",
	Build: RankKeywords,
}

// RankKeywords publishes, every minute, the ten words searched most in the last
// five.
func RankKeywords(g *op.Graph) {
	searches := op.EventTime(op.From(g, Searches), Search.At)
	words := op.FlatMap(searches, Search.Words)
	byWord := op.KeyBy(words, "searches-by-word", func(word string) string { return word })

	lastFive := op.Window(byWord, op.Hopping{Size: 5 * time.Minute, Every: time.Minute, Grace: 10 * time.Second})
	counts := op.Count(lastFive, "searches-per-word")

	op.To(op.Top(counts.Final(), "top-keywords", 10), TopKeywords)
}

// At is when the search was made.
func (s Search) At() time.Time { return time.UnixMilli(s.Time) }

// Words emits the words of the query in lower case.
func (s Search) Words(emit func(string)) {
	for word := range strings.FieldsSeq(strings.ToLower(s.Query)) {
		emit(word)
	}
}
