// Package cluster keeps a log.Log in a Kafka cluster: Apache Kafka, or Grete's
// own server (package log/kafka), or anything else that speaks the protocol and
// has transactions.
//
//	opts, err := cluster.ParseURL("kafka://broker-1:9092,broker-2:9092?tls=true")
//	…
//	l, err := cluster.Open(ctx, opts)
//	…
//	defer l.Close()
//
// What package log promises of its Log holds, by these means:
//
//	Append, and a Commit       idempotent produce, acknowledged by all replicas
//	of one write, no producer
//	Commit of a producer       one Kafka transaction of the transactional id that
//	                           is the producer's name: produce, offsets, end
//	Fence                      InitProducerID of that id: what is open is aborted
//	                           and who had it before gets ErrFenced
//	Reader                     read_committed, unless it was opened Uncommitted
//	Join                       a consumer group, for its assignment only
//
// # How it differs from the embedded log
//
//   - A Commit returns when its outcome is decided and durable. Readers see it
//     once the cluster has marked the partitions, some milliseconds later. Fence
//     waits for that: whoever fences sees all that was committed before.
//   - The end of a transaction takes up an offset of its own in each partition,
//     so offsets have gaps, as after compaction. Reader.Position moves over them.
//   - A Commit that only forgets offsets (negative ones) is not atomic with
//     anything else.
//   - A topic is made with retention.ms=-1 unless the spec says otherwise:
//     records stay until the topic says that they go.
//
// # Your duties
//
// Those of package log, and:
//
//  1. Call Fence before the first Commit of a producer, and again after a Commit
//     whose outcome is unknown; until then its Commits fail.
//  2. Do not make longer pauses between Fence and Commit than the cluster keeps
//     transactional ids (transactional.id.expiration.ms, seven days).
//
// # When the cluster is away
//
// Requests are sent again, for Options.Timeout at most, and then fail with the
// last reason. A reader goes on asking for as long as it is open: Poll returns no
// records meanwhile. What was asked twice takes effect once.
package cluster
