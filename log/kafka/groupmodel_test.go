package kafka

import (
	"fmt"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
	"pgregory.net/rapid"

	"github.com/gretestream/grete/log"
	"github.com/gretestream/grete/log/logtest"
)

// modelClient is a client that does what the protocol asks of it, one step at a
// time and without waiting.
type modelClient struct {
	c          *coordinator
	r          *request
	instance   *string
	protocols  []string
	gone       bool // its process does not run
	id         string
	generation int32
	leads      bool
	roster     []kmsg.JoinGroupResponseMember
	assignment string
	stable     bool // it works on what it was given

	join <-chan *kmsg.JoinGroupResponse
	sync <-chan *kmsg.SyncGroupResponse
}

// forget is what a restart does.
func (m *modelClient) forget() {
	m.id, m.generation, m.leads, m.assignment, m.stable = "", -1, false, "", false
	m.join, m.sync = nil, nil
}

// step makes one step, unless the client has to wait for others.
func (m *modelClient) step(t *rapid.T) {
	switch {
	case m.gone:
	case m.join != nil:
		select {
		case resp := <-m.join:
			m.join = nil
			m.onJoin(t, resp)
		default:
		}
	case m.sync != nil:
		select {
		case resp := <-m.sync:
			m.sync = nil
			m.onSync(t, resp)
		default:
		}
	case m.generation < 0:
		m.sendJoin(t)
	case !m.stable:
		m.sendSync(t)
	default:
		m.beat(t)
	}
}

func (m *modelClient) sendJoin(t *rapid.T) {
	req := kmsg.NewPtrJoinGroupRequest()
	req.Group, req.MemberID, req.InstanceID, req.ProtocolType = "g", m.id, m.instance, "consumer"
	req.SessionTimeoutMillis, req.RebalanceTimeoutMillis = 10_000, 30_000
	for _, name := range m.protocols {
		req.Protocols = append(req.Protocols, kmsg.JoinGroupRequestProtocol{Name: name, Metadata: []byte{0xff}})
	}
	resp, wait := m.c.join(m.r, req)
	if resp != nil {
		m.onJoin(t, resp)
	}
	m.join = wait
}

func (m *modelClient) onJoin(t *rapid.T, resp *kmsg.JoinGroupResponse) {
	switch kerr.ErrorForCode(resp.ErrorCode) {
	case nil:
		m.id, m.generation, m.stable = resp.MemberID, resp.Generation, false
		m.leads, m.roster = resp.LeaderID == m.id && !resp.SkipAssignment, resp.Members
	case kerr.MemberIDRequired:
		m.id = resp.MemberID
	case kerr.UnknownMemberID:
		m.forget()
	case kerr.RebalanceInProgress:
		m.generation = -1
	case kerr.FencedInstanceID:
		m.forget()
		m.gone = true // there is another
	default:
		t.Fatalf("join of %q: %v", m.id, kerr.ErrorForCode(resp.ErrorCode))
	}
}

func (m *modelClient) sendSync(t *rapid.T) {
	req := kmsg.NewPtrSyncGroupRequest()
	req.Group, req.MemberID, req.InstanceID, req.Generation = "g", m.id, m.instance, m.generation
	if m.leads {
		for _, r := range m.roster {
			req.GroupAssignment = append(req.GroupAssignment, kmsg.SyncGroupRequestGroupAssignment{
				MemberID: r.MemberID, MemberAssignment: fmt.Appendf(nil, "%d/%s", m.generation, r.MemberID),
			})
		}
	}
	resp, wait := m.c.sync(req)
	if resp != nil {
		m.onSync(t, resp)
	}
	m.sync = wait
}

func (m *modelClient) onSync(t *rapid.T, resp *kmsg.SyncGroupResponse) {
	if m.lost(t, "sync", kerr.ErrorForCode(resp.ErrorCode)) {
		return
	}
	m.assignment, m.stable = string(resp.MemberAssignment), true
	// A static member that has come back holds what its old self was given.
	if want := fmt.Sprintf("%d/%s", m.generation, m.id); m.instance == nil && m.assignment != want {
		t.Fatalf("assignment %q, want %q", m.assignment, want)
	}
}

func (m *modelClient) beat(t *rapid.T) {
	req := kmsg.NewPtrHeartbeatRequest()
	req.Group, req.MemberID, req.InstanceID, req.Generation = "g", m.id, m.instance, m.generation
	var err error
	if code := m.c.heartbeat(req); code != nil {
		err = code
	}
	m.lost(t, "heartbeat", err)
}

// lost tells whether an error means that the client has to join again.
func (m *modelClient) lost(t *rapid.T, what string, err error) bool {
	switch err {
	case nil:
		return false
	case kerr.RebalanceInProgress, kerr.IllegalGeneration:
		m.generation, m.stable = -1, false
	case kerr.UnknownMemberID:
		m.forget()
	case kerr.FencedInstanceID:
		m.forget()
		m.gone = true
	default:
		t.Fatalf("%s of %q: %v", what, m.id, err)
	}
	return true
}

func (m *modelClient) leave(t *rapid.T) {
	req := kmsg.LeaveGroupRequestMember{MemberID: m.id, InstanceID: m.instance}
	switch code := m.c.leave("g", []kmsg.LeaveGroupRequestMember{req})[0]; code {
	case nil, kerr.UnknownMemberID, kerr.FencedInstanceID:
	default:
		t.Fatalf("leave of %q: %v", m.id, code)
	}
	m.forget()
	m.gone = true
}

// check holds a group against what must be so whenever its lock is free.
func (g *group) check(t *rapid.T) {
	g.mu.Lock()
	defer g.mu.Unlock()
	waiting, supported, statics, held := 0, map[string]int{}, 0, int64(0)
	for id := range g.pending {
		held += g.pendingSize(id)
	}
	for id, m := range g.members {
		held += m.size()
		if m.id != id {
			t.Fatalf("member %q under %q", m.id, id)
		}
		if m.joining != nil {
			waiting++
		}
		if m.syncing != nil && g.state != groupCompleting {
			t.Fatalf("%q waits in Sync while the group is %s", id, g.state)
		}
		if m.joining != nil && g.state != groupPreparing {
			t.Fatalf("%q waits in Join while the group is %s", id, g.state)
		}
		if m.static() {
			statics++
			if g.statics[m.instance] != id {
				t.Fatalf("instance %q is %q, want %q", m.instance, g.statics[m.instance], id)
			}
		}
		for _, p := range m.protocols {
			supported[p.name]++
		}
	}
	if waiting != g.waiting || statics != len(g.statics) || fmt.Sprint(supported) != fmt.Sprint(g.supported) {
		t.Fatalf("waiting %d %d, statics %d %d, supported %v %v", waiting, g.waiting, statics, len(g.statics), supported, g.supported)
	}
	if held != g.held || held != g.c.held.Load() { // it is the only one
		t.Fatalf("members take up %d bytes, the group has counted %d, the coordinator %d", held, g.held, g.c.held.Load())
	}
	if (g.state == groupEmpty) != (len(g.members) == 0) && g.state != groupPreparing {
		t.Fatalf("group of %d is %s", len(g.members), g.state)
	}
	if len(g.members) > 0 && g.members[g.leader] == nil {
		t.Fatalf("leader %q of %d members is none of them", g.leader, len(g.members))
	}
	if g.state == groupPreparing && g.waiting == len(g.members) && len(g.pending) == 0 {
		t.Fatal("all have joined and the group still waits")
	}
	if next := g.next(); !next.IsZero() && (g.timer == nil || g.wake.After(next)) {
		t.Fatalf("timer at %v, want %v or before", g.wake, next)
	}
}

// Members join, sync, beat, leave, vanish and come back in any order, while time
// passes: what must be so is so after every step, and when they are left in
// peace they agree.
func TestGroupModel(t *testing.T) {
	client, server := net.Pipe()
	defer client.Close()
	defer server.Close()
	l := logtest.Open(t, func(o *log.Options) { o.MaintainEvery = -1 }).(*log.Embedded)
	rapid.Check(t, func(t *rapid.T) {
		var at atomic.Int64 // of timers, too
		at.Store(1_700_000_000_000)
		pass := func(d time.Duration) { at.Add(d.Milliseconds()) }
		opts := (&Options{Log: l, Now: func() time.Time { return time.UnixMilli(at.Load()) }}).EnsureDefaults()
		c := &coordinator{log: l, opts: opts, logger: hclog.NewNullLogger(), m: &counters{}, groups: map[string]*group{}}
		c.m.register(opts.Metrics)
		defer c.close()
		r := &request{conn: &conn{nc: server}, version: rapid.SampledFrom([]int16{9, 3}).Draw(t, "version"), clientID: "model"}

		var clients []*modelClient
		for i := range rapid.IntRange(1, 6).Draw(t, "clients") {
			m := &modelClient{c: c, r: r, generation: -1, protocols: [][]string{{"a", "b"}, {"b", "a"}, {"b"}}[i%3]}
			if i%2 == 1 { // two of them may have the same
				m.instance = kmsg.StringPtr(fmt.Sprint("static", i/4))
			}
			clients = append(clients, m)
		}
		tick := func() {
			for _, g := range c.all() {
				g.tick()
			}
		}
		for range rapid.IntRange(10, 300).Draw(t, "steps") {
			m := clients[rapid.IntRange(0, len(clients)-1).Draw(t, "client")]
			// Small numbers are drawn more often than others: they are spread.
			switch rapid.Uint32().Draw(t, "action") * 2654435761 >> 16 % 80 {
			case 0:
				m.leave(t)
			case 1:
				m.forget()
				m.gone = true
			case 2, 3:
				if m.gone {
					m.gone = false
				} else {
					m.forget() // restarted
				}
			case 4:
				pass(time.Duration(rapid.IntRange(1, 40_000).Draw(t, "ms")) * time.Millisecond)
				tick()
			case 5: // a leader's wish
				if m.stable && !m.gone {
					m.generation, m.stable = -1, false
				}
			case 6: // the answer was lost
				m.join, m.sync = nil, nil
			default:
				m.step(t)
			}
			for _, g := range c.all() {
				g.check(t)
			}
		}
		// In peace: some go without a word, and of two with one static id only one
		// stays.
		taken := map[string]bool{}
		alive := 0
		for i, m := range clients {
			m.gone = i > 0 && rapid.Bool().Draw(t, "gone") || m.instance != nil && taken[*m.instance]
			if m.gone || m.instance != nil {
				m.forget() // the static one that stays is restarted: the other may have fenced it
			}
			if m.gone {
				continue
			}
			alive++
			if m.instance != nil {
				taken[*m.instance] = true
			}
		}
		settled := func() bool {
			g := c.lookup("g")
			if g == nil {
				return false
			}
			defer g.mu.Unlock()
			for _, m := range clients {
				if !m.gone && (!m.stable || m.generation != g.generation) {
					return false
				}
			}
			return g.state == groupStable
		}
		for rounds := 0; !settled(); rounds++ {
			if rounds > 300 {
				t.Fatalf("no agreement after %d rounds", rounds)
			}
			for _, m := range clients {
				m.step(t)
			}
			pass(time.Second)
			tick()
			for _, g := range c.all() {
				g.check(t)
			}
		}
		g := c.lookup("g")
		n := len(g.members)
		g.mu.Unlock()
		if n < alive {
			t.Fatalf("%d members, want the %d who are alive", n, alive)
		}
		// Whoever is still a member and not alive goes when its session ends.
		for range 60 {
			pass(time.Second)
			for _, m := range clients {
				m.step(t)
			}
			tick()
		}
		g = c.lookup("g")
		if g == nil {
			t.Fatal("the group is not there any more")
		}
		n = len(g.members)
		g.mu.Unlock()
		if n != alive {
			t.Fatalf("%d members, want the %d who are alive", n, alive)
		}
	})
}
