package engine

import (
	"context"
	"errors"
	"fmt"

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
func readCheckpoints(ctx context.Context, l log.Log, topic string) (map[string]savedPoint, error) {
	for try := 1; ; try++ {
		points, err := tryCheckpoints(ctx, l, topic)
		if !errors.Is(err, log.ErrOffsetOutOfRange) || try == readTries {
			return points, err
		}
	}
}

func tryCheckpoints(ctx context.Context, l log.Log, topic string) (map[string]savedPoint, error) {
	points := map[string]savedPoint{}
	tp := log.TopicPartition{Topic: topic}
	bounds, err := l.Bounds(ctx, tp)
	if err != nil {
		return nil, fmt.Errorf("bounds of %s: %w", tp, err)
	}
	if bounds.Start == bounds.Stable {
		return points, nil
	}
	r, err := l.OpenReader(tp, bounds.Start, log.ReaderOptions{})
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", tp, err)
	}
	defer r.Close()
	for r.Position() < bounds.Stable {
		recs, err := r.Next(ctx)
		if err != nil {
			return nil, fmt.Errorf("read %s at %s: %w", tp, r.Position(), err)
		}
		for i := range recs {
			rec := &recs[i]
			c, err := jobs.DecodeCheckpoint(rec.Value)
			if err != nil {
				return nil, fmt.Errorf("record %s of %s: %w", rec.Offset, tp, err)
			}
			if old, ok := points[string(rec.Key)]; !ok || c.Epoch >= old.checkpoint.Epoch {
				points[string(rec.Key)] = savedPoint{c, rec.Offset}
			}
		}
	}
	return points, nil
}
