package counts_test

import (
	"fmt"
	"testing"

	"github.com/gretestream/grete/engine/jobtest"
	"github.com/gretestream/grete/examples/counts"
	"github.com/gretestream/grete/jobs"
	"github.com/gretestream/grete/log"
)

// Clicks are counted by the host of the URL that they went to.
func ExampleConfigure() {
	build, err := counts.Configure(map[string]string{
		"topic": "clicks", "key": "host(url)", "window": "1m", "grace": "1h", "retain": "24h",
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	jobtest.Show(jobs.Job{Name: "counts", Build: build}, func(jt *jobtest.Run) {
		for _, click := range []string{`{"url":"https://a.org/x"}`, `{"url":"http://b.org"}`, `{"url":"https://a.org"}`, `{}`} {
			jt.Append("clicks", log.Record{Timestamp: log.TimestampOf(jt.Now()), Value: []byte(click)})
		}
		for _, row := range jt.Rows("counts") {
			fmt.Printf("%q %d\n", row.Key, row.Value)
		}
	})
	// Output:
	// "" 1
	// "a.org" 2
	// "b.org" 1
}

func TestConfigureReportsAllMistakes(t *testing.T) {
	_, err := counts.Configure(map[string]string{"key": "host(", "window": "1 minute", "grace": "1h", "retain": "1h"})
	want := "--set window=1 minute: want a duration such as 1m or 1h30m\n--set topic=T is missing: name the topic to count\n--set key=host(: want FIELD, host(FIELD) or path(FIELD)"
	if err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestHostAndPath(t *testing.T) {
	f := func(url, host, path string) {
		t.Helper()
		if h, p := counts.Host(url), counts.Path(url); h != host || p != path {
			t.Errorf("%q: got host %q and path %q, want %q and %q", url, h, p, host, path)
		}
	}
	f("http://A.org/x/y?q=/z", "a.org", "/x/y")
	f("https://u:p@a.org:8080?q", "a.org", "/")
	f("http://[::1]:80/", "[::1]", "/")
	f("http://[::1]", "[::1]", "/")
	f("/x?u=http://b.org/", "", "/x")
	f("x", "", "x")
	f("", "", "")
}
