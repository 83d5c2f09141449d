package log

import (
	"context"
	"errors"
	"testing"
)

// Offsets that are under way while their topic is deleted do not come back, nor
// become those of a topic that is made again under the name: they are refused
// once the topic is marked, and forgotten with it before.
func TestOffsetsOfDeletedTopic(t *testing.T) {
	ctx := context.Background()
	fs := newMemFS()
	l := mustOpen(t, "data", testOptions(fs))
	tp := TopicPartition{"a", 0}
	mustCreate(t, l, "a", 1)
	id, _ := l.TopicID("a")
	of := func(o Offset) []GroupOffset { return []GroupOffset{{TopicPartition: tp, Offset: o}} }
	// begun is a commit that has looked the topic up.
	begun := func(group string) *entry {
		t.Helper()
		en := &entry{time: l.now()}
		if err := l.offsetsPart(en, new(Builder), group, of(7)); err != nil {
			t.Fatal(err)
		}
		return en
	}
	refused := func(what string, err error) {
		t.Helper()
		if !errors.Is(err, ErrUnknownTopic) {
			t.Errorf("%s: %v, want ErrUnknownTopic", what, err)
		}
	}

	if _, err := l.Commit(ctx, &Commit{Group: "before", Offsets: of(5)}); err != nil {
		t.Fatal(err)
	}
	if err := l.CommitTxnOffsets(ctx, "open", 1, 0, of(5)); err != nil {
		t.Fatal(err)
	}
	late, later := begun("late"), begun("later")
	if err := l.DeleteTopic(ctx, "a"); err != nil {
		t.Fatal(err)
	}
	refused("a commit that came too late", l.submit(late, "", 0))
	_, err := l.Commit(ctx, &Commit{Group: "after", Offsets: of(6)})
	refused("a commit after", err)
	refused("a commit in a transaction after", l.CommitTxnOffsets(ctx, "after", 1, 0, of(6)))
	mustCreate(t, l, "a", 1)
	refused("a commit that came when the topic was made again", l.submit(later, "", 0))
	old := of(8)
	old[0].TopicID = id
	_, err = l.Commit(ctx, &Commit{Group: "by id", Offsets: old})
	refused("a commit for the topic that was deleted", err)
	mustEnd(t, l, true, 1, 0, TopicPartition{offsetsTopic, 0})

	now, _ := l.TopicID("a")
	known := of(9)
	known[0].TopicID = now
	if _, err := l.Commit(ctx, &Commit{Group: "by id", Offsets: known}); err != nil {
		t.Fatal(err)
	}
	for _, how := range []string{"before", "after"} {
		for _, group := range []string{"before", "open", "late", "later", "after"} {
			if got, err := l.Committed(ctx, group); err != nil || len(got) > 0 {
				t.Errorf("%s a restart: group %q has %v, %v", how, group, got, err)
			}
		}
		if got, err := l.Committed(ctx, "by id"); err != nil || got[tp].Offset != 9 {
			t.Errorf("%s a restart: %v, %v, want offset 9", how, got, err)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		l = mustOpen(t, "data", testOptions(fs))
	}
	// What is forgotten need not be there.
	if _, err := l.Commit(ctx, &Commit{Group: "by id", Offsets: []GroupOffset{{TopicPartition: TopicPartition{"gone", 3}, Offset: -1}}}); err != nil {
		t.Error(err)
	}
}
