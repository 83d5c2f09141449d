package log

import (
	"errors"
	"strings"
	"testing"
	"time"
)

func TestOptionsReportAllMistakes(t *testing.T) {
	o := Options{SegmentBytes: 1, JournalBytes: 1, DefaultPartitions: -1, Sync: SyncPolicy{Mode: SyncInterval}}
	err := o.EnsureDefaults().Validate()
	for _, field := range []string{"SegmentBytes", "JournalBytes", "DefaultPartitions", "Sync.Every"} {
		if err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("got %v, want %s in it", err, field)
		}
	}
	if err := new(Options).EnsureDefaults().Validate(); err != nil {
		t.Errorf("zero value: %v", err)
	}
}

func TestSyncPolicyText(t *testing.T) {
	f := func(text string, want SyncPolicy) {
		t.Helper()
		got, err := ParseSyncPolicy(text)
		if err != nil || got != want || got.String() != text {
			t.Errorf("%s: got %v, %v", text, got, err)
		}
	}
	f("group", SyncPolicy{})
	f("none", SyncPolicy{Mode: SyncNone})
	f("interval(100ms)", SyncPolicy{SyncInterval, 100 * time.Millisecond})
	for _, bad := range []string{"interval", "interval(0s)", "interval(x)", "always"} {
		if _, err := ParseSyncPolicy(bad); err == nil {
			t.Errorf("%s: no error", bad)
		}
	}
}

func TestTopicNames(t *testing.T) {
	f := func(name string, ok bool) {
		t.Helper()
		if err := CheckTopicName(name); (err == nil) != ok || err != nil && !errors.Is(err, ErrInvalidTopic) {
			t.Errorf("%.20q: got %v", name, err)
		}
	}
	f("a", true)
	f("A.b_c-9", true)
	f(strings.Repeat("x", 249), true)
	f(strings.Repeat("x", 250), false)
	f("", false)
	f(".", false)
	f("..", false)
	f("...", true)
	f("a b", false)
	f("a/b", false)
	f("ä", false)
}

func TestTopicConfigs(t *testing.T) {
	o := new(Options).EnsureDefaults()
	c, err := resolveConfig(o, nil, map[string]string{"cleanup.policy": "compact,delete", "retention.ms": "5", "message.timestamp.type": "LogAppendTime", "flush.ms": "1"})
	if err != nil || !c.compact || !c.delete || c.retentionMs != 5 || !c.appendTime || c.retentionBytes != -1 {
		t.Errorf("got %+v, %v", c, err)
	}
	_, err = resolveConfig(o, nil, map[string]string{"retention.ms": "soon", "segment.bites": "1", "cleanup.policy": "never"})
	for _, word := range []string{`"soon"`, "segment.bites", `"never"`} {
		if !errors.Is(err, ErrInvalidConfig) || !strings.Contains(err.Error(), word) {
			t.Errorf("got %v, want %s in it", err, word)
		}
	}
}

func TestTopicIDText(t *testing.T) {
	id := newTopicID()
	got, err := ParseTopicID(id.String())
	if err != nil || got != id || len(id.String()) != 22 {
		t.Errorf("got %v, %v, want %v", got, err, id)
	}
	if _, err := ParseTopicID("short"); err == nil {
		t.Error("no error")
	}
}
