package engine

import (
	"errors"
	"fmt"

	"github.com/gretestream/grete/log"
)

// What callers branch on.
var (
	ErrUnknownStore = errors.New("unknown store")
	ErrNotReady     = errors.New("still restoring")
	ErrNotDeployed  = errors.New("job was never run on this log")
	ErrEnded        = errors.New("container has ended")
	// ErrElsewhere says that another container has the task, or none yet.
	ErrElsewhere = errors.New("not in this container")
	// ErrSuperseded ends a container of a generation that is no longer current.
	ErrSuperseded = errors.New("a newer generation of the job is current")
)

// GapError says that records which a job has yet to read are gone.
type GapError struct {
	log.TopicPartition
	From, To log.Offset // [From, To) is lost
}

func (e *GapError) Error() string {
	return fmt.Sprintf("%s: records %s to %s are gone before the job has read them (retention or a raised start offset); "+
		"go on without them with op.Input{OnGap: op.Continue}, or start again with grete reprocess", e.TopicPartition, e.From, e.To-1)
}

// transient marks an error after which a task is rebuilt from the log and tries
// again. All others end the job.
type transient struct {
	err   error
	tries int // in a row before it ends the job all the same; 0: see task.run
}

func (t *transient) Error() string { return t.err.Error() }
func (t *transient) Unwrap() error { return t.err }

// stateTries is how often in a row a task whose database failed is rebuilt: its
// files are wiped where they are damaged, and a disk that is gone stays gone.
const stateTries = 3

// mayPass marks err, which came from the log, as transient unless trying again
// cannot help.
func mayPass(err error) error {
	for _, final := range []error{ErrSuperseded, log.ErrFenced, log.ErrClosed, log.ErrReadOnly, log.ErrTooLarge, log.ErrCorrupt,
		log.ErrInvalidBatch, log.ErrUnknownTopic, log.ErrUnknownPartition, log.ErrOffsetOutOfRange} {
		if errors.Is(err, final) {
			return err
		}
	}
	return &transient{err: err}
}
