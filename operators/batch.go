package operators

import "github.com/gretestream/grete/log"

// batchRecords is how many records a source cuts its input into at most. The
// columns of a batch stay in the second-level cache, and what is done once per
// batch costs less than a tenth of a nanosecond per record.
const batchRecords = 512

// Batch is some records in columns, all of one length, in the order in which
// they count. Only authors of Processors meet it.
//
// It is valid during the call that hands it over and must not be changed: the
// steps behind a fork share columns, and a step that leaves a column as it is
// hands on the very slice it got.
type Batch[K, V any] struct {
	Keys   []K     // meaningful only where a step behind reads keys and NullKey is not set
	Values []V     // meaningful only where a step behind reads values and NullValue is not set
	Times  []int64 // event times in ms since 1970 UTC
	Flags  []uint8 // NullKey, NullValue
	Rows   []int32 // the record that it came from, as an index into the source's batch; -1: none

	src *rows // what Rows points into; nil if the records are results of a window
}

// Flags of a record.
const (
	NullKey   uint8 = 1 << iota // the record has no key; Keys holds the zero value
	NullValue                   // the record has no value (a tombstone); Values holds the zero value
)

// Len is the number of records.
func (b *Batch[K, V]) Len() int { return len(b.Times) }

// rows is the batch that records come from: their origin, bytes and headers.
type rows struct {
	input   int
	topic   string
	onError OnError
	records []log.Record
}

// cut makes b the records [from, to) of a, without copying.
func (b *Batch[K, V]) cut(a *Batch[K, V], from, to int) {
	b.Keys, b.Values = a.Keys[from:to], a.Values[from:to]
	b.Times, b.Flags, b.Rows = a.Times[from:to], a.Flags[from:to], a.Rows[from:to]
	b.src = a.src
}

// clear empties b and keeps its columns for new records from src.
func (b *Batch[K, V]) clear(src *rows) {
	b.Keys, b.Values = b.Keys[:0], b.Values[:0]
	b.Times, b.Flags, b.Rows = b.Times[:0], b.Flags[:0], b.Rows[:0]
	b.src = src
}

// add appends record i of a.
func (b *Batch[K, V]) add(a *Batch[K, V], i int) {
	b.Keys = append(b.Keys, a.Keys[i])
	b.Values = append(b.Values, a.Values[i])
	b.Times = append(b.Times, a.Times[i])
	b.Flags = append(b.Flags, a.Flags[i])
	b.Rows = append(b.Rows, a.Rows[i])
}

// put appends a record that no source record stands for.
func (b *Batch[K, V]) put(key K, value V, t int64, flags uint8, row int32) {
	b.Keys = append(b.Keys, key)
	b.Values = append(b.Values, value)
	b.Times = append(b.Times, t)
	b.Flags = append(b.Flags, flags)
	b.Rows = append(b.Rows, row)
}

// without makes b the records of a whose indices are not in bad, which is
// sorted.
func (b *Batch[K, V]) without(a *Batch[K, V], bad []int32) {
	b.clear(a.src)
	for i := range a.Times {
		if len(bad) > 0 && int(bad[0]) == i {
			bad = bad[1:]
			continue
		}
		b.add(a, i)
	}
}

// origin returns the record that record i came from, or nil.
func (b *Batch[K, V]) origin(i int) *log.Record {
	if b.src == nil || b.Rows[i] < 0 {
		return nil
	}
	return &b.src.records[b.Rows[i]]
}

// column returns s with length n, in new memory only if it does not fit. Old
// elements stay what they were.
func column[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n, max(n, batchRecords))
	}
	return s[:n]
}
