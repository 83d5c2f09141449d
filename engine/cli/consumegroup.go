package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/gretestream/grete/log"
)

// groupCommit is how often consume --group commits what it has printed.
const groupCommit = time.Second

// groupConsumer prints the partitions that a group gives it, and commits how far
// it has come.
type groupConsumer struct {
	*recordPrinter
	d      *dataDir
	flags  *consumeFlags
	start  log.Timestamp
	member log.Member
	wake   chan struct{}
	parts  map[log.TopicPartition]*groupPart
}

type groupPart struct {
	log.Reader
	end       log.Offset // of the partition when it was opened
	committed log.Offset
}

// consumeGroup prints a topic as a member of a group, from where the group is.
func (a *app) consumeGroup(ctx context.Context, d *dataDir, p *recordPrinter, f *consumeFlags, start log.Timestamp) (err error) {
	g := &groupConsumer{
		recordPrinter: p, d: d, flags: f, start: start,
		wake: make(chan struct{}, 1), parts: map[log.TopicPartition]*groupPart{},
	}
	if g.member, err = d.Join(ctx, log.GroupSpec{Group: f.group, Topics: []string{p.topic}}); err != nil {
		if errors.Is(err, errors.ErrUnsupported) {
			return fmt.Errorf("%w: reach the server with --log kafka://HOST:PORT", err)
		}
		return err
	}
	defer func() { err = errors.Join(err, g.close(context.WithoutCancel(ctx))) }()
	return g.run(ctx)
}

func (g *groupConsumer) run(ctx context.Context) error {
	tick := time.NewTicker(groupCommit)
	defer tick.Stop()
	assigned := false
	for {
		tps, changed := g.member.Assignment()
		if err := g.take(ctx, tps); err != nil {
			return err
		}
		assigned = assigned || len(tps) > 0
		idle := true
		for tp, r := range g.parts {
			records, err := r.Poll()
			if err != nil {
				return err
			}
			idle = idle && len(records) == 0
			if done, err := g.print(records, tp.Partition, -1); done || err != nil {
				if err == nil {
					err = r.Seek(g.last + 1) // what was read and not printed is not done
				}
				return err
			}
		}
		if !idle {
			continue
		}
		if err := g.out.Flush(); err != nil {
			return err
		}
		if !g.flags.follow && assigned && g.atEnd() {
			return nil
		}
		select {
		case <-g.wake:
		case <-changed:
		case <-tick.C:
			if err := g.commit(ctx); err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// atEnd tells whether all partitions are printed up to where they ended when
// they were taken.
func (g *groupConsumer) atEnd() bool {
	for _, r := range g.parts {
		if r.Position() < r.end {
			return false
		}
	}
	return true
}

// take opens what is new in the assignment and gives up what has left it.
func (g *groupConsumer) take(ctx context.Context, tps []log.TopicPartition) error {
	mine := map[log.TopicPartition]bool{}
	for _, tp := range tps {
		if mine[tp] = true; g.parts[tp] != nil {
			continue
		}
		r, err := g.open(ctx, tp)
		if err != nil {
			return err
		}
		g.parts[tp] = r
	}
	for tp, r := range g.parts {
		if mine[tp] {
			continue
		}
		if err := g.commit(ctx); err != nil {
			return err
		}
		r.Close()
		delete(g.parts, tp)
		g.member.Release(tp)
	}
	return nil
}

func (g *groupConsumer) open(ctx context.Context, tp log.TopicPartition) (*groupPart, error) {
	bounds, err := g.d.Bounds(ctx, tp)
	if err != nil {
		return nil, err
	}
	committed, err := g.d.Committed(ctx, g.flags.group, tp)
	if err != nil {
		return nil, err
	}
	from := committed[tp].Offset
	if _, ok := committed[tp]; !ok || from < bounds.Start || from > bounds.End {
		if from, err = beginAt(ctx, g.d, tp, bounds, g.flags, g.start); err != nil {
			return nil, err
		}
	}
	r, err := g.d.OpenReader(tp, from, log.ReaderOptions{Wake: g.wake})
	if err != nil {
		return nil, err
	}
	return &groupPart{Reader: r, end: bounds.Stable, committed: from}, nil
}

// commit says how far all partitions are printed.
func (g *groupConsumer) commit(ctx context.Context) error {
	c := &log.Commit{Group: g.flags.group}
	for tp, r := range g.parts {
		if at := r.Position(); at != r.committed {
			c.Offsets = append(c.Offsets, log.GroupOffset{TopicPartition: tp, Offset: at, LeaderEpoch: -1})
		}
	}
	if len(c.Offsets) == 0 {
		return nil
	}
	if err := g.out.Flush(); err != nil {
		return err
	}
	if _, err := g.d.Commit(ctx, c); err != nil {
		return fmt.Errorf("commit offsets of group %q: %w", g.flags.group, err)
	}
	for _, o := range c.Offsets {
		g.parts[o.TopicPartition].committed = o.Offset
	}
	return nil
}

// close commits and leaves the group.
func (g *groupConsumer) close(ctx context.Context) error {
	err := errors.Join(g.out.Flush(), g.commit(ctx))
	for _, r := range g.parts {
		r.Close()
	}
	return errors.Join(err, g.member.Close())
}
