package log_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/gretestream/grete/log"
	"github.com/gretestream/grete/log/logtest"
)

// Every config that is described is one that a topic may have, with its default
// as the value, and every one that a topic may have is described.
func TestConfigInfos(t *testing.T) {
	l := logtest.Open(t).(*log.Embedded)
	infos := l.ConfigInfos()
	if !slices.IsSortedFunc(infos, func(a, b log.ConfigInfo) int {
		if a.Name < b.Name {
			return -1
		}
		return 1
	}) {
		t.Error("not in order of names")
	}
	all := map[string]string{}
	for _, info := range infos {
		all[info.Name] = info.Default
		if info.Doc == "" || info.Type == "" {
			t.Errorf("%s: no type or no words", info.Name)
		}
	}
	if err := l.CheckConfigs(all); err != nil {
		t.Errorf("the defaults are refused: %v", err)
	}
	for _, name := range log.ConfigNames() {
		if _, ok := all[name]; !ok {
			t.Errorf("%s is not described", name)
		}
	}
}

func TestCheckTopic(t *testing.T) {
	l := logtest.Open(t).(*log.Embedded)
	if _, err := l.CreateTopic(t.Context(), log.TopicSpec{Name: "taken"}); err != nil {
		t.Fatal(err)
	}
	f := func(spec log.TopicSpec, want error) {
		t.Helper()
		if err := l.CheckTopic(spec); !errors.Is(err, want) {
			t.Errorf("%+v: %v, want %v", spec, err, want)
		}
	}
	f(log.TopicSpec{Name: "free"}, nil)
	f(log.TopicSpec{Name: "taken"}, log.ErrTopicExists)
	f(log.TopicSpec{Name: "../up"}, log.ErrInvalidTopic)
	f(log.TopicSpec{Name: "free", Configs: map[string]string{"retention.ms": "soon"}}, log.ErrInvalidConfig)
}
