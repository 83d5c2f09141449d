package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/gretestream/grete/engine"
	"github.com/gretestream/grete/engine/activity"
	"github.com/gretestream/grete/engine/query"
	"github.com/gretestream/grete/jobs"
	op "github.com/gretestream/grete/operators"
)

const (
	demoTop       = 10
	demoRedraw    = time.Second      // on a terminal
	demoPlain     = 5 * time.Second  // into a file or pipe
	demoStart     = 30 * time.Second // for all jobs to answer
	demoLookBack  = 5 * time.Minute  // windows that may still be the running one
	demoMostPages = 60               // columns of a page's name

	leastJobMemory = 16 << 20 // bytes: what the engine wants for a job
)

// demoFlags say how long the demo runs, and how busy the site is.
type demoFlags struct {
	lasts time.Duration
	rate  int
	seed  int
}

func (a *app) demoCommand() *cobra.Command {
	f := demoFlags{rate: 2_000, seed: 1}
	c := &cobra.Command{
		Use: "demo", Short: "See it work: a log, a busy web site, jobs, and a live table of the top pages",
		Long: `Run a log, a load of made-up web activity, and the jobs of this binary in one
process, and show the top pages of the running minute. The data goes to a
temporary directory that is removed at the end, unless --data is given.

Ends with Ctrl-C, or by itself with --for.`,
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			a.wantArgs(args)
			list := a.demoJobs()
			if len(list) == 0 {
				a.mistake("no job of this binary can run without settings: nothing to show")
			}
			if err := a.checkUsage(); err != nil {
				return err
			}
			if !cmd.Flags().Changed("data") {
				dir, errTemp := os.MkdirTemp("", "grete-demo-")
				if errTemp != nil {
					return errTemp
				}
				defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
				a.common.data = dir
			}
			d, err := a.ownData(cmd.Context(), "end that one first, or give the demo another --data")
			if err != nil {
				return err
			}
			defer d.closing(&err)
			var names []string
			for i := range list {
				names = append(names, list[i].Name)
			}
			if err := d.serve("demo", names...); err != nil {
				return err
			}
			err = a.demo(cmd.Context(), d, list, &f)
			if cmd.Context().Err() != nil && errors.Is(err, context.Canceled) {
				return nil // Ctrl-C while it starts
			}
			return err
		},
	}
	a.durationVar(c.Flags(), &f.lasts, "for", "end after this `time`; default: with Ctrl-C")
	a.intVar(c.Flags(), &f.rate, "rate", 1, "`records` a second that the site makes")
	a.intVar(c.Flags(), &f.seed, "seed", 0, "`number` that the activity is drawn from")
	return c
}

// demoJobs are the jobs that need no settings.
func (a *app) demoJobs() []jobs.Job {
	var list []jobs.Job
	for _, j := range a.jobs {
		needs := false
		for _, s := range j.Settings {
			needs = needs || s.Required
		}
		if !needs {
			list = append(list, j)
		}
	}
	return list
}

// demo runs the site and the jobs until ctx or the time given ends.
func (a *app) demo(ctx context.Context, d *dataDir, list []jobs.Job, f *demoFlags) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var all sync.WaitGroup
	fail := func(err error) {
		if err != nil {
			stop(err)
		}
	}
	site, closeSite := context.WithCancel(ctx)
	defer closeSite()
	jobsCtx, stopJobs := context.WithCancel(context.WithoutCancel(ctx))
	defer stopJobs()
	var jobsDone sync.WaitGroup

	generator := activity.New(uint64(f.seed))
	if err := generator.Prepare(ctx, d.Log, a.now()); err != nil {
		return err
	}
	var containers []*engine.Container
	for _, job := range list {
		c, err := engine.Open(ctx, engine.Options{
			Job: job, Log: d.Log, Dir: d.statePath(), Memory: max(a.common.memory/int64(len(list)), leastJobMemory),
			CreateTopics: true, Logger: a.logger, Metrics: d.metrics,
		})
		if err != nil {
			return err
		}
		containers = append(containers, c)
	}
	screen := a.demoScreen(ctx, d, containers)
	for _, c := range containers {
		d.server.Add(c)
		jobsDone.Go(func() { fail(c.Run(jobsCtx)) })
	}
	all.Go(func() { fail(generator.Run(site, d.Log, f.rate, time.Now)) })

	a.notef("Data in %s, HTTP at http://%s", d.path, d.server.Addr())
	a.notef("Jobs: %s.", strings.Join(namesOf(list), ", "))
	if screen.src != nil {
		a.notef("Ask from another terminal:")
		a.notef("  grete query %s --store %s --data %s --from -2m --top 10", screen.src.Job(), screen.store, d.path)
		a.notef("  curl 'http://%s/v1/jobs/%s/stores/%s?from=-2m&top=10'", d.server.Addr(), screen.src.Job(), screen.store)
	}

	var end <-chan time.Time
	if f.lasts > 0 {
		timer := time.NewTimer(f.lasts)
		defer timer.Stop()
		end = timer.C
	}
	every := demoPlain
	if a.terminal.out > 0 {
		every = demoRedraw
	}
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for running := true; running; {
		select {
		case <-ticker.C:
			screen.draw()
		case <-end:
			running = false
		case <-ctx.Done():
			running = false
		}
	}
	closeSite()
	all.Wait()
	if f.lasts > 0 && context.Cause(ctx) == nil {
		screen.settle()
	}
	screen.final()
	stopJobs()
	jobsDone.Wait()
	if err := context.Cause(ctx); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

func namesOf(list []jobs.Job) []string {
	var names []string
	for i := range list {
		names = append(names, list[i].Name)
	}
	return names
}

// demoScreen shows the top keys of the running window of one store.
type demoScreen struct {
	app   *app
	ctx   context.Context
	data  *dataDir
	src   engine.Source // nil: no store can be shown
	store string
	lines int // drawn and still on the screen
}

// demoScreen picks the store to show: views-per-page if there is one, else the
// first whose windows hold numbers. Without one there is nothing to draw.
func (a *app) demoScreen(ctx context.Context, d *dataDir, containers []*engine.Container) *demoScreen {
	s := &demoScreen{app: a, ctx: context.WithoutCancel(ctx), data: d}
	for _, c := range containers {
		for _, info := range c.Stores() {
			if info.Query == nil || !info.Query.Windowed || !query.CanRank(info.Query.RowType) {
				continue
			}
			if s.src == nil || info.Name == "views-per-page" {
				s.src, s.store = c, info.Name
			}
		}
	}
	return s
}

// top reads the latest window that has rows.
func (s *demoScreen) top() (window int64, top []op.Row, answer *query.Answer, err error) {
	from := s.app.now().Add(-demoLookBack).UnixMilli()
	answer, err = query.Open(s.ctx, s.src, s.data, query.Query{Store: s.store, From: &from, Top: demoTop})
	if err != nil {
		return 0, nil, nil, err
	}
	defer answer.Close()
	err = answer.Rows(s.ctx, func(r *op.Row) error {
		if r.Start != window {
			window, top = r.Start, top[:0]
		}
		row := *r
		row.Key = strings.Clone(fmt.Sprint(r.Key))
		top = append(top, row)
		return nil
	})
	return window, top, answer, err
}

// text is the table, or why there is none yet.
func (s *demoScreen) text() (text []byte, ok bool) {
	if s.src == nil {
		return []byte("No job keeps counts in windows: nothing to show.\n"), true
	}
	window, top, answer, err := s.top()
	var b bytes.Buffer
	status := s.src.Status()
	switch {
	case errors.Is(err, engine.ErrNotReady) || err == nil && len(top) == 0:
		fmt.Fprintf(&b, "%s is %v; no rows yet\n", s.src.Job(), status.State)
		return b.Bytes(), false
	case err != nil:
		fmt.Fprintf(&b, "%v\n", err)
		return b.Bytes(), false
	}
	var records int64
	for i := range status.Tasks {
		if in := status.Tasks[i].Inputs; len(in) > 0 && !in[0].Repartition {
			records += status.Tasks[i].Records
		}
	}
	fmt.Fprintf(&b, "Top pages of the minute from %s  (true up to %s, %s records read)\n",
		query.FormatTime(window), answer.TrueUpTo.WatermarkText(), groupDigits(records))
	table := &rows{columns: []column{{"#", true}, {"Views", true}, {title: "Page"}}}
	for i, r := range top {
		table.add(i+1, r.Value, shorten(r.Key.(string), demoMostPages))
	}
	table.writeTable(&b, s.app.terminal.out)
	return b.Bytes(), true
}

// draw shows the table: over the last one on a terminal, behind it elsewhere.
func (s *demoScreen) draw() {
	text, ok := s.text()
	if s.app.terminal.out == 0 {
		if ok {
			fmt.Fprintf(s.app.out, "%s\n", text)
		}
		return
	}
	s.erase()
	s.app.out.Write(text)
	s.lines = bytes.Count(text, []byte("\n"))
}

// erase moves back over what was drawn.
func (s *demoScreen) erase() {
	if s.lines > 0 {
		fmt.Fprintf(s.app.out, "\x1b[%dA\x1b[J", s.lines)
		s.lines = 0
	}
}

// settle waits until the jobs have answered what the site made, so that even a
// short demo has something to show.
func (s *demoScreen) settle() {
	deadline := time.NewTimer(demoStart)
	defer deadline.Stop()
	for {
		changed := s.src.Changed()
		if _, ok := s.text(); ok {
			return
		}
		select {
		case <-changed:
		case <-deadline.C:
			return
		}
	}
}

// final prints the last table.
func (s *demoScreen) final() {
	text, _ := s.text()
	s.erase()
	s.app.out.Write(text)
}
