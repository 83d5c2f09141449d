package logtest

import (
	"context"
	"sync"

	"github.com/gretestream/grete/log"
)

// Mortal is a Log as one process of several sees it: Kill ends that process
// without a goodbye, Expire lets its groups take it for dead although it lives.
// The log itself and what others do with it go on. It is for one group
// membership at a time, and made by setting Log.
type Mortal struct {
	log.Log

	mu     sync.Mutex // guards the fields below
	dead   bool
	member log.Member
}

// Kill lets nothing that the process does from now on take effect: its writes
// fail with log.ErrClosed. What was under way may still do so, as when a
// process dies while it waits for an answer.
func (m *Mortal) Kill() error {
	m.mu.Lock()
	m.dead = true
	m.mu.Unlock()
	return m.Expire()
}

// Expire gives all that the groups had assigned to the process to others, which
// need not wait for it.
func (m *Mortal) Expire() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.member == nil {
		return nil
	}
	return m.member.Close()
}

// Join implements log.Log.
func (m *Mortal) Join(ctx context.Context, spec log.GroupSpec) (log.Member, error) {
	member, err := m.Log.Join(ctx, spec)
	if err != nil {
		return nil, err
	}
	m.mu.Lock()
	m.member = member
	dead := m.dead
	m.mu.Unlock()
	if dead {
		_ = member.Close() // never fails: dead already
		return nil, log.ErrClosed
	}
	return member, nil
}

// Fence implements log.Log.
func (m *Mortal) Fence(ctx context.Context, producer string) (log.Epoch, error) {
	if err := m.alive(); err != nil {
		return 0, err
	}
	return m.Log.Fence(ctx, producer)
}

// Commit implements log.Log.
func (m *Mortal) Commit(ctx context.Context, c *log.Commit) ([]log.Offset, error) {
	if err := m.alive(); err != nil {
		return nil, err
	}
	return m.Log.Commit(ctx, c)
}

// Append implements log.Log.
func (m *Mortal) Append(ctx context.Context, tp log.TopicPartition, batches []byte) (log.Offset, error) {
	if err := m.alive(); err != nil {
		return 0, err
	}
	return m.Log.Append(ctx, tp, batches)
}

// DeleteRecords implements log.Log.
func (m *Mortal) DeleteRecords(ctx context.Context, tp log.TopicPartition, before log.Offset) error {
	if err := m.alive(); err != nil {
		return err
	}
	return m.Log.DeleteRecords(ctx, tp, before)
}

func (m *Mortal) alive() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.dead {
		return log.ErrClosed
	}
	return nil
}
