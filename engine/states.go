package engine

// ContainerState is where a container stands. It only moves as drawn:
//
//	New ──► Restoring ──► Running ──► Stopping ──► Stopped
//	             │            │           │
//	             └────────────┴───────────┴──────► Failed
type ContainerState uint8

const (
	New       ContainerState = iota
	Restoring                // tasks are waited for, open their state and read it up to the log
	Running                  // every task that was assigned first has come to process
	Stopping                 // tasks commit what they have processed and end
	Stopped                  // all goroutines have ended, nothing is lost
	Failed                   // as Stopped, but because of an error
)

var containerStates = [...]string{"new", "restoring", "running", "stopping", "stopped", "failed"}

func (s ContainerState) String() string { return containerStates[s] }

// next lists the states that may follow each.
var next = [...][]ContainerState{
	New:       {Restoring, Failed},
	Restoring: {Running, Stopping, Failed},
	Running:   {Stopping, Failed},
	Stopping:  {Stopped, Failed},
	Stopped:   nil,
	Failed:    nil,
}

// may tells whether a container in s may move to t.
func (s ContainerState) may(t ContainerState) bool {
	for _, n := range next[s] {
		if n == t {
			return true
		}
	}
	return false
}

// TaskState is where a task stands. A failed commit, or a task that is rebuilt
// for another reason that may pass, leads from Running back to Restoring.
type TaskState uint8

const (
	TaskRestoring TaskState = iota // opens its state and reads it up to the log
	TaskRunning                    // processes and commits
	TaskDone                       // ended: stopped, or everything of a bounded run is processed
	TaskFailed                     // ended with an error that ends the job
	TaskElsewhere                  // not assigned to this container
)

var taskStates = [...]string{"restoring", "running", "done", "failed", "elsewhere"}

func (s TaskState) String() string { return taskStates[s] }
