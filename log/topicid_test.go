package log

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// A topic is found by its id for as long as it is there, also after a restart:
// one that is made again under the name has another.
func TestTopicName(t *testing.T) {
	ctx := context.Background()
	fs := newMemFS()
	l := mustOpen(t, "data", testOptions(fs))
	ids := map[string]TopicID{}
	for _, name := range []string{"a", "b", "gone"} {
		mustCreate(t, l, name, 1)
		ids[name], _ = l.TopicID(name)
	}
	made := ids["gone"]
	if err := l.DeleteTopic(ctx, "gone"); err != nil {
		t.Fatal(err)
	}
	mustCreate(t, l, "gone", 1)
	ids["gone"], _ = l.TopicID("gone")
	if _, err := l.AddPartitions(ctx, "b", 3); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		for want, id := range ids {
			if got, ok := l.TopicName(id); !ok || got != want {
				t.Errorf("id %v is %q, %v, want %q", id, got, ok, want)
			}
		}
		if got, ok := l.TopicName(made); ok {
			t.Errorf("the id of a deleted topic is %q", got)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		l = mustOpen(t, "data", testOptions(fs))
	}
}

// Who found a topic by its id, and comes back for it when it was deleted and made
// again under the name, neither writes to the new one nor deletes it.
func TestTopicMadeAgainIsNotMeant(t *testing.T) {
	ctx := context.Background()
	var between atomic.Pointer[func()] // runs when the log asks for the time
	opts := testOptions(newMemFS())
	opts.Now = func() time.Time {
		if fn := between.Swap(nil); fn != nil {
			(*fn)()
		}
		return time.UnixMilli(1000)
	}
	l := mustOpen(t, "data", opts)
	mustCreate(t, l, "a", 1)
	old, _ := l.TopicID("a")
	tp := TopicPartition{"a", 0}
	again := func() {
		if err := l.DeleteTopic(ctx, "a"); err != nil {
			t.Error(err)
		}
		mustCreate(t, l, "a", 1)
	}
	produce := func(what string, id TopicID, want error) {
		t.Helper()
		pd, err := l.Produce(tp, plainBatch(1), ProduceOptions{TopicID: id})
		if err == nil {
			_, err = pd.Wait(ctx)
		}
		if !errors.Is(err, want) {
			t.Errorf("produce %s: %v, want %v", what, err, want)
		}
	}
	produce("by the id", old, nil)
	between.Store(&again)
	produce("to a topic that is made again on the way", old, ErrUnknownTopic)
	produce("by the id of before", old, ErrUnknownTopic)
	if err := l.DeleteTopicByID(ctx, old); !errors.Is(err, ErrUnknownTopic) {
		t.Errorf("delete by the id of before: %v, want ErrUnknownTopic", err)
	}
	if b, err := l.Bounds(ctx, tp); err != nil || b.End != 0 {
		t.Errorf("the new topic: %+v, %v, want it there and empty", b, err)
	}
	id, _ := l.TopicID("a")
	produce("by the new id", id, nil)
	produce("by the name", TopicID{}, nil)

	// Of all that delete one and the same, one does, whatever is made meanwhile.
	var wg sync.WaitGroup
	var deleted atomic.Int32
	for range 4 {
		wg.Go(func() {
			switch err := l.DeleteTopicByID(ctx, id); {
			case err == nil:
				deleted.Add(1)
				mustCreate(t, l, "a", 1)
			case !errors.Is(err, ErrUnknownTopic):
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if _, err := l.Topic(ctx, "a"); err != nil || deleted.Load() != 1 {
		t.Errorf("deleted %d times, %v, want once, and the new one there", deleted.Load(), err)
	}
}
