package cluster

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/gretestream/grete/log"
)

// member implements log.Member by a consumer of a group that fetches nothing: all
// that is wanted of it is the assignment. Partitions are handed over one by one
// (cooperative-sticky): the others are worked on meanwhile.
//
// The client calls revoked and waits for it while it tells the cluster that the
// member lives; only then does it give the partitions back.
type member struct {
	l     *Log
	group string
	cl    *kgo.Client

	mu      sync.Mutex // guards the fields below
	tps     []log.TopicPartition
	owes    map[log.TopicPartition]bool // left tps and not released yet
	changed chan struct{}
	settled chan struct{} // replaced and closed whenever owes shrinks
	joined  chan struct{} // closed at the first assignment, or failure
	err     error         // why the first assignment does not come
	leaving bool
}

var _ kgo.HookGroupManageError = (*member)(nil)

// Join implements log.Log. It returns with the first assignment.
func (l *Log) Join(ctx context.Context, spec log.GroupSpec) (log.Member, error) {
	m, err := l.join(ctx, spec)
	if err != nil {
		return nil, fmt.Errorf("join group %q: %w", spec.Group, explain(err))
	}
	return m, nil
}

func (l *Log) join(ctx context.Context, spec log.GroupSpec) (*member, error) {
	if spec.Group == "" {
		return nil, errors.New("no group")
	}
	for _, name := range spec.Topics {
		if _, err := l.placeAgain(ctx, log.TopicPartition{Topic: name}); err != nil {
			return nil, err
		}
	}
	m := &member{
		l: l, group: spec.Group, owes: map[log.TopicPartition]bool{},
		changed: make(chan struct{}), settled: make(chan struct{}), joined: make(chan struct{}),
	}
	var err error
	m.cl, err = kgo.NewClient(append(l.clientOptions(),
		kgo.ConsumerGroup(spec.Group),
		kgo.ConsumeTopics(spec.Topics...),
		kgo.Balancers(kgo.CooperativeStickyBalancer()),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtEnd()),
		kgo.DisableAutoCommit(),
		kgo.SessionTimeout(l.opts.SessionTimeout),
		kgo.RebalanceTimeout(l.opts.RebalanceTimeout),
		kgo.HeartbeatInterval(max(l.opts.SessionTimeout/10, 100*time.Millisecond)),
		kgo.OnPartitionsAssigned(m.assigned),
		kgo.OnPartitionsRevoked(m.revoked),
		kgo.OnPartitionsLost(m.lost),
		kgo.WithHooks(m),
	)...)
	if err != nil {
		return nil, err
	}
	m.cl.PauseFetchTopics(spec.Topics...)

	l.mu.Lock()
	if l.mu.closed {
		l.mu.Unlock()
		m.leave()
		return nil, log.ErrClosed
	}
	l.mu.members[m] = struct{}{}
	l.mu.Unlock()
	select {
	case <-m.joined:
		m.mu.Lock()
		err = m.err
		m.mu.Unlock()
	case <-ctx.Done():
		err = ctx.Err()
	case <-l.ctx.Done():
		err = log.ErrClosed
	}
	if err != nil {
		return nil, errors.Join(err, m.Close())
	}
	return m, nil
}

// memberOf returns a member of the group that lives here, or nil.
func (l *Log) memberOf(group string) *member {
	l.mu.Lock()
	defer l.mu.Unlock()
	for m := range l.mu.members {
		if m.group == group {
			return m
		}
	}
	return nil
}

// identity is what the cluster knows the member by.
func (m *member) identity() (id string, generation int32) { return m.cl.GroupMetadata() }

// Assignment implements log.Member.
func (m *member) Assignment() ([]log.TopicPartition, <-chan struct{}) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.tps), m.changed
}

// Release implements log.Member.
func (m *member) Release(tps ...log.TopicPartition) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, tp := range tps {
		delete(m.owes, tp)
	}
	m.settleLocked()
}

func (m *member) settleLocked() {
	close(m.settled)
	m.settled = make(chan struct{})
}

// Close implements log.Member.
func (m *member) Close() error {
	m.l.mu.Lock()
	delete(m.l.mu.members, m)
	m.l.mu.Unlock()
	m.leave()
	return nil
}

// leave ends the membership, once.
func (m *member) leave() {
	m.mu.Lock()
	if m.leaving {
		m.mu.Unlock()
		return
	}
	m.leaving = true
	m.settleLocked()
	m.mu.Unlock()
	m.cl.Close() // tells the group; calls revoked
	m.mu.Lock()
	defer m.mu.Unlock()
	m.giveLocked(nil)
}

// giveLocked replaces the partitions, and tells the owner if they differ.
func (m *member) giveLocked(tps []log.TopicPartition) {
	slices.SortFunc(tps, comparePartitions)
	if slices.Equal(m.tps, tps) {
		return
	}
	m.tps = tps
	close(m.changed)
	m.changed = make(chan struct{})
}

func comparePartitions(a, b log.TopicPartition) int {
	if c := strings.Compare(a.Topic, b.Topic); c != 0 {
		return c
	}
	return cmp.Compare(a.Partition, b.Partition)
}

// assigned is called with partitions that are the member's from now on.
func (m *member) assigned(_ context.Context, _ *kgo.Client, added map[string][]int32) {
	m.mu.Lock()
	defer m.mu.Unlock()
	tps := slices.Clone(m.tps)
	for _, tp := range partitionsOf(added) {
		delete(m.owes, tp)
		if !slices.Contains(tps, tp) {
			tps = append(tps, tp)
		}
	}
	m.giveLocked(tps)
	m.joinedLocked(nil)
}

func (m *member) joinedLocked(err error) {
	select {
	case <-m.joined:
	default:
		m.err = err
		close(m.joined)
	}
}

// revoked is called with partitions that are to be given up. It returns when the
// owner has let go of them.
func (m *member) revoked(ctx context.Context, _ *kgo.Client, gone map[string][]int32) {
	list := partitionsOf(gone)
	m.mu.Lock()
	m.takeLocked(list)
	for _, tp := range list {
		m.owes[tp] = true
	}
	for {
		waits := slices.ContainsFunc(list, func(tp log.TopicPartition) bool { return m.owes[tp] })
		if !waits || m.leaving {
			break
		}
		settled := m.settled
		m.mu.Unlock()
		select {
		case <-settled:
		case <-ctx.Done():
			return
		}
		m.mu.Lock()
	}
	m.mu.Unlock()
}

// lost is called with partitions that others may have already: the cluster has
// taken the member for dead. Nothing is left to hand over.
func (m *member) lost(_ context.Context, _ *kgo.Client, gone map[string][]int32) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.l.logger.Warn("group took this member for dead", "group", m.group, "partitions", len(partitionsOf(gone)))
	m.takeLocked(partitionsOf(gone))
}

func (m *member) takeLocked(gone []log.TopicPartition) {
	m.giveLocked(slices.DeleteFunc(slices.Clone(m.tps), func(tp log.TopicPartition) bool { return slices.Contains(gone, tp) }))
}

// OnGroupManageError implements kgo.HookGroupManageError. The client goes on
// trying; the first join tells why it cannot succeed.
func (m *member) OnGroupManageError(err error) {
	m.l.logger.Warn("group membership failed", "group", m.group, "err", err)
	var ke *kerr.Error
	if errors.As(err, &ke) && !ke.Retriable && !errors.Is(err, kerr.UnknownMemberID) && !errors.Is(err, kerr.RebalanceInProgress) && !errors.Is(err, kerr.IllegalGeneration) {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.joinedLocked(err)
	}
}

func partitionsOf(byTopic map[string][]int32) []log.TopicPartition {
	var tps []log.TopicPartition
	for topic, partitions := range byTopic {
		for _, p := range partitions {
			tps = append(tps, log.TopicPartition{Topic: topic, Partition: p})
		}
	}
	return tps
}
