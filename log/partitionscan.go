package log

import (
	"context"
	"fmt"
)

// Scan calls f for every committed record that a partition holds now, in order.
// The record is valid during the call.
//
// A transaction that is open hides what others have committed behind it. Records
// for which own is true are not missed for that: if there is such a one, Scan
// waits until the transaction has ended. So own is to be true only of records of
// producers that the caller has fenced, or else it may wait for the caller. Nil
// is nobody's.
//
// It ends with the first error of f. ErrOffsetOutOfRange says that the start of
// the partition was raised meanwhile.
func Scan(ctx context.Context, l Log, tp TopicPartition, own func(*Record) bool, f func(*Record) error) error {
	bounds, err := l.Bounds(ctx, tp)
	if err != nil {
		return fmt.Errorf("bounds of %s: %w", tp, err)
	}
	to := bounds.Stable
	if own != nil {
		err := scan(ctx, l, tp, bounds.Stable, bounds.End, ReaderOptions{Uncommitted: true}, func(r *Record) error {
			if own(r) {
				to = r.Offset + 1
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return scan(ctx, l, tp, bounds.Start, to, ReaderOptions{}, f)
}

// scan reads from one offset to another, and waits until it may be read.
func scan(ctx context.Context, l Log, tp TopicPartition, from, to Offset, opts ReaderOptions, f func(*Record) error) error {
	if from >= to {
		return nil
	}
	r, err := l.OpenReader(tp, from, opts)
	if err != nil {
		return fmt.Errorf("open %s: %w", tp, err)
	}
	defer r.Close()
	for r.Position() < to {
		recs, err := r.Next(ctx)
		if err != nil {
			return fmt.Errorf("read %s at %s: %w", tp, r.Position(), err)
		}
		for i := range recs {
			if err := f(&recs[i]); err != nil {
				return err
			}
		}
	}
	return nil
}
