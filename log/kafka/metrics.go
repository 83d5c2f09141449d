package kafka

import (
	"sync"

	"github.com/rcrowley/go-metrics"
)

// counters are what a server counts:
//
//	kafka.connections                gauge: open now
//	kafka.connections.closed.REASON  connections that the server has ended, by reason
//	kafka.accept-errors              connections that could not be accepted
//	kafka.requests.API               requests answered, by API
//	kafka.errors.NAME                error codes answered, by Kafka's name
//	kafka.bytes-in, kafka.bytes-out  of all frames
type counters struct {
	connections  metrics.Gauge
	acceptErrors metrics.Counter
	bytesIn      metrics.Counter
	bytesOut     metrics.Counter

	registry metrics.Registry
	byName   sync.Map // name → metrics.Counter, so that a request does not build a name
}

func (m *counters) register(r metrics.Registry) {
	m.registry = r
	m.connections = metrics.GetOrRegisterGauge("kafka.connections", r)
	m.acceptErrors = metrics.GetOrRegisterCounter("kafka.accept-errors", r)
	m.bytesIn = metrics.GetOrRegisterCounter("kafka.bytes-in", r)
	m.bytesOut = metrics.GetOrRegisterCounter("kafka.bytes-out", r)
}

func (m *counters) closed(reason string) { m.count("kafka.connections.closed." + reason) }

func (m *counters) count(name string) { m.add(name, 1) }

func (m *counters) add(name string, n int64) {
	c, ok := m.byName.Load(name)
	if !ok {
		c, _ = m.byName.LoadOrStore(name, metrics.GetOrRegisterCounter(name, m.registry))
	}
	c.(metrics.Counter).Inc(n)
}
