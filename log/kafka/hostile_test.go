package kafka_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/snappy"
	"github.com/rcrowley/go-metrics"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gretestream/grete/log"
	"github.com/gretestream/grete/log/kafka"
)

// heap is how much memory is in use, after a collection.
func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// A client that asks for much and never reads takes up no memory, and is cut off.
func TestClientThatNeverReads(t *testing.T) {
	registry := metrics.NewRegistry()
	l, err := log.Open(t.TempDir(), log.Options{ReserveBytes: -1, BallastBytes: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	s, err := kafka.Listen(kafka.Options{Log: l, MaxWrite: time.Second, Metrics: registry})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := l.CreateTopic(t.Context(), log.TopicSpec{Name: "t", Partitions: 1}); err != nil {
		t.Fatal(err)
	}
	c := dial(t, s)
	for range 60 {
		c.mustProduce(encodeBatch(values(strings.Repeat("x", 900_000)), nil))
	}
	before := heap()
	for range 8 {
		c := dial(t, s)
		for range 4 {
			req := fetchRequest(12, log.TopicID{}, 0)
			req.Topics[0].Partitions[0].PartitionMaxBytes = 50 << 20
			c.send(req)
		}
	}
	closed := func() int64 {
		return metrics.GetOrRegisterCounter("kafka.connections.closed.slow-reader", registry).Count()
	}
	var most int64
	eventually(t, "all of them are cut off", func() bool {
		most = max(most, heap()-before)
		return closed() == 8
	})
	if most > 32<<20 {
		t.Errorf("%d bytes in use for 8 clients that do not read answers of 50 MB", most)
	}
	if got := c.fetch(59, nil); got.ErrorCode != 0 || got.HighWatermark != 60 {
		t.Errorf("others: %s, end %d", name(got.ErrorCode), got.HighWatermark)
	}
}

// A client that announces a large request and does not send it takes no memory
// away from others.
func TestClientThatNeverSends(t *testing.T) {
	s, _ := serve(t, func(o *kafka.Options) { o.MaxQueuedBytes, o.MaxRequestBytes = 200<<20, 100<<20 })
	for range 20 {
		c := dial(t, s)
		if _, err := c.Write(binary.BigEndian.AppendUint32(nil, 100<<20)); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Write(make([]byte, 1000)); err != nil {
			t.Fatal(err)
		}
	}
	c := dial(t, s)
	_ = c.SetDeadline(time.Now().Add(30 * time.Second))
	if got := c.metadata(9, true, "t").Topics[0]; got.ErrorCode != 0 {
		t.Errorf("others: %s", name(got.ErrorCode))
	}
	c.mustProduce(encodeBatch(values(strings.Repeat("x", 900_000)), nil))
}

// Whoever is cut off while it announces or sends a request gets its connection
// closed, at whatever byte, and nothing is stored of a Produce that is not whole.
func TestFramesCutAtEveryByte(t *testing.T) {
	_, s, l := serveTopic(t, 1, nil)
	id, _ := l.TopicID("t")
	for _, req := range []kmsg.Request{
		produceRequest(9, -1, id, encodeBatch(values("a"), nil)),
		produceRequest(13, -1, id, encodeBatch(values("a"), nil)),
		fetchRequest(4, id, 0), fetchRequest(18, id, 0),
		kmsg.NewPtrApiVersionsRequest(), kmsg.NewPtrMetadataRequest(), kmsg.NewPtrListOffsetsRequest(),
	} {
		frame := kmsg.NewRequestFormatter().AppendRequest(nil, req, 1)
		for cut := range frame {
			c := dial(t, s)
			if _, err := c.Write(frame[:cut]); err != nil {
				t.Fatal(err)
			}
			_ = c.Conn.(*net.TCPConn).CloseWrite()
			if n, err := c.Read(make([]byte, 1)); n != 0 || err != io.EOF {
				t.Fatalf("%s cut at %d of %d: read %d bytes, %v, want the end", kmsg.Key(req.Key()).Name(), cut, len(frame), n, err)
			}
			_ = c.Close()
		}
	}
	if b, _ := l.Bounds(t.Context(), log.TopicPartition{Topic: "t"}); b.End != 0 {
		t.Errorf("the log ends at %d, want 0", b.End)
	}
}

// The same requests, cut short inside of a frame that is whole: the decoder must
// find out.
func TestBodiesCutAtEveryByte(t *testing.T) {
	_, s, l := serveTopic(t, 1, nil)
	id, _ := l.TopicID("t")
	for _, req := range []kmsg.Request{produceRequest(9, -1, id, encodeBatch(values("a"), nil)), fetchRequest(12, id, 0)} {
		whole := kmsg.NewRequestFormatter().AppendRequest(nil, req, 1)[4:]
		for cut := range whole {
			c := dial(t, s)
			frame := append(binary.BigEndian.AppendUint32(nil, uint32(cut)), whole[:cut]...)
			if _, err := c.Write(frame); err != nil {
				t.Fatal(err)
			}
			if n, err := c.Read(make([]byte, 1)); n != 0 || err != io.EOF && !isReset(err) {
				t.Fatalf("%s cut to %d of %d: read %d bytes, %v, want the end", kmsg.Key(req.Key()).Name(), cut, len(whole), n, err)
			}
			_ = c.Close()
		}
	}
	if b, _ := l.Bounds(t.Context(), log.TopicPartition{Topic: "t"}); b.End != 0 {
		t.Errorf("the log ends at %d, want 0", b.End)
	}
}

func isReset(err error) bool {
	var op *net.OpError
	return errors.As(err, &op)
}

// Small batches that unpack to very much are refused at a bounded cost, and do
// not keep others out.
func TestDecompressionBombs(t *testing.T) {
	c, s, l := serveTopic(t, 1, map[string]string{"max.message.bytes": "100000000"})
	block := snappy.Encode(nil, make([]byte, log.MaxDecompressedBytes+1))
	bomb := encodeBatch(values("a"), func(b *kmsg.RecordBatch) {
		b.Attributes, b.Records = int16(log.CompressionSnappy), block
		b.Length = int32(49 + len(block))
	})
	var clients []*client
	for range 8 {
		one := dial(t, s)
		one.send(produceRequest(9, -1, log.TopicID{}, bomb))
		clients = append(clients, one)
	}
	c.mustProduce(encodeBatch(values("a"), nil))
	for _, one := range clients {
		resp := kmsg.NewPtrProduceResponse()
		resp.Version = 9
		one.receive(resp)
		if got := name(resp.Topics[0].Partitions[0].ErrorCode); got != "INVALID_RECORD" {
			t.Errorf("a bomb: %q", got)
		}
	}
	if b, _ := l.Bounds(t.Context(), log.TopicPartition{Topic: "t"}); b.End != 1 {
		t.Errorf("the log ends at %d, want 1", b.End)
	}
}

// Connections beyond the bound are closed at once, and those within it are
// served. They cost little.
func TestConnectionFlood(t *testing.T) {
	const most = 1000
	s, _ := serve(t, func(o *kafka.Options) { o.MaxConnections = most })
	c := dial(t, s)
	before := heap()
	var d net.Dialer
	var open []net.Conn
	defer func() {
		for _, nc := range open {
			_ = nc.Close()
		}
	}()
	for range most + 200 {
		nc, err := d.DialContext(context.Background(), "tcp", s.Addr())
		if err != nil {
			t.Skipf("this machine does not allow %d connections: %v", len(open), err)
		}
		open = append(open, nc)
	}
	_ = open[most+199].SetReadDeadline(time.Now().Add(30 * time.Second))
	if n, err := open[most+199].Read(make([]byte, 1)); n != 0 || err != io.EOF && !isReset(err) {
		t.Errorf("one too many: read %d bytes, %v, want it closed", n, err)
	}
	if got := c.metadata(9, true, "t").Topics[0]; got.ErrorCode != 0 {
		t.Errorf("others: %s", name(got.ErrorCode))
	}
	if each := (heap() - before) / most; each > 32<<10 {
		t.Errorf("%d bytes for each idle connection, want at most 32 KiB", each)
	}
}

// A frame of many small elements is refused before it takes a hundred times its
// size.
func TestRequestOfManyElements(t *testing.T) {
	s, _ := serve(t, nil)
	c := dial(t, s)
	n := 4 << 20
	body := append(binary.BigEndian.AppendUint32(nil, uint32(n)), make([]byte, 2*n)...) // n topics named ""
	frame := append([]byte{0, 3, 0, 1, 0, 0, 0, 1, 255, 255}, body...)
	before := heap()
	_, _ = c.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(frame))), frame...))
	if _, err := io.Copy(io.Discard, c); err != nil && !isReset(err) {
		t.Fatal(err)
	}
	if more := heap() - before; more > 64<<20 {
		t.Errorf("%d bytes more in use", more)
	}
}

// FuzzConn sends bytes to a connection: a script of what a client sends, cut into
// frames. Whatever they are, the server answers or closes, and others are served.
func FuzzConn(f *testing.F) {
	frame := func(reqs ...kmsg.Request) []byte {
		var all []byte
		for i, r := range reqs {
			all = kmsg.NewRequestFormatter(kmsg.FormatterClientID("f")).AppendRequest(all, r, int32(i))
		}
		return all
	}
	batch := encodeBatch(values("a"), nil)
	for version := int16(3); version <= 13; version++ {
		f.Add(frame(produceRequest(version, -1, log.TopicID{}, batch), fetchRequest(version+1, log.TopicID{}, 0)))
	}
	f.Add(frame(produceRequest(9, 0, log.TopicID{}, batch), kmsg.NewPtrApiVersionsRequest(), kmsg.NewPtrMetadataRequest()))
	f.Add(frame(kmsg.NewPtrListOffsetsRequest(), kmsg.NewPtrOffsetForLeaderEpochRequest()))
	f.Add([]byte{0, 0, 0, 11, 0, 18, 0, 3, 0, 0, 0, 1, 255, 255, 0})
	s, l := serve(f, func(o *kafka.Options) { o.MaxRequestBytes = 1 << 20; o.DefaultPartitions = 1 })
	if _, err := l.CreateTopic(f.Context(), log.TopicSpec{Name: "t", Partitions: 1}); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, script []byte) {
		nc, err := net.Dial("tcp", s.Addr())
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		go func() {
			_, _ = io.Copy(nc, bytes.NewReader(script))
			_ = nc.(*net.TCPConn).CloseWrite()
		}()
		_ = nc.SetReadDeadline(time.Now().Add(60 * time.Second))
		var size [4]byte
		for {
			if _, err := io.ReadFull(nc, size[:]); err != nil {
				if errors.Is(err, io.ErrUnexpectedEOF) {
					t.Fatal("an answer is cut off")
				}
				if ne := net.Error(nil); errors.As(err, &ne) && ne.Timeout() {
					t.Fatal("neither answered nor closed")
				}
				return
			}
			n := binary.BigEndian.Uint32(size[:])
			if n < 4 || n > 64<<20 {
				t.Fatalf("an answer of %d bytes", n)
			}
			if _, err := io.CopyN(io.Discard, nc, int64(n)); err != nil && !isReset(err) {
				t.Fatalf("an answer is cut off: %v", err)
			}
		}
	})
}
