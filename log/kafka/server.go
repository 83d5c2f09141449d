package kafka

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sync/semaphore"
)

// Server serves a log. It is made by Listen and ends with Close or Shutdown.
type Server struct {
	opts   Options
	logger hclog.Logger
	m      counters
	apis   map[int16]*api
	txns   *txns
	groups *coordinator
	access *Access

	failures  authFailures
	throttles throttles
	hashing   *semaphore.Weighted // passwords at a time

	listeners []net.Listener
	queued    frameBudget // bytes of requests, of Options.MaxQueuedBytes
	decoded   frameBudget // bytes of what they decode to, at least as many

	ctx    context.Context // of all requests; ends with the server
	cancel context.CancelFunc
	wg     sync.WaitGroup // all goroutines

	alterMu sync.Mutex // one change of configs at a time, from reading to writing
	applyMu sync.Mutex // guards who has the broker's configs hold
	limits  atomic.Pointer[limits]

	stopping chan struct{} // closed when Shutdown begins: who waits answers now

	parked, wakes atomic.Int64 // fetches that wait for records; how often one was woken
	cursors       atomic.Int64 // open, of all connections

	mu    sync.Mutex // guards conns, perIP and the closing of stopping
	conns map[*conn]struct{}
	perIP map[string]int // connections by address
}

// maxHashing is how many passwords are hashed at a time.
const maxHashing = 2

// Access is who may use the log, and how.
func (s *Server) Access() *Access { return s.access }

// followAccess takes in what commands beside the server change, until it stops.
func (s *Server) followAccess() {
	ctx, cancel := context.WithCancel(s.ctx)
	defer cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.access.follow(ctx, s.accessChanged)
	}()
	select {
	case <-s.stopping:
		cancel()
	case <-done:
	}
	<-done
}

// accessChanged is told after users, ACLs, quotas or configs have changed, or
// could not be read.
func (s *Server) accessChanged(err error) {
	if err != nil {
		s.m.count("kafka.access-errors")
		s.logger.Error("users and ACLs cannot be read; those of before go on to hold", "err", err)
		return
	}
	s.userGone()
	if err := s.applyConfigs(); err != nil {
		s.logger.Error("the broker's configs do not hold; those of before go on to", "err", err)
	}
}

// Listen binds the address and answers from then on.
func Listen(opts Options) (*Server, error) {
	if err := opts.EnsureDefaults().Validate(); err != nil {
		return nil, fmt.Errorf("serve Kafka: %w", err)
	}
	s := &Server{
		opts: opts, logger: opts.Logger.Named("kafka"), apis: newAPIs(),
		queued: newFrameBudget(opts.MaxQueuedBytes), decoded: newFrameBudget(max(opts.MaxQueuedBytes, 2*maxDecoded)), conns: map[*conn]struct{}{},
		stopping: make(chan struct{}), perIP: map[string]int{},
		hashing: semaphore.NewWeighted(maxHashing),
	}
	s.m.register(opts.Metrics)
	s.ctx, s.cancel = context.WithCancel(context.Background())
	if err := s.begin(); err != nil {
		s.cancel()
		return nil, fmt.Errorf("serve Kafka: %w", err)
	}
	s.wg.Go(s.sweepTxns)
	s.wg.Go(s.expireOffsets)
	s.wg.Go(s.followAccess)
	for _, l := range s.listeners {
		s.wg.Go(func() { s.accept(l) })
	}
	return s, nil
}

// begin loads what is stored and binds the address.
func (s *Server) begin() (err error) {
	if s.access, err = OpenAccess(s.ctx, s.opts.Log); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = s.access.Close()
		}
	}()
	if err = s.applyConfigs(); err != nil {
		return err
	}
	s.txns = newTxns(s.opts.Log, s.opts.Now)
	if err = s.txns.load(s.ctx); err != nil {
		return err
	}
	if s.groups, err = newCoordinator(s); err != nil {
		return err
	}
	if err = s.bind(); err != nil {
		s.groups.close()
		return err
	}
	return nil
}

// bind listens at the address; at "localhost", on both families, since clients
// try ::1 first.
func (s *Server) bind() error {
	host, port, err := net.SplitHostPort(s.opts.Addr)
	if err != nil {
		return err
	}
	hosts := []string{host}
	if host == "localhost" {
		hosts = []string{"127.0.0.1", "::1"}
	}
	for _, h := range hosts {
		l, err := net.Listen("tcp", net.JoinHostPort(h, port))
		if err != nil && len(s.listeners) > 0 {
			s.logger.Debug("not listening on the second family", "host", h, "err", err)
			continue // there may be no IPv6
		}
		if err != nil {
			return err
		}
		_, port, _ = net.SplitHostPort(l.Addr().String()) // the same, if 0 was asked for
		s.listeners = append(s.listeners, l)
	}
	return nil
}

// Addr is where the server listens.
func (s *Server) Addr() string { return s.listeners[0].Addr().String() }

// Local is Addr as this machine reaches it.
func (s *Server) Local() string {
	host, port, err := net.SplitHostPort(s.Addr())
	if err == nil && net.ParseIP(host).IsUnspecified() {
		return net.JoinHostPort("127.0.0.1", port)
	}
	return s.Addr()
}

// accept takes connections until the listener is closed.
func (s *Server) accept(l net.Listener) {
	const pause = 50 * time.Millisecond // when the process has no descriptors left
	for {
		nc, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			s.m.acceptErrors.Inc(1)
			s.logger.Warn("a connection was not accepted", "err", err)
			select {
			case <-s.ctx.Done():
				return
			case <-time.After(pause):
			}
			continue
		}
		s.start(nc)
	}
}

// start serves a connection, if there may be one more.
func (s *Server) start(nc net.Conn) {
	host, _, _ := net.SplitHostPort(nc.RemoteAddr().String())
	if s.opts.TLS != nil {
		nc = tls.Server(nc, s.opts.TLS)
	}
	c := newConn(s, nc)
	c.address = host
	s.mu.Lock()
	bound := s.limits.Load()
	reason := ""
	switch {
	case s.isStopping():
		reason = "stopping"
	case len(s.conns) >= bound.connections:
		reason = "too-many-connections"
	case s.perIP[host] >= bound.connectionsPerIP:
		reason = "too-many-connections-of-one-address"
	default:
		s.conns[c] = struct{}{}
		s.perIP[host]++
		s.m.connections.Update(int64(len(s.conns)))
		s.wg.Go(c.serve)
	}
	s.mu.Unlock()
	if reason != "" {
		s.m.closed(reason)
		c.cancel()
		_ = nc.Close()
	}
}

// forget is told when a connection has ended.
func (s *Server) forget(c *conn) {
	s.mu.Lock()
	delete(s.conns, c)
	if s.perIP[c.address]--; s.perIP[c.address] <= 0 {
		delete(s.perIP, c.address)
	}
	s.m.connections.Update(int64(len(s.conns)))
	s.mu.Unlock()
}

// Shutdown takes no more connections or requests, answers what has been read,
// and ends when that is done or ctx ends.
func (s *Server) Shutdown(ctx context.Context) error {
	for _, l := range s.listeners {
		_ = l.Close()
	}
	s.stop((*conn).drain)
	done := make(chan struct{})
	go func() { s.wg.Wait(); close(done) }()
	select {
	case <-done:
	case <-ctx.Done():
	}
	return s.Close()
}

// Close ends all connections, at once, and returns when nothing of the server
// runs any more.
func (s *Server) Close() error {
	for _, l := range s.listeners {
		_ = l.Close()
	}
	s.cancel()
	s.stop((*conn).close)
	s.wg.Wait()
	s.groups.close()
	return s.access.Close()
}

// stop tells all connections to end, and has no new ones begin.
func (s *Server) stop(tell func(*conn)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.isStopping() {
		close(s.stopping)
	}
	for c := range s.conns {
		tell(c)
	}
}

func (s *Server) isStopping() bool {
	select {
	case <-s.stopping:
		return true
	default:
		return false
	}
}

// sweepTxns ends what has taken too long, until the server ends.
func (s *Server) sweepTxns() {
	tick := time.NewTicker(txnSweep)
	defer tick.Stop()
	for {
		select {
		case <-s.stopping:
			return
		case <-tick.C:
			if err := s.txns.sweep(s.ctx); err != nil {
				s.logger.Warn("transactions were not ended in time", "err", err)
			}
		}
	}
}
