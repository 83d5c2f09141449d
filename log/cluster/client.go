package cluster

import (
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"
)

// pool keeps clients that are not in use: the next reader or producer finds its
// connections made.
type pool struct {
	mu     sync.Mutex // guards the fields below
	idle   []*kgo.Client
	closed bool
}

// maxIdle bounds the clients that are kept.
const maxIdle = 16

// take returns a client for one user.
func (l *Log) take() (*kgo.Client, error) {
	if err := l.usable(); err != nil {
		return nil, err
	}
	p := &l.pool
	p.mu.Lock()
	if n := len(p.idle); n > 0 {
		cl := p.idle[n-1]
		p.idle = p.idle[:n-1]
		p.mu.Unlock()
		return cl, nil
	}
	p.mu.Unlock()
	return l.newClient()
}

// give takes a client back.
func (p *pool) give(cl *kgo.Client) {
	p.mu.Lock()
	keep := !p.closed && len(p.idle) < maxIdle
	if keep {
		p.idle = append(p.idle, cl)
	}
	p.mu.Unlock()
	if !keep {
		cl.Close()
	}
}

func (p *pool) close() {
	p.mu.Lock()
	idle := p.idle
	p.idle, p.closed = nil, true
	p.mu.Unlock()
	for _, cl := range idle {
		cl.Close()
	}
}

// newClient makes a client. It connects with its first request.
func (l *Log) newClient() (*kgo.Client, error) { return kgo.NewClient(l.clientOptions()...) }

func (l *Log) clientOptions() []kgo.Opt {
	o := &l.opts
	opts := []kgo.Opt{
		kgo.SeedBrokers(o.Seeds...),
		kgo.ClientID(o.ClientID),
		kgo.SoftwareNameAndVersion("grete", "1"),
		kgo.DialTimeout(o.DialTimeout),
		kgo.RetryTimeout(o.Timeout),
		kgo.RetryBackoffFn(backoff),
		kgo.WithLogger(clientLogger{l.logger}),
		kgo.DisableClientMetrics(),
		kgo.MaxVersions(l.versions),
	}
	if o.TLS != nil {
		opts = append(opts, kgo.DialTLSConfig(o.TLS.Clone()))
	}
	switch o.Mechanism {
	case Plain:
		opts = append(opts, kgo.SASL(plain.Auth{User: o.User, Pass: o.Password}.AsMechanism()))
	case ScramSHA256:
		opts = append(opts, kgo.SASL(scram.Auth{User: o.User, Pass: o.Password}.AsSha256Mechanism()))
	case ScramSHA512:
		opts = append(opts, kgo.SASL(scram.Auth{User: o.User, Pass: o.Password}.AsSha512Mechanism()))
	}
	return opts
}

const (
	minBackoff = 5 * time.Millisecond
	maxBackoff = time.Second
)

// backoff is the pause before a request is sent for the (tries+1)th time.
func backoff(tries int) time.Duration {
	return min(maxBackoff, minBackoff<<min(max(tries-1, 0), 10))
}
