package engine

import (
	"context"
	"errors"
	"time"

	"github.com/gretestream/grete/log"
)

const (
	// purgeEvery is how often the janitor looks, when something was committed.
	purgeEvery = 5 * time.Second
	// purgeCheckpointBytes is how much the checkpoint topic grows before records
	// that no task restarts from are cut off.
	purgeCheckpointBytes = 4 << 20
)

// janitor gives back what nobody will read again: records of repartition topics
// behind the checkpoint of the task that reads them, and checkpoints behind the
// oldest one that a task would restart from. It is one goroutine, asleep while
// nothing is committed. What it does not get done it does the next time.
type janitor struct {
	c           *Container
	kick        chan struct{}                     // one token: something was committed
	purged      map[log.TopicPartition]log.Offset // as far as asked for
	checkpoints int64                             // bytes written since the checkpoint topic was last purged
}

func newJanitor(c *Container) *janitor {
	return &janitor{c: c, kick: make(chan struct{}, 1), purged: map[log.TopicPartition]log.Offset{}}
}

// run works until done is closed.
func (j *janitor) run(ctx context.Context, done <-chan struct{}) {
	timer := time.NewTimer(purgeEvery)
	defer timer.Stop()
	for {
		select {
		case <-j.kick:
		case <-done:
			return
		}
		timer.Reset(purgeEvery)
		select {
		case <-timer.C:
		case <-done:
			return
		}
		j.purge(ctx)
	}
}

func (j *janitor) purge(ctx context.Context) {
	for _, t := range j.c.tasks {
		for _, in := range t.status().Inputs { // offset 0 of a task elsewhere
			if in.Repartition && !j.c.opts.keepRepartition && in.Offset > j.purged[in.TopicPartition] {
				j.delete(ctx, in.TopicPartition, in.Offset)
			}
		}
	}
	j.checkpoints += j.c.checkpointBytes.Swap(0)
	if j.checkpoints >= purgeCheckpointBytes {
		j.purgeCheckpoints(ctx)
	}
}

// purgeCheckpoints cuts the checkpoint topic before the oldest record in use.
// Tasks that have had nothing to commit for long hold it back: they are asked to
// write theirs again, so that the next time more can go.
func (j *janitor) purgeCheckpoints(ctx context.Context) {
	// What lies behind an open transaction is not looked at: it may be the only
	// checkpoint that a task has. The bound comes first: everything before it is
	// there to be seen then.
	tp := log.TopicPartition{Topic: j.c.checkpointTopic}
	b, err := j.c.opts.Log.Bounds(ctx, tp)
	if err != nil {
		j.c.logger.Warn("cannot purge checkpoints", "err", err)
		return
	}
	at, err := j.checkpointsAt(ctx)
	if err != nil {
		j.c.logger.Warn("cannot purge checkpoints", "err", err)
		return
	}
	newest, oldest := log.Offset(-1), log.Offset(-1)
	for _, o := range at {
		newest = max(newest, o)
		if o >= 0 && (oldest < 0 || o < oldest) {
			oldest = o
		}
	}
	if oldest < 0 {
		return
	}
	for i, t := range j.c.tasks {
		if at[i] >= 0 && at[i] < newest-(newest-oldest)/2 {
			select {
			case t.nudge <- struct{}{}:
			default:
			}
		}
	}
	j.checkpoints = 0
	j.delete(ctx, tp, min(oldest, b.Stable))
}

// checkpointsAt tells where each task's newest checkpoint lies; -1: it has none.
// Those of tasks elsewhere are looked for, and may have moved on since.
func (j *janitor) checkpointsAt(ctx context.Context) ([]log.Offset, error) {
	var points map[string]savedPoint
	at := make([]log.Offset, len(j.c.tasks))
	for i, t := range j.c.tasks {
		t.mu.Lock()
		at[i] = t.mu.checkpointAt
		t.mu.Unlock()
		if at[i] >= 0 {
			continue
		}
		if points == nil {
			var err error
			if points, err = readCheckpoints(ctx, j.c.opts.Log, j.c.checkpointTopic); err != nil {
				return nil, err
			}
		}
		if p, ok := points[t.name]; ok {
			at[i] = p.offset
		}
	}
	return at, nil
}

func (j *janitor) delete(ctx context.Context, tp log.TopicPartition, before log.Offset) {
	err := j.c.opts.Log.DeleteRecords(ctx, tp, before)
	switch {
	case err == nil:
		j.purged[tp] = before
	case errors.Is(err, context.Canceled), errors.Is(err, log.ErrClosed):
	default:
		j.c.logger.Warn("cannot purge", "partition", tp, "before", before, "err", err)
	}
}
