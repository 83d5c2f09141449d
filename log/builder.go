package log

import (
	"encoding/binary"
	"hash/crc32"
	"math"
	"slices"
)

// DefaultBatchBytes is where a Builder closes a batch unless told otherwise. It
// keeps below Kafka's default max.message.bytes of 1,048,588.
const DefaultBatchBytes = 1<<20 - 1<<10

// Builder encodes records into Kafka RecordBatch v2 bytes for one partition. It
// is reused: Reset keeps the buffers. Not for concurrent use.
//
// A batch is closed and the next one begun when it reaches MaxBatchBytes, so
// Bytes may hold several. Each byte is taken into the checksum once, soon after
// it was written; base offset and leader epoch lie outside of it, so the log sets
// them without touching the rest.
type Builder struct {
	// MaxBatchBytes bounds one batch, in bytes, header included. A single
	// larger record makes a batch of its own. Default: DefaultBatchBytes.
	MaxBatchBytes int

	buf   []byte
	total int // records since Reset

	// The open batch, if any: from start to the end of buf.
	open     bool
	start    int
	limit    int // where it is closed
	count    int
	baseTime Timestamp
	maxTime  Timestamp
	crc      uint32 // of the records up to summed
	summed   int
}

// sumBytes is how much is encoded before it is taken into the checksum: while
// it is in the first-level cache.
const sumBytes = 8 << 10

// Append adds one record. Nil key and value are null. The bytes are copied.
func (b *Builder) Append(t Timestamp, key, value []byte, headers ...Header) {
	if !b.open {
		b.begin(t)
	}
	ut, uo, uk, uv := zigzag(int64(t-b.baseTime)), uint64(b.count)<<1, zigzagLen(key), zigzagLen(value)
	// Nearly always these take a byte or two each, and there are no headers:
	// then the record is put together without branches, in half of the time.
	i, size, end := len(b.buf), 0, 0
	short := ut|uo|uk|uv < 1<<14 && len(headers) == 0 && len(key)+len(value) < 1<<12
	if short {
		size = 6 + int(shortBit(ut)+shortBit(uo)+shortBit(uk)+shortBit(uv)) + len(key) + len(value)
		end = i + 1 + int(shortBit(uint64(size)<<1)) + size
	} else {
		size = recordSize(int64(t-b.baseTime), int64(b.count), key, value, headers)
		end = i + varintSize(zigzag(int64(size))) + size
	}
	if end > b.limit && b.count > 0 {
		b.close()
		b.Append(t, key, value, headers...)
		return
	}
	if end > cap(b.buf)-shortSlack {
		// As much again: append would grow by a quarter, and copy a buffer of a
		// megabyte five times on its way there.
		b.Grow(max(end-i, cap(b.buf)))
	}
	b.buf = b.buf[:end]
	if short {
		// length, attributes (0), time and offset make 7 bytes at most.
		us := uint64(size) << 1
		at := 16 + 8*shortBit(us)
		head := packShort(us) | packShort(ut)<<(at&63)
		at += 8 + 8*shortBit(ut)
		head |= packShort(uo) << (at & 63)
		at += 8 + 8*shortBit(uo)
		buf := b.buf[:end+shortSlack]
		binary.LittleEndian.PutUint64(buf[i:], head)
		i += int(at / 8)
		binary.LittleEndian.PutUint16(buf[i:], uint16(packShort(uk)))
		i += 1 + int(shortBit(uk))
		if len(key) > 0 {
			i += copy(buf[i:], key)
		}
		binary.LittleEndian.PutUint16(buf[i:], uint16(packShort(uv)))
		i += 1 + int(shortBit(uv))
		copy(buf[i:], value)
		buf[end-1] = 0 // no headers
	} else {
		putRecord(b.buf, i, size, int64(t-b.baseTime), int64(b.count), key, value, headers)
	}
	if end-b.summed >= sumBytes {
		b.crc, b.summed = crc32.Update(b.crc, castagnoli, b.buf[b.summed:end]), end
	}

	b.count++
	b.total++
	if t > b.maxTime {
		b.maxTime = t
	}
}

// shortSlack is what is written beyond a short record at most.
const shortSlack = 8

// zigzagLen is the length of v as it is written; nil is -1.
func zigzagLen(v []byte) uint64 {
	if v == nil {
		return 1
	}
	return uint64(len(v)) << 1
}

func (b *Builder) maxBatchBytes() int {
	if b.MaxBatchBytes > 0 {
		return b.MaxBatchBytes
	}
	return DefaultBatchBytes
}

// Grow makes room for n more bytes, for who knows how many will come.
func (b *Builder) Grow(n int) {
	if cap(b.buf)-len(b.buf) >= n+shortSlack {
		return
	}
	buf := make([]byte, len(b.buf), len(b.buf)+n+shortSlack)
	copy(buf, b.buf)
	b.buf = buf
}

// begin opens a batch whose first record has timestamp t.
func (b *Builder) begin(t Timestamp) {
	b.open = true
	b.start = len(b.buf)
	b.count = 0
	b.baseTime = t
	b.maxTime = math.MinInt64
	if cap(b.buf)-b.start < BatchHeaderSize {
		b.Grow(max(BatchHeaderSize, cap(b.buf)))
	}
	b.buf = b.buf[:b.start+BatchHeaderSize]
	b.limit = b.start + b.maxBatchBytes()
	b.crc, b.summed = 0, len(b.buf)
}

// close completes the open batch.
func (b *Builder) close() {
	batch := b.buf[b.start:]
	putBatchHeader(batch, &BatchInfo{
		Size:            len(batch),
		LastOffsetDelta: int32(b.count - 1),
		BaseTimestamp:   b.baseTime,
		MaxTimestamp:    b.maxTime,
		ProducerID:      -1,
		ProducerEpoch:   -1,
		BaseSequence:    -1,
		Count:           b.count,
	})
	b.seal(batch)
	b.open = false
}

// seal is sealBatch without reading again what has been summed.
func (b *Builder) seal(batch []byte) {
	summed := b.summed - b.start - BatchHeaderSize
	if summed == 0 {
		sealBatch(batch)
		return
	}
	crc := crc32.Checksum(batch[batchAttributesPos:BatchHeaderSize], castagnoli)
	crc = combineCRC(crc, b.crc, summed)
	crc = crc32.Update(crc, castagnoli, b.buf[b.summed:])
	binary.BigEndian.PutUint32(batch[batchCRCPos:], crc)
}

// putBatchHeader writes all of a header but its checksum.
func putBatchHeader(b []byte, info *BatchInfo) {
	b = b[:BatchHeaderSize]
	binary.BigEndian.PutUint64(b[batchOffsetPos:], uint64(info.BaseOffset))
	binary.BigEndian.PutUint32(b[batchLengthPos:], uint32(info.Size-batchFrameSize))
	binary.BigEndian.PutUint32(b[batchLeaderEpochPos:], uint32(info.LeaderEpoch))
	b[batchMagicPos] = batchMagic
	binary.BigEndian.PutUint16(b[batchAttributesPos:], uint16(info.Attributes))
	binary.BigEndian.PutUint32(b[batchLastDeltaPos:], uint32(info.LastOffsetDelta))
	binary.BigEndian.PutUint64(b[batchBaseTimePos:], uint64(info.BaseTimestamp))
	binary.BigEndian.PutUint64(b[batchMaxTimePos:], uint64(info.MaxTimestamp))
	binary.BigEndian.PutUint64(b[batchProducerPos:], uint64(info.ProducerID))
	binary.BigEndian.PutUint16(b[batchEpochPos:], uint16(info.ProducerEpoch))
	binary.BigEndian.PutUint32(b[batchSequencePos:], uint32(info.BaseSequence))
	binary.BigEndian.PutUint32(b[batchCountPos:], uint32(info.Count))
}

// Len is the number of records added since the last Reset.
func (b *Builder) Len() int { return b.total }

// Size is the number of bytes that Bytes would return.
func (b *Builder) Size() int { return len(b.buf) }

// Bytes closes the open batch and returns all batches. They are valid until
// the next Append or Reset. No records give an empty slice.
func (b *Builder) Bytes() []byte {
	if b.open {
		b.close()
	}
	return b.buf
}

// Write is Bytes for a Commit. The log believes the checksums in it, since they
// were made here; for any other Batches it makes them again. Whoever changes a
// byte of it writes a batch that is damaged.
func (b *Builder) Write(tp TopicPartition) Write {
	batches := b.Bytes()
	return Write{TopicPartition: tp, Batches: batches, sealed: batches}
}

// Raw returns what has been encoded so far, as Size counts it. Unlike Bytes it
// leaves the open batch open, so its header is unfinished: it is for a caller
// that knows where its own keys and values lie, to read them back. They stay
// where they are until Reset.
func (b *Builder) Raw() []byte { return b.buf }

// Reset forgets the records and keeps the buffer.
func (b *Builder) Reset() {
	b.buf = b.buf[:0]
	b.total = 0
	b.open = false
}

// recordSize is the length that a record's length field holds.
func recordSize(timeDelta, offsetDelta int64, key, value []byte, headers []Header) int {
	size := 1 + varintSize(zigzag(timeDelta)) + varintSize(zigzag(offsetDelta)) + bytesSize(key) + bytesSize(value)
	if len(headers) == 0 {
		return size + 1
	}
	return size + headersSize(headers)
}

// putRecord writes a record of recordSize size, and its length before it, at b[i:].
func putRecord(b []byte, i, size int, timeDelta, offsetDelta int64, key, value []byte, headers []Header) {
	i = putUvarint(b, i, zigzag(int64(size)))
	b[i] = 0 // attributes
	i = putUvarint(b, i+1, zigzag(timeDelta))
	i = putUvarint(b, i, zigzag(offsetDelta))
	i = putBytes(b, i, key)
	i = putBytes(b, i, value)
	if len(headers) == 0 {
		b[i] = 0
		return
	}
	putHeaders(b, i, headers)
}

// appendBatch appends one batch with the offsets and timestamps that the
// records have. What info says of the producer, the leader epoch, the last
// offset and the attributes is kept, but for compression.
func appendBatch(dst []byte, info BatchInfo, baseTime Timestamp, recs []Record) []byte {
	start := len(dst)
	dst = slices.Grow(dst, BatchHeaderSize)[:start+BatchHeaderSize]
	maxTime := NoTimestamp
	for i := range recs {
		r := &recs[i]
		timeDelta, offsetDelta := int64(r.Timestamp-baseTime), int64(r.Offset-info.BaseOffset)
		size := recordSize(timeDelta, offsetDelta, r.Key, r.Value, r.Headers)
		n := len(dst)
		dst = slices.Grow(dst, size+maxVarintBytes)[:n+varintSize(zigzag(int64(size)))+size]
		putRecord(dst, n, size, timeDelta, offsetDelta, r.Key, r.Value, r.Headers)
		maxTime = max(maxTime, r.Timestamp)
	}
	batch := dst[start:]
	info.Size, info.Count = len(batch), len(recs)
	info.BaseTimestamp, info.MaxTimestamp = baseTime, maxTime
	info.Attributes &^= attrCompression
	putBatchHeader(batch, &info)
	sealBatch(batch)
	return dst
}

// bytesSize is what putBytes writes for v.
func bytesSize(v []byte) int {
	if v == nil {
		return 1
	}
	return varintSize(zigzag(int64(len(v)))) + len(v)
}

// putBytes writes the length (-1 for nil) and the bytes of v at b[i:].
func putBytes(b []byte, i int, v []byte) int {
	if v == nil {
		b[i] = 1 // zigzag of -1
		return i + 1
	}
	i = putUvarint(b, i, zigzag(int64(len(v))))
	return i + copy(b[i:], v)
}

// headersSize is what putHeaders writes.
func headersSize(headers []Header) int {
	n := varintSize(zigzag(int64(len(headers))))
	for i := range headers {
		h := &headers[i]
		n += varintSize(zigzag(int64(len(h.Key)))) + len(h.Key) + bytesSize(h.Value)
	}
	return n
}

func putHeaders(b []byte, i int, headers []Header) int {
	i = putUvarint(b, i, zigzag(int64(len(headers))))
	for j := range headers {
		h := &headers[j]
		i = putUvarint(b, i, zigzag(int64(len(h.Key))))
		i += copy(b[i:], h.Key)
		i = putBytes(b, i, h.Value)
	}
	return i
}
