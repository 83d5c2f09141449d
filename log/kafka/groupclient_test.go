package kafka_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/gretestream/grete/log"
	"github.com/gretestream/grete/log/kafka"
	"github.com/gretestream/grete/log/logtest"
)

// groupConsumer is a franz-go consumer in a group, on its own goroutine.
type groupConsumer struct {
	cl     *kgo.Client
	cancel context.CancelFunc
	done   chan struct{}
}

// seenRecords counts what consumers have read, by value.
type seenRecords struct {
	mu    sync.Mutex
	count map[string]int
}

func (s *seenRecords) len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.count)
}

func consumeInGroup(t testing.TB, s *kafka.Server, seen *seenRecords, opts ...kgo.Opt) *groupConsumer {
	t.Helper()
	cl := franz(t, s, append([]kgo.Opt{
		kgo.ConsumerGroup("readers"), kgo.ConsumeTopics("t"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchMaxWait(50 * time.Millisecond), kgo.HeartbeatInterval(50 * time.Millisecond), kgo.RebalanceTimeout(10 * time.Second),
		kgo.DisableAutoCommit(),
	}, opts...)...)
	ctx, cancel := context.WithCancel(context.Background())
	c := &groupConsumer{cl: cl, cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(c.done)
		for {
			fetches := cl.PollFetches(ctx)
			if ctx.Err() != nil {
				return
			}
			seen.mu.Lock()
			fetches.EachRecord(func(r *kgo.Record) { seen.count[string(r.Value)]++ })
			seen.mu.Unlock()
			if err := cl.CommitUncommittedOffsets(ctx); err != nil && ctx.Err() == nil && !errors.Is(err, context.Canceled) {
				t.Log("commit:", err) // a rebalance may refuse it
			}
		}
	}()
	t.Cleanup(c.vanish)
	return c
}

// vanish ends the consumer without a word, as if its process had been killed.
func (c *groupConsumer) vanish() {
	c.cancel()
	<-c.done
	c.cl.CloseAllowingRebalance()
}

// Real consumers come and go while records are produced: every record is read.
func TestConsumersComeAndGo(t *testing.T) {
	for _, b := range []struct {
		name     string
		balancer kgo.GroupBalancer
		next     bool // the coordinator shares out (KIP-848)
	}{
		{"cooperative-sticky", kgo.CooperativeStickyBalancer(), false},
		{"range", kgo.RangeBalancer(), false},
		{"uniform of the server", kgo.StickyBalancer(), true},
		{"range of the server", kgo.RangeBalancer(), true},
	} {
		t.Run(b.name, func(t *testing.T) {
			s, l := serve(t, nil)
			logtest.Create(t, l, "t", 8)
			producer := franz(t, s)
			const each = 200
			produced := 0
			produce := func() {
				var recs []*kgo.Record
				for range each {
					recs = append(recs, &kgo.Record{Topic: "t", Value: fmt.Append(nil, produced)})
					produced++
				}
				produceAll(t, producer, recs...)
			}
			seen := &seenRecords{count: map[string]int{}}
			all := func() {
				t.Helper()
				eventually(t, "every record is read", func() bool { return seen.len() == produced })
			}
			balance := []kgo.Opt{kgo.Balancers(b.balancer)}
			if b.next {
				balance = append(balance, kgo.ServerSideBalancer())
			}
			static := append(balance[:len(balance):len(balance)], kgo.InstanceID("three"))
			first := consumeInGroup(t, s, seen, balance...)
			produce()
			all()
			second := consumeInGroup(t, s, seen, balance...)
			third := consumeInGroup(t, s, seen, static...)
			produce()
			all()
			members := func(n int) {
				t.Helper()
				c := dial(t, s)
				eventually(t, fmt.Sprint("a stable group of ", n), func() bool {
					if b.next {
						d := describeConsumers(c, "readers")
						return d.State == "Stable" && len(d.Members) == n
					}
					d := describeGroup(c, 5, "readers")
					return d.State == "Stable" && len(d.Members) == n
				})
			}
			members(3)
			first.cl.LeaveGroup()
			first.vanish()
			members(2)
			produce()
			all()
			// A static member that restarts takes over from itself.
			third.vanish()
			third = consumeInGroup(t, s, seen, static...)
			produce()
			all()
			members(2)
			second.cl.LeaveGroup()
			third.cl.LeaveGroup()
		})
	}
}

// Real consumers go on when the server is restarted under them, with the group
// that it had.
func TestConsumersThroughRestart(t *testing.T) {
	m := newMachine(t)
	addr := m.s.Addr()
	producer := franz(t, m.s)
	seen := &seenRecords{count: map[string]int{}}
	a := consumeInGroup(t, m.s, seen)
	consumeInGroup(t, m.s, seen)
	produced := 0
	for round := range 3 {
		for range 50 {
			produceAll(t, producer, &kgo.Record{Topic: "t", Value: fmt.Append(nil, produced)})
			produced++
		}
		eventually(t, "every record is read", func() bool { return seen.len() == produced })
		if round == 2 {
			break
		}
		if round == 0 {
			c := dial(t, m.s)
			eventually(t, "both are in the group", func() bool {
				d := describeGroup(c, 5, "readers")
				return d.State == "Stable" && len(d.Members) == 2
			})
		}
		_, before := a.cl.GroupMetadata()
		m.disk = m.disk.Kill()
		_ = m.s.Close()
		m.l = logtest.Open(t, func(o *log.Options) { o.FS, o.MaintainEvery = m.disk, -1 }).(*log.Embedded)
		s, err := kafka.Listen(kafka.Options{Log: m.l, Addr: addr})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		m.s = s
		if _, after := a.cl.GroupMetadata(); after != before {
			t.Errorf("generation %d, want %d: the group need not notice", after, before)
		}
	}
}
