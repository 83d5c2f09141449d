package cluster

import "github.com/rcrowley/go-metrics"

// counters are updated per batch or less often. The names are those under which
// they stand in Options.Metrics; those that begin with "log." mean what they mean
// of an embedded log.
type counters struct {
	records  metrics.Counter // written and acknowledged
	bytesIn  metrics.Counter // encoded batches, acknowledged
	bytesOut metrics.Counter // encoded batches, fetched by readers
	commits  metrics.Counter
	aborts   metrics.Counter // transactions given up
	fenced   metrics.Counter // commits refused because the producer has a newer life
	retries  metrics.Counter // requests sent again
	fetches  metrics.Counter // fetch requests answered
	skipped  metrics.Counter // batches of aborted transactions passed over by readers
}

func newCounters(r metrics.Registry) *counters {
	counter := func(name string) metrics.Counter { return metrics.GetOrRegisterCounter(name, r) }
	return &counters{
		records:  counter("log.append.records"),
		bytesIn:  counter("log.append.bytes"),
		bytesOut: counter("log.read.bytes"),
		commits:  counter("log.commits"),
		aborts:   counter("cluster.aborts"),
		fenced:   counter("cluster.fenced"),
		retries:  counter("cluster.retries"),
		fetches:  counter("cluster.fetches"),
		skipped:  counter("cluster.read.aborted-batches"),
	}
}
