package jobs

import (
	"math"
	"slices"
	"strconv"

	"github.com/gretestream/grete/log"
)

// NoWatermark stands for the absence of a watermark.
const NoWatermark int64 = math.MinInt64

// Plan is how a job runs on one log: its stages with their tasks, and the
// internal topics that connect and mirror them. It is stored in the log at each
// deploy (Deployment). Made by New; immutable afterwards.
type Plan struct {
	Job         string            `json:"job"`
	Generation  int64             `json:"generation"`
	Settings    map[string]string `json:"settings,omitempty"`
	Stages      []StagePlan       `json:"stages"`
	DeadLetters string            `json:"deadLetters"`
	NextStoreID uint32            `json:"nextStoreID"` // store ids below were allotted once; never reused
}

// StagePlan is one stage: one task per partition of its inputs.
type StagePlan struct {
	Name    string       `json:"name"`
	Tasks   int          `json:"tasks"` // the largest partition count of its inputs
	Inputs  []InputPlan  `json:"inputs"`
	Outputs []OutputPlan `json:"outputs,omitempty"`
	Stores  []StorePlan  `json:"stores,omitempty"`
	// AssignedBy is the input whose partitions stand for the stage's tasks in the
	// group of containers: who is assigned partition p runs task p. It has as
	// many as there are tasks, and stays the same for a generation's life.
	AssignedBy string `json:"assignedBy,omitempty"`
}

// InputPlan is one input of a stage on this log.
type InputPlan struct {
	Topic       string `json:"topic"`      // the log's name: internal ones carry job and generation
	Partitions  int    `json:"partitions"` // task p reads partition p if it is below Partitions
	Repartition bool   `json:"repartition,omitempty"`
	// UpstreamTasks and UpstreamStage tell who writes a repartition input: the
	// marks of tasks 0..UpstreamTasks-1 of that stage count.
	UpstreamTasks int    `json:"upstreamTasks,omitempty"`
	UpstreamStage string `json:"upstreamStage,omitempty"`
	KeyCodec      string `json:"keyCodec"`
	ValueCodec    string `json:"valueCodec"`
	Table         bool   `json:"table,omitempty"`
}

// OutputPlan is one output of a stage on this log.
type OutputPlan struct {
	Topic       string `json:"topic"`
	Partitions  int    `json:"partitions"`
	Repartition bool   `json:"repartition,omitempty"`
	KeyCodec    string `json:"keyCodec"`
	ValueCodec  string `json:"valueCodec"`
}

// StorePlan is one store of a stage on this log.
type StorePlan struct {
	Name       string `json:"name"`
	ID         uint32 `json:"id"`
	Changelog  string `json:"changelog"` // topic; partition p mirrors task p
	Kind       string `json:"kind"`
	KeyCodec   string `json:"keyCodec"`
	ValueCodec string `json:"valueCodec"`
	Window     string `json:"window,omitempty"`
}

// GroupTopics lists the topics whose partitions stand for tasks, each once.
func (p *Plan) GroupTopics() []string {
	var names []string
	for i := range p.Stages {
		if name := p.Stages[i].AssignedBy; !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// Stage returns the stage of that name, or nil.
func (p *Plan) Stage(name string) *StagePlan {
	for i := range p.Stages {
		if p.Stages[i].Name == name {
			return &p.Stages[i]
		}
	}
	return nil
}

// Tasks lists the names of all tasks, stage by stage.
func (p *Plan) Tasks() []string {
	var names []string
	for i := range p.Stages {
		for t := range p.Stages[i].Tasks {
			names = append(names, TaskName(p.Stages[i].Name, t))
		}
	}
	return names
}

// InternalTopics lists what the generation keeps for itself, with the configs
// that a new topic gets. The dead letters are among them: they too are made
// without being asked for.
func (p *Plan) InternalTopics() []log.TopicSpec {
	const mib = 1 << 20
	configs := func(policy string, segmentBytes int) map[string]string {
		return map[string]string{"cleanup.policy": policy, "retention.ms": "-1", "retention.bytes": "-1", "segment.bytes": strconv.Itoa(segmentBytes)}
	}
	// Small segments: compaction and purging give back sealed ones alone.
	compacted, kept := configs("compact", 32*mib), configs("delete", 32*mib)
	specs := []log.TopicSpec{
		// Also cut by DeleteRecords, which Kafka allows only with "delete".
		{Name: CheckpointTopic(p.Job, p.Generation), Partitions: 1, Configs: configs("compact,delete", 8*mib)},
		{Name: p.DeadLetters, Partitions: p.deadLetterPartitions()},
	}
	for i := range p.Stages {
		s := &p.Stages[i]
		for _, in := range s.Inputs {
			if in.Repartition {
				specs = append(specs, log.TopicSpec{Name: in.Topic, Partitions: in.Partitions, Configs: kept})
			}
		}
		for _, st := range s.Stores {
			specs = append(specs, log.TopicSpec{Name: st.Changelog, Partitions: s.Tasks, Configs: compacted})
		}
	}
	return specs
}

// OutputTopics lists the topics of the user's that the job writes to, with the
// partition counts that new ones get. Each is named once.
func (p *Plan) OutputTopics() []log.TopicSpec {
	var specs []log.TopicSpec
	seen := map[string]bool{}
	for i := range p.Stages {
		for _, out := range p.Stages[i].Outputs {
			if !out.Repartition && !seen[out.Topic] {
				seen[out.Topic] = true
				specs = append(specs, log.TopicSpec{Name: out.Topic, Partitions: out.Partitions})
			}
		}
	}
	return specs
}

// deadLetterPartitions is the largest task count: dead letters of task p go to
// partition p, or are wrapped around in a topic that has fewer.
func (p *Plan) deadLetterPartitions() int {
	n := 1
	for i := range p.Stages {
		n = max(n, p.Stages[i].Tasks)
	}
	return n
}
