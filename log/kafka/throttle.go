package kafka

import (
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// throttles keeps clients to quotas of bytes. Whoever has taken more than its
// share is answered at once, told how long it is throttled, and not served
// meanwhile: its connection's writer waits, and holds up nobody else. All
// connections of a user and client id that a quota is for share it.
type throttles struct {
	mu      sync.Mutex // guards buckets
	buckets map[quotaShare]*bucket
}

// quotaShare is who shares a quota: a user, a client id, or a client id of a user.
type quotaShare struct{ limit, user, client string }

// bucket holds what may be taken at once: it fills at the quota's rate up to what
// comes in quotaBurst.
type bucket struct {
	level float64 // bytes; below 0: taken in advance
	last  time.Time
}

const (
	quotaBurst  = time.Second
	maxThrottle = 10 * time.Second // about what Kafka's clients put up with
	maxBuckets  = 10_000
)

// take takes n bytes and returns how long the taker is throttled.
func (t *throttles) take(share quotaShare, n int, rate float64, now time.Time) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	full := rate * quotaBurst.Seconds()
	b := t.buckets[share]
	if b == nil {
		if t.buckets == nil || len(t.buckets) >= maxBuckets {
			t.buckets = map[quotaShare]*bucket{} // forgets debts, of ten thousand
		}
		b = &bucket{full, now}
		t.buckets[share] = b
	}
	b.level = min(full, b.level+rate*max(0, now.Sub(b.last).Seconds())) - float64(n)
	b.last = now
	if b.level >= 0 {
		return 0
	}
	// A debt that is too large to wait for is forgiven in part.
	b.level = max(b.level, -rate*maxThrottle.Seconds())
	return time.Duration(-b.level / rate * float64(time.Second))
}

// throttle counts what a request has moved against the client's quota, tells the
// client in the answer, and returns how long it is throttled.
func (c *conn) throttle(r *request, resp kmsg.Response) time.Duration {
	quotas := c.s.access.state.Load()
	if len(quotas.quotas) == 0 {
		return 0
	}
	var limit string
	var n int
	var tell *int32
	switch r.key {
	case kmsg.Produce:
		limit, n = producerByteRate, len(r.frame)
		if p, ok := resp.(*kmsg.ProduceResponse); ok {
			tell = &p.ThrottleMillis
		}
	case kmsg.Fetch:
		f, ok := resp.(*fetching)
		if !ok {
			return 0
		}
		limit, n, tell = consumerByteRate, f.bytes, &f.ThrottleMillis
	default:
		return 0
	}
	user := strings.TrimPrefix(c.who.Load().principal, "User:")
	rate, share, ok := quotas.quota(limit, user, r.clientID)
	if !ok {
		return 0
	}
	wait := c.s.throttles.take(share, n, rate, c.s.opts.Now())
	if wait > 0 {
		c.s.m.count("kafka.throttled." + limit)
		if tell != nil {
			*tell = int32(wait.Milliseconds())
		}
	}
	return wait
}

// pause does not serve the client for a while.
func (c *conn) pause(d time.Duration) {
	if d <= 0 {
		return
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-c.s.stopping:
	case <-c.ctx.Done():
	}
}
