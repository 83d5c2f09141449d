package log

import (
	"fmt"
	"math"
)

// A record in a batch; all integers but the attributes are zigzag varints.
//
//	length          of everything after this field
//	attributes    1 unused
//	timestamp delta to the batch's base timestamp
//	offset delta    to the batch's base offset
//	key length      -1: null
//	key
//	value length    -1: null
//	value
//	header count
//	  key length, key, value length (-1: null), value   for each

const (
	// MaxDecompressedBytes bounds what the records of one compressed batch may
	// unpack to, so that a small request cannot take all memory.
	MaxDecompressedBytes = 128 << 20

	// minRecordSize is what a record takes up at least: it bounds the record
	// count that a header may claim.
	minRecordSize = 7

	maxInternedNames = 256
)

// decoder turns batches into records. It owns what the records point to beside
// the batches themselves, and reuses all of it after reset.
type decoder struct {
	headers []Header          // slab: records hold sub-slices of it
	names   map[string]string // header names seen; few and repeated
	plain   []byte            // unpacked records of compressed batches
}

// reset makes all records decoded so far invalid.
func (d *decoder) reset() {
	d.headers = d.headers[:0]
	d.plain = d.plain[:0]
}

// DecodeRecords appends the records of a run of batches to dst. Keys and values
// alias batches. Control batches are passed over. Checksums are checked.
func DecodeRecords(dst []Record, batches []byte) ([]Record, error) {
	var d decoder
	for pos := 0; pos < len(batches); {
		info, err := CheckBatch(batches[pos:])
		if err == nil {
			dst, err = d.decodeBatch(dst, &info, batches[pos:pos+info.Size])
		}
		if err != nil {
			return dst, fmt.Errorf("batch at byte %d: %w", pos, err)
		}
		pos += info.Size
	}
	return dst, nil
}

// decodeBatch appends the records of one batch, whose header is info and whose
// checksum has been checked, to dst. A control batch has none. Keys and values
// alias the batch or, when it is compressed, the decoder.
func (d *decoder) decodeBatch(dst []Record, info *BatchInfo, batch []byte) ([]Record, error) {
	if info.IsControl() {
		return dst, nil
	}
	body := batch[BatchHeaderSize:info.Size]
	if c := info.Compression(); c != CompressionNone {
		from := len(d.plain)
		plain, err := c.decompress(d.plain, body, MaxDecompressedBytes)
		if err != nil {
			return dst, err
		}
		d.plain = plain
		body = plain[from:]
	}
	if info.Count > len(body)/minRecordSize {
		return dst, fmt.Errorf("%w: %d records in %d bytes", ErrInvalidBatch, info.Count, len(body))
	}

	n := len(dst)
	dst = growRecords(dst, info.Count)
	last := int64(-1)
	appendTime := info.IsAppendTime()
	p := 0
	for i := range info.Count {
		r := &dst[n+i]
		next, time, offset := decodeShort(r, body, p)
		if next == 0 {
			var bad string
			if next, time, offset, bad = d.decodeLong(r, body, p); bad != "" {
				return dst[:n], badRecord(i, bad, p)
			}
		}
		if offset <= last || offset > int64(info.LastOffsetDelta) {
			return dst[:n], badRecord(i, "offset", p)
		}
		p, last = next, offset
		r.Offset = info.BaseOffset + Offset(offset)
		r.Timestamp = info.BaseTimestamp + Timestamp(time)
		if appendTime {
			r.Timestamp = info.MaxTimestamp
		}
	}
	if p != len(body) {
		return dst[:n], fmt.Errorf("%w: %d bytes after the last record", ErrInvalidBatch, len(body)-p)
	}
	return dst, nil
}

// decodeLong reads key, value and headers of the record at body[p:], whatever it
// looks like. It returns where the next record begins, and the deltas, or which
// field is bad.
func (d *decoder) decodeLong(r *Record, body []byte, p int) (next int, time, offset int64, bad string) {
	u, q := uvarint(body, p)
	size := unzigzag(u)
	if q < 0 || size < minRecordSize-1 || size > int64(len(body)-q) {
		return 0, 0, 0, "length"
	}
	b := body[q : q+int(size)]
	next = q + int(size)

	u, q = uvarint(b, 1)
	time = unzigzag(u)
	if q < 0 {
		return 0, 0, 0, "timestamp"
	}
	u, q = uvarint(b, q)
	offset = unzigzag(u)
	if q < 0 {
		return 0, 0, 0, "offset"
	}
	if r.Key, q = nullableBytes(b, q); q < 0 {
		return 0, 0, 0, "key"
	}
	if r.Value, q = nullableBytes(b, q); q < 0 {
		return 0, 0, 0, "value"
	}
	r.Headers = nil
	if q == len(b)-1 && b[q] == 0 {
		return next, time, offset, ""
	}
	if r.Headers, q = d.decodeHeaders(b, q); q != len(b) {
		return 0, 0, 0, "headers"
	}
	return next, time, offset, ""
}

// decodeShort reads key and value of the record at b[p:] if it is as nearly all
// are: every integer a byte or two, and no headers. It returns where the next
// record begins, and the deltas; 0: it has to be read the long way, which takes
// half as much again and also knows what is wrong with it.
func decodeShort(r *Record, b []byte, p int) (next int, time, offset int64) {
	if p > len(b)-minRecordSize {
		return 0, 0, 0
	}
	size, q := uvarintShort(b, p)
	end := q + int(size>>1)
	if size&1 != 0 || size >= 1<<14 || end > len(b) || q > end-(minRecordSize-1) {
		return 0, 0, 0
	}
	b = b[:end]
	t, q := uvarintShort(b, q+1)
	o, q := uvarintShort(b, q)
	if t|o >= 1<<14 || q > end-3 {
		return 0, 0, 0
	}
	u, q := uvarintShort(b, q)
	r.Key = nil
	if u != 1 {
		v := q + int(u>>1)
		if u&1 != 0 || u >= 1<<14 || v > end-2 {
			return 0, 0, 0
		}
		r.Key = b[q:v:v]
		q = v
	}
	if q > end-2 {
		return 0, 0, 0
	}
	u, q = uvarintShort(b, q)
	r.Value = nil
	if u != 1 {
		v := q + int(u>>1)
		if u&1 != 0 || u >= 1<<14 || v != end-1 {
			return 0, 0, 0
		}
		r.Value = b[q:v:v]
		q = v
	}
	if q != end-1 || b[q] != 0 {
		return 0, 0, 0
	}
	r.Headers = nil
	return end, unzigzag(t), unzigzag(o)
}

// growRecords lengthens dst by n. The new records hold whatever they held.
func growRecords(dst []Record, n int) []Record {
	if need := len(dst) + n; need <= cap(dst) {
		return dst[:need]
	}
	grown := make([]Record, len(dst)+n, max(len(dst)+n, 2*cap(dst)))
	copy(grown, dst)
	return grown
}

func badRecord(i int, field string, pos int) error {
	return fmt.Errorf("%w: record %d: bad %s near byte %d of the records", ErrInvalidBatch, i, field, pos)
}

// nullableBytes reads a length and that many bytes at b[i:]. It returns the
// index after them, or -1.
func nullableBytes(b []byte, i int) ([]byte, int) {
	u, i := uvarint(b, i)
	if i < 0 {
		return nil, -1
	}
	n := unzigzag(u)
	if n < 0 {
		if n == -1 {
			return nil, i
		}
		return nil, -1
	}
	if n > int64(len(b)-i) {
		return nil, -1
	}
	end := i + int(n)
	return b[i:end:end], end
}

// decodeHeaders reads the header count and the headers at b[i:] into the slab.
func (d *decoder) decodeHeaders(b []byte, i int) ([]Header, int) {
	u, i := uvarint(b, i)
	n := unzigzag(u)
	if i < 0 || n < 0 || n > math.MaxInt32 || int(n) > (len(b)-i)/2 {
		return nil, -1
	}
	from := len(d.headers)
	for range n {
		var key, value []byte
		if key, i = nullableBytes(b, i); i < 0 || key == nil {
			return nil, -1
		}
		if value, i = nullableBytes(b, i); i < 0 {
			return nil, -1
		}
		d.headers = append(d.headers, Header{Key: d.intern(key), Value: value})
	}
	return d.headers[from:len(d.headers):len(d.headers)], i
}

// intern returns name as a string. Names repeat, so almost none is allocated;
// a string that aliased the batch would change under its holder's feet.
func (d *decoder) intern(name []byte) string {
	if s, ok := d.names[string(name)]; ok {
		return s
	}
	if d.names == nil || len(d.names) >= maxInternedNames {
		d.names = make(map[string]string, 8)
	}
	s := string(name)
	d.names[s] = s
	return s
}
