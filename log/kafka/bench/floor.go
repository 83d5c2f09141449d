package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// A floor is no broker: it does for a request what no server can do without,
// and nothing else. What is produced it takes off the socket, writes to a file
// and answers, whatever it is; to a Fetch it sends the same piece of a file each
// time, without a copy. It looks at no byte of a batch, knows no topic, and takes
// all requests that have come in one go. What it has is what a plain server could
// have at most.
type floor struct {
	dir    string
	synced bool
}

// serveFloor runs a floor until ctx ends.
func serveFloor(ctx context.Context, addr, dir string, synced bool) error {
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = ln.Close() })
	defer stop()
	f := &floor{dir: dir, synced: synced}
	for {
		nc, err := ln.Accept()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		go func() {
			defer nc.Close()
			if err := f.serve(nc.(*net.TCPConn)); err != nil {
				fmt.Fprintln(os.Stderr, "bench: floor:", err)
			}
		}()
	}
}

// floorConn is a connection and the file that goes with it.
type floorConn struct {
	*net.TCPConn
	file   *os.File
	answer []byte // to a Produce, but for the correlation id
	out    []byte
	sent   []byte // what comes before the batches of an answer to a Fetch
	piece  int64  // bytes of those
	next   int64  // counts the pieces that were sent
}

// floorPieces is how many pieces are sent in turn.
const floorPieces = 64

func (f *floor) serve(nc *net.TCPConn) error {
	file, err := os.CreateTemp(f.dir, "floor")
	if err != nil {
		return err
	}
	// To give the space back is not part of the run.
	defer time.AfterFunc(rest/4, func() {
		_ = file.Close()
		_ = os.Remove(file.Name())
	})
	c := &floorConn{TCPConn: nc, file: file}
	buf := make([]byte, 1<<20)
	n := 0
	for {
		m, err := nc.Read(buf[n:])
		if err != nil {
			return nil // the client has gone
		}
		n += m
		whole, err := c.takeAll(buf[:n])
		if err != nil {
			return err
		}
		if n-whole == len(buf) {
			return fmt.Errorf("a frame of more than %d bytes", len(buf))
		}
		if len(c.out) > 0 {
			if err := f.store(c, buf[:whole]); err != nil {
				return err
			}
			if _, err := nc.Write(c.out); err != nil {
				return nil
			}
		}
		n = copy(buf, buf[whole:n])
	}
}

// takeAll takes the whole frames that b begins with, and returns their bytes.
func (c *floorConn) takeAll(b []byte) (whole int, err error) {
	c.out = c.out[:0]
	for len(b)-whole >= 4 {
		size := 4 + int(binary.BigEndian.Uint32(b[whole:]))
		if size > len(b)-whole {
			break
		}
		if err := c.take(b[whole+4 : whole+size]); err != nil {
			return whole, err
		}
		whole += size
	}
	return whole, nil
}

// store writes what has been produced.
func (f *floor) store(c *floorConn, b []byte) error {
	if _, err := c.file.Write(b); err != nil || !f.synced {
		return err
	}
	return syscall.Fdatasync(int(c.file.Fd()))
}

// take gathers the answer to a Produce, or sends that to a Fetch.
func (c *floorConn) take(frame []byte) error {
	switch key := binary.BigEndian.Uint16(frame); kmsg.Key(key) {
	case kmsg.Produce:
		if c.answer == nil {
			if err := c.prepareProduce(frame); err != nil {
				return err
			}
		}
		at := len(c.out)
		c.out = append(c.out, c.answer...)
		copy(c.out[at+4:], frame[4:8])
		return nil
	case kmsg.Fetch:
		if c.sent == nil {
			if err := c.prepareFetch(frame); err != nil {
				return err
			}
		}
		copy(c.sent[4:], frame[4:8])
		return c.sendFile()
	default:
		return fmt.Errorf("api key %d, want Produce or Fetch", key)
	}
}

// body is what comes after the header of a request.
func body(frame []byte, flexible bool) []byte {
	b := frame[10+int(binary.BigEndian.Uint16(frame[8:])):]
	if flexible {
		b = b[1:] // no tags
	}
	return b
}

// prepareProduce makes the answer that says that all went well.
func (c *floorConn) prepareProduce(frame []byte) error {
	req := kmsg.NewPtrProduceRequest()
	req.Version = int16(binary.BigEndian.Uint16(frame[2:]))
	if err := req.ReadFrom(body(frame, req.IsFlexible())); err != nil {
		return err
	}
	resp := kmsg.NewPtrProduceResponse()
	resp.Version = req.Version
	for _, t := range req.Topics {
		rt := kmsg.NewProduceResponseTopic()
		rt.Topic = t.Topic
		for _, p := range t.Partitions {
			rp := kmsg.NewProduceResponseTopicPartition()
			rp.Partition = p.Partition
			rt.Partitions = append(rt.Partitions, rp)
		}
		resp.Topics = append(resp.Topics, rt)
	}
	c.answer = frameAnswer(resp, 0)
	return nil
}

// frameAnswer encodes an answer before which extra bytes are still to come.
func frameAnswer(resp kmsg.Response, extra int) []byte {
	b := make([]byte, 8)
	if resp.IsFlexible() {
		b = append(b, 0)
	}
	b = resp.AppendTo(b)
	binary.BigEndian.PutUint32(b, uint32(len(b)-4+extra))
	return b
}

// prepareFetch fills the file with batches, as many as one answer has, and makes
// what comes before them.
func (c *floorConn) prepareFetch(frame []byte) error {
	const version = 11 // not flexible: the batches come last
	req := kmsg.NewPtrFetchRequest()
	if req.Version = int16(binary.BigEndian.Uint16(frame[2:])); req.Version != version {
		return fmt.Errorf("fetch version %d, want %d", req.Version, version)
	}
	if err := req.ReadFrom(body(frame, false)); err != nil {
		return err
	}
	size, err := c.fill(int(req.Topics[0].Partitions[0].PartitionMaxBytes))
	if err != nil {
		return err
	}
	c.piece = int64(size)
	resp := kmsg.NewPtrFetchResponse()
	resp.Version = version
	rt := kmsg.NewFetchResponseTopic()
	rt.Topic = req.Topics[0].Topic
	rp := kmsg.NewFetchResponseTopicPartition()
	rp.Partition = req.Topics[0].Partitions[0].Partition
	rp.RecordBatches = []byte{}
	rt.Partitions = append(rt.Partitions, rp)
	resp.Topics = append(resp.Topics, rt)
	c.sent = frameAnswer(resp, size)
	// The last field is the size of the batches.
	binary.BigEndian.PutUint32(c.sent[len(c.sent)-4:], uint32(size))
	return nil
}

// fill writes the pieces: the same batches each time, together more than what a
// core has for a cache of its own.
func (c *floorConn) fill(most int) (size int, err error) {
	batch, records := encodeBatch(time.Now(), 100)
	var piece []byte
	for base := int64(0); len(piece)+len(batch) <= most; base += records {
		binary.BigEndian.PutUint64(batch, uint64(base))
		piece = append(piece, batch...)
	}
	for range floorPieces {
		if _, err := c.file.Write(piece); err != nil {
			return 0, err
		}
	}
	return len(piece), nil
}

// sendFile sends the next piece.
func (c *floorConn) sendFile() error {
	if _, err := c.Write(c.sent); err != nil {
		return err
	}
	at := c.next % floorPieces * c.piece
	c.next++
	if _, err := c.file.Seek(at, io.SeekStart); err != nil {
		return err
	}
	_, err := c.ReadFrom(io.LimitReader(c.file, c.piece)) // that is sendfile(2)
	return err
}
