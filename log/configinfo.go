package log

import (
	"math"
	"strconv"
)

// ConfigType is the type of a config's value, by Kafka's name.
type ConfigType string

// The types that topic configs have.
const (
	ConfigBool   ConfigType = "boolean"
	ConfigString ConfigType = "string"
	ConfigInt    ConfigType = "int"
	ConfigLong   ConfigType = "long"
	ConfigDouble ConfigType = "double"
	ConfigList   ConfigType = "list" // values with commas in between
)

// ConfigInfo describes a config that a topic may have.
type ConfigInfo struct {
	Name    string // Kafka's
	Type    ConfigType
	Default string // of this log, unless SetTopicDefaults has set another
	Doc     string // what it does here, in a sentence or two
}

// ConfigInfos describes all configs that a topic may have, ordered by name.
func (l *Embedded) ConfigInfos() []ConfigInfo {
	c := defaultConfig(&l.opts)
	infos := make([]ConfigInfo, 0, len(configDocs))
	for _, d := range configDocs {
		value := d.value
		if d.of != nil {
			value = d.of(&c)
		}
		infos = append(infos, ConfigInfo{d.name, d.kind, value, d.doc})
	}
	return infos
}

// CheckTopic returns the error that CreateTopic would, as far as that can be
// known without making the topic.
func (l *Embedded) CheckTopic(spec TopicSpec) error {
	if err := CheckTopicName(spec.Name); err != nil {
		return err
	}
	if _, ok := (*l.topics.Load())[spec.Name]; ok {
		return ErrTopicExists
	}
	_, err := resolveConfig(&l.opts, nil, spec.Configs)
	return err
}

// CheckConfigs tells whether a topic may have these configs; ErrInvalidConfig
// names all mistakes.
func (l *Embedded) CheckConfigs(configs map[string]string) error {
	_, err := resolveConfig(&l.opts, nil, configs)
	return err
}

// configDocs is what configDefs does not need to know: one line for each, in
// order of names. Defaults come from defaultConfig where it has a field.
var configDocs = []struct {
	name  string
	kind  ConfigType
	value string
	of    func(c *topicConfig) string
	doc   string
}{
	{"cleanup.policy", ConfigList, "", func(c *topicConfig) string {
		switch {
		case c.compact && c.delete:
			return "compact,delete"
		case c.compact:
			return "compact"
		}
		return "delete"
	}, "What is done with old records: delete them by age and size, compact them to the last of each key, or both."},
	{"compression.gzip.level", ConfigInt, "-1", nil, "Accepted and not used: what compression.type packs is packed at a level between speed and size."},
	{"compression.lz4.level", ConfigInt, "9", nil, "Accepted and not used: what compression.type packs is packed at a level between speed and size."},
	{"compression.type", ConfigString, "producer", nil, "How batches are compressed on disk: as the producer has compressed them (producer), not at all (uncompressed), or by gzip, snappy, lz4 or zstd."},
	{"compression.zstd.level", ConfigInt, "3", nil, "Accepted and not used: what compression.type packs is packed at a level between speed and size."},
	{"delete.retention.ms", ConfigLong, "", func(c *topicConfig) string { return decimal(c.tombstoneMs) }, "How long compaction keeps tombstones, in milliseconds."},
	{"file.delete.delay.ms", ConfigLong, "60000", nil, "Accepted and not used: files go at once."},
	{"flush.messages", ConfigLong, decimal(math.MaxInt64), nil, "Accepted and not used: when an acknowledged record is on the disk is the log's sync policy."},
	{"flush.ms", ConfigLong, decimal(math.MaxInt64), nil, "Accepted and not used: when an acknowledged record is on the disk is the log's sync policy."},
	{"follower.replication.throttled.replicas", ConfigList, "", nil, "Accepted and not used: there is one replica."},
	{"index.interval.bytes", ConfigInt, "", func(c *topicConfig) string { return decimal(c.indexBytes) }, "Bytes of a segment between two entries of its index."},
	{"leader.replication.throttled.replicas", ConfigList, "", nil, "Accepted and not used: there is one replica."},
	{"local.retention.bytes", ConfigLong, "-2", nil, "Accepted and not used: there is no remote storage."},
	{"local.retention.ms", ConfigLong, "-2", nil, "Accepted and not used: there is no remote storage."},
	{"max.compaction.lag.ms", ConfigLong, decimal(math.MaxInt64), nil, "How long a record may stay uncompacted, in milliseconds."},
	{"max.message.bytes", ConfigInt, "", func(c *topicConfig) string { return decimal(c.maxMessageBytes) }, "The largest record batch that is taken, in bytes, as it is compressed."},
	{"message.downconversion.enable", ConfigBool, "true", nil, "Accepted and not used: all clients that are served read the stored format."},
	{"message.format.version", ConfigString, "3.0-IV1", nil, "Accepted and not used: record batches have one format."},
	{"message.timestamp.after.max.ms", ConfigLong, "", func(c *topicConfig) string { return decimal(c.afterMaxMs) }, "How far a record's timestamp may lie ahead of the log's clock, in milliseconds."},
	{"message.timestamp.before.max.ms", ConfigLong, "", func(c *topicConfig) string { return decimal(c.beforeMaxMs) }, "How far a record's timestamp may lie behind the log's clock, in milliseconds."},
	{"message.timestamp.difference.max.ms", ConfigLong, decimal(math.MaxInt64), nil, "The former name of the two bounds before and after together."},
	{"message.timestamp.type", ConfigString, "", func(c *topicConfig) string {
		if c.appendTime {
			return "LogAppendTime"
		}
		return "CreateTime"
	}, "Whose clock stamps records: the producer's (CreateTime) or the log's (LogAppendTime)."},
	{"min.cleanable.dirty.ratio", ConfigDouble, "", func(c *topicConfig) string { return strconv.FormatFloat(c.dirtyRatio, 'g', -1, 64) }, "The share of a partition that must be uncompacted before it is compacted, from 0 to 1."},
	{"min.compaction.lag.ms", ConfigLong, "", func(c *topicConfig) string { return decimal(c.minLagMs) }, "How long a record stays uncompacted at least, in milliseconds."},
	{"min.insync.replicas", ConfigInt, "1", nil, "Accepted and not used: there is one replica, and it is in sync."},
	{"preallocate", ConfigBool, "false", nil, "Accepted and not used."},
	{"remote.log.copy.disable", ConfigBool, "false", nil, "Accepted and not used: there is no remote storage."},
	{"remote.log.delete.on.disable", ConfigBool, "false", nil, "Accepted and not used: there is no remote storage."},
	{"remote.storage.enable", ConfigBool, "false", nil, "Only false: there is no remote storage."},
	{"retention.bytes", ConfigLong, "", func(c *topicConfig) string { return decimal(c.retentionBytes) }, "Bytes of a partition that are kept; -1 keeps all."},
	{"retention.ms", ConfigLong, "", func(c *topicConfig) string { return decimal(c.retentionMs) }, "How long records are kept, in milliseconds; -1 keeps them for ever."},
	{"segment.bytes", ConfigInt, "", func(c *topicConfig) string { return decimal(c.segmentBytes) }, "Where a partition begins its next segment file, in bytes."},
	{"segment.index.bytes", ConfigInt, decimal(10 << 20), nil, "Accepted and not used: an index is as large as its segment needs."},
	{"segment.jitter.ms", ConfigLong, "0", nil, "Accepted and not used."},
	{"segment.ms", ConfigLong, "", func(c *topicConfig) string { return decimal(c.segmentMs) }, "The age at which a partition begins its next segment file, in milliseconds."},
	{"unclean.leader.election.enable", ConfigBool, "false", nil, "Accepted and not used: there is one replica."},
}

func decimal(n int64) string { return strconv.FormatInt(n, 10) }
