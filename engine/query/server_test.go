package query

import (
	"bufio"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/rcrowley/go-metrics"
	"go.uber.org/goleak"

	"github.com/gretestream/grete/engine"
	op "github.com/gretestream/grete/operators"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func serve(t *testing.T, src engine.Source) (base string) {
	t.Helper()
	registry := metrics.NewRegistry()
	metrics.GetOrRegisterCounter("log.append.bytes{sync=group}", registry).Inc(5)
	s, err := Listen(Options{Metrics: registry})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		http.DefaultClient.CloseIdleConnections()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	s.Add(src)
	return "http://" + s.Addr()
}

func get(t *testing.T, u string, header ...string) (int, http.Header, string) {
	t.Helper()
	req, err := http.NewRequest(http.MethodGet, u, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		if header[i] == "Host" {
			req.Host = header[i+1]
		}
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, resp.Header, string(body)
}

func TestHTTP(t *testing.T) {
	base := serve(t, three())
	store := base + "/v1/jobs/pageviews/stores/views"
	f := func(u string, status int, want string, header ...string) http.Header {
		t.Helper()
		got, h, body := get(t, u, header...)
		if got != status || !strings.Contains(body, want) {
			t.Errorf("%s: got %d %s\nwant %d with %s", u, got, body, status, want)
		}
		return h
	}
	h := f(store+"?key=/c&format=csv", 200, "window_start_ms,window_start,key,value\n0,1970-01-01T00:00:00Z,/c,9\n")
	if got := h.Get("Grete-Offsets"); got != "in-0=7, in-1=7, in-2=7, in-3=7" {
		t.Errorf("Grete-Offsets: got %q", got)
	}
	if got := h.Get("Grete-Watermark"); got != "1970-01-01T00:05:00Z" {
		t.Errorf("Grete-Watermark: got %q", got)
	}
	f(store+"?window=1970-01-01T00:01:00Z&top=1", 200, `"key":"/b","value":2}`+"\n]}")
	f(store, 200, "0,1970-01-01T00:00:00Z,/a,3\n", "Accept", "text/html;q=0.9, text/csv")
	if h := f(store, 200, "", "Accept", "application/vnd.apache.arrow.stream"); h.Get("Content-Type") != "application/vnd.apache.arrow.stream" {
		t.Errorf("arrow: got type %s", h.Get("Content-Type"))
	}
	f(store, 400, `want application/json`, "Accept", "image/png")
	f(store+"?"+url.Values{"top": {"x"}, "from": {"soon"}, "colour": {"red"}}.Encode(), 400, `unknown parameter \"colour\"`)
	f(store+"?"+url.Values{"top": {"x"}, "from": {"soon"}}.Encode(), 400, `\ntop is \"x\", want a number from 1 on`)
	f(base+"/v1/jobs/pageviews/stores/clicks", 404, `{"error":"store \"clicks\": unknown store: job \"pageviews\" keeps views"}`)
	f(base+"/v1/jobs/keywords/stores/clicks", 404, `this process runs pageviews`)
	f(base+"/v1/jobs", 200, `{"jobs":[{"job":"pageviews","generation":3,"state":"running","ready":true,"lag":8,"watermark_ms":300000`)
	f(base+"/v1/jobs/pageviews", 200, `"drops":[{"operator":"views","reason":"late","count":2}]`)
	f(base+"/v1/jobs/pageviews/stores", 200, `"store":"views","kind":"window","windowed":true,"window":"tumbling 1m","key":"string","value":"int64","retain":"1h0m0s"`)
	f(base+"/healthz", 200, "ok")
	f(base+"/readyz", 200, "ready")
	f(base+"/metrics", 200, `grete_log_append_bytes_total{sync="group"} 5`)
	f(base+"/metrics", 200, `grete_dropped_records_total{job="pageviews",operator="views",reason="late",task="by-page-3"} 2`)
	f(base+"/favicon.ico", 404, "want GET /v1/jobs")
	f(base+"/internal/log/v1/cluster", 404, "want GET")
	f(base+"/v1/jobs", 403, "want 127.0.0.1 or localhost", "Host", "evil.example")
}

func TestNotReady(t *testing.T) {
	s := three()
	s.status.State = engine.Restoring
	base := serve(t, s)
	for _, u := range []string{"/readyz", "/v1/jobs/pageviews/stores/views"} {
		if status, h, body := get(t, base+u); status != 503 || h.Get("Retry-After") == "" || !strings.Contains(body, "restoring") {
			t.Errorf("%s: got %d %s", u, status, body)
		}
	}
	if status, _, _ := get(t, base+"/healthz"); status != 200 {
		t.Errorf("healthz: got %d", status)
	}
}

func TestCutAnswerIsNoticed(t *testing.T) {
	s := three()
	for i := range int64(20_000) {
		s.tasks[0] = append(s.tasks[0], row(3+i, "/a", 1))
	}
	s.failAt = 15_000
	base := serve(t, s)
	resp, err := http.Get(base + "/v1/jobs/pageviews/stores/views?format=csv")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err == nil {
		t.Error("half an answer looks like a whole one")
	}
	s.failAt = 1
	if status, _, body := get(t, base+"/v1/jobs/pageviews/stores/views?format=csv"); status != 500 || !strings.Contains(body, "checksum mismatch") {
		t.Errorf("got %d %s", status, body)
	}
}

func TestWatch(t *testing.T) {
	s := three()
	base := serve(t, s)
	resp, err := http.Get(base + "/v1/jobs/pageviews/stores/views?watch=1&key=/new")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	event := func() string {
		var text strings.Builder
		for lines.Scan() && lines.Text() != "" {
			text.WriteString(lines.Text() + "\n")
		}
		return text.String()
	}
	if got := event(); !strings.HasPrefix(got, "event: rows\ndata: {\"job\":\"pageviews\"") || strings.Contains(got, "/new") {
		t.Fatalf("first event: %s", got)
	}
	s.move(8) // no row changed: no event
	s.move(9, row(3, "/new", 4))
	if got := event(); !strings.Contains(got, `"key":"/new","value":4`) {
		t.Fatalf("second event: %s", got)
	}
}

func TestListenRefusesOtherMachines(t *testing.T) {
	for _, addr := range []string{"0.0.0.0:0", ":0", "[::]:0", "192.0.2.1:80", "nowhere"} {
		s, err := Listen(Options{Addr: addr})
		if err == nil {
			s.Close()
			t.Errorf("%s was not refused", addr)
		}
	}
	s, err := Listen(Options{Addr: ":0", Insecure: true})
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
}

// Part of a store is in other containers: an answer says which.
func TestElsewhere(t *testing.T) {
	src := counts([]op.Row{row(1, "/a", 1)}, []op.Row{row(1, "/b", 1)}, []op.Row{row(1, "/c", 1)})
	store := serve(t, src) + "/v1/jobs/pageviews/stores/views"
	f := func(gone, status int, header, text string) {
		t.Helper()
		src.mu.Lock()
		src.gone = gone
		src.mu.Unlock()
		got, h, body := get(t, store)
		if got != status || h.Get(ElsewhereHeader) != header || !strings.Contains(body, text) {
			t.Errorf("%d gone: got %d, %q, %s", gone, got, h.Get(ElsewhereHeader), body)
		}
	}
	f(0, http.StatusOK, "", `"key":"/c"`)
	f(2, http.StatusOK, "by-page-1, by-page-2", `"elsewhere":["by-page-1","by-page-2"],"rows":[`)
	f(3, http.StatusMisdirectedRequest, "", engine.ErrElsewhere.Error())
}
