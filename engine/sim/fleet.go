package sim

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/gretestream/grete/engine"
	"github.com/gretestream/grete/log"
	"github.com/gretestream/grete/log/logtest"
)

// fleet is the containers that share the job on one log. Each has a directory of
// its own, which is taken over by a later one when it has ended.
type fleet struct {
	s    *simulation
	log  log.Log
	live []*ship
	gone []*ship // killed or stopped, and not yet ended
	free []string
	made int
}

// ship is one container of a fleet.
type ship struct {
	log    *logtest.Mortal
	dir    string
	cancel context.CancelFunc
	killed bool
	done   chan error
}

// launch starts a container.
func (f *fleet) launch(ctx context.Context) {
	dir := "state-" + strconv.Itoa(f.made)
	if n := len(f.free); n > 0 {
		dir, f.free = f.free[n-1], f.free[:n-1]
	} else {
		f.made++
	}
	sh := &ship{log: &logtest.Mortal{Log: f.log}, dir: dir, done: make(chan error, 1)}
	ctx, sh.cancel = context.WithCancel(ctx)
	o := f.s.options(sh.log, false)
	o.Dir = dir
	f.live = append(f.live, sh)
	go func() { sh.done <- f.s.runContainer(ctx, o) }()
}

func (s *simulation) runContainer(ctx context.Context, o engine.Options) error {
	c, err := engine.Open(ctx, o)
	if err != nil {
		return ignoreStop(ctx, err)
	}
	return ignoreStop(ctx, c.Run(ctx))
}

// disturb does something to the fleet, by chance: containers come, end, are
// killed, or are taken for dead and go on.
func (f *fleet) disturb(ctx context.Context) error {
	r := f.s.rand
	switch n := len(f.live); {
	case n == 0 || n < f.s.Containers && r.IntN(3) == 0:
		f.launch(ctx)
		return nil
	case r.IntN(3) == 0:
		f.await(ctx)
		return nil
	case r.IntN(2) == 0:
		return nil
	}
	i := r.IntN(len(f.live))
	sh := f.live[i]
	switch r.IntN(3) {
	case 0:
		f.s.report.Stops++
		sh.cancel()
	case 1:
		f.s.report.Deaths++
		sh.killed = true
		if err := sh.log.Kill(); err != nil {
			return err
		}
		sh.cancel()
	case 2:
		f.s.report.Zombies++
		return sh.log.Expire() // it goes on, without tasks, and blocks a place
	}
	f.live = append(f.live[:i], f.live[i+1:]...)
	f.gone = append(f.gone, sh)
	return f.reap(false)
}

// await gives the containers time to process some of what was written: until
// the copy grows, or for a moment.
func (f *fleet) await(ctx context.Context) {
	size := func() (n log.Offset) {
		for p := range int32(f.s.Partitions) {
			if b, err := f.log.Bounds(ctx, log.TopicPartition{Topic: copyTopic, Partition: p}); err == nil {
				n += b.End
			}
		}
		return n
	}
	before := size()
	for i := 0; i < 100 && size() == before && !f.s.disk.Crashed(); i++ {
		<-time.After(time.Millisecond)
	}
}

// reap takes leave of containers that have ended; all: it waits for them.
func (f *fleet) reap(all bool) error {
	var errs []error
	var left []*ship
	for _, sh := range f.gone {
		if !all {
			select {
			case err := <-sh.done:
				sh.done <- err
			default:
				left = append(left, sh)
				continue
			}
		}
		err := <-sh.done
		f.free = append(f.free, sh.dir)
		if err != nil && !sh.killed {
			errs = append(errs, fmt.Errorf("container in %s: %w", sh.dir, err))
		}
	}
	f.gone = left
	return errors.Join(errs...)
}

// end stops all containers and waits for them.
func (f *fleet) end() error {
	for _, sh := range f.live {
		sh.cancel()
	}
	f.gone, f.live = append(f.gone, f.live...), nil
	return f.reap(true)
}
