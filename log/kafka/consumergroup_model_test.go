package kafka

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/twmb/franz-go/pkg/kerr"
	"pgregory.net/rapid"

	"github.com/gretestream/grete/log"
	"github.com/gretestream/grete/log/logtest"
)

// modelServer is what clients talk to. It may be another process by and by.
type modelServer struct {
	g    *group
	disk *logtest.Disk
	full bool // what is stored next is refused
}

// whileFull does something whose first write finds the disk full. To take a write back
// needs another one, so the next is not refused.
func (s *modelServer) whileFull(do func()) {
	refused := s.disk.FailWrite("*.journal", 1, 0).With(syscall.ENOSPC)
	defer refused.Clear()
	s.full = true
	do()
	s.full = false
}

// modelConsumer is a client of the consumer protocol: it works on owned, and gives
// up what it shall not have before it takes what is new.
type modelConsumer struct {
	s            *modelServer
	id, instance string
	names        []string
	epoch        int32
	owned, told  partitionSet
	gone         bool // its process does not run
	restarts     int
}

// begin is what a start does, and hearing that it is fenced.
func (m *modelConsumer) begin() { m.epoch, m.owned, m.told = epochJoin, partitionSet{}, partitionSet{} }

// restart is another process in the place of this one.
func (m *modelConsumer) restart() {
	m.restarts++
	m.id = fmt.Sprint(m.id[:1], m.restarts)
	m.begin()
}

// beat sends a heartbeat, which says all or only what is new. The answer may be lost.
func (m *modelConsumer) beat(t *rapid.T, now time.Time, full, lost bool) {
	b := &beat{now: now, id: m.id, instance: m.instance, epoch: m.epoch, timeout: -1}
	if full || m.epoch == epochJoin {
		b.names, b.owned, b.timeout = m.names, m.owned, 30*time.Second
	}
	m.s.g.mu.Lock()
	answer, code := m.s.g.beat(b)
	m.s.g.mu.Unlock()
	if lost || m.s.full && code == kerr.CoordinatorNotAvailable {
		return
	}
	switch code {
	case nil:
	case kerr.FencedMemberEpoch, kerr.UnknownMemberID, kerr.FencedInstanceID, kerr.GroupIDNotFound:
		m.begin()
		return
	case kerr.UnreleasedInstanceID:
		return // it tries again
	default:
		t.Fatalf("heartbeat of %s: %v", m.id, code)
	}
	m.epoch = answer.epoch
	if answer.assigned != nil {
		m.told = answer.assigned
	}
}

// work gives up what the client was told to, or takes what it was given.
func (m *modelConsumer) work() {
	if m.owned.leaves(m.told) {
		m.owned, _ = m.owned.split(m.told)
	} else {
		m.owned = m.told
	}
}

func (m *modelConsumer) leave(t *rapid.T, now time.Time, epoch int32) {
	m.s.g.mu.Lock()
	_, code := m.s.g.beat(&beat{now: now, id: m.id, instance: m.instance, epoch: epoch, timeout: -1})
	m.s.g.mu.Unlock()
	if code != nil && !(m.s.full && code == kerr.CoordinatorNotAvailable) && code != kerr.UnknownMemberID && code != kerr.FencedInstanceID && code != kerr.FencedMemberEpoch {
		t.Fatalf("leave of %s: %v", m.id, code)
	}
	m.begin()
	m.gone = true
}

// checkConsumers holds a group against what must be so whenever its lock is free.
func (g *group) checkConsumers(t *rapid.T) {
	g.mu.Lock()
	defer g.mu.Unlock()
	cs := g.consumers
	if cs == nil {
		return
	}
	held := map[idPartition]string{}
	for id, m := range cs.members {
		if m.id != id || g.heard[id].IsZero() {
			t.Fatalf("member %q under %q, heard until %v", m.id, id, g.heard[id])
		}
		if m.instance != "" && cs.statics[m.instance] != id {
			t.Fatalf("instance %q is %q, want %q", m.instance, cs.statics[m.instance], id)
		}
		for _, set := range []partitionSet{m.assigned, m.revoked} {
			for p := range set {
				if held[p] != "" {
					t.Fatalf("%v is %s's and %s's", p, held[p], id)
				}
				held[p] = id
			}
		}
		if (m.state == consumerRevoking) != (len(m.revoked) > 0) || (m.state == consumerRevoking) == m.revokeBy.IsZero() {
			t.Fatalf("%s in state %d is to give up %d by %v", id, m.state, len(m.revoked), m.revokeBy)
		}
	}
	if len(cs.statics) > len(cs.members) || len(g.heard) != len(cs.members) || len(cs.target) != len(cs.members) {
		t.Fatalf("%d members, %d statics, %d heard of, %d targets", len(cs.members), len(cs.statics), len(g.heard), len(cs.target))
	}
	if cs.bytes() != g.held || g.held != g.c.held.Load() {
		t.Fatalf("members take up %d bytes, the group has counted %d, the coordinator %d", cs.bytes(), g.held, g.c.held.Load())
	}
	if (g.state == groupEmpty) != (len(cs.members) == 0) {
		t.Fatalf("group of %d is %s", len(cs.members), g.state)
	}
	if next := g.next(); !next.IsZero() && (g.timer == nil || g.wake.After(next)) {
		t.Fatalf("timer at %v, want %v or before", g.wake, next)
	}
}

// Members join, beat, give up and take, leave, vanish and come back in any order,
// answers are lost, time passes, a topic comes, grows and goes, the disk is full for
// a while, and the server starts again: no partition is ever worked on by two whom
// the group takes for members; what is stored says what is so; and when they are
// left in peace all partitions are shared out.
func TestConsumersModel(t *testing.T) {
	disk := logtest.NewDisk(1)
	l := logtest.Open(t, func(o *log.Options) { o.FS, o.MaintainEvery, o.Sync.Mode = disk, -1, log.SyncNone }).(*log.Embedded)
	for name, n := range map[string]int{"a": 3, "b": 1, "c": 5} {
		logtest.Create(t, l, name, n)
	}
	// changeTopic lets topic d come, grow or go.
	changeTopic := func(t *rapid.T, grow bool) {
		ctx := context.Background()
		topic, err := l.Topic(ctx, "d")
		switch {
		case err != nil:
			_, err = l.CreateTopic(ctx, log.TopicSpec{Name: "d", Partitions: 2})
		case grow:
			_, err = l.AddPartitions(ctx, "d", topic.Partitions+1)
		default:
			err = l.DeleteTopic(ctx, "d")
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	groups := 0
	rapid.Check(t, func(t *rapid.T) {
		var at atomic.Int64 // of timers, too
		at.Store(1_700_000_000_000)
		now := func() time.Time { return time.UnixMilli(at.Load()) }
		opts := (&Options{Log: l, Now: now}).EnsureDefaults()
		newOne := func() *coordinator {
			c := &coordinator{log: l, opts: opts, logger: hclog.NewNullLogger(), m: &counters{}, groups: map[string]*group{}}
			c.configs = func(string) map[string]string { return nil }
			c.m.register(opts.Metrics)
			return c
		}
		c := newOne()
		defer func() { c.close() }()
		// What other runs have stored need not be read again.
		tp := log.TopicPartition{Topic: offsetsTopic}
		if bounds, err := l.Bounds(context.Background(), tp); err != nil {
			t.Fatal(err)
		} else if err := l.DeleteRecords(context.Background(), tp, bounds.End); err != nil {
			t.Fatal(err)
		}
		groups++
		name := fmt.Sprint("g", groups)
		ensure := func() *group {
			g := c.ensure(name)
			g.stored = true // one that was not is dropped, and another one made
			g.mu.Unlock()
			return g
		}
		s := &modelServer{g: ensure(), disk: disk}
		startAgain := func() {
			c.close()
			c = newOne()
			if err := c.load(); err != nil {
				t.Fatal(err)
			}
			s.g = ensure()
		}

		var clients []*modelConsumer
		for i := range rapid.IntRange(1, 5).Draw(t, "clients") {
			m := &modelConsumer{s: s, id: string(rune('p' + i)), names: [][]string{{"a", "c"}, {"a", "b", "c", "d"}, {"c", "d"}}[i%3]}
			if i%2 == 1 {
				m.instance = fmt.Sprint("static", i)
			}
			m.begin()
			clients = append(clients, m)
		}
		alone := func() { // nobody works on what another member works on
			s.g.mu.Lock()
			defer s.g.mu.Unlock()
			if s.g.consumers == nil {
				return
			}
			works := map[idPartition]string{}
			for _, m := range clients {
				known := s.g.consumers.members[m.id]
				// Who has not heard of its new epoch may begin what it was told before,
				// as with Kafka: its commits are refused.
				if m.gone || known == nil || m.epoch != known.epoch {
					continue
				}
				for p := range m.owned {
					if works[p] != "" {
						t.Fatalf("%v is worked on by %s and %s", p, works[p], m.id)
					}
					works[p] = m.id
				}
			}
		}
		check := func() {
			s.g.checkConsumers(t)
			alone()
		}
		pass := func(d time.Duration) {
			at.Add(d.Milliseconds())
			s.g.tick()
		}
		for range rapid.IntRange(10, 300).Draw(t, "steps") {
			m := clients[rapid.IntRange(0, len(clients)-1).Draw(t, "client")]
			// Small numbers are drawn more often than others: they are spread.
			switch rapid.Uint32().Draw(t, "action") * 2654435761 >> 16 % 60 {
			case 0:
				m.leave(t, now(), epochLeave)
			case 1:
				m.gone = true
			case 2:
				if m.instance != "" {
					m.leave(t, now(), epochAway)
				}
			case 3, 4:
				m.gone = false
				m.restart()
			case 5:
				pass(time.Duration(rapid.IntRange(1, 50_000).Draw(t, "ms")) * time.Millisecond)
			case 6:
				m.names = [][]string{{"a", "c"}, {"b", "d"}, {"a", "b", "c", "d"}}[rapid.IntRange(0, 2).Draw(t, "names")]
			case 7:
				changeTopic(t, rapid.Bool().Draw(t, "grows"))
			case 8:
				startAgain()
			case 9:
				s.whileFull(func() { pass(time.Duration(rapid.IntRange(1, 50_000).Draw(t, "ms")) * time.Millisecond) })
			case 10:
				s.whileFull(func() { m.leave(t, now(), epochLeave) })
			default:
				if m.gone {
					continue
				}
				if rapid.Bool().Draw(t, "works") {
					m.work()
				}
				beat := func() {
					m.beat(t, now(), rapid.Bool().Draw(t, "full"), rapid.IntRange(0, 9).Draw(t, "lost") == 0)
				}
				if rapid.IntRange(0, 19).Draw(t, "disk is full") == 0 {
					s.whileFull(beat)
				} else {
					beat()
				}
			}
			check()
		}
		// What was stored is the group.
		again := newOne()
		defer again.close()
		if err := again.load(); err != nil {
			t.Fatal(err)
		}
		if loaded := again.groups[s.g.name]; s.g.consumers != nil {
			if a, b := showStored(loaded), showStored(s.g); a != b {
				t.Fatalf("loaded %s\nstored %s", a, b)
			}
			loaded.checkConsumers(t)
		}
		// In peace: some are gone, and the others go on.
		for i, m := range clients {
			m.gone = i > 0 && rapid.Bool().Draw(t, "gone")
		}
		settled := func() bool {
			s.g.mu.Lock()
			defer s.g.mu.Unlock()
			if s.g.consumers == nil {
				return false
			}
			wanted, worked := map[string]bool{}, 0
			for _, m := range clients {
				if m.gone {
					if s.g.consumers.members[m.id] != nil {
						return false
					}
					continue
				}
				for _, name := range m.names {
					wanted[name] = true
				}
				if m.epoch != s.g.consumers.targetEpoch || !maps.Equal(m.owned, s.g.consumers.target[m.id]) {
					return false
				}
				worked += len(m.owned)
			}
			total := 0
			for name := range wanted {
				if topic, err := l.Topic(context.Background(), name); err == nil {
					total += topic.Partitions
				}
			}
			return s.g.state == groupStable && worked == total
		}
		settle := func() {
			for rounds := 0; !settled(); rounds++ {
				if rounds > 100 {
					t.Fatalf("no agreement after %d rounds: %s", rounds, showStored(s.g))
				}
				for _, m := range clients {
					if !m.gone {
						m.work()
						m.beat(t, now(), true, false)
						check()
					}
				}
				pass(time.Second)
				check()
			}
		}
		settle()
		changeTopic(t, rapid.Bool().Draw(t, "grows"))
		settle()
	})
}

// showStored is what of a group is stored.
func showStored(g *group) string {
	if g == nil || g.consumers == nil {
		return "none"
	}
	cs := g.consumers
	text := fmt.Sprintf("epochs %d %d", cs.epoch, cs.targetEpoch)
	for _, id := range slices.Sorted(maps.Keys(cs.members)) {
		m := cs.members[id]
		text += fmt.Sprintf("\n%s %s %v %v: %d after %d, %d, %v %v; %v", id, m.instance, m.names, m.rebalanceTimeout, m.epoch, m.before, m.state,
			m.assigned.byTopic(), m.revoked.byTopic(), cs.target[id].byTopic())
	}
	return text
}

// A heartbeat that says nothing new, in a group of many.
func BenchmarkQuietBeat(b *testing.B) {
	l := logtest.Open(b, func(o *log.Options) { o.MaintainEvery, o.Sync.Mode = -1, log.SyncNone }).(*log.Embedded)
	logtest.Create(b, l, "a", 1000)
	now := time.UnixMilli(1_700_000_000_000)
	opts := (&Options{Log: l, MaxGroupBytes: 1 << 30, Now: func() time.Time { return now }}).EnsureDefaults()
	c := &coordinator{log: l, opts: opts, logger: hclog.NewNullLogger(), m: &counters{}, groups: map[string]*group{}}
	c.configs = func(string) map[string]string { return nil }
	c.m.register(opts.Metrics)
	defer c.close()
	g := newGroup(c, "g")
	c.groups["g"] = g
	cs := newConsumers()
	for i := range 1000 {
		cs.put(&consumer{id: fmt.Sprint("m", i), names: []string{"a"}})
	}
	for i := range maxNames { // what a neighbour wants is not looked up
		cs.members["m1"].names = append(cs.members["m1"].names, fmt.Sprint("none", i))
	}
	cs.advance(c.topicSize)
	for id, m := range cs.members {
		m.epoch, m.assigned = cs.targetEpoch, cs.target[id]
	}
	g.consumers = cs
	for id := range cs.members {
		g.hearConsumer(id, now)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, code := g.beat(&beat{now: now, id: "m7", epoch: cs.targetEpoch, timeout: -1}); code != nil {
			b.Fatal(code)
		}
	}
}
