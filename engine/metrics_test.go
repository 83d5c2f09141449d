package engine

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/rcrowley/go-metrics"
)

func scrape(t testing.TB, h http.Handler) string {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if w.Code != http.StatusOK {
		t.Fatalf("got status %d: %s", w.Code, w.Body)
	}
	return w.Body.String()
}

func TestCollectorTakesLabelsApart(t *testing.T) {
	r := metrics.NewRegistry()
	metrics.GetOrRegisterCounter(metricName("grete_drops_total", "operator", `map "x", y`, "reason", `a\b`), r).Inc(3)
	metrics.GetOrRegisterGauge("state.open-databases", r).Update(2)
	metrics.GetOrRegisterGaugeFloat64("ratio", r).Update(0.5)
	text := scrape(t, Handler(r))
	for _, want := range []string{
		`grete_drops_total{operator="map \"x\", y",reason="a\\b"} 3`,
		"# TYPE grete_drops_total counter",
		"state_open_databases 2",
		"ratio 0.5",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("got\n%s\nwant it to contain %s", text, want)
		}
	}
}
