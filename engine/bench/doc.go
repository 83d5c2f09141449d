// Package bench measures what Grete costs, on the machine where it runs: behind
// `grete bench` and `make bench`. README.md has the last table and the machine
// it was measured on.
//
//	results, err := bench.Run(ctx, bench.Options{Which: []string{"count"}})
//	bench.WriteTable(os.Stdout, results)
//
// # The workloads
//
//	append       four writers append batches of 1,000 records of 100 bytes, each
//	             acknowledged when synced (sync: group). Encoding is included.
//	read         four partitions of records of 100 bytes are read from segments
//	             and decoded.
//	passthrough  a job copies a topic of four partitions to another.
//	count        a job counts page views, JSON objects of 100 bytes, per page and
//	             minute: a keyed topic of four partitions, 10,000 pages, one
//	             million views a minute, times out of order by up to two seconds.
//	             The time is taken from the JSON. Changelog on, a synced commit
//	             each second, finals to a topic.
//	count-10m    the same with 10,000,000 pages in one window: state far beyond
//	             the caches, within Options.Memory.
//	latency      100,000 records/s, paced, through a job with one KeyBy and default
//	             settings; measured from the moment a record is due to be
//	             appended to its arrival at a reader of the output topic. 60 s,
//	             after a warm-up.
//	idle         one job with nothing to do: memory.
//
// # What is measured
//
// Inputs are written beforehand, by another process, and are not measured. Each
// run is a process of its own, so that no run inherits the heap or the caches
// of another; the table shows the run with the median CPU time.
//
//	records/s  from the start of the work until all of it is committed
//	CPU-ns     user and system time of the whole process, garbage collection,
//	           Pebble's compactions and syncs in the background included, until
//	           the process is quiet and the log closed, by input records
//	allocs     heap allocations of the whole process, by input records
//	memory     the most that the process held at any time; of idle, what it holds
//	           at the end
//
// A Bar is what a workload is held against; Result.Missed says in words what it
// does not reach.
package bench
