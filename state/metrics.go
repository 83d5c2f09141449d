package state

import "github.com/rcrowley/go-metrics"

// What a DB counts. Databases that share a registry share the counters.
//
//	state.changes         changes that Apply wrote into Pebble
//	state.change.bytes    bytes of changelog of applied intervals
//	state.flushes         flushes of Pebble that were asked for
//	state.wipes           databases thrown away because they did not fit the log
//	state.restores        stores restored whole
//	state.restore.records changelog records read by Open
//	state.views           views open now
//	state.disk.errors     background errors of Pebble, which it tries again
type counters struct {
	changes, changeBytes, flushes  metrics.Counter
	wipes, restores, restoreRecord metrics.Counter
	views, diskErrors              metrics.Counter
}

func newCounters(r metrics.Registry) counters {
	c := func(name string) metrics.Counter { return metrics.GetOrRegisterCounter(name, r) }
	return counters{
		changes:       c("state.changes"),
		changeBytes:   c("state.change.bytes"),
		flushes:       c("state.flushes"),
		wipes:         c("state.wipes"),
		restores:      c("state.restores"),
		restoreRecord: c("state.restore.records"),
		views:         c("state.views"),
		diskErrors:    c("state.disk.errors"),
	}
}
