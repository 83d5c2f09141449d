package engine

import (
	"context"
	"fmt"
	"time"
)

// Settle returns when every task of the container has processed and committed all
// that its inputs hold, has looked at the clock after that, and found nothing to do. It is for
// tests that move Options.Now by hand: nothing of what they see then depends on
// the pace of the machine. While records keep coming it does not return.
//
// It returns ErrEnded if the container ends before; Run returns why.
func (c *Container) Settle(ctx context.Context) error {
	select {
	case <-c.ran:
	case <-c.ended:
	case <-ctx.Done():
	}
	for {
		moved := false
		// Stage by stage, so that what one task writes is mostly there when the
		// next one is asked.
		for _, t := range c.tasks {
			m, err := t.askToSettle(ctx)
			if err != nil {
				return fmt.Errorf("settle job %q: %w", c.plan.Job, err)
			}
			moved = moved || m
		}
		if !moved {
			return nil
		}
	}
}

// askToSettle lets the task do all there is to do now. It tells whether there
// was anything.
func (t *task) askToSettle(ctx context.Context) (moved bool, err error) {
	t.mu.Lock()
	h := t.mu.hold
	t.mu.Unlock()
	if h == nil {
		return false, nil // elsewhere
	}
	answer := make(chan bool, 1)
	select {
	case t.settle <- answer:
	case <-h.ended:
		if !h.failed {
			return false, nil // elsewhere now
		}
		select {
		case <-t.c.ended:
			return false, ErrEnded
		case <-ctx.Done():
			return false, context.Cause(ctx)
		}
	case <-t.c.ended:
		return false, ErrEnded
	case <-ctx.Done():
		return false, context.Cause(ctx)
	}
	select {
	case moved := <-answer:
		return moved, nil
	case <-t.c.ended:
		return false, ErrEnded
	case <-ctx.Done():
		return false, context.Cause(ctx)
	}
}

// settleNow works until there is nothing to do and everything is committed. If
// it fails, the question is answered all the same: the task is rebuilt, or ends,
// and is asked again.
func (l *life) settleNow(ctx context.Context, answer chan<- bool) (err error) {
	moved := l.dirty || l.inFlight
	defer func() { answer <- moved || err != nil }()
	l.lastTick = time.Time{}
	for {
		worked, _, err := l.step(ctx, time.Now())
		if err != nil {
			return err
		}
		if l.size() >= l.c.opts.Job.Options.CommitBytes || !worked && (l.dirty || l.inFlight) {
			if err := l.settleCommit(ctx); err != nil {
				return err
			}
			worked = true
		}
		if !worked {
			return nil
		}
		moved = true
	}
}

func (l *life) settleCommit(ctx context.Context) error {
	if !l.dirty {
		return l.answerOf(ctx)
	}
	return l.commitNow(ctx)
}
