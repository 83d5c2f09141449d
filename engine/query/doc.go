// Package query answers questions about the stores of jobs, over HTTP and on
// the command line.
//
// The primary type is Query: which store, which part of it, and how much of
// that. Open turns it into an Answer: snapshots of all tasks that keep the
// store, merged into one order while they are read. An Answer is written in one
// of the formats; rows go from Pebble to the connection one by one, so a store
// of any size is answered in the memory of a few rows.
//
// # HTTP
//
//	GET  /healthz                                200 while no job has failed
//	GET  /readyz                                 200 while all tasks answer queries
//	GET  /metrics                                Prometheus text
//	GET  /v1/jobs                                all jobs of this process
//	GET  /v1/jobs/{job}                          one: state, tasks, offsets, drops
//	GET  /v1/jobs/{job}/stores                   its stores
//	GET  /v1/jobs/{job}/stores/{store}           rows
//	     /internal/log/v1/                       the log (log/remote), with a token
//
// Rows are chosen by
//
//	key=K            one key
//	from=T, to=T     windows that start in [from, to): RFC 3339, milliseconds
//	                 since 1970, or -5m: so long before now
//	window=T         the window that starts at T
//	top=N            of each window the N largest values, ties by key bytes
//	limit=N          at most N rows
//	at-least=T-P:O   wait (up to wait=10s) until the answer holds what the record
//	                 before offset O of partition P of topic T did; may be given
//	                 more than once
//	watch=1          server-sent events: the answer again whenever it changed
//	format=F         json, ndjson, csv or arrow; or by the Accept header
//
// # The formats
//
// CSV is window_start_ms,window_start,key,value: a header line, then rows in
// order of window start, then key bytes. A field is quoted only if it holds a
// comma, a quote, CR or LF; lines end in LF. A store without windows has
// key,value.
//
// JSON is one object: job, generation, store, true_up_to, rows. NDJSON is the
// rows, one a line. A key or text value that is not UTF-8 stands in key_base64
// or value_base64 instead of key or value.
//
// Arrow is the IPC stream format: window_start and window_end (timestamp[ms,
// UTC]), key, value; integers, floats, booleans and text typed, all else as
// JSON text. Where keys are text, key_bytes holds the few that are not UTF-8.
//
// # True up to
//
// An answer is a set of snapshots, one per task, each of the last applied
// commit. It says which offsets and which watermark they stand for: JSON in
// true_up_to, the other formats in the headers Grete-Offsets ("topic-0=17, …")
// and Grete-Watermark (RFC 3339; absent if there is none), Arrow also in the
// schema's metadata.
//
// # Several containers
//
// A container answers for the tasks that it has. Those whose part of the store is
// missing are named: in elsewhere of JSON, and for all formats in the header
// Grete-Elsewhere ("by-page-1, by-page-3"); both are absent if the answer is
// whole. A container that has none of them refuses, with status 421.
//
// An error before the first row is {"error": …} with a status that fits. After
// it, the connection is cut, so that nobody takes half an answer for a whole.
package query
