package kafka

import (
	"sync"
	"time"
)

// authFailures remembers how often addresses have failed of late, so that
// guessing gets slower. It is bounded: when it is full, the oldest half goes.
type authFailures struct {
	mu     sync.Mutex // guards byHost
	byHost map[string]authFailure
}

type authFailure struct {
	count int
	last  time.Time
}

const (
	firstAuthDelay  = 100 * time.Millisecond // Kafka's connection.failed.authentication.delay.ms
	maxAuthFailures = 10_000                 // addresses
	authForgetAfter = 10 * time.Minute
)

// next notes a failure and returns how long to wait: twice as long each time.
func (f *authFailures) next(host string, now time.Time) time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.byHost == nil {
		f.byHost = map[string]authFailure{}
	}
	got := f.byHost[host]
	if now.Sub(got.last) > authForgetAfter {
		got = authFailure{}
	}
	got.count, got.last = got.count+1, now
	if len(f.byHost) >= maxAuthFailures {
		f.shrinkLocked(now)
	}
	f.byHost[host] = got
	return firstAuthDelay << min(got.count-1, 10)
}

// shrinkLocked forgets what is old, and anything if that does not help.
func (f *authFailures) shrinkLocked(now time.Time) {
	for host, got := range f.byHost {
		if now.Sub(got.last) > authForgetAfter {
			delete(f.byHost, host)
		}
	}
	for host := range f.byHost {
		if len(f.byHost) <= maxAuthFailures/2 {
			return
		}
		delete(f.byHost, host)
	}
}

// forget is told that an address has got it right.
func (f *authFailures) forget(host string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.byHost, host)
}
