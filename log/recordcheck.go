package log

import (
	"fmt"
	"math"
	"runtime"
)

// InvalidRecordError is ErrInvalidRecord about some records of a batch.
type InvalidRecordError struct {
	Indexes []int  // in the batch, from 0; at least one
	Reason  string // what is wrong with them
}

func (e *InvalidRecordError) Error() string {
	if n := len(e.Indexes); n > 1 {
		return fmt.Sprintf("%v: record %d and %d more: %s", ErrInvalidRecord, e.Indexes[0], n-1, e.Reason)
	}
	return fmt.Sprintf("%v: record %d: %s", ErrInvalidRecord, e.Indexes[0], e.Reason)
}

func (e *InvalidRecordError) Unwrap() error { return ErrInvalidRecord }

// recordFacts are what a walk over the records of a batch finds out.
type recordFacts struct {
	keyless int // the first record without a key, or -1
	maxTime Timestamp
	minTime Timestamp // of those that have one
}

// checkRecords walks the records of a producer's batch, whose header and checksum
// are good, so that none gets in on which a consumer would choke: whole, with
// offsets from 0 without a gap, and nothing behind the last. It takes 5 ns a
// record, or else as long as the codec takes to unpack them.
func checkRecords(info *BatchInfo, batch []byte) (recordFacts, error) {
	body := batch[BatchHeaderSize:info.Size]
	c := info.Compression()
	if c == CompressionNone {
		return walkRecords(info, body)
	}
	u := <-unpacking
	defer func() {
		if cap(u) > maxUnpackKept {
			u = nil
		}
		unpacking <- u
	}()
	plain, err := c.decompress(u[:0], body, MaxDecompressedBytes)
	if err != nil {
		return recordFacts{}, fmt.Errorf("%w: %w", ErrInvalidRecord, err)
	}
	u = plain
	return walkRecords(info, plain)
}

// unpacking holds a buffer for each processor: no more batches are unpacked at a
// time, so that a flood of small requests that unpack to much takes the memory
// of few of them.
var unpacking = func() chan []byte {
	c := make(chan []byte, runtime.GOMAXPROCS(0))
	for range cap(c) {
		c <- nil
	}
	return c
}()

const maxUnpackKept = 4 << 20

func walkRecords(info *BatchInfo, body []byte) (recordFacts, error) {
	f := recordFacts{keyless: -1, minTime: math.MaxInt64, maxTime: math.MinInt64}
	if info.Count > len(body)/minRecordSize {
		return f, fmt.Errorf("%w: %d records in %d bytes", ErrInvalidRecord, info.Count, len(body))
	}
	bad := func(i int, reason string) (recordFacts, error) { return f, &InvalidRecordError{[]int{i}, reason} }
	var r Record
	p := 0
	for i := range info.Count {
		next, time, offset := decodeShort(&r, body, p)
		key := r.Key != nil
		if next == 0 {
			var wrong string
			if next, time, offset, key, wrong = walkLong(body, p); wrong != "" {
				return bad(i, wrong)
			}
		}
		if offset != int64(i) {
			return bad(i, fmt.Sprintf("offset delta %d, want %d", offset, i))
		}
		t := info.BaseTimestamp + Timestamp(time)
		if (t < info.BaseTimestamp) != (time < 0) {
			return bad(i, "its timestamp overflows")
		}
		f.maxTime = max(f.maxTime, t)
		if t != NoTimestamp {
			f.minTime = min(f.minTime, t)
		}
		if !key && f.keyless < 0 {
			f.keyless = i
		}
		p = next
	}
	if p != len(body) {
		return f, fmt.Errorf("%w: %d bytes after the last of %d records", ErrInvalidRecord, len(body)-p, info.Count)
	}
	return f, nil
}

// keylessError names all records of a good batch that have no key.
func keylessError(batch []byte) error {
	recs, err := DecodeRecords(nil, batch)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrInvalidRecord, err)
	}
	bad := &InvalidRecordError{Reason: "no key, which compaction needs"}
	for i := range recs {
		if recs[i].Key == nil {
			bad.Indexes = append(bad.Indexes, i)
		}
	}
	return bad
}

// walkLong walks over the record at body[p:], whatever it looks like. It returns
// where the next record begins, the deltas and whether there is a key, or what is
// wrong.
func walkLong(body []byte, p int) (next int, time, offset int64, key bool, bad string) {
	u, q := uvarint(body, p)
	size := unzigzag(u)
	if q < 0 || size < minRecordSize-1 || size > int64(len(body)-q) {
		return 0, 0, 0, false, "its length goes beyond the batch"
	}
	b := body[q : q+int(size)]
	next = q + int(size)
	u, q = uvarint(b, 1)
	if time = unzigzag(u); q < 0 {
		return 0, 0, 0, false, "bad timestamp"
	}
	u, q = uvarint(b, q)
	if offset = unzigzag(u); q < 0 {
		return 0, 0, 0, false, "bad offset"
	}
	if key, q = skipNullable(b, q); q < 0 {
		return 0, 0, 0, false, "bad key"
	}
	if _, q = skipNullable(b, q); q < 0 {
		return 0, 0, 0, false, "bad value"
	}
	if q = skipHeaders(b, q); q != len(b) {
		return 0, 0, 0, false, "bad headers"
	}
	return next, time, offset, key, ""
}

// skipNullable passes over a length and that many bytes at b[i:], and tells
// whether there were any, even none, instead of null. It returns the index after
// them, or -1.
func skipNullable(b []byte, i int) (present bool, next int) {
	u, i := uvarint(b, i)
	n := unzigzag(u)
	if i < 0 || n < -1 || n > int64(len(b)-i) {
		return false, -1
	}
	return n >= 0, i + int(max(n, 0))
}

// skipHeaders passes over the header count and the headers at b[i:].
func skipHeaders(b []byte, i int) int {
	u, i := uvarint(b, i)
	n := unzigzag(u)
	if i < 0 || n < 0 || n > int64(len(b)-i)/2 {
		return -1
	}
	for range n {
		var present bool
		if present, i = skipNullable(b, i); i < 0 || !present {
			return -1
		}
		if _, i = skipNullable(b, i); i < 0 {
			return -1
		}
	}
	return i
}

// correctMaxTime gives a batch the largest timestamp of its records, by which
// they are searched and kept, if its producer has claimed another.
func correctMaxTime(info *BatchInfo, batch []byte, t Timestamp) {
	if info.MaxTimestamp == t {
		return
	}
	info.MaxTimestamp = t
	setMaxTime(batch[:info.Size], t)
}
