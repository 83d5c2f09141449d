package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/gretestream/grete/jobs"
	"github.com/gretestream/grete/log"
)

// savedPoint is the newest checkpoint of a task and where it lies.
type savedPoint struct {
	checkpoint jobs.Checkpoint
	offset     log.Offset
}

// readTries is how often the topic is read from its start again because that was
// raised meanwhile: by the janitor of another container.
const readTries = 10

// readCheckpoints reads the checkpoint topic of a generation: the newest record
// of each task. The highest epoch wins, and among records of one epoch the last.
//
// The tasks share the topic, so a transaction of one that is open, because its
// container was killed, hides what others have committed behind it. Of the tasks
// that are fenced nothing is hidden: where one has a record there, the transaction
// is waited for, until somebody fences its task or the cluster gives it up.
func readCheckpoints(ctx context.Context, l log.Log, topic string, fenced ...string) (map[string]savedPoint, error) {
	for try := 1; ; try++ {
		points, err := tryCheckpoints(ctx, l, topic, fenced)
		if !errors.Is(err, log.ErrOffsetOutOfRange) || try == readTries {
			return points, err
		}
	}
}

func tryCheckpoints(ctx context.Context, l log.Log, topic string, fenced []string) (map[string]savedPoint, error) {
	points := map[string]savedPoint{}
	own := func(r *log.Record) bool { return slices.Contains(fenced, string(r.Key)) }
	err := log.Scan(ctx, l, log.TopicPartition{Topic: topic}, own, func(r *log.Record) error {
		c, err := jobs.DecodeCheckpoint(r.Value)
		if err != nil {
			return fmt.Errorf("record %s of %s: %w", r.Offset, topic, err)
		}
		if old, ok := points[string(r.Key)]; !ok || c.Epoch >= old.checkpoint.Epoch {
			points[string(r.Key)] = savedPoint{c, r.Offset}
		}
		return nil
	})
	return points, err
}
