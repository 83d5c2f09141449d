// Package log keeps partitioned, append-only sequences of records, durably, and
// lets anybody read them at any time and at any pace.
//
// A topic has a name and one or more partitions. A partition is a sequence of
// records; the place of a record in it is its offset, from 0 and never used
// again. Records are appended at the end and read from any offset on; they go
// only when the topic says so (retention, compaction, DeleteRecords). By default
// they stay for ever: reprocessing from offset zero is what a log is for.
//
// The primary type is Log, an interface. Open gives the one that is embedded in
// the process, in a directory of this machine:
//
//	l, err := log.Open("grete-data", log.Options{})
//	…
//	defer l.Close()
//	_, err = l.CreateTopic(ctx, log.TopicSpec{Name: "clicks"})
//	tp := log.TopicPartition{Topic: "clicks", Partition: log.PartitionFor(key, 4)}
//	offset, err := log.AppendRecords(ctx, l, tp, log.Record{Timestamp: now, Key: key, Value: value})
//
//	r, err := l.OpenReader(tp, 0, log.ReaderOptions{})
//	…
//	defer r.Close()
//	for {
//		recs, err := r.Next(ctx) // valid until the next call
//		…
//	}
//
// Package log/cluster keeps a Log in a Kafka cluster, log/remote reaches the
// embedded log of another process, log/kafka serves one to Kafka clients, and
// log/logtest has disks that crash.
//
// # What is promised
//
//   - Append and Commit return when the records are durable under the sync
//     policy; by default (SyncGroup) they survive a power cut from there on.
//   - A Commit over many partitions is whole or absent, after any crash.
//   - No reader sees a record that can still vanish: the high watermark is the
//     end of what is durable.
//   - What is read is decided: a Reader stops at the last stable offset and
//     passes over what was aborted, unless it asks for more (Uncommitted).
//   - A batch of an idempotent producer is there once, however often it comes,
//     also after a crash (Produce).
//   - Records of one partition are read in the order of their offsets, and those
//     of one caller get theirs in the order of its calls.
//   - Stored bytes that are not what was written are reported with file and
//     position (ErrCorrupt), and nothing is cut for it.
//
// # Your duties
//
//  1. Close what you open: readers, members, the log. A log that was not closed
//     takes longer to open, and loses nothing.
//  2. What a Reader returns is valid until its next call: copy what you keep.
//  3. The bytes given to Append or Commit are the log's until it returns, and
//     offsets are written into them.
//  4. After an error of Commit other than ErrFenced or ErrClosed, the outcome may
//     be unknown: forget what you had not saved and read it back.
//  5. A producer that may have a double (a restarted task, a zombie) calls Fence
//     first and passes the epoch on: then only the younger one gets in.
//  6. ErrReadOnly is for good: a write or sync has failed, and the disk needs to
//     be seen to. ErrNoSpace goes away by itself when there is room.
//  7. The checksum of a batch is checked when it is appended (but for what
//     Builder.Write hands over, which has just been made); the records inside
//     are not. Who takes batches from strangers runs DecodeRecords first.
//
// # On disk
//
//	data/
//	  LOCK                     empty; locked by the process that has the log open
//	  format                   one number; a newer one is refused
//	  clean-shutdown           written last on Close, removed first on Open
//	  meta/meta.json           topics, configs, recovery points; replaced as a whole
//	  journal/<number>.journal the group-commit journal, shared by all partitions
//	  journal/ballast          given up when the disk is full
//	  topics/<topic>-<partition>/
//	    <base offset>.log        record batches, as Kafka's protocol carries them
//	    <base offset>.index      sparse: offset → position        derived
//	    <base offset>.timeindex  sparse: timestamp → offset       derived
//	    <base offset>.txnindex   aborted transactions             derived
//	    <offset>.snapshot        producers as of that offset      derived
//	    leader-epoch-checkpoint  where leader epochs begin        derived
//	    partition.metadata       the topic's id                   derived
//	  topics/<topic>-<partition>.<id>-delete/   a deleted topic, on its way out
//	  cut/                     copies of unacknowledged bytes that Open cut
//
// Everything goes through Options.FS, and every time through Options.Now.
//
// # A record batch
//
// The unit of append, checksum and fetch (batch.go, decode.go). Big-endian.
//
//	 0  base offset        8   ┐ set by the log, not under the checksum
//	 8  length             4   │ of what follows
//	12  leader epoch       4   ┘
//	16  magic              1   2
//	17  crc                4   CRC-32C from here to the end
//	21  attributes         2   bits 0-2 compression · 3 append time · 4 transactional · 5 control · 6 delete horizon
//	23  last offset delta  4
//	27  base timestamp     8   or the delete horizon
//	35  max timestamp      8
//	43  producer id        8   -1: none
//	51  producer epoch     2
//	53  base sequence      4
//	57  record count       4
//	61  records: length · attributes 1 · timestamp delta · offset delta · key · value · headers
//
// The end of a transaction is a control batch of one record (marker.go):
//
//	key    2  version 0          value  2  version 0
//	       2  0 abort, 1 commit         4  coordinator epoch
//
// # A journal file and its entries
//
// A file (journal.go) is a header of 64 bytes and entries, each padded to 8:
//
//	 0  "GRETEJNL" 8 · version 4 · sync mode 4 · number 8 · salt 8 · zero 28 · crc 4
//	64  entry, entry, …, zeros up to a multiple of 4096
//
// An entry (entry.go) is one atomic step, over any number of partitions:
//
//	 0  salt         8   of this use of the file: entries of an earlier use differ
//	 8  length       4
//	12  crc          4   CRC-32C from here to the end
//	16  sequence     8   one more than that of the entry before
//	24  synced       8   highest sequence known to be synced when this was written
//	32  append time  8
//	40  attempt      4   failed writes to this file before this one
//	44  part count   4
//	48  parts, 40 each: topic id 16 · partition 4 · kind 4 · base offset 8 · bytes 8
//	    batches of the parts, or references to batches (reference.go), in order
//
// # Why nothing acknowledged is lost
//
// An entry is written to the journal and the journal is synced: that is the
// acknowledgement. Only then are the same bytes written to the segments, without
// a sync, and shown to readers. So whatever a crash makes of the segments, the
// journal can write them again; and whatever a reader has seen is in the journal.
//
// Much data for one partition is written once (reference.go): the entry says where
// in the segment it will be, and is synced; then the batches are written there
// and synced too, with all of the partition that comes before; and that is the
// acknowledgement. A reference whose batches are not there is the end of the
// journal, as a torn entry is.
//
// A journal file is used again only after the segments that hold its bytes are
// synced, then their directories, then the recovery points in the meta
// (checkpoint.go). So between recovery point and end there is always a journal.
//
// Open reads first and judges (recovery.go): the journal ends at its first bad
// entry. If a later entry, the meta or a segment knows of anything beyond, the
// bad entry is not torn but damaged: Open refuses, and nothing is changed. Else
// it writes from the journal what the segments lack, cuts what nothing vouches
// for (and keeps a copy), syncs all of it, and only then gives up the journal. A
// crash in the middle of that begins it again: every step can be repeated.
//
// DESIGN.md has the states a crash can leave, the lock order, and the limits.
package log
