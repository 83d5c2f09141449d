package jobtest

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/gretestream/grete/engine/query"
	"github.com/gretestream/grete/log"
	"github.com/gretestream/grete/log/logtest"
	op "github.com/gretestream/grete/operators"
)

// Send appends one record to a topic, which is made if there is none, with the
// timestamp at, and lets the job process it: records that are sent one after the
// other are processed one after the other, through all stages. An empty key of a String or Bytes topic is a null key, as of
// records without one. A clock that stands before at is moved there, unless
// Options.HoldClock is set.
func Send[K, V any](jt *Run, topic op.Topic[K, V], key K, value V, at time.Time) {
	jt.t.Helper()
	encoded, err := topic.Value.Append([]byte{}, value)
	if err != nil {
		jt.t.Fatalf("send to %s: encode the value: %v", topic.Name, err)
	}
	jt.Append(topic.Name, log.Record{Timestamp: log.TimestampOf(at), Key: encodeKey(jt, topic, key), Value: encoded})
}

// Delete appends a tombstone: a record with a null value.
func Delete[K, V any](jt *Run, topic op.Topic[K, V], key K, at time.Time) {
	jt.t.Helper()
	jt.Append(topic.Name, log.Record{Timestamp: log.TimestampOf(at), Key: encodeKey(jt, topic, key)})
}

func encodeKey[K, V any](jt *Run, topic op.Topic[K, V], key K) []byte {
	jt.t.Helper()
	encoded, err := topic.Key.Append(nil, key)
	if err != nil {
		jt.t.Fatalf("send to %s: encode the key: %v", topic.Name, err)
	}
	if len(encoded) == 0 {
		return nil
	}
	return encoded
}

// Append appends records as they are, all at the same moment, each to the
// partition of its key; null keys go to partition 0. Then it lets the job process
// them.
func (jt *Run) Append(topic string, recs ...log.Record) {
	jt.t.Helper()
	builders := make([]log.Builder, jt.partitions(topic))
	for i := range recs {
		r := &recs[i]
		p := int32(0)
		if r.Key != nil {
			p = log.PartitionFor(r.Key, len(builders))
		}
		if !jt.opts.HoldClock {
			jt.clock.move(r.Timestamp.Time())
		}
		builders[p].Append(r.Timestamp, r.Key, r.Value, r.Headers...)
	}
	var c log.Commit
	for p := range builders {
		if builders[p].Len() > 0 {
			c.Writes = append(c.Writes, log.Write{
				TopicPartition: log.TopicPartition{Topic: topic, Partition: int32(p)}, Batches: builders[p].Bytes()})
		}
	}
	if _, err := jt.log.Commit(context.Background(), &c); err != nil {
		jt.t.Fatalf("append to %s: %v", topic, err)
	}
	jt.settle()
}

// partitions is the partition count of a topic, which is made if there is none.
func (jt *Run) partitions(topic string) int {
	jt.t.Helper()
	ctx := context.Background()
	info, err := jt.log.Topic(ctx, topic)
	if errors.Is(err, log.ErrUnknownTopic) {
		info, err = jt.log.CreateTopic(ctx, log.TopicSpec{Name: topic, Partitions: jt.opts.Partitions})
	}
	if err != nil {
		jt.t.Fatalf("topic %s: %v", topic, err)
	}
	return info.Partitions
}

// Read returns the records of a topic that have come since the last Read of it,
// partition by partition. Tombstones have the zero Value: Records tells them
// apart.
func Read[K, V any](jt *Run, topic op.Topic[K, V]) []op.Record[K, V] {
	jt.t.Helper()
	var out []op.Record[K, V]
	for _, r := range jt.Records(topic.Name) {
		rec := op.Record[K, V]{Time: r.Timestamp.Time(), NullKey: r.Key == nil}
		if r.Key != nil {
			if err := topic.Key.Decode(&rec.Key, r.Key, nil); err != nil {
				jt.t.Fatalf("read %s: record %v: key: %v", topic.Name, r.Offset, err)
			}
		}
		if r.Value != nil {
			if err := topic.Value.Decode(&rec.Value, r.Value, nil); err != nil {
				jt.t.Fatalf("read %s: record %v: value: %v", topic.Name, r.Offset, err)
			}
		}
		out = append(out, rec)
	}
	return out
}

// Records is Read for records as they are stored. There are none in a topic
// that does not exist.
func (jt *Run) Records(topic string) []log.Record {
	jt.t.Helper()
	jt.settle()
	info, err := jt.log.Topic(context.Background(), topic)
	if errors.Is(err, log.ErrUnknownTopic) {
		return nil
	}
	if err != nil {
		jt.t.Fatalf("topic %s: %v", topic, err)
	}
	var out []log.Record
	for p := range int32(info.Partitions) {
		tp := log.TopicPartition{Topic: topic, Partition: p}
		for _, r := range logtest.ReadAll(jt.t, jt.log, tp) {
			if r.Offset >= jt.read[tp] {
				jt.read[tp] = r.Offset + 1
				out = append(out, r)
			}
		}
	}
	return out
}

// DeadLetters returns the records that could not be handled and have been set
// aside since the last call. Their headers tell origin, operator and error.
func (jt *Run) DeadLetters() []log.Record {
	jt.t.Helper()
	return jt.Records(jt.container.Plan().DeadLetters)
}

// Rows returns what a store holds, as a query would: ordered by the start of the
// window, then key bytes. Row.Key and Row.Value have the types of the store.
func (jt *Run) Rows(store string) []op.Row {
	jt.t.Helper()
	jt.settle()
	ctx := context.Background()
	a, err := query.Open(ctx, jt.container, jt.log, query.Query{Store: store})
	if err != nil {
		jt.t.Fatalf("query %s: %v", store, err)
	}
	var rows []op.Row
	err = a.Rows(ctx, func(r *op.Row) error {
		rows = append(rows, cloneRow(r))
		return nil
	})
	if err := errors.Join(err, a.Close()); err != nil {
		jt.t.Fatalf("query %s: %v", store, err)
	}
	return rows
}

// cloneRow makes a row outlive the snapshot that it came from.
func cloneRow(r *op.Row) op.Row {
	c := *r
	c.RawKey = bytes.Clone(r.RawKey)
	c.Key, c.Value = cloneValue(r.Key), cloneValue(r.Value)
	return c
}

func cloneValue(v any) any {
	switch v := v.(type) {
	case string:
		return strings.Clone(v)
	case []byte:
		return slices.Clone(v)
	}
	return v
}
