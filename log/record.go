package log

import (
	"fmt"
	"strconv"
	"time"
)

// Offset is the position of a record in its partition: from 0, never reused.
type Offset int64

func (o Offset) String() string { return strconv.FormatInt(int64(o), 10) }

// Timestamp is a point in time in milliseconds since 1970-01-01 UTC.
type Timestamp int64

// NoTimestamp stands for the absence of a timestamp, as in Kafka.
const NoTimestamp Timestamp = -1

// TimestampOf rounds t down to a Timestamp.
func TimestampOf(t time.Time) Timestamp { return Timestamp(t.UnixMilli()) }

// Time returns the timestamp in UTC.
func (t Timestamp) Time() time.Time { return time.UnixMilli(int64(t)).UTC() }

func (t Timestamp) String() string { return t.Time().Format("2006-01-02T15:04:05.999Z07:00") }

// Epoch counts the lives of a producer; a higher one fences the lower.
type Epoch int64

// TopicID identifies a topic for ever: a topic created again under the same
// name has another. Its text form is that of Kafka, URL-safe base64.
type TopicID [16]byte

// TopicPartition names a partition.
type TopicPartition struct {
	Topic     string
	Partition int32
}

// String is "topic-partition", as Kafka writes it.
func (tp TopicPartition) String() string { return fmt.Sprintf("%s-%d", tp.Topic, tp.Partition) }

// Record is one record of a partition. A nil Key or Value is null; an empty one
// is empty. The bytes belong to whoever returned the record.
type Record struct {
	Offset    Offset
	Timestamp Timestamp
	Key       []byte
	Value     []byte // nil: a tombstone
	Headers   []Header
}

// IsTombstone tells whether the record says that its key is gone.
func (r *Record) IsTombstone() bool { return r.Value == nil }

// Header is a name and bytes that travel with a record.
type Header struct {
	Key   string
	Value []byte // nil is null
}
