package log

import (
	"context"
	"sync"
)

// builders lends AppendRecords its buffers; AppendRecords gives them back.
var builders = sync.Pool{New: func() any { return new(Builder) }}

// AppendRecords encodes records and appends them to one partition of l. Their
// Offset fields are ignored. It returns the offset of the first.
func AppendRecords(ctx context.Context, l Log, tp TopicPartition, recs ...Record) (Offset, error) {
	b := builders.Get().(*Builder)
	defer builders.Put(b)
	b.Reset()
	for i := range recs {
		r := &recs[i]
		b.Append(r.Timestamp, r.Key, r.Value, r.Headers...)
	}
	return l.Append(ctx, tp, b.Bytes())
}
