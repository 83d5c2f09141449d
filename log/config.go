package log

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// topicConfig is what a topic's configs come to.
type topicConfig struct {
	segmentBytes    int64
	segmentMs       int64 // a segment older than this is sealed by the next append
	retentionMs     int64 // -1: for ever
	retentionBytes  int64 // -1: no bound
	compact         bool
	delete          bool
	tombstoneMs     int64 // how long compaction keeps tombstones
	minLagMs        int64 // records younger than this are not compacted
	maxLagMs        int64 // and older ones are, however few they are
	dirtyRatio      float64
	maxMessageBytes int64
	indexBytes      int64
	appendTime      bool
	compression     Compression // of what producers send, if recompress is set
	recompress      bool
	beforeMaxMs     int64 // how far outside producers' timestamps may lie behind the clock
	afterMaxMs      int64 // and ahead of it
}

// maxSegmentMs is the age at which a segment is sealed: only then can it be
// compacted.
func (c *topicConfig) maxSegmentMs() int64 {
	if c.compact {
		return min(c.segmentMs, c.maxLagMs)
	}
	return c.segmentMs
}

// configDef is one config by Kafka's name. Those without a field are accepted,
// as Kafka tools set them, kept and shown, and change nothing here: there is
// one replica, and durability is the log's sync policy.
type configDef struct {
	name  string
	check func(value string) error
	apply func(c *topicConfig, value string)
}

// maxTime bounds durations in milliseconds, to be added to times without overflow.
const maxTimeMs = int64(math.MaxInt64) / 4

var configDefs = []configDef{
	{"cleanup.policy", oneOf("delete", "compact", "compact,delete", "delete,compact"), func(c *topicConfig, v string) {
		c.compact = strings.Contains(v, "compact")
		c.delete = strings.Contains(v, "delete")
	}},
	intConfig("compression.gzip.level", -1, 9, nil),
	intConfig("compression.lz4.level", 1, 17, nil),
	{"compression.type", oneOf(asProduced, "uncompressed", "gzip", "snappy", "lz4", "zstd"), func(c *topicConfig, v string) {
		c.compression, c.recompress = compressionTypes[v]
	}},
	intConfig("compression.zstd.level", -131072, 22, nil),
	intConfig("delete.retention.ms", 0, maxTimeMs, func(c *topicConfig) *int64 { return &c.tombstoneMs }),
	intConfig("file.delete.delay.ms", 0, maxTimeMs, nil),
	intConfig("flush.messages", 1, math.MaxInt64, nil),
	intConfig("flush.ms", 0, math.MaxInt64, nil),
	{"follower.replication.throttled.replicas", anyValue, nil},
	intConfig("index.interval.bytes", 0, math.MaxInt32, func(c *topicConfig) *int64 { return &c.indexBytes }),
	{"leader.replication.throttled.replicas", anyValue, nil},
	intConfig("local.retention.bytes", -2, math.MaxInt64, nil),
	intConfig("local.retention.ms", -2, math.MaxInt64, nil),
	intConfig("max.compaction.lag.ms", 1, math.MaxInt64, func(c *topicConfig) *int64 { return &c.maxLagMs }),
	intConfig("max.message.bytes", 0, math.MaxInt32, func(c *topicConfig) *int64 { return &c.maxMessageBytes }),
	{"message.downconversion.enable", oneOf("true", "false"), nil},
	{"message.format.version", anyValue, nil},
	intConfig("message.timestamp.after.max.ms", 0, math.MaxInt64, func(c *topicConfig) *int64 { return &c.afterMaxMs }),
	intConfig("message.timestamp.before.max.ms", 0, math.MaxInt64, func(c *topicConfig) *int64 { return &c.beforeMaxMs }),
	intConfig("message.timestamp.difference.max.ms", 0, math.MaxInt64, nil),
	{"message.timestamp.type", oneOf("CreateTime", "LogAppendTime"), func(c *topicConfig, v string) { c.appendTime = v == "LogAppendTime" }},
	{"min.cleanable.dirty.ratio", checkRatio, func(c *topicConfig, v string) { c.dirtyRatio, _ = strconv.ParseFloat(v, 64) }},
	intConfig("min.compaction.lag.ms", 0, maxTimeMs, func(c *topicConfig) *int64 { return &c.minLagMs }),
	intConfig("min.insync.replicas", 1, math.MaxInt32, nil),
	{"preallocate", oneOf("true", "false"), nil},
	{"remote.log.copy.disable", oneOf("true", "false"), nil},
	{"remote.log.delete.on.disable", oneOf("true", "false"), nil},
	{"remote.storage.enable", oneOf("false"), nil},
	intConfig("retention.bytes", -1, math.MaxInt64, func(c *topicConfig) *int64 { return &c.retentionBytes }),
	intConfig("retention.ms", -1, maxTimeMs, func(c *topicConfig) *int64 { return &c.retentionMs }),
	intConfig("segment.bytes", 1<<10, math.MaxInt32, func(c *topicConfig) *int64 { return &c.segmentBytes }),
	intConfig("segment.index.bytes", 4, math.MaxInt32, nil),
	intConfig("segment.jitter.ms", 0, math.MaxInt64, nil),
	intConfig("segment.ms", 1, maxTimeMs, func(c *topicConfig) *int64 { return &c.segmentMs }),
	{"unclean.leader.election.enable", oneOf("true", "false"), nil},
}

// defaultConfig is what holds for a topic without configs.
func defaultConfig(o *Options) topicConfig {
	return topicConfig{
		segmentBytes:    o.SegmentBytes,
		segmentMs:       (7 * 24 * time.Hour).Milliseconds(),
		retentionMs:     -1,
		retentionBytes:  -1,
		delete:          true,
		tombstoneMs:     (24 * time.Hour).Milliseconds(),
		maxLagMs:        math.MaxInt64,
		dirtyRatio:      0.5,
		maxMessageBytes: 1<<20 + 12, // Kafka's default
		indexBytes:      4096,
		beforeMaxMs:     math.MaxInt64,
		afterMaxMs:      time.Hour.Milliseconds(),
	}
}

// resolveConfig reads a topic's configs, and defaults of what they do not set. It
// reports all mistakes by name.
func resolveConfig(o *Options, defaults, configs map[string]string) (topicConfig, error) {
	c := defaultConfig(o)
	if err := errors.Join(c.set(defaults), c.set(configs)); err != nil {
		return c, err
	}
	return c, nil
}

// set takes in configs. It reports all mistakes by name.
func (c *topicConfig) set(configs map[string]string) error {
	var errs []string
	for _, name := range slices.Sorted(maps.Keys(configs)) {
		i := slices.IndexFunc(configDefs, func(d configDef) bool { return d.name == name })
		if i < 0 {
			errs = append(errs, fmt.Sprintf("unknown config %q", name))
			continue
		}
		d, value := configDefs[i], configs[name]
		if err := d.check(value); err != nil {
			errs = append(errs, fmt.Sprintf("config %s: %v", name, err))
		} else if d.apply != nil {
			d.apply(c, value)
		}
	}
	if len(errs) > 0 {
		return fmt.Errorf("%w: %s", ErrInvalidConfig, strings.Join(errs, "; "))
	}
	return nil
}

func intConfig(name string, lo, hi int64, field func(*topicConfig) *int64) configDef {
	d := configDef{name: name, check: func(v string) error {
		n, err := strconv.ParseInt(v, 10, 64)
		if err != nil || n < lo || n > hi {
			return fmt.Errorf("%q, want a number from %d to %d", v, lo, hi)
		}
		return nil
	}}
	if field != nil {
		d.apply = func(c *topicConfig, v string) { *field(c), _ = strconv.ParseInt(v, 10, 64) }
	}
	return d
}

func anyValue(string) error { return nil }

func oneOf(values ...string) func(string) error {
	return func(v string) error {
		if slices.Contains(values, v) {
			return nil
		}
		return fmt.Errorf("%q, want %s", v, strings.Join(values, " or "))
	}
}

func checkRatio(v string) error {
	if f, err := strconv.ParseFloat(v, 64); err != nil || !(f >= 0 && f <= 1) {
		return fmt.Errorf("%q, want a number from 0 to 1", v)
	}
	return nil
}

const (
	maxTopicName  = 249
	maxPartitions = MaxPartitions
)

// MaxPartitions is how many partitions a topic may have.
const MaxPartitions = 10_000

// CheckTopicName tells whether a topic may have this name, by Kafka's rule.
func CheckTopicName(name string) error {
	ok := name != "" && name != "." && name != ".." && len(name) <= maxTopicName
	for i := 0; ok && i < len(name); i++ {
		c := name[i]
		ok = 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '.' || c == '_' || c == '-'
	}
	if !ok {
		return fmt.Errorf("%w %q, want 1 to %d of a-z A-Z 0-9 . _ -, and neither . nor .. alone", ErrInvalidTopic, name, maxTopicName)
	}
	return nil
}
