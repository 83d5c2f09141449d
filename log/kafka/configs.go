package kafka

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/hashicorp/go-hclog"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gretestream/grete/log"
)

// config is one config of a topic, a broker or a group, as DescribeConfigs
// tells it.
type config struct {
	name, value string
	kind        kmsg.ConfigType
	source      kmsg.ConfigSource
	readOnly    bool
	sensitive   bool
	doc         string
	synonyms    []synonym // what the value could be from, the first that is set first
}

// synonym is one place that a config's value can be from.
type synonym struct {
	name, value string
	source      kmsg.ConfigSource
}

// configTypes are Kafka's numbers for the log's types.
var configTypes = map[log.ConfigType]kmsg.ConfigType{
	log.ConfigBool:   kmsg.ConfigTypeBoolean,
	log.ConfigString: kmsg.ConfigTypeString,
	log.ConfigInt:    kmsg.ConfigTypeInt,
	log.ConfigLong:   kmsg.ConfigTypeLong,
	log.ConfigDouble: kmsg.ConfigTypeDouble,
	log.ConfigList:   kmsg.ConfigTypeList,
}

// brokerNames are the broker configs that topic configs get their defaults from,
// where the name is more than the topic's after "log.".
var brokerNames = map[string]string{
	"compression.gzip.level":                  "compression.gzip.level",
	"compression.lz4.level":                   "compression.lz4.level",
	"compression.type":                        "compression.type",
	"compression.zstd.level":                  "compression.zstd.level",
	"delete.retention.ms":                     "log.cleaner.delete.retention.ms",
	"file.delete.delay.ms":                    "log.segment.delete.delay.ms",
	"flush.messages":                          "log.flush.interval.messages",
	"flush.ms":                                "log.flush.interval.ms",
	"follower.replication.throttled.replicas": "",
	"index.interval.bytes":                    "log.index.interval.bytes",
	"leader.replication.throttled.replicas":   "",
	"local.retention.bytes":                   "log.local.retention.bytes",
	"local.retention.ms":                      "log.local.retention.ms",
	"max.compaction.lag.ms":                   "log.cleaner.max.compaction.lag.ms",
	"max.message.bytes":                       "message.max.bytes",
	"min.cleanable.dirty.ratio":               "log.cleaner.min.cleanable.ratio",
	"min.compaction.lag.ms":                   "log.cleaner.min.compaction.lag.ms",
	"min.insync.replicas":                     "min.insync.replicas",
	"remote.log.copy.disable":                 "",
	"remote.log.delete.on.disable":            "",
	"remote.storage.enable":                   "",
	"segment.index.bytes":                     "log.index.size.max.bytes",
	"segment.jitter.ms":                       "log.roll.jitter.ms",
	"segment.ms":                              "log.roll.ms",
	"unclean.leader.election.enable":          "unclean.leader.election.enable",
}

// brokerName is the broker config that a topic config gets its default from, or "".
func brokerName(topicConfig string) string {
	if name, ok := brokerNames[topicConfig]; ok {
		return name
	}
	return "log." + topicConfig
}

// topicConfigs are all configs of a topic on which some are set. Internal topics
// do not follow the broker's.
func (s *Server) topicConfigs(set map[string]string, internal bool) []config {
	infos := s.opts.Log.ConfigInfos()
	configs := make([]config, 0, len(infos))
	for _, info := range infos {
		c := config{name: info.Name, value: info.Default, kind: configTypes[info.Type], source: kmsg.ConfigSourceDefaultConfig, doc: info.Doc}
		if value, ok := set[info.Name]; ok {
			c.synonyms = append(c.synonyms, synonym{info.Name, value, kmsg.ConfigSourceDynamicTopicConfig})
		}
		if name := brokerName(info.Name); name != "" {
			for _, v := range s.setConfigs(name) {
				if !internal {
					c.synonyms = append(c.synonyms, synonym{name, v.value, v.source})
				}
			}
			c.synonyms = append(c.synonyms, synonym{name, info.Default, kmsg.ConfigSourceDefaultConfig})
		}
		if len(c.synonyms) > 0 {
			c.value, c.source = c.synonyms[0].value, c.synonyms[0].source
		}
		configs = append(configs, c)
	}
	return configs
}

// brokerConfigs are all configs of the broker: by Kafka's names what the options
// come to, and what Kafka's tools look for and is so here by nature. Defaults of
// topics are among them. Those that can be altered say so; the others are set by
// the command line.
func (s *Server) brokerConfigs() []config {
	o := &s.opts
	var configs []config
	add := func(source kmsg.ConfigSource, kind kmsg.ConfigType, name string, value any, doc string) {
		text := fmt.Sprint(value)
		configs = append(configs, config{name: name, value: text, kind: kind, source: source, readOnly: true, doc: doc, synonyms: []synonym{{name, text, source}}})
	}
	const (
		static  = kmsg.ConfigSourceStaticBrokerConfig
		builtIn = kmsg.ConfigSourceDefaultConfig
	)
	str, num, long, yes, list := kmsg.ConfigTypeString, kmsg.ConfigTypeInt, kmsg.ConfigTypeLong, kmsg.ConfigTypeBoolean, kmsg.ConfigTypeList
	protocol := s.protocol()
	add(static, str, "advertised.listeners", protocol+"://"+s.advertised(), "Where clients are told to connect to.")
	add(static, yes, "allow.everyone.if.no.acl.found", !o.guarded(), "Whether a resource without ACLs is open to all.")
	add(static, yes, "auto.create.topics.enable", !o.NoAutoCreate, "Whether a topic is made by being named.")
	add(static, num, "broker.id", o.NodeID, "The broker's number.")
	add(static, long, "connections.max.idle.ms", o.MaxIdle.Milliseconds(), "How long a connection may stay silent.")
	add(static, long, "connections.max.reauth.ms", o.MaxSession.Milliseconds(), "How long an authentication by SASL lasts; 0: as long as the connection.")
	add(builtIn, num, "default.replication.factor", 1, "Replicas of a topic: this log keeps one.")
	add(builtIn, yes, "delete.topic.enable", true, "Whether topics can be deleted.")
	add(static, num, "group.initial.rebalance.delay.ms", o.RebalanceDelay.Milliseconds(), "How long the first members of a group wait for more.")
	add(static, str, "listeners", protocol+"://"+s.Addr(), "Where the broker listens.")
	add(static, list, "log.dirs", o.Log.Dir(), "Where the log is kept.")
	add(static, num, "node.id", o.NodeID, "The broker's number.")
	add(static, num, "num.partitions", o.DefaultPartitions, "Partitions of a topic that is made without a count.")
	add(builtIn, num, "offset.metadata.max.bytes", 4096, "The longest text beside a committed offset.")
	add(builtIn, num, "offsets.topic.num.partitions", 1, "Partitions of the topic of committed offsets.")
	add(builtIn, num, "offsets.topic.replication.factor", 1, "Replicas of the topic of committed offsets.")
	add(builtIn, list, "process.roles", "broker,controller", "What the process does.")
	add(static, long, "queued.max.request.bytes", o.MaxQueuedBytes, "Bytes of requests that are waiting at a time, of all clients.")
	add(static, list, "sasl.enabled.mechanisms", strings.Join(o.SASL, ","), "By what clients say who they are.")
	clientAuth := "none"
	if o.asksCertificate() {
		clientAuth = "required"
	}
	add(static, str, "ssl.client.auth", clientAuth, "Whether clients must have a certificate.")
	add(static, str, "super.users", strings.Join(o.SuperUsers, ";"), "Who may do anything.")
	add(static, num, "socket.request.max.bytes", o.MaxRequestBytes, "The largest request that is taken.")
	add(builtIn, num, "transaction.state.log.min.isr", 1, "Replicas of the topic of transactions that must be in sync.")
	add(builtIn, num, "transaction.state.log.num.partitions", 1, "Partitions of the topic of transactions.")
	add(builtIn, num, "transaction.state.log.replication.factor", 1, "Replicas of the topic of transactions.")
	for _, a := range s.alterables() {
		configs = append(configs, a.describe(s.setConfigs(a.name)))
	}
	return configs
}

// protocol is Kafka's name for how clients connect.
func (s *Server) protocol() string {
	switch sasl := len(s.opts.SASL) > 0; {
	case sasl && s.opts.TLS != nil:
		return "SASL_SSL"
	case sasl:
		return "SASL_PLAINTEXT"
	case s.opts.TLS != nil:
		return "SSL"
	}
	return "PLAINTEXT"
}

// advertised is where clients are told to connect to, as far as that does not
// depend on how they have come.
func (s *Server) advertised() string {
	if s.opts.Advertised != "" {
		return s.opts.Advertised
	}
	return s.Local()
}

// logLevel is the logger's, by Kafka's name.
func (s *Server) logLevel() string {
	if level := s.logger.GetLevel(); level != hclog.NoLevel && level != hclog.Off {
		return strings.ToUpper(level.String())
	}
	return "OFF"
}

// nodeName is the broker's number as a resource's name.
func (s *Server) nodeName() string { return strconv.Itoa(int(s.opts.NodeID)) }
