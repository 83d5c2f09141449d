package keywords_test

import (
	"fmt"
	"time"

	"github.com/gretestream/grete/engine/jobtest"
	"github.com/gretestream/grete/examples/keywords"
)

// A search counts in each of the five windows that it falls into; here the first
// of them is ranked.
func ExampleRankKeywords() {
	jobtest.Show(keywords.Job, func(jt *jobtest.Run) {
		at := jt.Now()
		search := func(after time.Duration, query string) {
			t := at.Add(after)
			jobtest.Send(jt, keywords.Searches, nil, keywords.Search{Query: query, Time: t.UnixMilli()}, t)
		}
		search(0, "red shoes")
		search(time.Second, "Red hat")
		search(2*time.Minute, "blue")
		for _, top := range jobtest.Read(jt, keywords.TopKeywords)[:1] {
			fmt.Println(top.Key.Size(), top.Value)
		}
	})
	// Output:
	// 5m0s [{red 2} {hat 1} {shoes 1}]
}
