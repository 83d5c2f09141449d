package log

// Builder encodes records into Kafka RecordBatch v2 bytes for one partition. It
// is reused: Reset keeps the buffers. Not for concurrent use.
//
// A batch is closed and the next one begun when it reaches MaxBatchBytes, so
// Bytes may hold several. The checksum is made once, when a batch is closed;
// base offset and leader epoch lie outside of it, so the log sets them without
// touching the rest.
type Builder struct {
	buf []byte
}

// Append adds one record. Nil key and value are null. The bytes are copied.
func (b *Builder) Append(t Timestamp, key, value []byte, headers ...Header) {
	panic("log: Builder.Append is being written")
}

// Len is the number of records added since the last Reset.
func (b *Builder) Len() int { return 0 }

// Size is the number of bytes that Bytes would return.
func (b *Builder) Size() int { return len(b.buf) }

// Bytes closes the open batch and returns all batches. They are valid until
// the next Append or Reset. No records give an empty slice.
func (b *Builder) Bytes() []byte { return b.buf }

// Reset forgets the records and keeps the buffer.
func (b *Builder) Reset() { b.buf = b.buf[:0] }
