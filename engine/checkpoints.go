package engine

import (
	"context"
	"fmt"

	"github.com/gretestream/grete/jobs"
	"github.com/gretestream/grete/log"
)

// savedPoint is the newest checkpoint of a task and where it lies.
type savedPoint struct {
	checkpoint jobs.Checkpoint
	offset     log.Offset
}

// readCheckpoints reads the checkpoint topic of a generation: the newest record
// of each task. The highest epoch wins, and among records of one epoch the last.
func readCheckpoints(ctx context.Context, l log.Log, topic string) (map[string]savedPoint, error) {
	points := map[string]savedPoint{}
	tp := log.TopicPartition{Topic: topic}
	bounds, err := l.Bounds(ctx, tp)
	if err != nil {
		return nil, fmt.Errorf("bounds of %s: %w", tp, err)
	}
	if bounds.Start == bounds.End {
		return points, nil
	}
	r, err := l.OpenReader(tp, bounds.Start, log.ReaderOptions{})
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", tp, err)
	}
	defer r.Close()
	for r.Position() < bounds.End {
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
