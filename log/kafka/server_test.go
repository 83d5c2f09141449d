package kafka_test

import (
	"cmp"
	"context"
	"encoding/binary"
	"io"
	"net"
	"os"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/goleak"

	"github.com/gretestream/grete/log"
	"github.com/gretestream/grete/log/kafka"
	"github.com/gretestream/grete/log/logtest"
)

// TestMain serves instead of testing in a process that a torture test has started.
func TestMain(m *testing.M) {
	if dir := os.Getenv(victimDir); dir != "" {
		os.Exit(runVictim(dir))
	}
	goleak.VerifyTestMain(m)
}

// serve starts a server over a log in memory; both end with the test.
func serve(t testing.TB, change func(*kafka.Options), of ...func(*log.Options)) (*kafka.Server, *log.Embedded) {
	t.Helper()
	l := logtest.Open(t, of...).(*log.Embedded)
	opts := kafka.Options{Log: l, NodeID: 1}
	if change != nil {
		change(&opts)
	}
	s, err := kafka.Listen(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s, l
}

// client speaks the protocol frame by frame, so that a test says what goes over
// the wire.
type client struct {
	t testing.TB
	net.Conn
	correlation int32
	id          string // of the client; default: test
}

func dial(t testing.TB, s *kafka.Server) *client {
	t.Helper()
	nc, err := (&net.Dialer{}).DialContext(context.Background(), "tcp", s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = nc.Close() })
	return &client{t: t, Conn: nc}
}

// send sends a request in its version.
func (c *client) send(req kmsg.Request) {
	c.t.Helper()
	if _, err := c.Write(c.appendFrame(nil, req)); err != nil {
		c.t.Fatal(err)
	}
}

// appendFrame appends what send would write.
func (c *client) appendFrame(b []byte, req kmsg.Request) []byte {
	c.correlation++
	f := kmsg.NewRequestFormatter(kmsg.FormatterClientID(cmp.Or(c.id, "test")))
	return append(b, f.AppendRequest(nil, req, c.correlation)...)
}

// receive reads the answer to the last request, or that to an earlier one.
func (c *client) receive(resp kmsg.Response) int32 {
	c.t.Helper()
	var size [4]byte
	if _, err := io.ReadFull(c, size[:]); err != nil {
		c.t.Fatalf("read answer: %v", err)
	}
	b := make([]byte, binary.BigEndian.Uint32(size[:]))
	if _, err := io.ReadFull(c, b); err != nil {
		c.t.Fatalf("read answer: %v", err)
	}
	correlation := int32(binary.BigEndian.Uint32(b))
	b = b[4:]
	if resp.IsFlexible() && resp.Key() != int16(kmsg.ApiVersions) {
		b = b[1:]
	}
	if err := resp.ReadFrom(b); err != nil {
		c.t.Fatalf("decode answer: %v", err)
	}
	return correlation
}

// ask sends a request and returns its answer.
func ask[Resp kmsg.Response](c *client, req kmsg.Request) Resp {
	c.t.Helper()
	c.send(req)
	resp := req.ResponseKind()
	if got := c.receive(resp); got != c.correlation {
		c.t.Fatalf("answer to request %d, want %d", got, c.correlation)
	}
	return resp.(Resp)
}

func TestAPIVersions(t *testing.T) {
	s, _ := serve(t, nil)
	c := dial(t, s)
	for version := int16(0); version <= 4; version++ {
		req := kmsg.NewPtrApiVersionsRequest()
		req.Version, req.ClientSoftwareName, req.ClientSoftwareVersion = version, "test", "1.0"
		resp := ask[*kmsg.ApiVersionsResponse](c, req)
		if resp.ErrorCode != 0 || len(resp.ApiKeys) == 0 {
			t.Errorf("version %d: error %d, %d keys", version, resp.ErrorCode, len(resp.ApiKeys))
		}
	}
}

// A version that is not known is answered in version 0, with the list.
func TestAPIVersionsFallback(t *testing.T) {
	s, _ := serve(t, nil)
	c := dial(t, s)
	req := kmsg.NewPtrApiVersionsRequest()
	req.Version = 5
	c.send(req)
	resp := kmsg.NewPtrApiVersionsResponse()
	c.receive(resp)
	if resp.ErrorCode != 35 || len(resp.ApiKeys) == 0 {
		t.Errorf("error %d with %d keys, want 35 with the list", resp.ErrorCode, len(resp.ApiKeys))
	}
}

func TestHostileFrames(t *testing.T) {
	for _, c := range []struct {
		name  string
		frame []byte
	}{
		{"no length", []byte{0, 0, 0, 0}},
		{"negative length", []byte{255, 255, 255, 255}},
		{"huge length", []byte{127, 255, 255, 255}},
		{"unknown api", []byte{0, 0, 0, 10, 3, 231, 0, 0, 0, 0, 0, 1, 255, 255}},
		{"client id beyond the frame", []byte{0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 1, 0, 9}},
		{"tags without end", []byte{0, 0, 0, 12, 0, 18, 0, 3, 0, 0, 0, 1, 255, 255, 9, 1}},
		{"no body", []byte{0, 0, 0, 11, 0, 18, 0, 3, 0, 0, 0, 1, 255, 255, 0}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, _ := serve(t, nil)
			nc := dial(t, s)
			if _, err := nc.Write(c.frame); err != nil {
				t.Fatal(err)
			}
			if n, err := nc.Read(make([]byte, 1)); err != io.EOF {
				t.Errorf("read %d bytes, %v, want the connection closed", n, err)
			}
			TestAPIVersions(t) // others are served
		})
	}
}
