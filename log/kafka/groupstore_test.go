package kafka_test

import (
	"bytes"
	"context"
	"reflect"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gretestream/grete/log"
	"github.com/gretestream/grete/log/kafka"
	"github.com/gretestream/grete/log/logtest"
)

// machine is a disk with a log and a server on it, which can be restarted.
type machine struct {
	t    testing.TB
	disk *logtest.Disk
	addr string // stays the same
	at   *clock
	l    *log.Embedded
	s    *kafka.Server
}

func newMachine(t testing.TB) *machine {
	m := &machine{t: t, disk: logtest.NewDisk(1), at: newClock(), addr: logtest.FreeAddr(t)}
	m.start()
	logtest.Create(t, m.l, "t", 2)
	return m
}

func (m *machine) start() {
	m.t.Helper()
	m.l = logtest.Open(m.t, func(o *log.Options) { o.FS, o.MaintainEvery = m.disk, -1 }).(*log.Embedded)
	// Members may be given more than can be stored.
	s, err := kafka.Listen(kafka.Options{Log: m.l, Addr: m.addr, Now: m.at.now, MaxMemberBytes: 80 << 20, MaxGroupBytes: 80 << 20})
	if err != nil {
		m.t.Fatal(err)
	}
	m.t.Cleanup(func() { _ = s.Close() })
	m.s = s
}

// restart stops the server in some way and starts it again; members connect anew.
func (m *machine) restart(how string, members ...*groupMember) {
	m.t.Helper()
	switch how {
	case "close":
		_ = m.s.Close()
		_ = m.l.Close()
	case "kill":
		m.disk = m.disk.Kill()
		_ = m.s.Close()
	case "power cut":
		m.disk = m.disk.Crash(logtest.KeepNothing)
		_ = m.s.Close()
	}
	m.start()
	for _, member := range members {
		member.s = m.s
		member.reconnect()
	}
}

var waysToStop = []string{"close", "kill", "power cut"}

// A group goes on after a restart where it was: same generation, same members,
// same assignments; nobody has to join again.
func TestGroupSurvives(t *testing.T) {
	for _, how := range waysToStop {
		t.Run(how, func(t *testing.T) {
			m := newMachine(t)
			a, b, c := newMember(t, m.s, ""), newMember(t, m.s, "two"), newMember(t, m.s, "")
			form(a, b, c)
			is(t, "commit", a.commit(5), nil)
			before := describeGroup(a.client, 5, "g")
			m.restart(how, a, b, c)
			after := describeGroup(a.client, 5, "g")
			if !reflect.DeepEqual(before, after) {
				t.Errorf("before %+v\nafter  %+v", before, after)
			}
			if len(after.Members) != 3 || after.State != "Stable" || after.Protocol != "range" {
				t.Fatalf("after the restart: %+v", after)
			}
			for _, member := range []*groupMember{a, b, c} {
				is(t, "heartbeat", member.heartbeat(), nil)
				member.leads = false // a Sync of a stable group asks only
				member.sendSync()
				member.synced()
			}
			is(t, "commit", c.commit(6), nil)
			zombie := *a
			zombie.generation--
			is(t, "zombie's commit", zombie.commit(7), kerr.IllegalGeneration)

			// The sessions run from the restart on.
			m.at.advance(m.s, testSession/2)
			is(t, "heartbeat", a.heartbeat(), nil)
			is(t, "heartbeat", b.heartbeat(), nil)
			m.at.advance(m.s, testSession/2)
			is(t, "heartbeat when one is gone", a.heartbeat(), kerr.RebalanceInProgress)
			is(t, "heartbeat of the one who is gone", c.heartbeat(), kerr.UnknownMemberID)
			a.sendJoin()
			b.sendJoin()
			each([]*groupMember{a, b}, (*groupMember).joined)
			syncAll(a, b)
		})
	}
}

// A restart while members join, and one between Join and Sync: the generation
// before counts, and the next one has another number.
func TestGroupSurvivesRebalance(t *testing.T) {
	for _, how := range waysToStop {
		t.Run(how, func(t *testing.T) {
			m := newMachine(t)
			a, b := newMember(t, m.s, ""), newMember(t, m.s, "")
			form(a)
			b.sendJoin()
			a.waitFor("PreparingRebalance", 1)
			m.restart(how, a, b)
			is(t, "heartbeat", a.heartbeat(), nil)
			same(t, "join of one that was never stored", ask[*kmsg.JoinGroupResponse](b.client, b.joinRequest(9)).ErrorCode, kerr.UnknownMemberID)
			b.id = ""
			b.sendJoin()
			a.waitFor("PreparingRebalance", 1)
			a.sendJoin()
			each([]*groupMember{a, b}, (*groupMember).joined)
			was := a.generation
			m.restart(how, a, b) // nobody has synced
			is(t, "heartbeat", a.heartbeat(), kerr.IllegalGeneration)
			is(t, "heartbeat", b.heartbeat(), kerr.UnknownMemberID)
			a.sendJoin()
			a.joined()
			if a.generation > was {
				t.Errorf("generation %d, want that of before, or the next", a.generation)
			}
			syncAll(a)
			is(t, "heartbeat", a.heartbeat(), nil)
		})
	}
}

// Deleted and expired groups stay away, and so do groups that were empty stay.
func TestEmptyGroupsSurvive(t *testing.T) {
	for _, how := range waysToStop {
		t.Run(how, func(t *testing.T) {
			m := newMachine(t)
			a := newMember(t, m.s, "")
			form(a)
			is(t, "leave", a.leave(), nil)
			m.restart(how, a)
			if got := listGroups(a.client); len(got) != 1 || got[0] != "g consumer Empty classic" {
				t.Fatalf("groups %q, want g", got)
			}
			a.id = ""
			form(a)
			if a.generation != 3 {
				t.Errorf("generation %d, want 3: 2 was the empty one", a.generation)
			}
			is(t, "leave", a.leave(), nil)
			is(t, "delete", deleteGroup(a.client, "g"), nil)
			m.restart(how, a)
			if got := listGroups(a.client); len(got) != 0 {
				t.Fatalf("groups %q, want none", got)
			}
		})
	}
}

// While an open transaction has offsets in the same topic, what comes behind it
// is loaded all the same.
func TestGroupBehindAnOpenTransaction(t *testing.T) {
	m := newMachine(t)
	p := mustInit(dial(t, m.s), "a")
	add := kmsg.NewPtrAddOffsetsToTxnRequest()
	add.Version, add.TransactionalID, add.ProducerID, add.ProducerEpoch, add.Group = 3, "a", p.pid, p.epoch, "g"
	same(t, "add offsets", ask[*kmsg.AddOffsetsToTxnResponse](p.c, add).ErrorCode, nil)
	want(t, "commit offsets", p.commitOffset(3, "other"), "")

	a := newMember(t, m.s, "")
	form(a)
	m.restart("kill", a)
	is(t, "heartbeat", a.heartbeat(), nil)
}

// An assignment that cannot be stored is not handed out.
func TestAssignmentIsStoredFirst(t *testing.T) {
	m := newMachine(t)
	a, b := newMember(t, m.s, ""), newMember(t, m.s, "")
	a.sendJoin()
	a.joined()
	b.sendJoin()
	a.waitFor("PreparingRebalance", 1)
	a.sendJoin()
	each([]*groupMember{a, b}, (*groupMember).joined)
	b.sendSync()
	req := a.syncRequest()
	given := kmsg.NewSyncGroupRequestGroupAssignment()
	given.MemberID, given.MemberAssignment = b.id, bytes.Repeat([]byte("x"), 70<<20) // more than the log takes in one step
	req.GroupAssignment = append(req.GroupAssignment, given)
	a.send(req)
	for _, member := range []*groupMember{a, b} {
		resp := kmsg.NewPtrSyncGroupResponse()
		resp.Version = 5
		member.receive(resp)
		same(t, "sync", resp.ErrorCode, kerr.UnknownServerError)
	}
	each([]*groupMember{a, b}, (*groupMember).sendJoin)
	each([]*groupMember{a, b}, (*groupMember).joined)
	syncAll(a, b)
}

// Assignments may be larger than a record of other topics, such as those of
// Kafka Streams.
func TestLargeAssignment(t *testing.T) {
	m := newMachine(t)
	a := newMember(t, m.s, "")
	a.sendJoin()
	a.joined()
	req := a.syncRequest()
	given := kmsg.NewSyncGroupRequestGroupAssignment()
	given.MemberID, given.MemberAssignment = a.id, bytes.Repeat([]byte("x"), 8<<20)
	req.GroupAssignment = append(req.GroupAssignment, given)
	resp := ask[*kmsg.SyncGroupResponse](a.client, req)
	same(t, "sync", resp.ErrorCode, nil)
	m.restart("kill", a)
	a.leads = false
	resp = ask[*kmsg.SyncGroupResponse](a.client, a.syncRequest())
	same(t, "sync after a restart", resp.ErrorCode, nil)
	if len(resp.MemberAssignment) != 8<<20 {
		t.Errorf("assignment of %d bytes, want 8 MiB", len(resp.MemberAssignment))
	}
}

// A stored group that is not understood costs its members a Join, and nobody
// else anything.
func TestStoredGroupIsDamaged(t *testing.T) {
	m := newMachine(t)
	a := newMember(t, m.s, "")
	form(a)
	is(t, "commit", a.commit(5), nil)
	var b log.Builder
	b.Append(1, []byte{0, 2, 0, 1, 'g'}, []byte{0, 3, 0, 99})
	b.Append(1, []byte{0, 2, 0, 9, 'g'}, []byte{0, 3})
	b.Append(1, []byte{0, 2}, nil)
	b.Append(1, nil, nil)
	_, err := m.l.Commit(context.Background(), &log.Commit{Writes: []log.Write{{
		TopicPartition: log.TopicPartition{Topic: "__consumer_offsets"}, Batches: b.Bytes(),
	}}})
	if err != nil {
		t.Fatal(err)
	}
	m.restart("kill", a)
	is(t, "heartbeat", a.heartbeat(), kerr.UnknownMemberID)
	if got := listGroups(a.client); len(got) != 1 {
		t.Errorf("groups %q, want the one that has offsets", got)
	}
	a.id = ""
	form(a)
	is(t, "commit", a.commit(6), nil)
}

// The server ends while members wait: they are told to look for it again.
func TestShutdownAnswersMembers(t *testing.T) {
	s, _ := serveAt(t, newClock(), nil)
	a, b := newMember(t, s, ""), newMember(t, s, "")
	form(a)
	b.sendJoin()
	a.waitFor("PreparingRebalance", 1)
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := s.Shutdown(ctx); err != nil || ctx.Err() != nil {
		t.Fatal("shutdown:", err, ctx.Err())
	}
	resp := kmsg.NewPtrJoinGroupResponse()
	resp.Version = 9
	b.receive(resp)
	same(t, "join", resp.ErrorCode, kerr.NotCoordinator)
}
