package engine

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/rcrowley/go-metrics"

	"github.com/gretestream/grete/jobs"
	op "github.com/gretestream/grete/operators"
)

// Metrics are counters and gauges in a go-metrics registry, whose names are
// those of the Prometheus text format, labels included:
//
//	grete_records_read_total{job="visits",task="source-0"}
//
// They are updated once per commit, never per record. Latencies are histograms
// of client_golang, since the sums of go-metrics' histograms cover a sample only.

// metricHelp says what each metric counts.
var metricHelp = map[string]string{
	"grete_records_read_total":     "Records that tasks have read and committed.",
	"grete_records_written_total":  "Records that tasks have written to outputs and repartition topics.",
	"grete_commits_total":          "Commits that tasks have made.",
	"grete_commit_bytes_total":     "Encoded bytes in commits: outputs, changelogs, checkpoints.",
	"grete_dead_letters_total":     "Records that could not be handled and went to the dead letters.",
	"grete_drops_total":            "Records that did not contribute, by operator and reason.",
	"grete_task_rebuilds_total":    "Times that tasks were rebuilt from the log after a failure.",
	"grete_lag_records":            "Records that tasks have yet to read.",
	"grete_watermark_milliseconds": "Watermark of the task, in ms since 1970 UTC; 0 while it has none.",
}

// metricName is a metric with its labels, as Prometheus writes it: pairs of name
// and value.
func metricName(name string, labels ...string) string {
	var b strings.Builder
	b.WriteString(name)
	for i := 0; i+1 < len(labels); i += 2 {
		sep := byte(',')
		if i == 0 {
			sep = '{'
		}
		b.WriteByte(sep)
		fmt.Fprintf(&b, "%s=%q", labels[i], labels[i+1])
	}
	if len(labels) > 0 {
		b.WriteByte('}')
	}
	return b.String()
}

// containerMetrics are those of one container.
type containerMetrics struct {
	registry metrics.Registry
	job      string
	latency  prometheus.Histogram
}

func newContainerMetrics(o *Options) *containerMetrics {
	return &containerMetrics{
		registry: o.Metrics,
		job:      o.Job.Name,
		latency: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:        "grete_commit_seconds",
			Help:        "Time from handing a commit to the log to its answer.",
			ConstLabels: prometheus.Labels{"job": o.Job.Name},
			Buckets:     prometheus.ExponentialBuckets(0.0005, 2, 16), // 0.5 ms to 16 s
		}),
	}
}

func (m *containerMetrics) commit(took time.Duration) { m.latency.Observe(took.Seconds()) }

// taskMetrics are those of one task.
type taskMetrics struct {
	c                                             *containerMetrics
	task                                          string
	read, written, commits, bytes, dead, rebuilds metrics.Counter
	lag, watermark                                metrics.Gauge
}

func (m *containerMetrics) task(name string) taskMetrics {
	counter := func(metric string) metrics.Counter {
		return metrics.GetOrRegisterCounter(metricName(metric, "job", m.job, "task", name), m.registry)
	}
	gauge := func(metric string) metrics.Gauge {
		return metrics.GetOrRegisterGauge(metricName(metric, "job", m.job, "task", name), m.registry)
	}
	return taskMetrics{
		c: m, task: name,
		read:      counter("grete_records_read_total"),
		written:   counter("grete_records_written_total"),
		commits:   counter("grete_commits_total"),
		bytes:     counter("grete_commit_bytes_total"),
		dead:      counter("grete_dead_letters_total"),
		rebuilds:  counter("grete_task_rebuilds_total"),
		lag:       gauge("grete_lag_records"),
		watermark: gauge("grete_watermark_milliseconds"),
	}
}

// applied counts one commit.
func (m *taskMetrics) applied(read int64, iv *interval, lag int64) {
	m.read.Inc(read)
	m.written.Inc(iv.out)
	m.commits.Inc(1)
	m.dead.Inc(iv.dead)
	m.lag.Update(lag)
	if w := iv.point.Watermark; w != jobs.NoWatermark {
		m.watermark.Update(w)
	}
	bytes := 0
	for i := range iv.commit.Writes {
		bytes += len(iv.commit.Writes[i].Batches)
	}
	m.bytes.Inc(int64(bytes))
}

// drop counts what was dropped between two states of the totals.
func (m *taskMetrics) drop(before, now []op.Drop) {
	for _, d := range now {
		n := d.Count
		for _, b := range before {
			if b.Operator == d.Operator && b.Reason == d.Reason {
				n -= b.Count
			}
		}
		if n > 0 {
			name := metricName("grete_drops_total", "job", m.c.job, "task", m.task, "operator", d.Operator, "reason", d.Reason)
			metrics.GetOrRegisterCounter(name, m.c.registry).Inc(n)
		}
	}
}

// Handler serves the metrics of registries and containers as Prometheus text.
// Give it each registry once, and every container whose commit latency is to be
// shown.
func Handler(registry metrics.Registry, containers ...*Container) http.Handler {
	p := prometheus.NewRegistry()
	p.MustRegister(&collector{registry: registry})
	for _, c := range containers {
		p.MustRegister(c.metrics.latency)
	}
	return promhttp.HandlerFor(p, promhttp.HandlerOpts{})
}

// MetricsHandler serves the container's metrics as Prometheus text.
func (c *Container) MetricsHandler() http.Handler { return Handler(c.opts.Metrics, c) }

// collector walks a go-metrics registry at each scrape. Names that are not in
// Prometheus' form are turned into it: other characters become underscores.
type collector struct {
	registry metrics.Registry
	descs    sync.Map // name with labels → *prometheus.Desc
}

// Describe describes nothing: which metrics there are is known only when they
// are collected.
func (c *collector) Describe(chan<- *prometheus.Desc) {}

// Collect sends what the registry holds now.
func (c *collector) Collect(out chan<- prometheus.Metric) {
	c.registry.Each(func(name string, i any) {
		switch m := i.(type) {
		case metrics.Counter:
			c.send(out, name, prometheus.CounterValue, float64(m.Count()))
		case metrics.Gauge:
			c.send(out, name, prometheus.GaugeValue, float64(m.Value()))
		case metrics.GaugeFloat64:
			c.send(out, name, prometheus.GaugeValue, m.Value())
		case metrics.Meter:
			c.send(out, name, prometheus.CounterValue, float64(m.Snapshot().Count()))
		}
	})
}

func (c *collector) send(out chan<- prometheus.Metric, name string, kind prometheus.ValueType, v float64) {
	d, ok := c.descs.Load(name)
	if !ok {
		d, _ = c.descs.LoadOrStore(name, newDesc(name))
	}
	if m, err := prometheus.NewConstMetric(d.(*prometheus.Desc), kind, v); err == nil {
		out <- m
	}
}

// newDesc takes apart what metricName put together.
func newDesc(full string) *prometheus.Desc {
	name, rest, _ := strings.Cut(full, "{")
	labels := prometheus.Labels{}
	for rest = strings.TrimSuffix(rest, "}"); rest != ""; {
		key, value, ok := strings.Cut(rest, "=")
		if !ok {
			break
		}
		var text string
		if n, err := fmt.Sscanf(value, "%q", &text); n != 1 || err != nil {
			break
		}
		labels[key] = text
		rest = strings.TrimPrefix(value[len(fmt.Sprintf("%q", text)):], ",")
	}
	help := metricHelp[name]
	if help == "" {
		help = "See the documentation."
	}
	return prometheus.NewDesc(plainName(name), help, nil, labels)
}

// plainName turns a name into one that Prometheus takes.
func plainName(name string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '_', r == ':':
			return r
		}
		return '_'
	}, name)
}
