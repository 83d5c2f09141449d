package log

import (
	"errors"
	"fmt"

	"github.com/cockroachdb/errors/oserror"
	"github.com/cockroachdb/pebble/vfs"
)

// What callers branch on. Each is wrapped with what was wanted and what was got.
var (
	ErrClosed           = errors.New("log is closed")
	ErrUnknownTopic     = errors.New("unknown topic")
	ErrUnknownPartition = errors.New("unknown partition")
	ErrTopicExists      = errors.New("topic already exists")
	ErrOffsetOutOfRange = errors.New("offset out of range")
	ErrFenced           = errors.New("fenced by a newer epoch")
	ErrReadOnly         = errors.New("log is read-only after a failed write")
	ErrNoSpace          = errors.New("no space left on disk")
	ErrLocked           = errors.New("data directory is in use by another process")
	ErrNewerFormat      = errors.New("data directory has a newer format")
	ErrTooLarge         = errors.New("too large")
	ErrInvalidBatch     = errors.New("invalid record batch")
	ErrInvalidTopic     = errors.New("invalid topic name")
	ErrInvalidConfig    = errors.New("invalid topic config")
	// What a producer may be told, beside those above (Produce, Commit.Markers).
	ErrInvalidRecord      = errors.New("invalid record")
	ErrInvalidTimestamp   = errors.New("timestamp out of bounds")
	ErrOutOfOrderSequence = errors.New("out of order sequence")
	ErrProducerFenced     = errors.New("producer is fenced by a newer epoch")
	ErrInvalidTxnState    = errors.New("invalid transaction state")
	// ErrCorrupt marks stored bytes that are not what was written.
	ErrCorrupt = errors.New("corrupt")
)

// isNotExist tells whether a file was not there.
func isNotExist(err error) bool { return oserror.IsNotExist(err) }

// asNoSpace makes the disk's own word for being full an ErrNoSpace.
func asNoSpace(err error) error {
	if vfs.IsNoSpaceError(err) && !errors.Is(err, ErrNoSpace) {
		return fmt.Errorf("%w: %w", ErrNoSpace, err)
	}
	return err
}

// damageAt is ErrCorrupt with the place of the damage.
type damageAt struct {
	file string
	pos  int64 // in file, in bytes
	err  error // what is wrong there
}

func (d *damageAt) Error() string {
	return fmt.Sprintf("%v: %s at byte %d: %v", ErrCorrupt, d.file, d.pos, d.err)
}

func (d *damageAt) Unwrap() []error { return []error{ErrCorrupt, d.err} }
