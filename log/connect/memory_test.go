package connect

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/gretestream/grete/log"
)

// memory is as much of a Log as Ingest needs: topics, fences, atomic commits.
type memory struct {
	log.Log // nil: everything else panics

	mu      sync.Mutex // guards the following
	topics  map[string]log.Topic
	batches map[log.TopicPartition][][]byte
	epochs  map[string]log.Epoch
	offsets map[string]map[log.TopicPartition]log.GroupOffset
	commits int
	// refuse, if set, is asked before each commit; its error is the commit's.
	refuse func(commit int) error
}

func newMemory() *memory {
	return &memory{topics: map[string]log.Topic{}, batches: map[log.TopicPartition][][]byte{}, epochs: map[string]log.Epoch{},
		offsets: map[string]map[log.TopicPartition]log.GroupOffset{}}
}

func (m *memory) Topic(_ context.Context, name string) (log.Topic, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	t, ok := m.topics[name]
	if !ok {
		return t, fmt.Errorf("topic %s: %w", name, log.ErrUnknownTopic)
	}
	return t, nil
}

func (m *memory) CreateTopic(_ context.Context, spec log.TopicSpec) (log.Topic, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if spec.Partitions == 0 {
		spec.Partitions = 4
	}
	t := log.Topic{Name: spec.Name, Partitions: spec.Partitions}
	m.topics[spec.Name] = t
	return t, nil
}

func (m *memory) Fence(_ context.Context, producer string) (log.Epoch, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.epochs[producer]++
	return m.epochs[producer], nil
}

func (m *memory) Committed(_ context.Context, group string, tps ...log.TopicPartition) (map[log.TopicPartition]log.GroupOffset, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return maps.Clone(m.offsets[group]), nil
}

func (m *memory) Commit(_ context.Context, c *log.Commit) ([]log.Offset, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if c.Producer != "" && c.Epoch != m.epochs[c.Producer] {
		return nil, fmt.Errorf("commit of %s: %w", c.Producer, log.ErrFenced)
	}
	if m.refuse != nil {
		if err := m.refuse(m.commits); err != nil {
			return nil, err
		}
	}
	m.commits++
	for _, w := range c.Writes {
		if int(w.Partition) >= m.topics[w.Topic].Partitions {
			return nil, fmt.Errorf("%v: %w", w.TopicPartition, log.ErrUnknownPartition)
		}
		m.batches[w.TopicPartition] = append(m.batches[w.TopicPartition], slices.Clone(w.Batches))
	}
	for _, o := range c.Offsets {
		if m.offsets[c.Group] == nil {
			m.offsets[c.Group] = map[log.TopicPartition]log.GroupOffset{}
		}
		m.offsets[c.Group][o.TopicPartition] = o
	}
	return make([]log.Offset, len(c.Writes)), nil
}
