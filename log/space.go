package log

import (
	"fmt"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/vfs"
)

// space watches that the disk does not fill. Two lines of defence: appends are
// refused while less than the reserve is free; and should the disk fill all the
// same, a ballast file is given up, so that what was acknowledged fits.
//
// Consumers go on: commits of offsets alone are admitted into the reserve.
type space struct {
	reserve int64        // bytes; 0: the disk does not say how full it is
	budget  atomic.Int64 // bytes that may be admitted before the disk is asked again
	asked   atomic.Int64 // when it was asked, in ms
	ballast atomic.Bool  // the ballast file is there
	full    atomic.Bool  // it was given up: appends wait for space
}

const (
	// spaceStep bounds how much is admitted on one answer of the disk. It is
	// written twice (journal and segment), which the reserve has room for.
	spaceStep    = 4 << 20
	spaceAskEach = time.Second
)

// prepare finds out what can be reserved and makes the ballast.
func (s *space) prepare(l *Embedded) error {
	if u, err := l.fs.GetDiskUsage(l.dir); err == nil && l.opts.ReserveBytes > 0 {
		s.reserve = min(l.opts.ReserveBytes, int64(u.TotalBytes/16))
	}
	size, err := fileSize(l.fs, s.ballastName(l))
	if err != nil {
		return err
	}
	s.ballast.Store(size >= l.opts.BallastBytes)
	if !s.ballast.Load() {
		s.refill(l)
		s.full.Store(!s.ballast.Load() && l.opts.BallastBytes > 0)
	}
	return nil
}

func ballastPath(fs FS, dir string) string { return fs.PathJoin(dir, journalDirName, ballastName) }

func (s *space) ballastName(l *Embedded) string { return ballastPath(l.fs, l.dir) }

// refill makes the ballast file if there is room for it and the reserve.
func (s *space) refill(l *Embedded) {
	if l.opts.BallastBytes <= 0 || s.reserve > 0 && s.free(l) < s.reserve+l.opts.BallastBytes {
		return
	}
	if err := writeFile(l.fs, s.ballastName(l), make([]byte, l.opts.BallastBytes), true); err != nil {
		_ = l.fs.Remove(s.ballastName(l)) // half a ballast would be in the way
		if !vfs.IsNoSpaceError(err) {
			l.logger.Warn("no ballast file", "err", err)
		}
		return
	}
	s.ballast.Store(true)
}

func (s *space) free(l *Embedded) int64 {
	u, err := l.fs.GetDiskUsage(l.dir)
	if err != nil {
		return 1 << 62
	}
	return int64(min(u.AvailBytes, 1<<62))
}

// admit tells whether n bytes of batches may be taken in.
func (s *space) admit(l *Embedded, n int64) error {
	if n == 0 {
		return nil
	}
	if s.reserve == 0 && !s.full.Load() {
		return nil
	}
	now := int64(l.now())
	if s.budget.Add(-n) >= 0 && now-s.asked.Load() < spaceAskEach.Milliseconds() && !s.full.Load() {
		return nil
	}
	s.asked.Store(now)
	free := s.free(l)
	if free < s.reserve+2*n {
		s.budget.Store(0)
		return fmt.Errorf("%w: %d bytes are free in %s, of which %d are a reserve: make room, and appends go on by themselves", ErrNoSpace, free, l.dir, s.reserve)
	}
	s.budget.Store(spaceStep)
	if s.full.Load() {
		return s.regain(l)
	}
	return nil
}

// regain ends the state that exhausted began, once the ballast can be made again.
func (s *space) regain(l *Embedded) error {
	if l.opts.BallastBytes > 0 && !s.ballast.Load() {
		s.refill(l)
		if !s.ballast.Load() {
			return fmt.Errorf("%w in %s: make room, and appends go on by themselves", ErrNoSpace, l.dir)
		}
	}
	s.full.Store(false)
	l.logger.Info("disk has space again, appends go on")
	l.m.noSpace.Update(0)
	return nil
}

// exhausted gives up the ballast: a write has failed for want of space.
func (s *space) exhausted(l *Embedded) {
	if !s.full.Swap(true) {
		l.logger.Error("disk is full: appends are refused until there is space", "dir", l.dir)
		l.m.noSpace.Update(1)
	}
	if s.ballast.Swap(false) {
		if err := l.fs.Remove(s.ballastName(l)); err != nil && !isNotExist(err) {
			l.logger.Error("ballast file cannot be removed", "err", err)
		}
	}
}

// refresh is the share of maintenance: the ballast comes back when it can.
func (s *space) refresh(l *Embedded) {
	if s.full.Load() {
		_ = s.admit(l, 1)
	} else if !s.ballast.Load() {
		s.refill(l)
	}
}

// Disk returns the size of the disk that the log is on and what is free of it,
// in bytes.
func (l *Embedded) Disk() (total, free int64, err error) {
	u, err := l.fs.GetDiskUsage(l.dir)
	if err != nil {
		return 0, 0, fmt.Errorf("ask for the space of %s: %w", l.dir, err)
	}
	return int64(min(u.TotalBytes, 1<<62)), int64(min(u.AvailBytes, 1<<62)), nil
}

// PartitionBytes is the size of a partition's segments, in bytes.
func (l *Embedded) PartitionBytes(tp TopicPartition) (int64, error) {
	p, err := l.partition(tp)
	if err != nil {
		return 0, err
	}
	var n int64
	for _, s := range *p.segments.Load() {
		n += s.size.Load()
	}
	return n, nil
}
