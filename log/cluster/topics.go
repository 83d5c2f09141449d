package cluster

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gretestream/grete/log"
)

const (
	// configOfTopic is the source of a config that was set for the topic.
	configOfTopic = kmsg.ConfigSourceDynamicTopicConfig

	maxPartitions = 10_000
)

// CreateTopic implements log.Log. It returns when the topic can be used.
func (l *Log) CreateTopic(ctx context.Context, spec log.TopicSpec) (log.Topic, error) {
	t, err := l.createTopic(ctx, spec)
	if err != nil {
		return log.Topic{}, fmt.Errorf("create topic %q: %w", spec.Name, err)
	}
	return t, nil
}

func (l *Log) createTopic(ctx context.Context, spec log.TopicSpec) (log.Topic, error) {
	if err := log.CheckTopicName(spec.Name); err != nil {
		return log.Topic{}, err
	}
	if spec.Partitions < 0 || spec.Partitions > maxPartitions {
		return log.Topic{}, fmt.Errorf("%w: %d partitions, want 1 to %d", log.ErrInvalidConfig, spec.Partitions, maxPartitions)
	}
	req := kmsg.NewPtrCreateTopicsRequest()
	req.TimeoutMillis = int32(l.opts.DialTimeout.Milliseconds())
	t := kmsg.NewCreateTopicsRequestTopic()
	t.Topic = spec.Name
	t.NumPartitions, t.ReplicationFactor = -1, int16(l.opts.ReplicationFactor)
	if spec.Partitions > 0 {
		t.NumPartitions = int32(spec.Partitions)
	}
	configs := foreverUnlessSaid(spec.Configs)
	for _, name := range slices.Sorted(maps.Keys(configs)) {
		c := kmsg.NewCreateTopicsRequestTopicConfig()
		c.Name, c.Value = name, kmsg.StringPtr(configs[name])
		t.Configs = append(t.Configs, c)
	}
	req.Topics = append(req.Topics, t)

	tries := 0
	err := l.again(ctx, func(ctx context.Context) error {
		tries++
		resp, err := req.RequestWith(ctx, l.admin)
		if err != nil {
			return err
		}
		if len(resp.Topics) != 1 {
			return fmt.Errorf("got %d topics in the answer, want 1", len(resp.Topics))
		}
		err = coded(resp.Topics[0].ErrorCode, resp.Topics[0].ErrorMessage)
		if tries > 1 && errors.Is(err, kerr.TopicAlreadyExists) {
			return nil // the request whose answer was lost has made it
		}
		return err
	})
	if err != nil {
		return log.Topic{}, explain(err)
	}
	l.forget(spec.Name)
	return l.whenReady(ctx, spec.Name)
}

// whenReady describes a new topic once the brokers know of it: they learn of it
// one after the other.
func (l *Log) whenReady(ctx context.Context, name string) (topic log.Topic, err error) {
	err = l.again(ctx, func(ctx context.Context) error {
		m, err := l.refresh(ctx, name)
		if err == nil && (len(m.leaders) == 0 || slices.Contains(m.leaders, -1)) {
			err = kerr.LeaderNotAvailable
		}
		if err == nil {
			topic, err = l.Topic(ctx, name)
		}
		if errors.Is(err, log.ErrUnknownTopic) {
			return kerr.UnknownTopicOrPartition // which may pass
		}
		return err
	})
	return topic, err
}

// foreverUnlessSaid adds to a new topic's configs that records stay: a cluster's
// own default is seven days by the records' timestamps, and those of events are
// often older than that.
func foreverUnlessSaid(configs map[string]string) map[string]string {
	for _, name := range []string{"retention.ms", "cleanup.policy"} {
		if _, ok := configs[name]; ok {
			return configs
		}
	}
	with := map[string]string{"retention.ms": "-1"}
	maps.Copy(with, configs)
	return with
}

// Topic implements log.Log.
func (l *Log) Topic(ctx context.Context, name string) (log.Topic, error) {
	if name == "" {
		return log.Topic{}, fmt.Errorf("%w %q", log.ErrUnknownTopic, name)
	}
	topics, err := l.describe(ctx, []string{name})
	if err != nil {
		return log.Topic{}, err
	}
	if len(topics) == 0 {
		return log.Topic{}, fmt.Errorf("%w %q", log.ErrUnknownTopic, name)
	}
	return topics[0], nil
}

// Topics implements log.Log.
func (l *Log) Topics(ctx context.Context) ([]log.Topic, error) { return l.describe(ctx, nil) }

// describe describes topics, ordered by name; nil: all.
func (l *Log) describe(ctx context.Context, names []string) ([]log.Topic, error) {
	var topics []log.Topic
	err := l.again(ctx, func(ctx context.Context) error {
		resp, err := l.fetchMetadata(ctx, names)
		if err != nil {
			return err
		}
		topics = topics[:0]
		for i := range resp.Topics {
			t := &resp.Topics[i]
			if err := kerr.ErrorForCode(t.ErrorCode); err != nil && names != nil {
				return topicError(names[0], err)
			} else if err != nil || t.Topic == nil {
				continue // being made or deleted
			}
			topics = append(topics, log.Topic{Name: *t.Topic, ID: t.TopicID, Partitions: len(t.Partitions), Internal: t.IsInternal})
		}
		return l.describeConfigs(ctx, topics)
	})
	if err != nil {
		return nil, explain(err)
	}
	slices.SortFunc(topics, func(a, b log.Topic) int { return strings.Compare(a.Name, b.Name) })
	return topics, nil
}

// describeConfigs fills in the configs that were set. Without the right to see
// them there are none.
func (l *Log) describeConfigs(ctx context.Context, topics []log.Topic) error {
	if len(topics) == 0 {
		return nil
	}
	req := kmsg.NewPtrDescribeConfigsRequest()
	byName := map[string]*log.Topic{}
	for i := range topics {
		r := kmsg.NewDescribeConfigsRequestResource()
		r.ResourceType, r.ResourceName = kmsg.ConfigResourceTypeTopic, topics[i].Name
		req.Resources = append(req.Resources, r)
		byName[topics[i].Name] = &topics[i]
	}
	resp, err := req.RequestWith(ctx, l.admin)
	if err != nil {
		return fmt.Errorf("describe configs: %w", err)
	}
	for i := range resp.Resources {
		r := &resp.Resources[i]
		switch err := coded(r.ErrorCode, r.ErrorMessage); {
		case errors.Is(err, kerr.TopicAuthorizationFailed):
			continue
		case errors.Is(err, kerr.UnknownTopicOrPartition) && len(topics) > 1:
			continue // deleted meanwhile
		case err != nil:
			return fmt.Errorf("describe configs of topic %q: %w", r.ResourceName, err)
		}
		t := byName[r.ResourceName]
		if t == nil {
			continue
		}
		for j := range r.Configs {
			c := &r.Configs[j]
			if c.Value == nil || c.Source != configOfTopic {
				continue
			}
			if t.Configs == nil {
				t.Configs = map[string]string{}
			}
			t.Configs[c.Name] = *c.Value
		}
	}
	return nil
}

// AlterTopic implements log.Log.
func (l *Log) AlterTopic(ctx context.Context, name string, configs map[string]*string) (log.Topic, error) {
	if err := l.alterTopic(ctx, name, configs); err != nil {
		return log.Topic{}, fmt.Errorf("alter topic %q: %w", name, explain(err))
	}
	// Brokers learn of it one after the other.
	learned := time.Now().Add(alterSeen)
	for tries := 1; ; tries++ {
		t, err := l.Topic(ctx, name)
		if err != nil || has(&t, configs) || time.Now().After(learned) || !pause(ctx, backoff(tries)) {
			return t, err
		}
	}
}

// alterSeen is how long AlterTopic waits to see its own change.
const alterSeen = 5 * time.Second

// has tells that a topic's configs are as they were to become.
func has(t *log.Topic, configs map[string]*string) bool {
	for name, want := range configs {
		if got, ok := t.Configs[name]; ok != (want != nil) || ok && got != *want {
			return false
		}
	}
	return true
}

func (l *Log) alterTopic(ctx context.Context, name string, configs map[string]*string) error {
	if _, err := l.refresh(ctx, name); err != nil { // some clusters find fault with the config first
		return err
	}
	req := kmsg.NewPtrIncrementalAlterConfigsRequest()
	r := kmsg.NewIncrementalAlterConfigsRequestResource()
	r.ResourceType, r.ResourceName = kmsg.ConfigResourceTypeTopic, name
	for _, key := range slices.Sorted(maps.Keys(configs)) {
		c := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
		c.Name, c.Value, c.Op = key, configs[key], kmsg.IncrementalAlterConfigOpSet
		if c.Value == nil {
			c.Op = kmsg.IncrementalAlterConfigOpDelete
		}
		r.Configs = append(r.Configs, c)
	}
	req.Resources = append(req.Resources, r)
	return l.again(ctx, func(ctx context.Context) error {
		resp, err := req.RequestWith(ctx, l.admin)
		if err != nil {
			return err
		}
		for i := range resp.Resources {
			if err := coded(resp.Resources[i].ErrorCode, resp.Resources[i].ErrorMessage); err != nil {
				if errors.Is(err, kerr.InvalidRequest) { // Kafka's answer to an unknown name
					return fmt.Errorf("%w: %w", log.ErrInvalidConfig, err)
				}
				return err
			}
		}
		return nil
	})
}

// DeleteTopic implements log.Log. It returns when the topic is gone.
func (l *Log) DeleteTopic(ctx context.Context, name string) error {
	if err := l.deleteTopic(ctx, name); err != nil {
		return fmt.Errorf("delete topic %q: %w", name, explain(err))
	}
	return nil
}

func (l *Log) deleteTopic(ctx context.Context, name string) error {
	m, err := l.refresh(ctx, name)
	if err != nil {
		return err
	}
	req := kmsg.NewPtrDeleteTopicsRequest()
	req.TimeoutMillis = int32(l.opts.DialTimeout.Milliseconds())
	req.TopicNames = []string{name} // up to version 5
	t := kmsg.NewDeleteTopicsRequestTopic()
	t.Topic = kmsg.StringPtr(name)
	req.Topics = append(req.Topics, t)
	tries := 0
	err = l.again(ctx, func(ctx context.Context) error {
		tries++
		resp, err := req.RequestWith(ctx, l.admin)
		if err != nil {
			return err
		}
		if len(resp.Topics) != 1 {
			return fmt.Errorf("got %d topics in the answer, want 1", len(resp.Topics))
		}
		err = coded(resp.Topics[0].ErrorCode, resp.Topics[0].ErrorMessage)
		if errors.Is(err, kerr.UnknownTopicOrPartition) {
			if tries > 1 {
				return nil // the request whose answer was lost has done it
			}
			return fmt.Errorf("%w %q", log.ErrUnknownTopic, name)
		}
		return err
	})
	l.forget(name)
	if err != nil {
		return err
	}
	// Brokers learn of it one after the other.
	return l.again(ctx, func(ctx context.Context) error {
		now, err := l.refresh(ctx, name)
		l.forget(name)
		if errors.Is(err, log.ErrUnknownTopic) || err == nil && now.id != m.id {
			return nil
		}
		if err == nil {
			return kerr.LeaderNotAvailable // any that may pass: it is still there
		}
		return err
	})
}
