package kafka

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gretestream/grete/log"
)

// Configs of brokers and groups are kept beside users and ACLs (access.go); those
// of topics are the log's.

// configOwner is what configs are set for: a kind, "broker" or "group", and a name.
type configOwner struct{ kind, name string }

// alterKept has change turn what is set for an owner into what shall be. To unset
// what is not set is no mistake: kafka-reassign-partitions does it.
func (s *Server) alterKept(ctx context.Context, owner configOwner, list []alterable, validateOnly bool, change configChange) error {
	s.alterMu.Lock()
	defer s.alterMu.Unlock()
	known := make([]listed, len(list))
	for i, a := range list {
		known[i] = listed{a.name, a.value, a.kind == kmsg.ConfigTypeList}
	}
	old := s.access.state.Load().configs[owner]
	wanted, err := change(maps.Clone(old), known)
	if err != nil {
		return err
	}
	if err := checkKept(list, old, wanted); err != nil || validateOnly {
		return err
	}
	return s.access.setConfigs(ctx, owner, wanted)
}

// checkKept names all that cannot be set. What is set already may stay.
func checkKept(list []alterable, old, wanted map[string]string) error {
	var errs []string
	for _, name := range slices.Sorted(maps.Keys(wanted)) {
		if v, ok := old[name]; ok && v == wanted[name] {
			continue
		}
		at := slices.IndexFunc(list, func(a alterable) bool { return a.name == name })
		if at < 0 {
			errs = append(errs, fmt.Sprintf("config %s cannot be changed while the server runs", name))
		} else if err := list[at].check(wanted[name]); err != nil {
			errs = append(errs, fmt.Sprintf("config %s: %v", name, err))
		}
	}
	if len(errs) > 0 {
		return problemf(kerr.InvalidRequest, "%s", strings.Join(errs, "; "))
	}
	return nil
}

// setConfigs makes configs all that is set for an owner.
func (a *Access) setConfigs(ctx context.Context, owner configOwner, configs map[string]string) error {
	old := a.state.Load().configs[owner]
	var facts []fact
	for name := range old {
		if _, stays := configs[name]; !stays {
			facts = append(facts, configFact(owner, name, nil))
		}
	}
	for name, value := range configs {
		if v, ok := old[name]; !ok || v != value {
			facts = append(facts, configFact(owner, name, &value))
		}
	}
	if err := a.write(ctx, facts); err != nil {
		return fmt.Errorf("store configs of %s %q: %w", owner.kind, owner.name, err)
	}
	return nil
}

func configFact(owner configOwner, name string, value *string) fact {
	f := fact{key: []string{"config", owner.kind, owner.name, name}}
	if value != nil {
		f.value = configValue{value}
	}
	return f
}

// configValue is the value of a config's record.
type configValue struct {
	Value *string `json:"value"`
}

func (s *accessState) takeConfig(owner configOwner, name string, value []byte) error {
	if value == nil {
		if delete(s.configs[owner], name); len(s.configs[owner]) == 0 {
			delete(s.configs, owner)
		}
		return nil
	}
	var v configValue
	if err := json.Unmarshal(value, &v); err != nil || v.Value == nil {
		return fmt.Errorf("%w: config %q of %s %q: value %.40q", log.ErrCorrupt, name, owner.kind, owner.name, value)
	}
	if s.configs[owner] == nil {
		s.configs[owner] = map[string]string{}
	}
	s.configs[owner][name] = *v.Value
	return nil
}
