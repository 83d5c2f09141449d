package engine

import (
	"time"

	"github.com/gretestream/grete/jobs"
	"github.com/gretestream/grete/log"
	op "github.com/gretestream/grete/operators"
	"github.com/gretestream/grete/state"
)

// Source is what queries are answered from: a running *Container, or an
// *Inspection of a job that is not running. Its methods may be called from any
// goroutine.
type Source interface {
	Job() string
	Generation() int64
	// Stores lists the stores of the job, ordered by name.
	Stores() []StoreInfo
	// Views returns one snapshot per task that keeps the store, ordered by
	// partition. The caller closes each (TaskView.Close). Tasks that another
	// container has are left out: there are then fewer than StoreInfo.Partitions.
	// It returns ErrUnknownStore if the job keeps no such store, ErrNotReady while
	// one of the tasks is still restoring, and ErrElsewhere if none is here.
	Views(store string) ([]TaskView, error)
	// Changed returns a channel that is closed at the next applied commit of any
	// task, and when one has come to run, for watching.
	Changed() <-chan struct{}
	// Status tells how the job is doing now.
	Status() Status
}

// StoreInfo describes one store of a job.
type StoreInfo struct {
	op.StoreDecl
	Stage      string
	Partitions int // tasks that keep a part of it
}

// TaskView is one task's part of a store, as of its last applied commit.
type TaskView struct {
	Task      string // "<stage>-<partition>"
	Partition int32
	View      *state.View
	// Checkpoint says up to where the view is true: offsets per input and the
	// watermark. Its zero value (Epoch 0) means that nothing was committed yet.
	Checkpoint jobs.Checkpoint
	// Inputs names Checkpoint.Inputs, in their order.
	Inputs []log.TopicPartition
}

// Close releases the snapshot.
func (v *TaskView) Close() error { return v.View.Close() }

// Status is how a job is doing.
type Status struct {
	Job        string
	Generation int64
	State      ContainerState
	Err        error // why the container failed, if it did
	Started    time.Time
	Tasks      []TaskStatus
	// Progress of what the container is doing now: restoring, or catching up
	// with the ends captured at the start. Done equals Total when it is through.
	Progress Progress
}

// Ready tells that all tasks that this container has run and answer queries.
func (s *Status) Ready() bool {
	if s.State != Running && s.State != Stopped {
		return false
	}
	for i := range s.Tasks {
		if t := &s.Tasks[i]; t.State != TaskRunning && t.State != TaskDone && t.State != TaskElsewhere {
			return false
		}
	}
	return true
}

// Lag sums the lag of all tasks, in records.
func (s *Status) Lag() int64 {
	var lag int64
	for i := range s.Tasks {
		for j := range s.Tasks[i].Inputs {
			lag += s.Tasks[i].Inputs[j].Lag()
		}
	}
	return lag
}

// TaskStatus is how one task is doing, as of its last commit.
type TaskStatus struct {
	Task      string // "<stage>-<partition>"
	Stage     string
	Partition int32
	State     TaskState
	Err       error // of the last failure, while the task is being rebuilt or has failed
	Restarts  int   // times the task was rebuilt from the log
	Epoch     log.Epoch
	Watermark int64 // ms since 1970 UTC; jobs.NoWatermark if none
	Commits   int64
	Records   int64 // read since the container started
	Inputs    []InputStatus
	Drops     []op.Drop
}

// InputStatus is how far a task has read one input partition.
type InputStatus struct {
	log.TopicPartition
	Repartition bool
	Offset      log.Offset // next to read, as committed
	End         log.Offset // of the partition, as last seen
	Idle        bool       // not counted in the watermark
}

// Lag is the number of offsets not yet read.
func (i *InputStatus) Lag() int64 { return max(0, int64(i.End-i.Offset)) }

// Progress counts the work of one phase.
type Progress struct {
	Phase       string // "restore", "run"
	Done, Total int64  // records; Total 0: unknown
}
