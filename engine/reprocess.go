package engine

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/gretestream/grete/jobs"
	"github.com/gretestream/grete/log"
)

// From is where a reprocess begins. The zero value is the earliest record.
type From struct {
	Time time.Time // of the log's timestamps; widened back so that no window that holds it starts cut
}

// Reprocess makes the next generation of a job current, in one Commit; another one
// notes where dropped output ends. It is deployed and run by the next Open and
// Run, which also sweep the one before, and do what a crash between the two left.
// Settings in the options may differ from the stored ones: the new generation is
// computed with them throughout.
//
// With dropOutput the results of earlier generations are dropped from the
// output topics; refused if another job writes to one of them. Else the new
// results follow the old ones, told apart by the header grete.generation.
//
// Containers that still run the job are fenced before and stop with an error.
func Reprocess(ctx context.Context, opts Options, from From, dropOutput bool) (generation int64, err error) {
	opts.EnsureDefaults()
	if err := opts.Validate(); err != nil {
		return 0, err
	}
	stored, err := jobs.CurrentDeployment(ctx, opts.Log, opts.Job.Name)
	if err != nil {
		return 0, err
	}
	if stored == nil {
		return 0, fmt.Errorf("job %q: %w: there is nothing to process again; run it first (grete run %s)", opts.Job.Name, ErrNotDeployed, opts.Job.Name)
	}
	stages, settings, err := compile(&opts, stored)
	if err != nil {
		return 0, err
	}
	topics, err := topicsByName(ctx, opts.Log)
	if err != nil {
		return 0, err
	}
	plan, err := jobs.New(jobs.Deploy{Job: &opts.Job, Settings: settings, Generation: stored.Plan.Generation + 1, Stages: stages, Topics: topics, Previous: &stored.Plan})
	if err != nil {
		return 0, err
	}
	if stored, err = endDropping(ctx, opts.Log, stored); err != nil {
		return 0, err
	}
	d := &jobs.Deployment{From: log.NoTimestamp, Plan: *plan}
	if !from.Time.IsZero() {
		d.From = widen(log.TimestampOf(from.Time), plan)
	}
	if dropOutput {
		if err := refuseShared(ctx, opts.Log, plan); err != nil {
			return 0, err
		}
	}
	old := producers(&stored.Plan)
	if err := fenceAll(ctx, opts.Log, old); err != nil {
		return 0, err
	}
	if dropOutput {
		d.Dropping = old
	}
	if err := d.Save(ctx, opts.Log, stored); err != nil {
		return 0, err
	}
	// Who has overtaken us is the first container of the new generation: it has done it.
	if _, err := endDropping(ctx, opts.Log, d); err != nil && !errors.Is(err, jobs.ErrOvertaken) {
		return 0, err
	}
	return plan.Generation, nil
}

// endDropping finds out, for a reprocess that drops earlier output, where that
// ends, and stores it. The producers of it are fenced only now, when the generation
// is current: a task of an older one that fences after this looks which generation
// is, and ends. It returns what is stored then; nil for nothing.
func endDropping(ctx context.Context, l log.Log, d *jobs.Deployment) (*jobs.Deployment, error) {
	if d == nil || len(d.Dropping) == 0 {
		return d, nil
	}
	if err := fenceAll(ctx, l, d.Dropping); err != nil {
		return nil, err
	}
	ends, err := outputEnds(ctx, l, &d.Plan)
	if err != nil {
		return nil, err
	}
	ended := *d
	ended.Dropping, ended.Dropped = nil, ends
	return &ended, ended.Save(ctx, l, d)
}

// producers are those of a generation's tasks.
func producers(plan *jobs.Plan) []string {
	var names []string
	for _, task := range plan.Tasks() {
		names = append(names, jobs.Producer(plan.Job, plan.Generation, task))
	}
	return names
}

// fenceAll stops all that may still write.
func fenceAll(ctx context.Context, l log.Log, producers []string) error {
	for _, p := range producers {
		if _, err := l.Fence(ctx, p); err != nil {
			return fmt.Errorf("fence %s: %w", p, err)
		}
	}
	return nil
}

// refuseShared reports output topics of the plan that other jobs write to. It wants
// to see the plans of all: also one that is behind the deploy of another.
func refuseShared(ctx context.Context, l log.Log, plan *jobs.Plan) error {
	b, err := l.Bounds(ctx, log.TopicPartition{Topic: jobs.PlansTopic})
	if err != nil {
		return fmt.Errorf("bounds of %s: %w", jobs.PlansTopic, err)
	}
	if b.Stable < b.End {
		return fmt.Errorf("cannot drop the earlier output of job %q: another job is being deployed, and may write to the same topics; try again in a minute", plan.Job)
	}
	all, err := jobs.Deployments(ctx, l)
	if err != nil {
		return err
	}
	ours := map[string]bool{}
	for _, spec := range plan.OutputTopics() {
		ours[spec.Name] = true
	}
	for name, d := range all {
		if name == plan.Job {
			continue
		}
		for _, spec := range d.Plan.OutputTopics() {
			if ours[spec.Name] {
				return fmt.Errorf("cannot drop the earlier output of job %q: job %q writes to %s too", plan.Job, name, spec.Name)
			}
		}
	}
	return nil
}

// outputEnds tells where the output topics end now.
func outputEnds(ctx context.Context, l log.Log, plan *jobs.Plan) ([]jobs.DroppedOutput, error) {
	var ends []jobs.DroppedOutput
	for _, spec := range plan.OutputTopics() {
		for p := range int32(spec.Partitions) {
			b, err := l.Bounds(ctx, log.TopicPartition{Topic: spec.Name, Partition: p})
			if errors.Is(err, log.ErrUnknownTopic) || errors.Is(err, log.ErrUnknownPartition) {
				continue
			}
			if err != nil {
				return nil, fmt.Errorf("bounds of %s-%d: %w", spec.Name, p, err)
			}
			if b.End > b.Start {
				ends = append(ends, jobs.DroppedOutput{Topic: spec.Name, Partition: p, Before: b.End})
			}
		}
	}
	return ends, nil
}

// widen moves t back to the earliest start of a window that holds it, over all
// windows of the plan. (Hopping windows that begin before that and reach into it
// have ended at t; their finals count the part that is read.)
func widen(t log.Timestamp, plan *jobs.Plan) log.Timestamp {
	start := t
	for i := range plan.Stages {
		for _, st := range plan.Stages[i].Stores {
			start = min(start, windowStart(t, st.Window))
		}
	}
	return max(0, start)
}

// windowStart is the start of the earliest window that holds t; t itself if the
// text, which is that of a stored plan, tells of no window.
func windowStart(t log.Timestamp, text string) log.Timestamp {
	words := strings.Fields(text)
	if len(words) < 2 {
		return t
	}
	size := milliseconds(words[1])
	if size <= 0 {
		return t
	}
	every, offset := size, log.Timestamp(0)
	for i := 2; i+1 < len(words); i += 2 {
		switch words[i] {
		case "every":
			every = milliseconds(words[i+1])
		case "offset":
			offset = milliseconds(words[i+1])
		}
	}
	if every <= 0 {
		return t
	}
	// The earliest start s = offset + k*every with s > t - size.
	rest := (t - size - offset) % every
	if rest < 0 {
		rest += every
	}
	return min(t, t-size-rest+every)
}

func milliseconds(text string) log.Timestamp {
	d, err := time.ParseDuration(text)
	if err != nil {
		return 0
	}
	return log.Timestamp(d.Milliseconds())
}
