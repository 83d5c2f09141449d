package query

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"testing"
	"time"
)

// Whatever a client asks: no panic, mistakes are the client's, and what is taken
// means something.
func FuzzRequest(f *testing.F) {
	f.Add("key=a&from=-5m&to=2015-05-17T10:05:00Z&top=3&at-least=page-views-0%3A1500&wait=5s&format=csv", "")
	f.Add("window=1431857100000&limit=2&watch=1", "text/event-stream")
	f.Add("from=9223372036854775807&window=9223372036854775807", "text/csv;q=1, */*")
	f.Add("%zz&top=-1&at-least=-0:1&at-least=a-1:-1", "application/vnd.apache.arrow.stream")
	now := time.Date(2015, 5, 17, 10, 5, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, query, accept string) {
		r := &http.Request{URL: &url.URL{Path: "/stores/s", RawQuery: query}, Header: http.Header{"Accept": {accept}}}
		q, _, err := parseRequest(r, now)
		if err != nil {
			if bad := (*BadQuery)(nil); !errors.As(err, &bad) {
				t.Fatalf("%q: got %v, want a mistake of the client", query, err)
			}
			return
		}
		if q.Top < 0 || q.Limit < 0 || q.Wait < 0 || q.Wait > MaxWait {
			t.Fatalf("%q: got %+v", query, q)
		}
		for _, o := range q.AtLeast {
			again, err := ParseOffset(fmt.Sprintf("%v:%d", o.TopicPartition, o.Offset))
			if err != nil || again != o {
				t.Fatalf("%q: got %+v, then %+v, %v", query, o, again, err)
			}
		}
		for _, at := range []*int64{q.From, q.To} {
			if at == nil {
				continue
			}
			FormatTime(*at)
			if again, err := ParseTime(fmt.Sprint(*at), now); err != nil || again != *at {
				t.Fatalf("%q: got time %d, then %d, %v", query, *at, again, err)
			}
		}
	})
}
