package cluster

import (
	"context"
	"fmt"
	"sync"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gretestream/grete/log"
)

// metadata remembers where partitions are led. What turns out to be wrong is
// forgotten by who found out, and asked for again.
type metadata struct {
	mu     sync.Mutex // guards topics
	topics map[string]*topicMeta
}

// topicMeta is immutable.
type topicMeta struct {
	id      log.TopicID
	leaders []int32 // per partition; -1: none now
}

// place is where a partition is served.
type place struct {
	topic  string
	id     log.TopicID
	leader int
}

// place finds a partition's leader. It returns ErrUnknownTopic,
// ErrUnknownPartition, or an error that may pass.
func (l *Log) place(ctx context.Context, tp log.TopicPartition) (place, error) {
	l.meta.mu.Lock()
	t := l.meta.topics[tp.Topic]
	l.meta.mu.Unlock()
	if t == nil || int(tp.Partition) >= len(t.leaders) || tp.Partition >= 0 && t.leaders[tp.Partition] < 0 {
		var err error
		if t, err = l.refresh(ctx, tp.Topic); err != nil {
			return place{}, err
		}
	}
	if tp.Partition < 0 || int(tp.Partition) >= len(t.leaders) {
		return place{}, fmt.Errorf("%w %s: the topic has %d", log.ErrUnknownPartition, tp, len(t.leaders))
	}
	leader := t.leaders[tp.Partition]
	if leader < 0 {
		return place{}, fmt.Errorf("partition %s: %w", tp, kerr.LeaderNotAvailable)
	}
	return place{tp.Topic, t.id, int(leader)}, nil
}

// forget makes the next place of a topic ask again.
func (l *Log) forget(topic string) {
	l.meta.mu.Lock()
	defer l.meta.mu.Unlock()
	delete(l.meta.topics, topic)
}

// refresh asks where a topic's partitions are.
func (l *Log) refresh(ctx context.Context, name string) (*topicMeta, error) {
	resp, err := l.fetchMetadata(ctx, []string{name})
	if err != nil {
		return nil, err
	}
	if len(resp.Topics) != 1 {
		return nil, fmt.Errorf("metadata of topic %q: got %d topics, want 1", name, len(resp.Topics))
	}
	t := &resp.Topics[0]
	if err := kerr.ErrorForCode(t.ErrorCode); err != nil {
		return nil, topicError(name, err)
	}
	m := newTopicMeta(t)
	l.meta.mu.Lock()
	defer l.meta.mu.Unlock()
	if l.meta.topics == nil {
		l.meta.topics = map[string]*topicMeta{}
	}
	l.meta.topics[name] = m
	return m, nil
}

func newTopicMeta(t *kmsg.MetadataResponseTopic) *topicMeta {
	m := &topicMeta{id: t.TopicID, leaders: make([]int32, len(t.Partitions))}
	for i := range m.leaders {
		m.leaders[i] = -1
	}
	for i := range t.Partitions {
		p := &t.Partitions[i]
		if p.Partition >= 0 && int(p.Partition) < len(m.leaders) && kerr.ErrorForCode(p.ErrorCode) == nil {
			m.leaders[p.Partition] = p.Leader
		}
	}
	return m
}

// topicError is a broker's error about a topic. That there is none is for good:
// asked again, the answer would be the same.
func topicError(name string, err error) error {
	switch err {
	case kerr.UnknownTopicOrPartition, kerr.UnknownTopicID, kerr.InvalidTopicException:
		return fmt.Errorf("%w %q", log.ErrUnknownTopic, name)
	}
	return fmt.Errorf("topic %q: %w", name, explain(err))
}

// fetchMetadata asks for topics; nil: all.
func (l *Log) fetchMetadata(ctx context.Context, names []string) (*kmsg.MetadataResponse, error) {
	req := kmsg.NewPtrMetadataRequest()
	if names != nil {
		req.Topics = []kmsg.MetadataRequestTopic{}
	}
	for _, name := range names {
		t := kmsg.NewMetadataRequestTopic()
		t.Topic = kmsg.StringPtr(name)
		req.Topics = append(req.Topics, t)
	}
	resp, err := req.RequestWith(ctx, l.admin)
	if err == nil {
		err = kerr.ErrorForCode(resp.ErrorCode)
	}
	if err != nil {
		return nil, fmt.Errorf("ask for metadata: %w", err)
	}
	return resp, nil
}

// atLeader sends what build makes to the leader of a partition, again if that has
// moved or is away. read returns the error in the answer.
func atLeader[R kmsg.Response](ctx context.Context, l *Log, cl *kgo.Client, tp log.TopicPartition, build func(place) kmsg.Request, read func(R) error) error {
	return l.again(ctx, func(ctx context.Context) error {
		at, err := l.place(ctx, tp)
		if err != nil {
			return err
		}
		resp, err := cl.Broker(at.leader).Request(ctx, build(at))
		if err == nil {
			answer, ok := resp.(R)
			if !ok {
				return fmt.Errorf("partition %s: got an answer of type %T", tp, resp)
			}
			err = read(answer)
		}
		if mayPass(err) {
			l.forget(tp.Topic)
		}
		return err
	})
}
