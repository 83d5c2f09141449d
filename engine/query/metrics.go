package query

import (
	"strconv"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rcrowley/go-metrics"

	"github.com/gretestream/grete/engine"
	"github.com/gretestream/grete/jobs"
)

// registryCollector shows a go-metrics registry to Prometheus. The registry is
// walked when it is scraped, so counting costs nothing more. A metric named
// "log.append.bytes" becomes grete_log_append_bytes; what stands in braces at
// the end of a name, "task.commits{task=source-0}", becomes labels.
type registryCollector struct{ registry metrics.Registry }

// Describe sends nothing: which metrics there are is known when they are read.
func (registryCollector) Describe(chan<- *prometheus.Desc) {}

func (c registryCollector) Collect(out chan<- prometheus.Metric) {
	c.registry.Each(func(name string, m any) {
		name, labels, values := promName(name)
		send := func(suffix, help string, kind prometheus.ValueType, v float64) {
			desc := prometheus.NewDesc(name+suffix, help, labels, nil)
			metric, err := prometheus.NewConstMetric(desc, kind, v, values...)
			if err != nil {
				metric = prometheus.NewInvalidMetric(desc, err)
			}
			out <- metric
		}
		switch m := m.(type) {
		case metrics.Counter:
			send("_total", "Counter.", prometheus.CounterValue, float64(m.Count()))
		case metrics.Gauge:
			send("", "Gauge.", prometheus.GaugeValue, float64(m.Value()))
		case metrics.GaugeFloat64:
			send("", "Gauge.", prometheus.GaugeValue, m.Value())
		case metrics.Meter:
			send("_total", "Events.", prometheus.CounterValue, float64(m.Snapshot().Count()))
		case metrics.Timer:
			send("_total", "Timed events.", prometheus.CounterValue, float64(m.Snapshot().Count()))
		}
	})
}

// promName turns the name of a go-metrics metric into one of Prometheus.
func promName(s string) (name string, labels, values []string) {
	s, braced, ok := strings.Cut(s, "{")
	if ok {
		for _, pair := range strings.Split(strings.TrimSuffix(braced, "}"), ",") {
			k, v, _ := strings.Cut(pair, "=")
			labels = append(labels, promIdent(k))
			values = append(values, strings.Trim(v, `"`))
		}
	}
	return "grete_" + promIdent(s), labels, values
}

// promIdent replaces what may not stand in a name of Prometheus.
func promIdent(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '_' || '0' <= r && r <= '9' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' {
			return r
		}
		return '_'
	}, s)
}

// jobCollector shows how the jobs are doing.
type jobCollector struct{ sources func() []engine.Source }

var (
	descReady     = prometheus.NewDesc("grete_job_ready", "1 while all tasks of the job run and answer queries.", []string{"job"}, nil)
	descLag       = prometheus.NewDesc("grete_job_lag_records", "Records of the input partition that the task has not read.", []string{"job", "task", "topic", "partition"}, nil)
	descOffset    = prometheus.NewDesc("grete_task_offset", "Offset of the input partition that the task reads next, as committed.", []string{"job", "task", "topic", "partition"}, nil)
	descRecords   = prometheus.NewDesc("grete_task_records_total", "Records read since the container started.", []string{"job", "task"}, nil)
	descCommits   = prometheus.NewDesc("grete_task_commits_total", "Commits since the container started.", []string{"job", "task"}, nil)
	descRestarts  = prometheus.NewDesc("grete_task_restarts_total", "Times the task was rebuilt from the log.", []string{"job", "task"}, nil)
	descWatermark = prometheus.NewDesc("grete_task_watermark_seconds", "Watermark of the task, in seconds since 1970.", []string{"job", "task"}, nil)
	descDrops     = prometheus.NewDesc("grete_dropped_records_total", "Records that did not contribute, by operator and reason.", []string{"job", "task", "operator", "reason"}, nil)
)

func (jobCollector) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descReady, descLag, descOffset, descRecords, descCommits, descRestarts, descWatermark, descDrops} {
		out <- d
	}
}

func (c jobCollector) Collect(out chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	counter := func(d *prometheus.Desc, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, v, labels...)
	}
	for _, src := range c.sources() {
		s := src.Status()
		ready := 0.0
		if s.Ready() {
			ready = 1
		}
		gauge(descReady, ready, s.Job)
		for i := range s.Tasks {
			t := &s.Tasks[i]
			counter(descRecords, float64(t.Records), s.Job, t.Task)
			counter(descCommits, float64(t.Commits), s.Job, t.Task)
			counter(descRestarts, float64(t.Restarts), s.Job, t.Task)
			if t.Watermark != jobs.NoWatermark {
				gauge(descWatermark, float64(t.Watermark)/1000, s.Job, t.Task)
			}
			for j := range t.Inputs {
				in := &t.Inputs[j]
				partition := strconv.Itoa(int(in.Partition))
				gauge(descLag, float64(in.Lag()), s.Job, t.Task, in.Topic, partition)
				gauge(descOffset, float64(in.Offset), s.Job, t.Task, in.Topic, partition)
			}
			for _, d := range t.Drops {
				counter(descDrops, float64(d.Count), s.Job, t.Task, d.Operator, d.Reason)
			}
		}
	}
}
