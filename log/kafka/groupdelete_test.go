package kafka_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/gretestream/grete/log/kafka"
)

// Offsets are committed while the group is deleted, which comes in at every place
// where the commit looks at the clock: either the group is there with its offsets
// afterwards, or neither is.
func TestCommitWhileGroupIsDeleted(t *testing.T) {
	for at := range 6 {
		for _, isMember := range []bool{false, true} {
			t.Run(fmt.Sprint("at ", at, " member ", isMember), func(t *testing.T) { commitWhileGroupIsDeleted(t, int64(at), isMember) })
		}
	}
}

func commitWhileGroupIsDeleted(t *testing.T, at int64, isMember bool) {
	var hook atomic.Pointer[func()]
	s, l := serve(t, func(o *kafka.Options) {
		o.Now = func() time.Time {
			if f := hook.Load(); f != nil {
				(*f)()
			}
			return time.Now()
		}
	})
	createTopic(t, l, "t")
	committer, deleter := dial(t, s), dial(t, s)
	id, generation := "", int32(-1)
	var m *groupMember
	if isMember {
		m = newMember(t, s, "")
		form(m)
		id, generation = m.id, m.generation
	}
	is(t, "commit", commitAs(committer, id, nil, generation, 1), nil)

	deleted := make(chan error, 1)
	var left atomic.Int64
	left.Store(at + 1)
	f := func() {
		if left.Add(-1) != 0 {
			return
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			if m != nil {
				_ = m.leave()
			}
			deleted <- deleteGroup(deleter, "g")
		}()
		select {
		case <-done:
		case <-time.After(100 * time.Millisecond): // it waits for the commit, as it should
		}
	}
	hook.Store(&f)
	committed := commitAs(committer, id, nil, generation, 2)
	hook.Store(nil)
	if left.Load() > 0 {
		return // the commit does not look at the clock that often
	}
	gone := <-deleted
	offsets, err := l.Committed(context.Background(), "g")
	if err != nil {
		t.Fatal(err)
	}
	state, _ := s.GroupWaiting("g")
	switch {
	case gone != nil && gone != error(kerr.NonEmptyGroup):
		t.Errorf("delete: %v", gone)
	case (len(offsets) > 0) != (state != ""):
		t.Errorf("commit %v, delete %v: the group is %q, its offsets are %v", committed, gone, state, offsets)
	case isMember && gone == nil && len(offsets) > 0:
		t.Errorf("commit %v, delete %v: the offsets of a member of the deleted group are %v", committed, gone, offsets)
	}
}

// With a group, the offsets go that an open transaction has for it: they do not
// come back when it is committed.
func TestDeleteGroupWithOpenTransaction(t *testing.T) {
	s, l := serve(t, nil)
	createTopic(t, l, "t")
	c := dial(t, s)
	p := mustInit(c, "a")
	want(t, "commit offsets", p.commitOffset(5, "g"), "")
	is(t, "delete", deleteGroup(c, "g"), nil)
	want(t, "commit", p.end(true), "")
	if offsets, err := l.Committed(context.Background(), "g"); err != nil || len(offsets) > 0 {
		t.Errorf("offsets of a group that was deleted: %v, %v", offsets, err)
	}
}
