package log

import (
	"context"
	"testing"
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
