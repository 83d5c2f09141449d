package kafka_test

import (
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gretestream/grete/log"
	"github.com/gretestream/grete/log/kafka"
)

const broker = kmsg.ConfigResourceTypeBroker

// change is one change of a config.
type change = kmsg.IncrementalAlterConfigsRequestResourceConfig

func setTo(name, value string) change {
	return change{Name: name, Op: kmsg.IncrementalAlterConfigOpSet, Value: &value}
}

func unset(name string) change {
	return change{Name: name, Op: kmsg.IncrementalAlterConfigOpDelete}
}

// alterBroker changes configs of a broker, or of all: "".
func (c *client) alterBroker(name string, validate bool, want *kerr.Error, changes ...change) {
	c.t.Helper()
	c.alter(broker, name, validate, want, changes...)
}

func (c *client) alter(kind kmsg.ConfigResourceType, name string, validate bool, want *kerr.Error, changes ...change) {
	c.t.Helper()
	req := kmsg.NewPtrIncrementalAlterConfigsRequest()
	req.Version, req.ValidateOnly = 1, validate
	req.Resources = []kmsg.IncrementalAlterConfigsRequestResource{{ResourceType: kind, ResourceName: name, Configs: changes}}
	r := ask[*kmsg.IncrementalAlterConfigsResponse](c, req).Resources[0]
	wantCode(c.t, fmt.Sprintf("%v %q, %s", kind, name, changes[0].Name), r.ErrorCode, want)
	if want != nil && r.ErrorMessage == nil {
		c.t.Errorf("%v %q, %s: refused without words", kind, name, changes[0].Name)
	}
}

func TestAlterBrokerConfigs(t *testing.T) {
	s, _ := serve(t, nil)
	c := dial(t, s)
	list := func(op kmsg.IncrementalAlterConfigOp, name, value string) change {
		return change{Name: name, Op: op, Value: &value}
	}
	const (
		add      = kmsg.IncrementalAlterConfigOpAppend
		subtract = kmsg.IncrementalAlterConfigOpSubtract
	)
	f := func(ch change, want *kerr.Error, after string) {
		t.Helper()
		for _, name := range []string{"1", ""} {
			c.alterBroker(name, true, want, ch)
			if r := describeConfigs(c, 4, broker, ""); len(r.Configs) > 0 {
				t.Errorf("%s was only to be validated, and holds", ch.Name)
			}
			c.alterBroker(name, false, want, ch)
			if want == nil {
				got := configNamed(t, describeConfigs(c, 4, broker, name), ch.Name)
				if *got.Value != after || got.ReadOnly {
					t.Errorf("broker %q: %s is %s, read only %v, want %s", name, ch.Name, *got.Value, got.ReadOnly, after)
				}
				c.alterBroker(name, false, nil, unset(ch.Name))
			}
			if r := describeConfigs(c, 4, broker, ""); len(r.Configs) > 0 {
				t.Errorf("%s is left over", ch.Name)
			}
		}
	}
	f(setTo("log.retention.ms", "5000"), nil, "5000")
	f(setTo("message.max.bytes", "2000"), nil, "2000")
	f(setTo("max.connections", "7"), nil, "7")
	f(setTo("background.threads", "9"), nil, "9")
	f(setTo("sasl.kerberos.min.time.before.relogin", "58000"), nil, "58000")
	f(list(add, "log.cleanup.policy", "compact"), nil, "delete,compact")
	f(list(subtract, "log.cleanup.policy", "delete"), kerr.InvalidRequest, "")
	f(list(add, "max.connections", "7"), kerr.InvalidConfig, "")
	f(setTo("log.retention.ms", "soon"), kerr.InvalidRequest, "")
	f(setTo("max.connections", "0"), kerr.InvalidRequest, "")
	f(setTo("num.partitions", "3"), kerr.InvalidRequest, "")
	f(setTo("auto.create.topics.enable", "false"), kerr.InvalidRequest, "")
	f(setTo("listeners", "PLAINTEXT://:1"), kerr.InvalidRequest, "")
	f(setTo("retention.ms", "5"), kerr.InvalidRequest, "") // a topic's name
	f(setTo("no.such.config", "5"), kerr.InvalidRequest, "")
	c.alterBroker("2", false, kerr.InvalidRequest, setTo("max.connections", "7"))

	// One that cannot be keeps the others from being set.
	c.alterBroker("1", false, kerr.InvalidRequest, setTo("max.connections", "7"), setTo("num.partitions", "3"))
	if got := configNamed(t, describeConfigs(c, 4, broker, "1"), "max.connections"); *got.Value != "10000" || got.Source != kmsg.ConfigSourceStaticBrokerConfig {
		t.Errorf("max.connections is %s, from %v", *got.Value, got.Source)
	}
}

// AlterConfigs replaces all that is set for the broker, and leaves what is set for all.
func TestReplaceBrokerConfigs(t *testing.T) {
	s, _ := serve(t, nil)
	c := dial(t, s)
	c.alterBroker("", false, nil, setTo("log.segment.bytes", "5000"))
	c.alterBroker("1", false, nil, setTo("log.retention.ms", "5000"))
	value := "6000"
	req := kmsg.NewPtrAlterConfigsRequest()
	req.Version = 2
	req.Resources = []kmsg.AlterConfigsRequestResource{{ResourceType: broker, ResourceName: "1", Configs: []kmsg.AlterConfigsRequestResourceConfig{{Name: "log.roll.ms", Value: &value}}}}
	wantCode(t, "alter", ask[*kmsg.AlterConfigsResponse](c, req).Resources[0].ErrorCode, nil)
	for name, want := range map[string]kmsg.ConfigSource{
		"log.segment.bytes": kmsg.ConfigSourceDynamicDefaultBrokerConfig,
		"log.retention.ms":  kmsg.ConfigSourceDefaultConfig,
		"log.roll.ms":       kmsg.ConfigSourceDynamicBrokerConfig,
	} {
		if got := configNamed(t, describeConfigs(c, 4, broker, "1"), name); got.Source != want {
			t.Errorf("%s is from %v, want %v", name, got.Source, want)
		}
	}
}

// A story of message.max.bytes: set for all, then for the broker, then on a
// topic, each before the one before; kept over a restart; and unset again.
func TestBrokerConfigsHold(t *testing.T) {
	dir := t.TempDir()
	var l *log.Embedded
	var s *kafka.Server
	var c *client
	start := func() {
		t.Helper()
		var err error
		if l, err = log.Open(dir, log.Options{ReserveBytes: -1, BallastBytes: -1}); err != nil {
			t.Fatal(err)
		}
		if s, err = kafka.Listen(kafka.Options{Log: l, NodeID: 1}); err != nil {
			t.Fatal(err)
		}
		c = dial(t, s)
	}
	stop := func() {
		t.Helper()
		if err := errors.Join(c.Close(), s.Close(), l.Close()); err != nil {
			t.Fatal(err)
		}
	}
	start()
	create(t, l, "t", 1, nil)
	batch := encodeBatch(values("a record of some length, for it is to be too large"), nil)
	f := func(want *kerr.Error, limit string, sources ...kmsg.ConfigSource) {
		t.Helper()
		wantCode(t, "produce", c.produce(batch).ErrorCode, want)
		got := configNamed(t, describeConfigs(c, 4, kmsg.ConfigResourceTypeTopic, "t"), "max.message.bytes")
		if *got.Value != limit || got.Source != sources[0] || len(got.ConfigSynonyms) != len(sources) {
			t.Fatalf("max.message.bytes is %s, from %v of %+v", *got.Value, got.Source, got.ConfigSynonyms)
		}
		for i, syn := range got.ConfigSynonyms {
			name := "message.max.bytes"
			if sources[i] == kmsg.ConfigSourceDynamicTopicConfig {
				name = "max.message.bytes"
			}
			if syn.Source != sources[i] || syn.Name != name {
				t.Errorf("synonym %d is %s from %v, want %s from %v", i, syn.Name, syn.Source, name, sources[i])
			}
		}
	}
	const (
		topic   = kmsg.ConfigSourceDynamicTopicConfig
		one     = kmsg.ConfigSourceDynamicBrokerConfig
		all     = kmsg.ConfigSourceDynamicDefaultBrokerConfig
		builtIn = kmsg.ConfigSourceDefaultConfig
	)
	f(nil, "1048588", builtIn)
	c.alterBroker("", false, nil, setTo("message.max.bytes", "100"))
	f(kerr.MessageTooLarge, "100", all, builtIn)
	c.alterBroker("1", false, nil, setTo("message.max.bytes", "1000"))
	f(nil, "1000", one, all, builtIn)
	stop()
	start()
	f(nil, "1000", one, all, builtIn)
	c.alterBroker("1", false, nil, unset("message.max.bytes"))
	f(kerr.MessageTooLarge, "100", all, builtIn)
	stop()
	start()
	f(kerr.MessageTooLarge, "100", all, builtIn)
	size := "2000"
	if _, err := l.AlterTopic(t.Context(), "t", map[string]*string{"max.message.bytes": &size}); err != nil {
		t.Fatal(err)
	}
	f(nil, "2000", topic, all, builtIn)
	c.alterBroker("", false, nil, setTo("log.index.interval.bytes", "7000"))
	for name, want := range map[string]kmsg.ConfigSource{"t": all, "__consumer_offsets": builtIn} { // internal topics do not follow
		if got := configNamed(t, describeConfigs(c, 4, kmsg.ConfigResourceTypeTopic, name), "index.interval.bytes"); got.Source != want {
			t.Errorf("index.interval.bytes of %s is from %v, want %v", name, got.Source, want)
		}
	}
	c.alterBroker("", false, nil, unset("message.max.bytes"))
	f(nil, "2000", topic, builtIn)
	stop()
}

// max.connections holds for who comes next, and nobody is thrown out.
func TestAlterMaxConnections(t *testing.T) {
	s, _ := serve(t, nil)
	c := dial(t, s)
	for _, name := range []string{"max.connections", "max.connections.per.ip"} {
		c.alterBroker("1", false, nil, setTo(name, "1"))
		if n, err := dial(t, s).Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
			t.Errorf("%s: a second connection reads %d bytes, %v, want it closed", name, n, err)
		}
		c.alterBroker("1", false, nil, unset(name))
		describeConfigs(dial(t, s), 4, broker, "1")
	}
}

func TestAlterGroupConfigs(t *testing.T) {
	const (
		group   = kmsg.ConfigResourceTypeGroupConfig
		timeout = "consumer.session.timeout.ms"
	)
	s, l := serve(t, nil)
	c := dial(t, s)
	f := func(name, value string, source kmsg.ConfigSource) {
		t.Helper()
		got := configNamed(t, describeConfigs(c, 4, group, name), timeout)
		if *got.Value != value || got.Source != source || got.ReadOnly {
			t.Errorf("%s of %s is %s, from %v, read only %v, want %s from %v", timeout, name, *got.Value, got.Source, got.ReadOnly, value, source)
		}
	}
	f("g", "45000", kmsg.ConfigSourceDefaultConfig)
	c.alter(group, "g", true, nil, setTo(timeout, "50000"))
	f("g", "45000", kmsg.ConfigSourceDefaultConfig)
	c.alter(group, "g", false, nil, setTo(timeout, "50000"))
	for range 2 {
		f("g", "50000", kmsg.ConfigSourceGroupConfig)
		f("h", "45000", kmsg.ConfigSourceDefaultConfig)
		_ = s.Close() // and again by a new server
		var err error
		if s, err = kafka.Listen(kafka.Options{Log: l, NodeID: 1}); err != nil {
			t.Fatal(err)
		}
		c = dial(t, s)
	}
	defer s.Close()
	for _, bad := range []change{setTo(timeout, "1"), setTo(timeout, "soon"), setTo("session.timeout.ms", "6000"), setTo("max.connections", "7")} {
		c.alter(group, "g", false, kerr.InvalidRequest, bad)
	}
	c.alter(group, "", false, kerr.InvalidRequest, setTo(timeout, "50000"))
	f("g", "50000", kmsg.ConfigSourceGroupConfig)
	c.alter(group, "g", false, nil, unset(timeout))
	f("g", "45000", kmsg.ConfigSourceDefaultConfig)
}
