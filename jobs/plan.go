package jobs

import (
	"math"

	"github.com/gretestream/grete/log"
)

// Plan is how a job runs on one log: its stages with their tasks, and the
// internal topics that connect and mirror them. It is stored in the log at each
// deploy.
type Plan struct {
	Job         string
	Generation  int64
	Settings    map[string]string
	Stages      []StagePlan
	DeadLetters string
	NextStoreID uint32 // store ids below were allotted once; never reused
}

// StagePlan is one stage: one task per partition of its inputs.
type StagePlan struct {
	Name    string
	Tasks   int // the largest partition count of its inputs
	Inputs  []InputPlan
	Outputs []OutputPlan
	Stores  []StorePlan
}

// InputPlan is one input of a stage on this log.
type InputPlan struct {
	Topic                string // the log's name: internal ones carry job and generation
	Partitions           int    // task p reads partition p if it is below Partitions
	Repartition          bool
	UpstreamTasks        int // of a repartition input: marks of tasks 0..UpstreamTasks-1 count (per writing stage, see UpstreamStage)
	UpstreamStage        string
	KeyCodec, ValueCodec string
	Table                bool
}

// OutputPlan is one output of a stage on this log.
type OutputPlan struct {
	Topic                string
	Partitions           int
	Repartition          bool
	KeyCodec, ValueCodec string
}

// StorePlan is one store of a stage on this log.
type StorePlan struct {
	Name                 string
	ID                   uint32
	Changelog            string // topic; partition p mirrors task p
	Kind                 string
	KeyCodec, ValueCodec string
	Window               string
}

// TaskName is "<stage>-<partition>".
func TaskName(stage string, partition int) string { return "" }

// Checkpoint is where a task restarts from: one record in the topic
// <job>.<generation>.checkpoint, keyed by the task's name, written in each of its
// Commits.
type Checkpoint struct {
	Epoch      log.Epoch
	Inputs     []InputCheckpoint // as the stage's inputs
	Changelogs []log.Offset      // ends of the stage's stores' changelogs before this commit's own writes
	Watermark  int64             // of the task; NoWatermark if none
	Flow       []byte            // Flow.Save
	Marks      [][]byte          // last outgoing watermark per repartition output, so that unchanged ones are not written again
}

// InputCheckpoint is one input's position.
type InputCheckpoint struct {
	Offset   log.Offset // next to read
	Idle     bool
	Upstream []UpstreamMark // of a repartition input
}

// UpstreamMark is what one upstream task declared last.
type UpstreamMark struct {
	Watermark   int64
	Heard, Idle bool
	Passed      bool // its end mark of the bounded run RunID was seen
	RunID       string
}

// NoWatermark stands for the absence of a watermark.
const NoWatermark int64 = math.MinInt64
