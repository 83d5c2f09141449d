package log

import "github.com/rcrowley/go-metrics"

// logMetrics are the counters of an embedded log, updated per batch or less
// often. The names are those under which they stand in Options.Metrics.
type logMetrics struct {
	records            metrics.Counter // admitted and acknowledged
	bytesIn            metrics.Counter // encoded batches, acknowledged
	bytesOut           metrics.Counter // encoded batches, decoded by readers
	commits            metrics.Counter
	syncs              metrics.Counter // of the journal
	checkpoints        metrics.Counter // segments synced and journal emptied
	stalls             metrics.Counter // appends that had to wait for a checkpoint
	removed            metrics.Counter // segments removed by retention
	compacted          metrics.Counter // bytes read by compaction
	producersExpired   metrics.Counter
	producersForgotten metrics.Counter // before their time, to make room
	duplicates         metrics.Counter // batches that had been produced before
	damaged            metrics.Counter // places found by scrubbing
	readOnly           metrics.Gauge   // 1: a write has failed for good
	noSpace            metrics.Gauge   // 1: appends are refused until there is space
}

func newLogMetrics(r metrics.Registry) *logMetrics {
	counter := func(name string) metrics.Counter { return metrics.GetOrRegisterCounter(name, r) }
	gauge := func(name string) metrics.Gauge { return metrics.GetOrRegisterGauge(name, r) }
	return &logMetrics{
		records:            counter("log.append.records"),
		bytesIn:            counter("log.append.bytes"),
		bytesOut:           counter("log.read.bytes"),
		commits:            counter("log.commits"),
		syncs:              counter("log.journal.syncs"),
		checkpoints:        counter("log.checkpoints"),
		stalls:             counter("log.journal.stalls"),
		removed:            counter("log.retention.segments"),
		compacted:          counter("log.compaction.bytes"),
		producersExpired:   counter("log.producers.expired"),
		producersForgotten: counter("log.producers.forgotten"),
		duplicates:         counter("log.producers.duplicates"),
		damaged:            counter("log.scrub.damaged"),
		readOnly:           gauge("log.read-only"),
		noSpace:            gauge("log.no-space"),
	}
}
