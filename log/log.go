package log

import (
	"context"
	"io"
	"time"
)

// Log is a set of topics, each cut into partitions: the one seam between the
// engine and what keeps its records. Two kinds exist: the embedded log in a
// directory (Open), and a Log kept by a Kafka cluster (package log/cluster).
// Package log/remote reaches the embedded log of another process.
//
// Every method may be called from any goroutine. A method that waits ends with
// ctx.Err() when its context ends; the work itself may then still take effect,
// as with any request whose answer was lost.
type Log interface {
	// ClusterID names this log for ever. State that was built from another
	// log is recognised by it.
	ClusterID() string

	// CreateTopic makes a topic. It returns ErrTopicExists if the name is taken.
	CreateTopic(ctx context.Context, spec TopicSpec) (Topic, error)
	// Topic describes one topic. It returns ErrUnknownTopic if there is none.
	Topic(ctx context.Context, name string) (Topic, error)
	// Topics describes all topics, ordered by name.
	Topics(ctx context.Context) ([]Topic, error)
	// AlterTopic changes configs by Kafka's names; a nil value goes back to
	// the default.
	AlterTopic(ctx context.Context, name string, configs map[string]*string) (Topic, error)
	// DeleteTopic removes a topic and its records.
	DeleteTopic(ctx context.Context, name string) error

	// Bounds tells which offsets of a partition can be read.
	Bounds(ctx context.Context, tp TopicPartition) (Bounds, error)
	// OffsetFor returns the offset and timestamp of the first record whose
	// timestamp is t or later; the end offset and NoTimestamp if there is none.
	OffsetFor(ctx context.Context, tp TopicPartition, t Timestamp) (Offset, Timestamp, error)
	// DeleteRecords raises the start offset of a partition to before. Space is
	// given back in whole segments, later.
	DeleteRecords(ctx context.Context, tp TopicPartition, before Offset) error

	// OpenReader reads a partition from an offset on.
	OpenReader(tp TopicPartition, from Offset, opts ReaderOptions) (Reader, error)

	// Append adds encoded record batches (see Builder) to one partition, waits
	// until they are durable under the sync policy, and returns the offset of
	// the first record. Base offsets inside batches are overwritten in place;
	// the caller gets the slice back when Append returns.
	Append(ctx context.Context, tp TopicPartition, batches []byte) (Offset, error)

	// Fence starts a new epoch for a producer: a Commit of that producer under
	// any lower epoch fails from now on with ErrFenced.
	Fence(ctx context.Context, producer string) (Epoch, error)

	// Commit makes all of its writes and offsets durable and visible together,
	// or none of them. It returns the offset of the first record of each write,
	// in order. After an error other than ErrFenced or ErrClosed the outcome may
	// be unknown: the caller forgets its unsaved state and reads it back.
	Commit(ctx context.Context, c *Commit) ([]Offset, error)

	// Committed returns a group's committed offsets: all of them, or those
	// asked for. Partitions without one are absent.
	Committed(ctx context.Context, group string, tps ...TopicPartition) (map[TopicPartition]GroupOffset, error)

	// Join makes the caller a member of a group that shares out the partitions
	// of some topics, and keeps it one until the Member is closed.
	Join(ctx context.Context, spec GroupSpec) (Member, error)

	io.Closer
}

// PartitionAdder is a Log whose topics can get more partitions.
type PartitionAdder interface {
	// AddPartitions raises the number of partitions of a topic to n.
	AddPartitions(ctx context.Context, name string, n int) (Topic, error)
}

// Exporter is a Log whose topics can be copied into Kafka's files.
type Exporter interface {
	// Export copies a topic into a directory of the machine that the log is on.
	Export(ctx context.Context, topic, dir string) error
}

// Commit is one atomic step of a producer.
type Commit struct {
	// Producer and Epoch fence the step; an empty Producer is not fenced.
	Producer string
	Epoch    Epoch

	// Writes holds at most one entry per partition.
	Writes []Write

	// Markers end Kafka transactions. Those of partitions that are no more are
	// passed over: what they would mark is gone. Only an embedded log takes them.
	Markers []Marker

	// Group and Offsets are what was consumed to make this step. That of a topic or
	// partition that is not there is ErrUnknownTopic or ErrUnknownPartition.
	Group   string
	Offsets []GroupOffset

	// AtLeastOnce gives up the step's being whole after a crash, where that
	// saves something: all writes but the last are made durable first, in any
	// order, and then the last one, which says how far the producer has come,
	// with the offsets. A log to which a whole step costs nothing makes one.
	AtLeastOnce bool
}

// Write is encoded record batches for one partition. Base offsets inside are
// overwritten in place when the Commit is made; the slice belongs to the Log
// until Commit returns.
type Write struct {
	TopicPartition
	Batches []byte

	// sealed is Batches as Builder.Write gave them: who puts others in their
	// place has them checked.
	sealed []byte
}

// isSealed tells that the batches are those of a Builder of this process, which
// has just made their checksums: to make them again would prove nothing.
func (w *Write) isSealed() bool {
	return len(w.Batches) > 0 && len(w.sealed) == len(w.Batches) && &w.sealed[0] == &w.Batches[0]
}

// Marker ends the transaction of a producer in one partition: a control batch
// as Kafka writes it. In the partition of the internal topic of committed
// offsets it decides about those that CommitTxnOffsets left pending.
type Marker struct {
	TopicPartition
	ProducerID       int64
	ProducerEpoch    int16
	CoordinatorEpoch int32
	Commit           bool // or else abort
}

// GroupOffset is the offset that a group reads next from a partition.
type GroupOffset struct {
	TopicPartition
	Offset      Offset
	LeaderEpoch int32     // of the record before Offset; -1: not known
	Metadata    string    // free text of the committer, at most 4096 bytes
	CommitTime  Timestamp // 0 in a Commit: the time of the commit
	// TopicID is, in a Commit, the topic that is meant, so that it is never one that
	// was made again under the name. Zero, and all else: whichever has the name.
	// Only an embedded log heeds it.
	TopicID TopicID
}

// GroupSpec is how a member joins a group.
type GroupSpec struct {
	Group  string
	Topics []string
}

// Member is one member of a group. Its partitions change while it lives.
//
// A partition that a member is to give up leaves its assignment first, and gets
// into that of another once the member has said that it has let go of it
// (Release), has been closed, or is taken for dead. So two members work on one
// partition only where one of them was taken for dead and is not: fencing
// (Log.Fence) keeps its work out.
type Member interface {
	// Assignment returns the partitions that are the member's now and a channel
	// that is closed as soon as they change.
	Assignment() (tps []TopicPartition, changed <-chan struct{})
	// Release tells that the member no longer works on partitions that have left
	// its assignment. Those that it holds, or never had, are left alone.
	Release(tps ...TopicPartition)
	// Close leaves the group and gives up all partitions at once.
	io.Closer
}

// Bounds are the offsets of a partition that can be read.
// Invariant: 0 <= Start <= Stable <= End.
type Bounds struct {
	Start  Offset // first record that is kept
	Stable Offset // exclusive: the last stable offset, the first of the oldest open transaction; or End
	End    Offset // exclusive: the high watermark, the end of what is durable and visible
}

// TopicSpec is what a new topic shall be.
type TopicSpec struct {
	Name       string
	Partitions int               // 0: the log's default
	Configs    map[string]string // by Kafka's names; unknown names are refused
	Internal   bool              // the log's or its server's own, hidden from users
}

// Topic describes a topic.
type Topic struct {
	Name       string
	ID         TopicID
	Partitions int
	Configs    map[string]string // only what differs from the defaults
	Internal   bool              // the log's or its server's own, such as the committed offsets
}

// Reader reads one partition in offset order, at its caller's pace. It is owned
// by one goroutine.
//
// Unless it was opened Uncommitted, it returns nothing of a transaction before
// that has ended, and nothing at all of one that was aborted: it stops at
// Bounds.Stable.
type Reader interface {
	// Poll returns the next records that are at hand, or none: the reader stands
	// at the end of what it may read, or what comes next is still on its way here.
	// The records and all they point to stop being valid at the next Poll, Next,
	// Seek or Close. It returns ErrOffsetOutOfRange if the position lies outside of
	// the bounds.
	//
	// A record whose Offset is below the position (the middle of a batch) is
	// never returned.
	Poll() ([]Record, error)
	// Next is Poll that waits: for at least one record, or for the position to
	// move over offsets that hold none, such as the end of a transaction. So
	// whoever reads up to an offset calls it until Position has got there.
	Next(ctx context.Context) ([]Record, error)
	// Position is the offset of the next record to be returned.
	Position() Offset
	// End is the end of what the reader may read, as last seen: Bounds.Stable,
	// or Bounds.End if it was opened Uncommitted.
	End() Offset
	// Seek moves the position.
	Seek(Offset) error
	io.Closer
}

// ReaderOptions tune a Reader. The zero value is useful.
type ReaderOptions struct {
	// MaxBytes bounds what one Poll reads from the disk, in bytes of encoded
	// batches; a single larger batch is returned all the same.
	// Default: 256 KiB.
	MaxBytes int
	// Wake, if set, gets a token (never blocking: a full channel is left alone)
	// when records may have become readable after a Poll that returned none, so
	// that one goroutine can wait for many readers. Give it a buffer of one.
	Wake chan<- struct{}
	// Uncommitted reads up to the high watermark, aborted records and those of
	// open transactions included.
	Uncommitted bool
}

// SyncPolicy says what an acknowledgement means.
type SyncPolicy struct {
	Mode  SyncMode
	Every time.Duration // of SyncInterval
}

// SyncMode is the kind of a SyncPolicy.
type SyncMode uint8

const (
	SyncGroup    SyncMode = iota // acknowledged when synced; syncs are shared
	SyncInterval                 // acknowledged when written; synced every so often
	SyncNone                     // acknowledged when written; synced when the OS does
)
