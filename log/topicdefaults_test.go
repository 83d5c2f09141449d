package log

import (
	"context"
	"errors"
	"testing"
)

func TestSetTopicDefaults(t *testing.T) {
	ctx := context.Background()
	fs := newMemFS()
	l := mustOpen(t, "data", testOptions(fs))
	mustCreate(t, l, "plain", 1)
	mustCreate(t, l, "own", 1, "max.message.bytes", "1000000")
	if _, err := l.CreateTopic(ctx, TopicSpec{Name: "internal", Partitions: 1, Internal: true}); err != nil {
		t.Fatal(err)
	}
	large := plainBatch(100)
	f := func(topic string, want error) {
		t.Helper()
		pd, err := l.Produce(TopicPartition{topic, 0}, large, ProduceOptions{Internal: true})
		if err == nil {
			_, err = pd.Wait(ctx)
		}
		if !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", topic, err, want)
		}
	}
	set := func(configs map[string]string) {
		t.Helper()
		if err := l.SetTopicDefaults(configs); err != nil {
			t.Fatal(err)
		}
	}
	f("plain", nil)
	set(map[string]string{"max.message.bytes": "100"})
	mustCreate(t, l, "later", 1)
	f("plain", ErrTooLarge)
	f("later", ErrTooLarge)
	f("own", nil)
	f("internal", nil)

	// What a topic is set to goes before, and gives way when it is unset.
	size := "1000000"
	for _, v := range []*string{&size, nil} {
		if _, err := l.AlterTopic(ctx, "later", map[string]*string{"max.message.bytes": v}); err != nil {
			t.Fatal(err)
		}
		if v != nil {
			f("later", nil)
		} else {
			f("later", ErrTooLarge)
		}
	}

	for _, bad := range []map[string]string{{"max.message.bytes": "many"}, {"log.retention.ms": "1"}} {
		if err := l.SetTopicDefaults(bad); !errors.Is(err, ErrInvalidConfig) {
			t.Errorf("%v: %v, want ErrInvalidConfig", bad, err)
		}
	}
	f("plain", ErrTooLarge) // those of before hold
	if got, err := l.Topic(ctx, "plain"); err != nil || len(got.Configs) > 0 {
		t.Errorf("a default is told as the topic's own: %v, %v", got.Configs, err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = mustOpen(t, "data", testOptions(fs))
	f("plain", nil) // they are not stored
	set(map[string]string{"max.message.bytes": "100"})
	f("plain", ErrTooLarge)
	set(nil)
	f("plain", nil)
	f("later", nil)
}
