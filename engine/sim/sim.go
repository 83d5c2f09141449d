package sim

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"time"

	"github.com/gretestream/grete/engine"
	"github.com/gretestream/grete/jobs"
	"github.com/gretestream/grete/log"
	"github.com/gretestream/grete/log/logtest"
)

// Config of a simulation. The zero value is useful.
type Config struct {
	Seed       uint64
	Rounds     int            // crashes; default 10
	Partitions int            // of the input; default 3
	Views      int            // written per round at most; default 200
	Containers int            // that share the job at most; default 1, which is left alone until the crash
	Guarantee  jobs.Guarantee // of the job
	// Logf hears what happens. Default: nobody does.
	Logf func(format string, args ...any)
}

// Report sums up a simulation that went well.
type Report struct {
	Crashes, Kills int
	// Of containers while others went on: ended, killed, taken for dead.
	Stops, Deaths, Zombies int

	Acked   int // views that were acknowledged
	Views   int // views in the log: those, and some whose answer was lost
	Windows int
	Again   int // views and counts that were more than once, where that is allowed
}

// Run simulates. Every deviation from the model is an error that says which
// record or count it is about; the seed reproduces it, as far as the scheduling
// of goroutines allows.
func Run(ctx context.Context, cfg Config) (Report, error) {
	if cfg.Rounds == 0 {
		cfg.Rounds = 10
	}
	if cfg.Partitions == 0 {
		cfg.Partitions = 3
	}
	if cfg.Views == 0 {
		cfg.Views = 200
	}
	if cfg.Logf == nil {
		cfg.Logf = func(string, ...any) {}
	}
	s := newSimulation(cfg)
	for round := range cfg.Rounds {
		if err := s.round(ctx, round); err != nil {
			return s.report, fmt.Errorf("seed %d: round %d: %w", cfg.Seed, round, err)
		}
	}
	if err := s.finish(ctx); err != nil {
		return s.report, fmt.Errorf("seed %d: after %d rounds: %w", cfg.Seed, cfg.Rounds, err)
	}
	return s.report, nil
}

func newSimulation(cfg Config) *simulation {
	return &simulation{
		Config: cfg,
		job:    job,
		rand:   rand.New(rand.NewPCG(cfg.Seed, 1)),
		disk:   logtest.NewDisk(cfg.Seed),
		at:     1_000_000,
		acked:  map[log.TopicPartition]map[log.Offset]string{},
	}
}

// simulation is the state of one Run.
type simulation struct {
	Config
	job    jobs.Job
	rand   *rand.Rand
	disk   *logtest.Disk
	at     log.Timestamp // of the last view
	report Report
	// atLeast: views may count more than once.
	atLeast bool

	acked map[log.TopicPartition]map[log.Offset]string
}

func (s *simulation) openLog() (*log.Embedded, error) {
	return log.Open("data", log.Options{FS: s.disk, BallastBytes: -1, ReserveBytes: -1, SegmentBytes: 64 << 10})
}

func (s *simulation) options(l log.Log, untilEnd bool) engine.Options {
	j := s.job
	j.Options.Guarantee = s.Guarantee
	return engine.Options{Job: j, Log: l, Dir: "state", FS: s.disk, Memory: 32 << 20, UntilEnd: untilEnd,
		CreateTopics: true, Partitions: s.Partitions, StopTimeout: 5 * time.Second}
}

// round runs the node until it crashes.
func (s *simulation) round(ctx context.Context, round int) error {
	l, err := s.openLog()
	if err != nil {
		return fmt.Errorf("open log: %w", err)
	}
	cut := s.disk.Stats().Syncs + 1 + s.rand.IntN(120)
	if s.Containers > 1 {
		cut += s.rand.IntN(3000) // let them have a life before
	}
	side := logtest.When(s.rand.IntN(2))
	s.disk.CrashAtSync(cut, side)

	f := &fleet{s: s, log: l}
	f.launch(ctx)
	err = s.write(ctx, l, func() error {
		if s.Containers < 2 {
			return nil
		}
		return f.disturb(ctx)
	})
	if s.rand.IntN(3) > 0 {
		s.disk.CrashAtSync(s.disk.Stats().Syncs+1, side) // a commit is sure to come
	}
	runErr := errors.Join(err, f.end())
	_ = l.Close() // complains if the power is gone

	if !s.disk.Crashed() {
		if runErr != nil {
			return fmt.Errorf("job ended with the power on: %w", runErr)
		}
		s.disk = s.disk.Kill()
		s.report.Kills++
		s.Logf("round %d: killed; %d views acknowledged so far", round, s.report.Acked)
		return nil
	}
	policy := logtest.Random(s.rand.Uint64())
	s.disk = s.disk.Crash(policy)
	s.report.Crashes++
	s.Logf("round %d: power cut %s sync %d, %s; %d views acknowledged so far; job: %v", round, side, cut, policy, s.report.Acked, runErr)
	return nil
}

// ignoreStop drops errors that only say that the round is over.
func ignoreStop(ctx context.Context, err error) error {
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return nil
	}
	return err
}

// write appends views until there are enough or the power is gone, and notes
// which were acknowledged. between is called after each append.
func (s *simulation) write(ctx context.Context, l log.Log, between func() error) error {
	_, err := l.CreateTopic(ctx, log.TopicSpec{Name: viewsTopic, Partitions: s.Partitions})
	if err != nil && !errors.Is(err, log.ErrTopicExists) {
		return nil
	}
	var b log.Builder
	for n := s.rand.IntN(s.Views); n > 0 && !s.disk.Crashed(); {
		b.Reset()
		tp := log.TopicPartition{Topic: viewsTopic, Partition: int32(s.rand.IntN(s.Partitions))}
		pages := make([]string, 1+s.rand.IntN(8))
		for i := range pages {
			s.at += log.Timestamp(s.rand.IntN(3000))
			pages[i] = fmt.Sprintf("page-%d", s.rand.IntN(20))
			b.Append(s.at-log.Timestamp(s.rand.IntN(2000)), nil, []byte(pages[i]))
		}
		n -= len(pages)
		offset, err := l.Append(ctx, tp, b.Bytes())
		if err != nil {
			return nil // whether it is there is not known
		}
		if s.acked[tp] == nil {
			s.acked[tp] = map[log.Offset]string{}
		}
		for i, page := range pages {
			s.acked[tp][offset+log.Offset(i)] = page
		}
		s.report.Acked += len(pages)
		if err := between(); err != nil {
			return err
		}
	}
	return nil
}

// alone is for containers that are left to themselves.
func alone() error { return nil }

// finish processes what there is, with the power on, and checks everything.
func (s *simulation) finish(ctx context.Context) error {
	l, err := s.openLog()
	if err != nil {
		return fmt.Errorf("open log: %w", err)
	}
	err = s.check(ctx, l)
	if cerr := l.Close(); cerr != nil && !errors.Is(cerr, os.ErrClosed) {
		err = errors.Join(err, fmt.Errorf("close log: %w", cerr))
	}
	return err
}

func (s *simulation) check(ctx context.Context, l log.Log) error {
	c, err := engine.Open(ctx, s.options(l, true))
	if err != nil {
		return err
	}
	if err := c.Run(ctx); err != nil {
		return err
	}
	m, err := s.model(ctx, l)
	if err != nil {
		return err
	}
	s.report.Windows = len(m.counts)
	m.atLeast = s.atLeast
	defer func() { s.report.Again = m.again }()
	return errors.Join(
		m.checkCopy(ctx, l),
		m.checkUpdates(ctx, l),
		m.checkFinals(ctx, l),
		m.checkStore(ctx, s.options(l, false)),
	)
}
