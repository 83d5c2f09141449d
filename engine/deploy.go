package engine

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strconv"

	"github.com/cockroachdb/pebble/vfs"

	"github.com/gretestream/grete/jobs"
	"github.com/gretestream/grete/log"
	op "github.com/gretestream/grete/operators"
)

// deployment is a job made ready to run: what it was deployed as, and its graph.
type deployment struct {
	stored *jobs.Deployment
	stages []*op.Stage
}

// deployTries is how often a deploy begins again because another one of the same
// job came in between.
const deployTries = 10

// deploy makes the plan of a job, holds it against the stored one, and stores
// it. Topics that are missing are made, what belongs to older generations is
// swept. Containers of one job may do so at the same time.
func deploy(ctx context.Context, o *Options) (*deployment, error) {
	for try := 1; ; try++ {
		d, err := tryDeploy(ctx, o)
		if err == nil || !errors.Is(err, jobs.ErrOvertaken) || try == deployTries {
			return d, err
		}
	}
}

func tryDeploy(ctx context.Context, o *Options) (*deployment, error) {
	stored, err := jobs.CurrentDeployment(ctx, o.Log, o.Job.Name)
	if err != nil {
		return nil, err
	}
	stages, settings, err := compile(o, stored)
	if err != nil {
		return nil, err
	}
	if stored, err = endDropping(ctx, o.Log, stored); err != nil {
		return nil, err
	}
	if err := ensureInputs(ctx, o, stages); err != nil {
		return nil, err
	}
	d := &jobs.Deployment{From: log.NoTimestamp}
	generation := int64(1)
	var previous *jobs.Plan
	if stored != nil {
		*d = *stored
		generation, previous = stored.Plan.Generation, &stored.Plan
	}
	topics, err := topicsByName(ctx, o.Log)
	if err != nil {
		return nil, err
	}
	plan, err := jobs.New(jobs.Deploy{Job: &o.Job, Settings: settings, Generation: generation, Stages: stages, Topics: topics, Previous: previous})
	if err != nil {
		return nil, err
	}
	if previous != nil {
		if list := jobs.Compatible(previous, plan); len(list) > 0 {
			return nil, &jobs.Incompatible{Job: o.Job.Name, List: list}
		}
	}
	d.Plan = *plan
	if err := d.Save(ctx, o.Log, stored); err != nil {
		return nil, err
	}
	if err := createTopics(ctx, o.Log, topics, append(plan.InternalTopics(), plan.OutputTopics()...)); err != nil {
		return nil, err
	}
	if err := dropOutput(ctx, o.Log, d); err != nil {
		return nil, err
	}
	return &deployment{stored: d, stages: stages}, sweep(ctx, o, topics, generation)
}

// compile resolves the settings and cuts the graph into stages.
func compile(o *Options, stored *jobs.Deployment) ([]*op.Stage, map[string]string, error) {
	var kept map[string]string
	if stored != nil {
		kept = stored.Plan.Settings
	}
	settings, err := o.Job.Resolve(o.Settings, kept)
	if err != nil {
		return nil, nil, err
	}
	stages, err := o.Job.Compile(settings)
	return stages, settings, err
}

func topicsByName(ctx context.Context, l log.Log) (map[string]log.Topic, error) {
	list, err := l.Topics(ctx)
	if err != nil {
		return nil, fmt.Errorf("list topics: %w", err)
	}
	topics := make(map[string]log.Topic, len(list))
	for _, t := range list {
		topics[t.Name] = t
	}
	return topics, nil
}

// ensureInputs makes missing input topics if it is told to. If not, the planner
// reports them.
func ensureInputs(ctx context.Context, o *Options, stages []*op.Stage) error {
	if !o.CreateTopics {
		return nil
	}
	topics, err := topicsByName(ctx, o.Log)
	if err != nil {
		return err
	}
	var specs []log.TopicSpec
	for _, name := range jobs.MissingInputs(stages, topics) {
		o.Logger.Info("input topic is made", "topic", name, "partitions", o.Partitions)
		specs = append(specs, log.TopicSpec{Name: name, Partitions: o.Partitions})
	}
	return createTopics(ctx, o.Log, topics, specs)
}

// createTopics makes those that do not exist, and checks the partition counts of
// internal ones that do.
func createTopics(ctx context.Context, l log.Log, topics map[string]log.Topic, specs []log.TopicSpec) error {
	for _, spec := range specs {
		if t, ok := topics[spec.Name]; ok {
			if len(spec.Configs) > 0 && t.Partitions != spec.Partitions {
				return fmt.Errorf("topic %s has %d partitions, want %d: it belongs to the job alone and was changed by someone else; start again with grete reprocess",
					spec.Name, t.Partitions, spec.Partitions)
			}
			continue
		}
		if _, err := l.CreateTopic(ctx, spec); err != nil && !errors.Is(err, log.ErrTopicExists) {
			return fmt.Errorf("create topic %s: %w", spec.Name, err)
		}
	}
	return nil
}

// dropOutput raises the start offsets of outputs to where the results of earlier
// generations end, if the reprocess wished so. The wish is part of the
// deployment and carried out whenever the job starts, so a crash in between
// leaves nothing half dropped.
func dropOutput(ctx context.Context, l log.Log, d *jobs.Deployment) error {
	for _, out := range d.Dropped {
		tp := log.TopicPartition{Topic: out.Topic, Partition: out.Partition}
		b, err := l.Bounds(ctx, tp)
		if errors.Is(err, log.ErrUnknownTopic) || err == nil && b.Start >= out.Before {
			continue
		}
		if err == nil {
			err = l.DeleteRecords(ctx, tp, min(out.Before, b.End))
		}
		if err != nil {
			return fmt.Errorf("drop earlier output of %s before %s: %w", tp, out.Before, err)
		}
	}
	return nil
}

// sweep removes internal topics and state of earlier generations: they are
// garbage, since the current one is named by one record. Later ones are not: a
// reprocess may have made one current since that record was read.
func sweep(ctx context.Context, o *Options, topics map[string]log.Topic, current int64) error {
	for _, name := range slices.Sorted(maps.Keys(topics)) {
		g, ok := jobs.InternalTopic(o.Job.Name, name)
		if !ok || g >= current {
			continue
		}
		if err := o.Log.DeleteTopic(ctx, name); err != nil && !errors.Is(err, log.ErrUnknownTopic) {
			return fmt.Errorf("sweep generation %d: delete topic %s: %w", g, name, err)
		}
		o.Logger.Info("swept a topic of an earlier generation", "topic", name)
	}
	fs := o.disk()
	dir := path.Join(o.Dir, o.Job.Name)
	names, err := fs.List(dir)
	if err != nil {
		return nil // no state yet
	}
	for _, name := range names {
		g, err := strconv.ParseInt(name, 10, 64)
		if err != nil || g >= current {
			continue
		}
		if err := fs.RemoveAll(fs.PathJoin(dir, name)); err != nil {
			return fmt.Errorf("sweep generation %d: %w", g, err)
		}
		o.Logger.Info("swept the state of an earlier generation", "dir", fs.PathJoin(dir, name))
	}
	return nil
}

// disk is the file system under Dir.
func (o *Options) disk() vfs.FS {
	if o.FS != nil {
		return o.FS
	}
	return vfs.Default
}
