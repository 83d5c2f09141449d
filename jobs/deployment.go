package jobs

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/gretestream/grete/log"
)

// Deployment is what the log keeps of a job: one JSON object in the topic
// grete.jobs, under the job's name as key. The newest one names the current
// generation; what belongs to older generations is garbage.
type Deployment struct {
	// Version of the format. A newer one is refused.
	Version int `json:"version"`
	// From is where the generation began to read its inputs: log timestamps from
	// here on; log.NoTimestamp: the earliest record.
	From log.Timestamp `json:"from"`
	// Dropping names the producers of the generation before, from when a reprocess
	// that drops their output makes this one current until it is known where that
	// output ends: they have to be fenced first. Nobody runs the job meanwhile.
	Dropping []string `json:"dropping,omitempty"`
	// Dropped is that knowledge: where each output partition ended. Their start
	// offsets are raised to this whenever the job starts, so the wish survives a
	// crash.
	Dropped []DroppedOutput `json:"dropped,omitempty"`
	Plan    Plan            `json:"plan"`
}

// DroppedOutput is where the results of earlier generations end.
type DroppedOutput struct {
	Topic     string     `json:"topic"`
	Partition int32      `json:"partition"`
	Before    log.Offset `json:"before"`
}

// Versions of the format. Dropping makes the difference: who does not know of it
// is not to run the job.
const (
	deploymentVersion         = 1
	droppingDeploymentVersion = 2
)

// Encode returns the record's value.
func (d *Deployment) Encode() ([]byte, error) {
	c := *d
	c.Version = deploymentVersion
	if len(d.Dropping) > 0 {
		c.Version = droppingDeploymentVersion
	}
	b, err := json.Marshal(&c)
	if err != nil {
		return nil, fmt.Errorf("encode plan of job %q: %w", d.Plan.Job, err)
	}
	return b, nil
}

// DecodeDeployment reads what Encode wrote.
func DecodeDeployment(b []byte) (*Deployment, error) {
	var d Deployment
	if err := json.Unmarshal(b, &d); err != nil {
		return nil, fmt.Errorf("decode plan: %w", err)
	}
	if d.Version < deploymentVersion || d.Version > droppingDeploymentVersion {
		return nil, fmt.Errorf("decode plan of job %q: version %d, want %d or %d: it was written by a newer grete",
			d.Plan.Job, d.Version, deploymentVersion, droppingDeploymentVersion)
	}
	if d.Plan.Job == "" || d.Plan.Generation < 1 {
		return nil, fmt.Errorf("decode plan: got job %q, generation %d", d.Plan.Job, d.Plan.Generation)
	}
	return &d, nil
}

// decodeRecord reads a record of the topic that is no tombstone.
func decodeRecord(r *log.Record) (*Deployment, error) {
	d, err := DecodeDeployment(r.Value)
	if err != nil {
		return nil, fmt.Errorf("record %s of topic %s: %w", r.Offset, PlansTopic, err)
	}
	return d, nil
}

// newerGeneration is the generation that a record makes current, if it is of the
// job and above the given one; else 0.
func newerGeneration(r *log.Record, job string, above int64) (int64, error) {
	if string(r.Key) != job || r.IsTombstone() {
		return 0, nil
	}
	d, err := decodeRecord(r)
	if err != nil || d.Plan.Generation <= above {
		return 0, err
	}
	return d.Plan.Generation, nil
}

// Deployments reads all of a log's, by job.
func Deployments(ctx context.Context, l log.Log) (map[string]*Deployment, error) {
	return deployments(ctx, l, nil)
}

func deployments(ctx context.Context, l log.Log, own func(*log.Record) bool) (map[string]*Deployment, error) {
	all := map[string]*Deployment{}
	err := log.Scan(ctx, l, log.TopicPartition{Topic: PlansTopic}, own, func(r *log.Record) error {
		if r.IsTombstone() {
			delete(all, string(r.Key))
			return nil
		}
		d, err := decodeRecord(r)
		all[string(r.Key)] = d
		return err
	})
	if errors.Is(err, log.ErrUnknownTopic) {
		return all, nil
	}
	return all, err
}

// LoadDeployment reads one job's; nil if it was never deployed.
func LoadDeployment(ctx context.Context, l log.Log, job string) (*Deployment, error) {
	all, err := Deployments(ctx, l)
	return all[job], err
}

// CurrentDeployment is LoadDeployment for who acts on it: what is stored behind an
// open transaction counts too. That of another job's deploy that was killed is
// waited for if this job has something behind it; one of this job's is ended.
func CurrentDeployment(ctx context.Context, l log.Log, job string) (*Deployment, error) {
	b, err := l.Bounds(ctx, log.TopicPartition{Topic: PlansTopic})
	switch {
	case errors.Is(err, log.ErrUnknownTopic):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("bounds of %s: %w", PlansTopic, err)
	case b.Stable == b.End:
		return LoadDeployment(ctx, l, job)
	}
	_, d, err := takeDeployment(ctx, l, job)
	return d, err
}

// takeDeployment fences other deploys of a job, which ends what they have not
// committed, and reads what is stored of it.
func takeDeployment(ctx context.Context, l log.Log, job string) (log.Epoch, *Deployment, error) {
	epoch, err := l.Fence(ctx, deployer(job))
	if err != nil {
		return 0, nil, fmt.Errorf("fence other deploys of job %q: %w", job, err)
	}
	all, err := deployments(ctx, l, func(r *log.Record) bool { return string(r.Key) == job })
	return epoch, all[job], err
}

// deployer is the producer of a job's deploys.
func deployer(job string) string { return job + ".deploy" }

// ErrOvertaken says that another process deployed the job at the same time. What
// was decided by the deployment that was stored before has to be decided again.
var ErrOvertaken = errors.New("the job was deployed by another process at the same time")

// Save makes d the job's current deployment, in one Commit, if the current one
// is still stored (nil: none); else it returns ErrOvertaken. A deployment equal
// to the stored one is not written again.
//
// Deploys of one job fence each other: whoever read the stored one before the
// last Save cannot save any more.
func (d *Deployment) Save(ctx context.Context, l log.Log, stored *Deployment) error {
	value, err := d.Encode()
	if err != nil {
		return err
	}
	if stored.encodesTo(value) {
		return nil
	}
	_, err = l.CreateTopic(ctx, log.TopicSpec{Name: PlansTopic, Partitions: 1, Configs: map[string]string{"cleanup.policy": "compact"}})
	if err != nil && !errors.Is(err, log.ErrTopicExists) {
		return fmt.Errorf("create topic %s: %w", PlansTopic, err)
	}
	// The deploy of another job, if it was killed, must not hide what is stored.
	epoch, now, err := takeDeployment(ctx, l, d.Plan.Job)
	if err != nil {
		return err
	}
	if now != nil || stored != nil {
		if b, err := now.encode(); err != nil || !stored.encodesTo(b) {
			return errors.Join(ErrOvertaken, err)
		}
	}
	var b log.Builder
	b.Append(log.TimestampOf(time.Now()), []byte(d.Plan.Job), value)
	_, err = l.Commit(ctx, &log.Commit{Producer: deployer(d.Plan.Job), Epoch: epoch,
		Writes: []log.Write{{TopicPartition: log.TopicPartition{Topic: PlansTopic}, Batches: b.Bytes()}}})
	if errors.Is(err, log.ErrFenced) {
		return ErrOvertaken
	}
	if err != nil {
		return fmt.Errorf("store plan of job %q: %w", d.Plan.Job, err)
	}
	return nil
}

// encode is Encode; nothing for none.
func (d *Deployment) encode() ([]byte, error) {
	if d == nil {
		return nil, nil
	}
	return d.Encode()
}

func (d *Deployment) encodesTo(value []byte) bool {
	b, err := d.encode()
	return err == nil && d != nil && bytes.Equal(b, value)
}

// ErrDeploying says that a newer generation of the job is stored behind a
// transaction that is open, so that it is not known yet whether it counts.
var ErrDeploying = errors.New("the job is being deployed")

// NewerGeneration returns the job's current generation if it is above the given
// one, else 0. Unlike CurrentDeployment it waits for nobody and ends nothing: it
// returns ErrDeploying where that would tell more.
func NewerGeneration(ctx context.Context, l log.Log, job string, above int64) (newer int64, err error) {
	behind := false
	err = log.Scan(ctx, l, log.TopicPartition{Topic: PlansTopic}, func(r *log.Record) bool {
		g, err := newerGeneration(r, job, above)
		behind = behind || g > 0 || err != nil
		return false // not to be waited for
	}, func(r *log.Record) error {
		g, err := newerGeneration(r, job, above)
		newer = max(newer, g)
		return err
	})
	switch {
	case errors.Is(err, log.ErrUnknownTopic):
		return 0, nil
	case err != nil:
		return 0, err
	case newer == 0 && behind:
		return 0, fmt.Errorf("generation of job %q: %w", job, ErrDeploying)
	}
	return newer, nil
}

// AwaitGeneration returns once a generation above the given one is the job's
// current one, and tells which. It costs nothing while nothing is deployed.
func AwaitGeneration(ctx context.Context, l log.Log, job string, above int64) (int64, error) {
	tp := log.TopicPartition{Topic: PlansTopic}
	bounds, err := l.Bounds(ctx, tp)
	if err != nil {
		return 0, fmt.Errorf("bounds of %s: %w", tp, err)
	}
	r, err := l.OpenReader(tp, bounds.Start, log.ReaderOptions{})
	if err != nil {
		return 0, fmt.Errorf("open %s: %w", tp, err)
	}
	defer r.Close()
	for {
		recs, err := r.Next(ctx)
		if err != nil {
			return 0, fmt.Errorf("read %s at %s: %w", tp, r.Position(), err)
		}
		for i := range recs {
			if newer, err := newerGeneration(&recs[i], job, above); err != nil || newer > 0 {
				return newer, err
			}
		}
	}
}
