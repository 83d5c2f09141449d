package jobs

import (
	"strings"
	"testing"

	op "github.com/gretestream/grete/operators"
)

func build(*op.Graph) {}

func TestValidateReportsAllMistakes(t *testing.T) {
	j := Job{
		Name:     "Page Views",
		Settings: []Setting{{Name: "a=b"}, {Name: "x"}, {Name: "x"}, {Name: "y", Default: "1", Required: true}},
		Options:  Options{CommitInterval: -1, CommitBytes: 17 << 20, Guarantee: 7},
	}
	err := j.Validate()
	if err == nil {
		t.Fatal("got no error")
	}
	for _, want := range []string{`"Page Views"`, "neither Build nor Configure", `"a=b"`, `"x" is declared twice`,
		`"y" is required`, "no Configure", "CommitInterval", "CommitBytes", "Guarantee"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("got %v\nwant it to mention %s", err, want)
		}
	}
	if got := err.(*Mistakes).List; len(got) != 9 {
		t.Errorf("got %d mistakes, want 9: %q", len(got), got)
	}
	if err := (&Job{Name: "a-1", Build: build}).Validate(); err != nil {
		t.Errorf("good job: %v", err)
	}
}

func TestResolve(t *testing.T) {
	j := Job{Name: "counts", Settings: []Setting{{Name: "topic", Required: true, Help: "topic to count"}, {Name: "window", Default: "1m"}}}
	got, err := j.Resolve(map[string]string{"window": "5m"}, map[string]string{"topic": "views", "window": "2m"})
	if err != nil || got["topic"] != "views" || got["window"] != "5m" {
		t.Errorf("got %v, %v", got, err)
	}
	_, err = j.Resolve(map[string]string{"windw": "5m"}, nil)
	if err == nil || !strings.Contains(err.Error(), `"windw"; it has topic, window`) || !strings.Contains(err.Error(), "--set topic=VALUE") {
		t.Errorf("got %v", err)
	}
}

func TestInternalTopic(t *testing.T) {
	f := func(topic string, want int64, ok bool) {
		t.Helper()
		if got, gotOK := InternalTopic("visits", topic); got != want || gotOK != ok {
			t.Errorf("%s: got %d, %v, want %d, %v", topic, got, gotOK, want, ok)
		}
	}
	f(CheckpointTopic("visits", 3), 3, true)
	f(RepartitionTopic("visits", 12, "by-user"), 12, true)
	f(ChangelogTopic("visits", 1, "visits"), 1, true)
	f(DeadLettersTopic("visits"), 0, false)
	f("visits", 0, false)
	f("visits.01.checkpoint", 0, false)
	f("visits.0.checkpoint", 0, false)
	f("visits.7.other", 7, false)
	f("visits-2.7.checkpoint", 0, false)
}
