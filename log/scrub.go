package log

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
)

// scrubber reads sealed segments again, a little in each round of maintenance,
// so that damage is known before the bytes are needed.
type scrubber struct {
	mu      sync.Mutex // guards the fields below
	at      TopicPartition
	base    Offset // segment of at that comes next
	started bool
	damage  []Problem
}

// maxDamage bounds how much damage is remembered; all of it is logged.
const maxDamage = 1000

// Damage returns what the background has found to be damaged since Open.
// Reading it fails with ErrCorrupt; all else can be read.
func (l *Embedded) Damage() []Problem {
	l.scrubber.mu.Lock()
	defer l.scrubber.mu.Unlock()
	return slices.Clone(l.scrubber.damage)
}

// scrub goes on where the last round ended, for about ScrubBytes.
func (l *Embedded) scrub() error {
	sc := &l.scrubber
	sc.mu.Lock()
	defer sc.mu.Unlock()
	budget := l.opts.ScrubBytes
	if budget <= 0 {
		return nil
	}
	passed := !sc.started
	sc.started = true
	err := l.eachPartition(func(p *partition) error {
		from := Offset(0)
		if !passed {
			if compareTP(p.tp, sc.at) < 0 {
				return nil
			}
			if passed = true; p.tp == sc.at {
				from = sc.base
			}
		}
		list := *p.segments.Load()
		for i := 0; i < len(list)-1; i++ {
			s := list[i]
			if s.base < from {
				continue
			}
			if budget <= 0 {
				sc.at, sc.base = p.tp, s.base
				return errBudget
			}
			budget -= s.size.Load()
			if err := l.scrubSegment(p, s); err != nil {
				return err
			}
		}
		select {
		case <-l.stop:
			return ErrClosed
		default:
			return nil
		}
	})
	switch {
	case errors.Is(err, errBudget), errors.Is(err, ErrClosed):
		return nil
	case err == nil:
		sc.started = false // once through: from the beginning next time
	}
	return err
}

var errBudget = errors.New("the budget of this round is spent")

// scrubSegment checks the checksums of one segment. The caller holds mu.
func (l *Embedded) scrubSegment(p *partition, s *segment) error {
	r, err := p.openSegment(s)
	if errors.Is(err, errGone) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("scrub: %w", err)
	}
	defer r.Close()
	sc := newBatchScanner(r, s.logName(), 0, s.size.Load())
	defer sc.Close()
	for {
		_, _, err := sc.batch()
		if errors.Is(err, io.EOF) {
			return nil
		}
		var d *damageAt
		if errors.As(err, &d) {
			l.noteDamage(Problem{File: d.file, Pos: d.pos, Err: d.err})
			return nil
		}
		if err != nil {
			return fmt.Errorf("scrub: %w", err)
		}
	}
}

func (l *Embedded) noteDamage(found Problem) {
	known := &l.scrubber.damage
	if slices.ContainsFunc(*known, func(p Problem) bool { return p.File == found.File && p.Pos == found.Pos }) {
		return
	}
	l.logger.Error("damage found: restore this file from a copy, or delete the records up to it", "file", found.File, "position", found.Pos, "err", found.Err)
	l.m.damaged.Inc(1)
	if len(*known) < maxDamage {
		*known = append(*known, found)
	}
}
