// Package remote reaches the embedded log of another process on this machine.
//
// One process holds a data directory. It serves its log with Handler; other
// processes read running.json, Dial its address, and get a log.Log that does
// the same. It is made for commands beside a running job, not for distance:
// both ends refuse whatever is not the loopback interface, and a token that
// only the owner of the directory can read stands in every request.
//
// # The wire
//
// HTTP/1.1 under Prefix. The token travels as "Authorization: Bearer TOKEN".
// Requests and answers are JSON, except where record batches travel; those are
// raw bytes, as log.Builder writes them and log.DecodeRecords reads them.
//
//	GET    cluster                                          {"cluster_id"}
//	GET    topics                                           [topic]
//	POST   topics                spec                       topic
//	GET    topics/NAME                                      topic
//	PATCH  topics/NAME           {config: value or null}    topic
//	DELETE topics/NAME                                      {}
//	POST   topics/NAME/partitions  number                   topic
//	POST   topics/NAME/export      directory                {}
//	GET    bounds?tp                                        {"start","end"}
//	GET    offset?tp&timestamp                              {"offset","timestamp"}
//	POST   delete-records?tp&before                         {}
//	GET    fetch?tp&from&max_bytes&wait_ms                  batches; header Grete-End
//	POST   append?tp             batches                    {"offset"}
//	POST   fence?producer                                   {"epoch"}
//	POST   commit                see below                  {"offsets"}
//	POST   committed             {"group","partitions"}     [{"topic","partition","offset","metadata"}]
//
// where tp is topic=NAME&partition=N. A fetch waits up to wait_ms for a first
// record; none in that time is an empty body. The body of a commit is
//
//	head length     4   bytes, big-endian
//	head                JSON: producer, epoch, group, offsets, and for each
//	                    write its topic, partition and size in bytes
//	batches             of the writes, one after the other
//
// An error is answered as {"code","error"}; the code stands for one of the
// sentinels of package log, so errors.Is says the same on both sides.
package remote
