package cluster

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/gretestream/grete/log"
)

// network is the brokers' side of all connections, which fail as the test says.
type network struct {
	mu    sync.Mutex // guards the fields below
	away  bool       // nobody gets through
	rng   *rand.Rand
	lossy float64 // the chance that an answer is lost and its connection with it
	conns map[*conn]struct{}
}

type listener struct {
	net.Listener
	n *network
}

type conn struct {
	net.Conn
	n *network
}

func newNetwork(seed uint64) *network {
	return &network{rng: rand.New(rand.NewPCG(seed, 1)), conns: map[*conn]struct{}{}}
}

func (n *network) listen(network, address string) (net.Listener, error) {
	l, err := net.Listen(network, address)
	return listener{l, n}, err
}

func (l listener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		l.n.mu.Lock()
		if l.n.away {
			l.n.mu.Unlock()
			c.Close()
			continue
		}
		wrapped := &conn{c, l.n}
		l.n.conns[wrapped] = struct{}{}
		l.n.mu.Unlock()
		return wrapped, nil
	}
}

// Write sends an answer, unless it is lost.
func (c *conn) Write(b []byte) (int, error) {
	c.n.mu.Lock()
	lost := c.n.rng.Float64() < c.n.lossy
	c.n.mu.Unlock()
	if lost {
		c.Conn.Close()
		return 0, errors.New("connection reset by the test")
	}
	return c.Conn.Write(b)
}

func (n *network) breakAnswers(chance float64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.lossy = chance
}

// goAway cuts all connections and lets nobody in.
func (n *network) goAway() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.away = true
	for c := range n.conns {
		c.Conn.Close()
	}
	clear(n.conns)
}

func (n *network) comeBack() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.away = false
}

// TestLostAnswers: a task that commits, an appender, and a reader, while every
// so-many-th answer is lost after the broker has done what was asked. What was
// acknowledged is there once; what failed is read back and done again.
func TestLostAnswers(t *testing.T) {
	for seed := range uint64(3) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) { lostAnswers(t, seed) })
	}
}

func lostAnswers(t *testing.T, seed uint64) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	n := newNetwork(seed)
	l := connect(t, brokers(t, kfake.ListenFn(n.listen)))
	defer l.Close()
	if _, err := l.CreateTopic(ctx, log.TopicSpec{Name: "t", Partitions: 3}); err != nil {
		t.Fatal(err)
	}
	in, out, appended := log.TopicPartition{Topic: "t"}, log.TopicPartition{Topic: "t", Partition: 1}, log.TopicPartition{Topic: "t", Partition: 2}
	n.breakAnswers(0.03)

	const steps = 200
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := range steps {
			if _, err := log.AppendRecords(ctx, l, appended, log.Record{Value: []byte(fmt.Sprint(i))}); err != nil {
				t.Errorf("append %d: %v", i, err)
				return
			}
		}
	})
	wg.Go(func() {
		var b log.Builder
		epoch, next := log.Epoch(0), 0
		for next < steps {
			if epoch == 0 {
				var err error
				if epoch, err = l.Fence(ctx, "task"); err != nil {
					t.Errorf("fence: %v", err)
					return
				}
				got, err := l.Committed(ctx, "g", in)
				if err != nil {
					t.Errorf("committed: %v", err)
					return
				}
				next = int(got[in].Offset)
			}
			b.Reset()
			b.Append(1, nil, []byte(fmt.Sprint(next)))
			_, err := l.Commit(ctx, &log.Commit{
				Producer: "task", Epoch: epoch, Group: "g",
				Offsets: []log.GroupOffset{{TopicPartition: in, Offset: log.Offset(next + 1), LeaderEpoch: -1}},
				Writes:  []log.Write{{TopicPartition: out, Batches: slices.Clone(b.Bytes())}},
			})
			if err != nil {
				t.Logf("commit %d: %v", next, err)
				epoch = 0
				continue
			}
			next++
		}
	})
	read := func(tp log.TopicPartition) {
		r, err := l.OpenReader(tp, 0, log.ReaderOptions{})
		if err != nil {
			t.Errorf("open reader: %v", err)
			return
		}
		defer r.Close()
		for want := 0; want < steps; {
			recs, err := r.Next(ctx)
			if err != nil {
				t.Errorf("read %s: %v", tp, err)
				return
			}
			for i := range recs {
				if string(recs[i].Value) != fmt.Sprint(want) {
					t.Errorf("%s: got %s at %d, want %d", tp, recs[i].Value, recs[i].Offset, want)
					return
				}
				want++
			}
		}
	}
	wg.Go(func() { read(out) })
	wg.Go(func() { read(appended) })
	wg.Wait()
	n.breakAnswers(0)
}

// TestBrokersGoAway: they cut all connections, refuse new ones for a while, and
// come back. Whoever waited goes on.
func TestBrokersGoAway(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	n := newNetwork(1)
	l := connect(t, brokers(t, kfake.ListenFn(n.listen)))
	defer l.Close()
	if _, err := l.CreateTopic(ctx, log.TopicSpec{Name: "t", Partitions: 1}); err != nil {
		t.Fatal(err)
	}
	tp := log.TopicPartition{Topic: "t"}
	wake := make(chan struct{}, 1)
	r, err := l.OpenReader(tp, 0, log.ReaderOptions{Wake: wake})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := log.AppendRecords(ctx, l, tp, log.Record{Value: []byte("before")}); err != nil {
		t.Fatal(err)
	}
	n.goAway()
	retries := l.m.retries.Count()
	appended := make(chan error, 1)
	go func() {
		_, err := log.AppendRecords(ctx, l, tp, log.Record{Value: []byte("meanwhile")})
		appended <- err
	}()
	for l.m.retries.Count() < retries+3 { // both have noticed
		select {
		case <-time.After(time.Millisecond):
		case <-ctx.Done():
			t.Fatal("nobody noticed that the brokers are away")
		}
	}
	if recs, err := r.Poll(); err != nil {
		t.Errorf("poll while the brokers are away: %d records, %v", len(recs), err)
	}
	n.comeBack()
	if err := <-appended; err != nil {
		t.Errorf("append across the outage: %v", err)
	}
	if err := r.Seek(0); err != nil {
		t.Fatal(err)
	}
	for got := 0; got < 2; {
		recs, err := r.Next(ctx)
		if err != nil {
			t.Fatal(err)
		}
		got += len(recs)
	}
}

// TestGiveUp: a call ends with the reason when the brokers stay away.
func TestGiveUp(t *testing.T) {
	n := newNetwork(1)
	c := brokers(t, kfake.ListenFn(n.listen))
	l, err := Open(t.Context(), Options{Seeds: c.ListenAddrs(), Timeout: 200 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	n.goAway()
	_, err = l.Topics(t.Context())
	if err == nil || errors.Is(err, context.Canceled) {
		t.Errorf("topics while the brokers are away: %v", err)
	}
	t.Log(err)
	if _, err := Open(t.Context(), Options{Seeds: c.ListenAddrs(), DialTimeout: 200 * time.Millisecond}); err == nil {
		t.Error("opened a cluster that is away")
	} else {
		t.Log(err)
	}
}

// TestScanBehindOpenTransaction: what others have committed behind a transaction
// that its producer has left open is seen in the bounds, and Scan does not miss it.
func TestScanBehindOpenTransaction(t *testing.T) {
	ctx := t.Context()
	l := connect(t, brokers(t))
	defer l.Close()
	if _, err := l.CreateTopic(ctx, log.TopicSpec{Name: "t", Partitions: 1}); err != nil {
		t.Fatal(err)
	}
	tp := log.TopicPartition{Topic: "t"}
	batch := func(key string) []log.Write {
		var b log.Builder
		b.Append(1, []byte(key), nil)
		return []log.Write{{TopicPartition: tp, Batches: slices.Clone(b.Bytes())}}
	}
	if _, err := l.Fence(ctx, "dead"); err != nil {
		t.Fatal(err)
	}
	p := l.mu.producers["dead"]
	p.mu.Lock()
	err := p.fillLocked(ctx, &step{writes: batch("dead")})
	p.mu.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	epoch, err := l.Fence(ctx, "alive")
	if err == nil {
		_, err = l.Commit(ctx, &log.Commit{Producer: "alive", Epoch: epoch, Writes: batch("alive")})
	}
	if err != nil {
		t.Fatal(err)
	}
	if b, err := l.Bounds(ctx, tp); err != nil || b.Start != 0 || b.Stable != 0 || b.End < 2 {
		t.Errorf("bounds: got %+v and %v, want a stable offset of 0 and an end behind both records", b, err)
	}
	scanned := make(chan error)
	var got []string
	go func() {
		scanned <- log.Scan(ctx, l, tp, func(r *log.Record) bool { return string(r.Key) == "alive" }, func(r *log.Record) error {
			got = append(got, string(r.Key))
			return nil
		})
	}()
	if _, err := l.Fence(ctx, "dead"); err != nil { // ends it
		t.Fatal(err)
	}
	if err := <-scanned; err != nil || !slices.Equal(got, []string{"alive"}) {
		t.Errorf("scan: got %q and %v, want what was committed", got, err)
	}
}

// TestZombie: two processes, as two logs, with a task of the same name.
func TestZombie(t *testing.T) {
	ctx := t.Context()
	c := brokers(t)
	zombie, heir := connect(t, c), connect(t, c)
	defer zombie.Close()
	defer heir.Close()
	if _, err := zombie.CreateTopic(ctx, log.TopicSpec{Name: "t", Partitions: 1}); err != nil {
		t.Fatal(err)
	}
	tp := log.TopicPartition{Topic: "t"}
	write := func(l *Log, epoch log.Epoch, value string) error {
		var b log.Builder
		b.Append(1, nil, []byte(value))
		_, err := l.Commit(ctx, &log.Commit{Producer: "p", Epoch: epoch, Writes: []log.Write{{TopicPartition: tp, Batches: b.Bytes()}}})
		return err
	}
	first, err := zombie.Fence(ctx, "p")
	if err != nil {
		t.Fatal(err)
	}
	if err := write(zombie, first, "alive"); err != nil {
		t.Fatal(err)
	}
	// It dies in the middle of a transaction.
	p := zombie.mu.producers["p"]
	var b log.Builder
	b.Append(1, nil, []byte("never to be seen"))
	s := &step{writes: []log.Write{{TopicPartition: tp, Batches: b.Bytes()}}}
	p.mu.Lock()
	err = p.fillLocked(ctx, s)
	p.mu.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	second, err := heir.Fence(ctx, "p")
	if err != nil {
		t.Fatal(err)
	}
	if second <= first {
		t.Errorf("epoch %d after %d", second, first)
	}
	if err := write(heir, second, "heir"); err != nil {
		t.Fatal(err)
	}
	if err := write(zombie, first, "zombie"); !errors.Is(err, log.ErrFenced) {
		t.Errorf("zombie: got %v, want %v", err, log.ErrFenced)
	}
	if n := zombie.m.fenced.Count(); n != 1 {
		t.Errorf("%d fenced commits counted, want 1", n)
	}
	r, err := heir.OpenReader(tp, 0, log.ReaderOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var got []string
	for len(got) < 2 {
		recs, err := r.Next(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for i := range recs {
			got = append(got, string(recs[i].Value))
		}
	}
	if !slices.Equal(got, []string{"alive", "heir"}) {
		t.Errorf("read %q", got)
	}
}
