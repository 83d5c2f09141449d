package cluster

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/gretestream/grete/log"
)

// abortedTxn is a transaction whose records are not to be read: those of the
// producer from the offset on, up to the control batch that ends it.
type abortedTxn struct {
	producer int64
	first    log.Offset
}

// wholeBatches cuts off the batch at the end that did not fit into the answer,
// and tells the offset behind the others.
func wholeBatches(b []byte) (whole []byte, next log.Offset, err error) {
	at := 0
	for len(b)-at >= log.BatchHeaderSize {
		size := int64(int32(binary.BigEndian.Uint32(b[at+8:]))) + 12
		if size > int64(len(b)-at) {
			break
		}
		info, err := log.ParseBatch(b[at:])
		if err != nil {
			if at > 0 {
				break // the next fetch begins with the bad one
			}
			return nil, 0, fmt.Errorf("batch at byte %d of the answer: %w", at, err)
		}
		next = info.NextOffset()
		at += info.Size
	}
	return b[:at], next, nil
}

// decoding is a chunk whose batches become records.
type decoding struct {
	rest    []byte
	aborted []abortedTxn
	next    log.Offset // position behind the chunk
	skipped int64      // batches of aborted transactions
}

// decode appends the records from an offset on. Those of aborted transactions and
// control batches are passed over. After an error what comes before is returned.
func (d *decoding) decode(dst []log.Record, from log.Offset) ([]log.Record, error) {
	slices.SortFunc(d.aborted, func(a, b abortedTxn) int { return cmp.Compare(a.first, b.first) })
	open := map[int64]bool{} // producers whose records are being passed over
	for len(d.rest) > 0 {
		info, err := log.ParseBatch(d.rest)
		if err != nil {
			return dst, err
		}
		batch := d.rest[:info.Size]
		d.rest = d.rest[info.Size:]
		for len(d.aborted) > 0 && d.aborted[0].first <= info.LastOffset() {
			open[d.aborted[0].producer] = true
			d.aborted = d.aborted[1:]
		}
		switch {
		case info.NextOffset() <= from:
		case info.IsControl():
			if aborts(batch) {
				delete(open, info.ProducerID)
			}
		case info.IsTransactional() && open[info.ProducerID]:
			d.skipped++
		default:
			if dst, err = log.DecodeRecords(dst, batch); err != nil {
				return dst, err
			}
		}
	}
	i := 0
	for i < len(dst) && dst[i].Offset < from { // the middle of a batch
		i++
	}
	return dst[i:], nil
}

// aborts tells whether a control batch ends a transaction by an abort. Its one
// record has a key of version (2 bytes) and type (2): 0 abort, 1 commit.
func aborts(batch []byte) bool {
	b := batch[log.BatchHeaderSize:]
	skip := func() int64 {
		v, n := binary.Varint(b)
		if n <= 0 {
			b = nil
			return -1
		}
		b = b[n:]
		return v
	}
	skip() // length
	if len(b) == 0 {
		return false
	}
	b = b[1:] // attributes
	skip()    // timestamp
	skip()    // offset
	if n := skip(); n < 4 || int64(len(b)) < n {
		return false
	}
	return binary.BigEndian.Uint16(b[2:]) == 0
}
