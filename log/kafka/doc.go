// Package kafka serves an embedded log to clients of the Kafka protocol.
//
//	server, err := kafka.Listen(kafka.Options{Log: l, Addr: "127.0.0.1:9092"})
//	…
//	defer server.Close()
//
// Messages are encoded and decoded by kmsg; record batches are stored and handed
// out as they are. Each API has a file named after its key, such as
// 00_produce.go, with the versions it serves on top: the folder's listing is the
// protocol's table (api.go has it as code).
//
// # Life of a request
//
// A connection has two goroutines (conn.go). The reader takes a frame off the
// socket, within the bounds of Options, and queues it; the writer runs the
// handler of each request in the order of arrival, encodes the answer and sends
// it. So requests of one connection take effect one after the other, as with
// Apache Kafka, and a handler may wait (a Fetch for records, a JoinGroup for the
// other members): it holds up its own connection only, and ends when its
// request's context ends.
//
// Produce alone is begun ahead, by the reader, as long as nothing but Produce is
// queued before it: its batches are admitted to the log in order, and all that
// are queued share one sync. Answers that are ready together go out together.
//
// # Who may do what
//
// With Options.SASL, or TLS that requires certificates, clients say who they are;
// every API asks whether they may do what they ask for, and a resource without
// ACLs is closed to all but super users. Otherwise such a resource is open, and
// only loopback addresses are served. Access changes users and ACLs.
//
// # A frame
//
//	length 4 · api key 2 · version 2 · correlation id 4 · client id 2+ · tags, if flexible · body
//	length 4 · correlation id 4 · tags, if flexible and not ApiVersions · body
//
// # Errors
//
// What is wrong with the request's content is answered with Kafka's error code
// (errors.go). What cannot be understood at all, such as a frame of absurd length
// or an API that is not served, ends the connection and is counted.
package kafka
