package kafka_test

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gretestream/grete/log"
)

func describeConfigs(c *client, version int16, kind kmsg.ConfigResourceType, name string, configs ...string) kmsg.DescribeConfigsResponseResource {
	c.t.Helper()
	req := kmsg.NewPtrDescribeConfigsRequest()
	req.Version, req.IncludeSynonyms, req.IncludeDocumentation = version, true, true
	req.Resources = append(req.Resources, kmsg.DescribeConfigsRequestResource{ResourceType: kind, ResourceName: name, ConfigNames: configs})
	return ask[*kmsg.DescribeConfigsResponse](c, req).Resources[0]
}

// configNamed finds a config of an answer.
func configNamed(t *testing.T, r kmsg.DescribeConfigsResponseResource, name string) kmsg.DescribeConfigsResponseResourceConfig {
	t.Helper()
	for _, c := range r.Configs {
		if c.Name == name {
			return c
		}
	}
	t.Fatalf("no config %s among %d, code %d", name, len(r.Configs), r.ErrorCode)
	return kmsg.DescribeConfigsResponseResourceConfig{}
}

func TestDescribeTopicConfigs(t *testing.T) {
	s, l := serve(t, nil)
	c := dial(t, s)
	if _, err := l.CreateTopic(t.Context(), log.TopicSpec{Name: "t", Configs: map[string]string{"cleanup.policy": "compact"}}); err != nil {
		t.Fatal(err)
	}
	for version := int16(0); version <= 4; version++ {
		r := describeConfigs(c, version, kmsg.ConfigResourceTypeTopic, "t")
		if len(r.Configs) != len(l.ConfigInfos()) {
			t.Fatalf("version %d: %d configs, want %d", version, len(r.Configs), len(l.ConfigInfos()))
		}
		policy, age := configNamed(t, r, "cleanup.policy"), configNamed(t, r, "retention.ms")
		if *policy.Value != "compact" || *age.Value != "-1" {
			t.Errorf("version %d: cleanup.policy %s, retention.ms %s", version, *policy.Value, *age.Value)
		}
		if version == 0 && (policy.IsDefault || !age.IsDefault) {
			t.Error("what is a default is told wrong")
		}
		if version >= 1 && (policy.Source != kmsg.ConfigSourceDynamicTopicConfig || age.Source != kmsg.ConfigSourceDefaultConfig) {
			t.Errorf("version %d: sources %v and %v", version, policy.Source, age.Source)
		}
		if version >= 1 && (len(policy.ConfigSynonyms) != 2 || policy.ConfigSynonyms[1].Name != "log.cleanup.policy" || *policy.ConfigSynonyms[1].Value != "delete") {
			t.Errorf("version %d: synonyms %+v", version, policy.ConfigSynonyms)
		}
		if version >= 3 && (policy.ConfigType != kmsg.ConfigTypeList || policy.Documentation == nil) {
			t.Errorf("version %d: type %v, words %v", version, policy.ConfigType, policy.Documentation)
		}
	}
	if r := describeConfigs(c, 4, kmsg.ConfigResourceTypeTopic, "t", "segment.ms"); len(r.Configs) != 1 {
		t.Errorf("%d configs, want the one that was asked for", len(r.Configs))
	}
}

func TestDescribeOtherConfigs(t *testing.T) {
	s, _ := serve(t, nil)
	c := dial(t, s)
	broker := describeConfigs(c, 4, kmsg.ConfigResourceTypeBroker, "1")
	for name, want := range map[string]struct {
		value    string
		readOnly bool
	}{
		"auto.create.topics.enable":  {"true", true},
		"num.partitions":             {"4", true},
		"default.replication.factor": {"1", true},
		"log.retention.ms":           {"-1", false},
		"message.max.bytes":          {"1048588", false},
		"max.connections":            {"10000", false},
	} {
		if got := configNamed(t, broker, name); *got.Value != want.value || got.ReadOnly != want.readOnly {
			t.Errorf("%s is %s, read only %v, want %+v", name, *got.Value, got.ReadOnly, want)
		}
	}
	seen := map[string]bool{}
	for _, config := range broker.Configs {
		if seen[config.Name] {
			t.Errorf("%s is there twice", config.Name)
		}
		seen[config.Name] = true
	}
	f := func(kind kmsg.ConfigResourceType, name string, want *kerr.Error) {
		t.Helper()
		r := describeConfigs(c, 4, kind, name)
		if err := kerr.ErrorForCode(r.ErrorCode); want == nil && err != nil || want != nil && err != error(want) {
			t.Errorf("%v %q: %v, want %v", kind, name, err, want)
		}
	}
	f(kmsg.ConfigResourceTypeTopic, "unknown", kerr.UnknownTopicOrPartition)
	f(kmsg.ConfigResourceTypeBroker, "", nil)
	f(kmsg.ConfigResourceTypeBroker, "2", kerr.InvalidRequest)
	f(kmsg.ConfigResourceTypeBroker, "one", kerr.InvalidRequest)
	f(kmsg.ConfigResourceTypeBrokerLogger, "1", nil)
	f(kmsg.ConfigResourceTypeGroupConfig, "g", nil)
	f(kmsg.ConfigResourceTypeClientMetrics, "m", nil)
	f(99, "x", kerr.InvalidRequest)
}
