package kafka

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
	"golang.org/x/sync/semaphore"

	"github.com/gretestream/grete/log"
)

const (
	readBuffer   = 1 << 10   // of a connection; longer frames are read past it
	keepOut      = 256 << 10 // a larger buffer for answers is not kept
	maxClientID  = 1 << 10   // bytes
	frameMinimum = 8         // key, version, correlation id
)

// conn is one connection. Its reader and its writer are a goroutine each; see
// the package's page.
type conn struct {
	s       *Server
	nc      net.Conn
	in      *bufio.Reader
	address string // the client's, an IP

	ctx    context.Context // ends with the connection
	cancel context.CancelFunc

	// who is at the other end; set by the writer, and before it starts.
	who atomic.Pointer[identity]
	raw atomic.Bool // the next frame is a bare token of SASL

	queue chan *request       // from the reader to the writer
	own   *semaphore.Weighted // bytes of its own frames, of Options.MaxRequestBytes
	// behind counts queued requests that a Produce must not overtake.
	behind atomic.Int32

	// The writer's:
	sasl    saslState
	out     []byte // answers that are held; else its capacity is used again
	pieces  []piece
	cursors map[log.TopicPartition]*cursorUse
	fetches int64 // Fetch requests so far
}

func newConn(s *Server, nc net.Conn) *conn {
	c := &conn{
		s: s, nc: nc, in: bufio.NewReaderSize(nc, readBuffer), queue: make(chan *request, s.opts.MaxInFlight),
		cursors: map[log.TopicPartition]*cursorUse{},
	}
	c.ctx, c.cancel = context.WithCancel(s.ctx)
	c.own = semaphore.NewWeighted(int64(s.opts.MaxRequestBytes))
	return c
}

// serve runs the connection to its end.
func (c *conn) serve() {
	defer c.s.forget(c)
	if err := c.greet(); err != nil {
		c.end(err)
		return
	}
	written := make(chan struct{})
	go func() {
		defer close(written)
		c.write()
	}()
	err := c.read()
	close(c.queue)
	// The writer answers what is queued, unless it is the client that has gone.
	if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		c.cancel()
	}
	<-written
	c.closeCursors(func(*cursorUse) bool { return true })
	c.end(err)
}

// end closes the connection, and tells why.
func (c *conn) end(err error) {
	c.close()
	if reason := closeReason(err); reason != "" {
		c.s.m.closed(reason)
		c.s.logger.Debug("connection ended", "client", c.nc.RemoteAddr(), "reason", reason, "err", err)
	}
}

// close ends the connection at once.
func (c *conn) close() {
	c.cancel()
	_ = c.nc.Close()
}

// drain lets the connection end as soon as what it has asked is answered.
func (c *conn) drain() { _ = c.nc.SetReadDeadline(time.Unix(1, 0)) }

// refusal is an error of the client's making that ends the connection.
type refusal struct {
	reason string // one word, for the metric
	err    error
}

func (r *refusal) Error() string { return r.err.Error() }
func (r *refusal) Unwrap() error { return r.err }

func refusef(reason, format string, args ...any) error {
	return &refusal{reason, fmt.Errorf(format, args...)}
}

// closeReason names why the server has ended a connection, or "" if the client has.
func closeReason(err error) string {
	var r *refusal
	switch {
	case errors.As(err, &r):
		return r.reason
	case errors.Is(err, os.ErrDeadlineExceeded):
		return "idle"
	}
	return ""
}

// read takes requests off the socket until the connection ends.
func (c *conn) read() error {
	begun := time.Now()
	for {
		deadline := time.Now().Add(c.s.opts.MaxIdle)
		if !c.authenticated() { // strangers do not stay for long
			deadline = begun.Add(c.s.opts.MaxHandshake)
		}
		if err := c.nc.SetReadDeadline(deadline); err != nil {
			return err
		}
		if c.s.isStopping() {
			return nil
		}
		r, err := c.readRequest()
		if errors.Is(err, os.ErrDeadlineExceeded) && !c.authenticated() && !c.s.isStopping() {
			err = refusef("authentication-timeout", "not authenticated within %v: %w", c.s.opts.MaxHandshake, err)
		}
		if err != nil {
			return err
		}
		if r.begin != nil && c.behind.Load() == 0 && c.admit(r) == nil {
			r.begun = r.begin(c.s, r)
		} else {
			c.behind.Add(1)
		}
		select {
		case c.queue <- r:
		case <-c.ctx.Done():
			c.abandon(r)
			return c.ctx.Err()
		}
	}
}

// readRequest reads and decodes one frame.
func (c *conn) readRequest() (*request, error) {
	var size [4]byte
	if _, err := io.ReadFull(c.in, size[:]); err != nil {
		return nil, err
	}
	n := int(int32(binary.BigEndian.Uint32(size[:])))
	least, most := frameMinimum, c.s.opts.MaxRequestBytes
	if c.raw.Load() {
		least = 0
	}
	if !c.authenticated() {
		most = min(most, maxSASLBytes)
	}
	if n < least || n > most {
		return nil, refusef("frame-size", "frame of %d bytes, want %d to %d", n, least, most)
	}
	frame, err := c.readFrame(n)
	if err != nil {
		return nil, err
	}
	c.s.m.bytesIn.Inc(int64(n) + 4)
	r, err := c.parse(frame)
	if err != nil {
		c.s.queued.of(n).Release(int64(n))
		return nil, err
	}
	return r, nil
}

// parse decodes a frame.
func (c *conn) parse(frame []byte) (*request, error) {
	if c.raw.Load() {
		return &request{api: &rawTokenAPI, conn: c, frame: frame, received: c.s.opts.Now()}, nil
	}
	key := int16(binary.BigEndian.Uint16(frame))
	r := &request{
		conn: c, frame: frame, received: c.s.opts.Now(),
		version:     int16(binary.BigEndian.Uint16(frame[2:])),
		correlation: int32(binary.BigEndian.Uint32(frame[4:])),
	}
	if r.api = c.s.apis[key]; r.api == nil {
		return nil, refusef("unknown-api", "api key %d, want one that ApiVersions lists", key)
	}
	r.body = kmsg.RequestForKey(key)
	if r.version < r.min || r.version > r.max {
		if r.key != kmsg.ApiVersions {
			return nil, refusef("unknown-version", "version %d of %s, want %d to %d", r.version, r.key.Name(), r.min, r.max)
		}
		r.version, r.unsupported = 0, true
		r.body.SetVersion(0)
		return r, nil
	}
	r.body.SetVersion(r.version)
	rest, err := r.header(frame[frameMinimum:])
	if err != nil {
		return nil, err
	}
	_, decoded, err := r.shapes[r.version-r.min].check(r.key, r.body.IsFlexible(), rest)
	if err == nil {
		if err := c.acquire(c.s.decoded.of(int(decoded)), decoded); err != nil {
			return nil, err
		}
		r.decoded = decoded
		err = r.body.ReadFrom(rest)
	}
	if err != nil {
		c.s.decoded.of(int(r.decoded)).Release(r.decoded)
		return nil, refusef("malformed", "decode %s version %d of %d bytes: %w", r.key.Name(), r.version, len(frame), err)
	}
	return r, nil
}

// header reads what comes between the correlation id and the body.
func (r *request) header(b []byte) (body []byte, err error) {
	bad := func() error {
		return refusef("malformed", "decode header of %s version %d: %w", r.key.Name(), r.version, io.ErrUnexpectedEOF)
	}
	if len(b) < 2 {
		return nil, bad()
	}
	n := int(int16(binary.BigEndian.Uint16(b)))
	b = b[2:]
	if n > len(b) || n > maxClientID {
		return nil, bad()
	}
	if n > 0 {
		r.clientID = string(b[:n])
		b = b[n:]
	}
	if !r.body.IsFlexible() {
		return b, nil
	}
	// Tags that are not known are skipped; none is known.
	count, b, ok := uvarint(b)
	for ; ok && count > 0; count-- {
		var size uint32
		if _, b, ok = uvarint(b); !ok {
			break
		}
		if size, b, ok = uvarint(b); !ok || uint64(size) > uint64(len(b)) {
			ok = false
			break
		}
		b = b[size:]
	}
	if !ok {
		return nil, bad()
	}
	return b, nil
}

// uvarint reads an unsigned varint of at most 32 bits off the front of b.
func uvarint(b []byte) (uint32, []byte, bool) {
	v, n := binary.Uvarint(b)
	if n <= 0 || v > 1<<32-1 {
		return 0, b, false
	}
	return uint32(v), b[n:], true
}

// write answers requests, in order, until there are no more.
func (c *conn) write() {
	failed := false
	for r := range c.queue {
		if failed {
			c.abandon(r)
			continue
		}
		err := c.answer(r)
		if err == nil && len(c.queue) == 0 {
			err = c.flush()
		}
		if err != nil {
			failed = true
			_ = c.flush() // what was acknowledged before stands
			if reason := closeReason(err); reason != "" {
				c.s.m.closed(reason)
			}
			c.s.logger.Debug("connection ended", "client", c.nc.RemoteAddr(), "err", err)
			c.close() // the reader ends, too
		}
	}
}

// abandon gives up a request that will not be answered.
func (c *conn) abandon(r *request) {
	if r.begun != nil {
		// Its frame is the log's until then.
		_, _ = r.begun.finish(context.WithoutCancel(c.ctx))
	}
	r.release()
}

// answer runs a request to its end and sends the answer.
func (c *conn) answer(r *request) error {
	if r.begun == nil || r.begun.waits() {
		if err := c.flush(); err != nil {
			c.abandon(r)
			return err
		}
	}
	if r.api == &rawTokenAPI {
		defer r.release()
		defer c.behind.Add(-1)
		return c.answerRaw(r)
	}
	resp, err := c.run(r)
	if r.begun == nil {
		c.behind.Add(-1)
	}
	c.s.m.count("kafka.requests." + r.key.Name())
	throttled := c.throttle(r, resp)
	if f, ok := resp.(*fetching); ok && err == nil {
		err = c.sendFetch(r, f)
	} else if err == nil && resp != nil {
		err = c.send(r, resp)
	}
	r.release()
	if err == nil && r.last {
		err = refusef("authentication-failed", "authentication failed")
	}
	if err == nil && throttled > 0 {
		err = c.flush()
		c.pause(throttled)
	}
	return err
}

func (c *conn) run(r *request) (kmsg.Response, error) {
	if r.begun == nil {
		if err := c.admit(r); err != nil {
			return nil, err
		}
	}
	switch {
	case r.begun != nil:
		return r.begun.finish(c.ctx)
	case r.begin != nil:
		return r.begin(c.s, r).finish(c.ctx)
	default:
		return r.handle(c.s, c.ctx, r)
	}
}

// holdBytes is how much is held back at most.
const holdBytes = 4 << 10

// send encodes and writes one answer. That to a Produce which was begun ahead of
// its turn is only held: the next may be ready, too, and a write costs more than
// an answer.
func (c *conn) send(r *request, resp kmsg.Response) error {
	resp.SetVersion(r.version)
	c.out = appendAnswer(c.out, r, resp)
	if r.begun != nil && len(c.out) < holdBytes {
		return nil
	}
	return c.flush()
}

// flush sends the answers that are held. It is called before anything else is
// sent and before anything is waited for.
func (c *conn) flush() error {
	if len(c.out) == 0 {
		return nil
	}
	b := c.out
	c.keep(b)
	return c.sendBytes(b)
}

// appendAnswer appends an answer as it goes over the wire.
func appendAnswer(b []byte, r *request, resp kmsg.Response) []byte {
	from := len(b)
	b = append(b, 0, 0, 0, 0)
	b = binary.BigEndian.AppendUint32(b, uint32(r.correlation))
	if resp.IsFlexible() && r.key != kmsg.ApiVersions {
		b = append(b, 0) // no tags
	}
	b = resp.AppendTo(b)
	binary.BigEndian.PutUint32(b[from:], uint32(len(b)-from-4))
	return b
}

// sendRaw sends a token of SASL without a header.
func (c *conn) sendRaw(token []byte) error {
	return c.sendBytes(append(binary.BigEndian.AppendUint32(nil, uint32(len(token))), token...))
}

func (c *conn) sendBytes(b []byte) error {
	if err := c.nc.SetWriteDeadline(time.Now().Add(c.s.opts.MaxWrite)); err != nil {
		return err
	}
	if _, err := c.nc.Write(b); err != nil {
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return refusef("slow-reader", "write %d bytes of an answer within %v: %w", len(b), c.s.opts.MaxWrite, err)
		}
		return err
	}
	c.s.m.bytesOut.Inc(int64(len(b)))
	return nil
}

// keep remembers a buffer for the next answer, unless it is large.
func (c *conn) keep(b []byte) {
	c.out = b[:0]
	if cap(b) > keepOut {
		c.out = nil
	}
}
