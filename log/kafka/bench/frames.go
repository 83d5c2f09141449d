package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"hash/crc32"
	"io"
	"net"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// frameConn is a connection to which frames are written as they are.
type frameConn struct {
	net.Conn
	id  int32
	in  *bufio.Reader
	buf []byte
}

func dialFrames(ctx context.Context, addr string, id int32) (*frameConn, error) {
	nc, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	return &frameConn{Conn: nc, id: id, in: bufio.NewReaderSize(nc, 4<<10)}, nil
}

// encode makes a frame in a version that both kinds of server have.
func (c *frameConn) encode(version int16, req kmsg.Request) []byte {
	req = cloneVersion(req, version)
	return kmsg.NewRequestFormatter(kmsg.FormatterClientID("bench")).AppendRequest(nil, req, 1)
}

// cloneVersion is a request in another version; connections share the original.
func cloneVersion(req kmsg.Request, version int16) kmsg.Request {
	switch r := req.(type) {
	case *kmsg.ProduceRequest:
		c := *r
		c.Version = version
		return &c
	case *kmsg.FetchRequest:
		c := *r
		c.Version = version
		return &c
	}
	return req
}

func (c *frameConn) send(frame []byte) error {
	_, err := c.Write(frame)
	return err
}

// receive returns an answer from its correlation id on, valid until the next.
func (c *frameConn) receive() ([]byte, error) {
	var size [4]byte
	if _, err := io.ReadFull(c.in, size[:]); err != nil {
		return nil, err
	}
	n := int(binary.BigEndian.Uint32(size[:]))
	if n > cap(c.buf) {
		c.buf = make([]byte, n)
	}
	c.buf = c.buf[:n]
	_, err := io.ReadFull(c.in, c.buf)
	return c.buf, err
}

// encodeBatch makes a batch of 16 KiB, or a record if that is larger.
func encodeBatch(now time.Time, size int) (batch []byte, count int64) {
	const header = 61
	b := kmsg.RecordBatch{
		PartitionLeaderEpoch: -1, Magic: 2, FirstTimestamp: now.UnixMilli(), MaxTimestamp: now.UnixMilli(),
		ProducerID: -1, ProducerEpoch: -1, FirstSequence: -1,
	}
	for value := randomValue(size); count == 0 || header+len(b.Records)+size+20 < batchBytes; count++ {
		rec := append([]byte{0}, 0)
		rec = binary.AppendVarint(rec, count)
		rec = binary.AppendVarint(rec, -1)
		rec = append(binary.AppendVarint(rec, int64(size)), value...)
		rec = append(rec, 0)
		b.Records = append(binary.AppendVarint(b.Records, int64(len(rec))), rec...)
	}
	b.NumRecords, b.LastOffsetDelta = int32(count), int32(count-1)
	b.Length = int32(header - 12 + len(b.Records))
	batch = b.AppendTo(nil)
	binary.BigEndian.PutUint32(batch[17:], crc32.Checksum(batch[21:], crc32.MakeTable(crc32.Castagnoli)))
	return batch, count
}

// afterBatches walks over the headers of batches, the last of which may be cut
// off, and returns the offset after them and how many records they have.
func afterBatches(b []byte) (next, records int64) {
	const header = 61
	for len(b) >= header {
		size := 12 + int(binary.BigEndian.Uint32(b[8:]))
		if size > len(b) {
			break
		}
		next = int64(binary.BigEndian.Uint64(b)) + int64(binary.BigEndian.Uint32(b[23:])) + 1
		records += int64(binary.BigEndian.Uint32(b[57:]))
		b = b[size:]
	}
	return next, records
}
