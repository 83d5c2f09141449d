// Package connect copies between the outside world and topics. So far it reads
// texts: access logs, JSON lines and delimited columns, from files and standard
// input. Sinks, and sources that never end, have their place beside Ingest.
//
// # Ingest
//
// The way in is Ingest, which reads a Source (File or Stream) to its end:
//
//	src, err := connect.File("/var/log/nginx/access.log.2.gz")
//	sum, err := connect.Ingest(ctx, l, src, connect.Options{Topic: "page-views"})
//
//	file ─► decompress ─► Lines ─► Parser ─► record batches by partition ─► Log.Commit
//	        gzip, zstd             │                                        │ records
//	                               └─ malformed ─► batch of rejects ────────┤ rejects
//	                                               line and byte position ──┘ progress
//
// One goroutine reads and parses the next batch while the caller's goroutine
// commits the present one. A commit holds records, rejects and progress, and is
// whole or absent, so after a crash the next Ingest of the same file continues
// behind the last line that is in the log.
//
// What a caller has to know:
//
//  1. A file is known by its absolute path and the SHA-256 of its first 64 KiB.
//     A file that is shorter than that and grows is another file.
//  2. A finished file gives ErrFinished; Options.Again reads it once more.
//  3. A stream is not remembered: what is read twice is in the topic twice.
//  4. On a Kafka cluster, the broker forgets the progress of a file some days
//     after it was last touched (offsets.retention.minutes).
//
// # Lines and parsers
//
// Lines cuts a text into lines: any line end, any compression, bounded memory
// whatever a line's length. A Parser turns one line into one record or says why
// not; Format chooses and makes it. A malformed line never ends an Ingest: it
// goes to the topic's rejects with its number and the reason. A text that breaks
// (a truncated gzip file) does, after all lines before the break are in the log.
//
// Values of access logs and columns are JSON objects, made by appending: parsing
// allocates nothing per line.
package connect
