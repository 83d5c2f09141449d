package cli

import (
	"context"
	"errors"
	"fmt"
	"sort"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/gretestream/grete/engine"
	"github.com/gretestream/grete/jobs"
)

// runFlags say how a job is run.
type runFlags struct {
	untilEnd   bool
	settings   map[string]string
	partitions int
}

func (f *runFlags) add(a *app, c *cobra.Command) {
	a.boolVar(c.Flags(), &f.untilEnd, "until-end", "process what is there now, close all windows, and end")
	a.pairsVar(c.Flags(), &f.settings, "set", "a setting of the job, `NAME=VALUE`; may be repeated; stored with the job")
	a.intVar(c.Flags(), &f.partitions, "partitions", 1, "`number` of partitions of topics that are made; default 4")
	a.kafkaFlags(c.Flags())
}

func (a *app) runCommand() *cobra.Command {
	var f runFlags
	c := &cobra.Command{
		Use: "run JOB", Short: "Run a job",
		Long: `Run a job until interrupted, or with --until-end over what is there now. Topics
it reads are made if there are none.

With --kafka the data directory is served to Kafka clients meanwhile, who are
known and let in as by "grete serve".

` + a.jobList(),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			job := a.jobArg(args)
			a.checkKafka(cmd)
			if err := a.checkUsage(); err != nil {
				return err
			}
			d, err := a.holdForJob(cmd.Context(), job.Name)
			if err != nil {
				return err
			}
			defer d.closing(&err)
			if err := d.serve("run "+job.Name, job.Name); err != nil {
				return err
			}
			return a.runJob(cmd.Context(), d, &jobRun{job: *job, flags: f})
		},
	}
	f.add(a, c)
	return c
}

// jobArg is the job that the one argument names.
func (a *app) jobArg(args []string) *jobs.Job {
	if !a.wantArgs(args, "JOB") {
		return nil
	}
	return a.wantJob(args[0])
}

// holdForJob opens the directory for running a job: by holding it, or through the
// Kafka listener of the process that does.
func (a *app) holdForJob(ctx context.Context, job string) (*dataDir, error) {
	d, err := a.openData(ctx)
	if err != nil || !d.held() {
		return d, err
	}
	defer d.Close()
	h := d.holder
	if h.Kafka != "" && !h.runs(job) {
		if err := d.wantNoKafka(); err != nil {
			return nil, err
		}
		return a.joinServer(ctx, h)
	}
	advice := fmt.Sprintf("a job runs in the process that holds the directory: end that one first (kill %d), or use another --data", h.PID)
	if strings.HasPrefix(h.Command, "ingest ") {
		advice = "wait until it has ended, then run the job; or start the job first and ingest while it runs"
	}
	if h.runs(job) {
		advice = fmt.Sprintf("it runs job %q already: ask it with \"grete query %s\", see http://%s/v1/jobs/%s, or end it first (kill %d)", job, job, h.Addresses[0], job, h.PID)
	}
	return nil, fmt.Errorf("data directory %s is held by \"grete %s\" (pid %d): %s", d.path, h.Command, h.PID, advice)
}

// jobRun is a job to be run.
type jobRun struct {
	job   jobs.Job
	flags runFlags
	quiet bool // no notes about start and end

	// reprocess, if set, starts the next generation first.
	reprocess *reprocessSpec
	// requests are reprocesses asked for over HTTP.
	requests *reprocessor
}

func (a *app) engineOptions(d *dataDir, r *jobRun) engine.Options {
	bar := a.progress(r.job.Name, "records")
	return engine.Options{
		Job: r.job, Settings: r.flags.settings, Log: d.Log, Dir: d.statePath(),
		Memory: a.common.memory, UntilEnd: r.flags.untilEnd,
		CreateTopics: true, Partitions: r.flags.partitions,
		Progress: func(p engine.Progress) {
			bar.label = r.job.Name + ": " + p.Phase
			if p.Done >= p.Total {
				bar.end()
				return
			}
			bar.update(p.Done, p.Total)
		},
		Logger: a.logger, Metrics: d.metrics,
	}
}

// runJob runs a job to its end, or until ctx ends. A reprocess that is asked for
// meanwhile, here or of another container of the job, stops it and starts the
// next generation.
func (a *app) runJob(ctx context.Context, d *dataDir, r *jobRun) error {
	if r.requests == nil {
		r.requests = newReprocessor(r.job.Name)
		d.server.Handle("POST /v1/jobs/"+r.job.Name+"/reprocess", d.authorized(r.requests))
	}
	defer r.requests.close()
	for {
		opts := a.engineOptions(d, r)
		c, err := openJob(ctx, opts, r.reprocess)
		if err != nil {
			r.requests.started(nil, err)
			return err
		}
		r.reprocess = nil
		d.server.Add(c)
		r.requests.started(c, nil)
		if !r.quiet {
			a.runStarted(d, c, r)
		}
		runCtx, stop := context.WithCancel(ctx)
		r.requests.onRequest(stop)
		err = c.Run(runCtx)
		stop()
		next := r.requests.take()
		if errors.Is(err, engine.ErrSuperseded) && ctx.Err() == nil {
			a.notef("Another process has begun a new generation of job %s: this one goes on with that.", c.Job())
			continue
		}
		if err != nil || next == nil || ctx.Err() != nil {
			if err == nil && !r.quiet {
				a.runEnded(c)
			}
			return err
		}
		r.reprocess = next
	}
}

// openJob makes the next generation current, if that is wished, and opens the
// current one.
func openJob(ctx context.Context, opts engine.Options, again *reprocessSpec) (*engine.Container, error) {
	if again != nil {
		if _, err := engine.Reprocess(ctx, opts, again.from, again.drop); err != nil {
			return nil, err
		}
	}
	return engine.Open(ctx, opts)
}

func (a *app) runStarted(d *dataDir, c *engine.Container, r *jobRun) {
	how := "Stop with Ctrl-C."
	if r.flags.untilEnd {
		how = "It ends by itself."
	}
	a.notef("Running job %s, generation %d, at %s/v1/jobs/%s. %s", c.Job(), c.Generation(), d.url(), c.Job(), how)
}

// runEnded sums up what the container did.
func (a *app) runEnded(c *engine.Container) {
	s := c.Status()
	var records int64
	drops := map[string]int64{}
	for i := range s.Tasks {
		t := &s.Tasks[i]
		for j := range t.Inputs {
			if !t.Inputs[j].Repartition {
				records += t.Records
				break
			}
		}
		for _, d := range t.Drops {
			drops[d.Operator+": "+d.Reason] += d.Count
		}
	}
	took := a.now().Sub(s.Started)
	rate := ""
	if took > 0 {
		rate = fmt.Sprintf(" in %s (%s records/s)", took.Round(10*time.Millisecond), groupDigits(int64(float64(records)/took.Seconds())))
	}
	a.notef("Job %s, generation %d: %s records%s.", c.Job(), c.Generation(), groupDigits(records), rate)
	var list []string
	for what, n := range drops {
		list = append(list, fmt.Sprintf("%s %s", groupDigits(n), what))
	}
	sort.Strings(list)
	if len(list) > 0 {
		a.notef("Records that did not contribute: %s.", strings.Join(list, "; "))
	}
}
