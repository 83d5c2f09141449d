package kafka

import (
	"context"
	"fmt"
	"math"
	"strconv"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Configs of the broker that can be changed while it runs, as in Kafka: defaults
// of topics, how many connections there may be, and some that tools set and
// nothing here reads. They are kept beside users and ACLs (access.go), for this
// broker or for all, and hold as soon as the change is answered; what is set for
// this broker goes before what is set for all. All else is set by the command
// line.

// allBrokers is the name of the resource whose configs hold for every broker.
const allBrokers = ""

// alterable is a broker config that can be changed while the server runs.
type alterable struct {
	name  string
	topic string // the config of topics that this is the default of, or ""
	kind  kmsg.ConfigType
	value string // while nobody has set it
	from  kmsg.ConfigSource
	doc   string
	check func(value string) error
}

const (
	maxConnections      = "max.connections"
	maxConnectionsPerIP = "max.connections.per.ip"
)

// alterables are all of them.
func (s *Server) alterables() []alterable {
	const (
		num, long = kmsg.ConfigTypeInt, kmsg.ConfigTypeLong
		static    = kmsg.ConfigSourceStaticBrokerConfig
		builtIn   = kmsg.ConfigSourceDefaultConfig
		threads   = "Accepted and not used: there are as many threads as there is work for."
		throttle  = "Accepted and not used: there is one replica."
	)
	o := &s.opts
	list := []alterable{
		{"background.threads", "", num, "10", builtIn, threads, numberFrom(1, math.MaxInt32)},
		{"follower.replication.throttled.rate", "", long, decimal(math.MaxInt64), builtIn, throttle, numberFrom(0, math.MaxInt64)},
		{"leader.replication.throttled.rate", "", long, decimal(math.MaxInt64), builtIn, throttle, numberFrom(0, math.MaxInt64)},
		{maxConnections, "", num, decimal(o.MaxConnections), static, "How many connections are served at a time.", numberFrom(1, math.MaxInt32)},
		{maxConnectionsPerIP, "", num, decimal(o.MaxConnectionsPerIP), static, "How many connections of one address are served at a time.", numberFrom(1, math.MaxInt32)},
		{"num.io.threads", "", num, "8", builtIn, threads, numberFrom(1, math.MaxInt32)},
		{"num.network.threads", "", num, "3", builtIn, threads, numberFrom(1, math.MaxInt32)},
		{"sasl.kerberos.min.time.before.relogin", "", long, "60000", builtIn, "Accepted and not used: there is no Kerberos.", numberFrom(0, math.MaxInt64)},
	}
	for _, info := range o.Log.ConfigInfos() {
		name := brokerName(info.Name)
		if name == "" {
			continue
		}
		list = append(list, alterable{name, info.Name, configTypes[info.Type], info.Default, builtIn, "The default of a topic's " + info.Name + ". " + info.Doc,
			func(value string) error { return o.Log.CheckConfigs(map[string]string{info.Name: value}) }})
	}
	return list
}

func decimal[T int | int64](n T) string { return strconv.FormatInt(int64(n), 10) }

func numberFrom(lo, hi int64) func(string) error {
	return func(value string) error {
		if n, err := strconv.ParseInt(value, 10, 64); err != nil || n < lo || n > hi {
			return fmt.Errorf("%q, want a number from %d to %d", value, lo, hi)
		}
		return nil
	}
}

// setConfig is a value that somebody has set, and for what.
type setConfig struct {
	value  string
	source kmsg.ConfigSource
}

// setConfigs are the values that are set of a broker config: the one that holds
// comes first.
func (s *Server) setConfigs(name string) []setConfig {
	all := s.access.state.Load().configs
	var set []setConfig
	if v, ok := all[brokerOwner(s.nodeName())][name]; ok {
		set = append(set, setConfig{v, kmsg.ConfigSourceDynamicBrokerConfig})
	}
	if v, ok := all[brokerOwner(allBrokers)][name]; ok {
		set = append(set, setConfig{v, kmsg.ConfigSourceDynamicDefaultBrokerConfig})
	}
	return set
}

// describe is what DescribeConfigs tells, with the values that are set.
func (a *alterable) describe(set []setConfig) config {
	c := config{name: a.name, value: a.value, kind: a.kind, source: a.from, doc: a.doc}
	for _, v := range set {
		c.synonyms = append(c.synonyms, synonym{a.name, v.value, v.source})
	}
	if len(set) > 0 {
		c.value, c.source = set[0].value, set[0].source
	}
	c.synonyms = append(c.synonyms, synonym{a.name, a.value, a.from})
	return c
}

// allBrokersConfigs are what is set for all brokers.
func (s *Server) allBrokersConfigs() []config {
	set := s.access.state.Load().configs[brokerOwner(allBrokers)]
	var configs []config
	for _, a := range s.alterables() {
		if v, ok := set[a.name]; ok {
			configs = append(configs, a.describe([]setConfig{{v, kmsg.ConfigSourceDynamicDefaultBrokerConfig}}))
		}
	}
	return configs
}

// limits are what the broker's configs come to, but for the defaults of topics.
type limits struct{ connections, connectionsPerIP int }

// applyConfigs has the configs hold that are set.
func (s *Server) applyConfigs() error {
	s.applyMu.Lock()
	defer s.applyMu.Unlock()
	now := limits{s.opts.MaxConnections, s.opts.MaxConnectionsPerIP}
	defaults := map[string]string{}
	for _, a := range s.alterables() {
		set := s.setConfigs(a.name)
		if len(set) == 0 {
			continue
		}
		value := set[0].value
		if err := a.check(value); err != nil { // another version took it
			s.logger.Error("a config of the broker does not hold", "config", a.name, "err", err)
			continue
		}
		switch {
		case a.topic != "":
			defaults[a.topic] = value
		case a.name == maxConnections:
			now.connections, _ = strconv.Atoi(value)
		case a.name == maxConnectionsPerIP:
			now.connectionsPerIP, _ = strconv.Atoi(value)
		}
	}
	s.limits.Store(&now)
	return s.opts.Log.SetTopicDefaults(defaults)
}

// alterBrokerConfigs has change turn what is set for a broker, or for all, into
// what shall be.
func (s *Server) alterBrokerConfigs(ctx context.Context, broker string, validateOnly bool, change configChange) error {
	if broker != allBrokers {
		if err := s.checkBroker(broker); err != nil {
			return err
		}
	}
	if err := s.alterKept(ctx, brokerOwner(broker), s.alterables(), validateOnly, change); err != nil || validateOnly {
		return err
	}
	return s.applyConfigs()
}

func brokerOwner(name string) configOwner { return configOwner{"broker", name} }
