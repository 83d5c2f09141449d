package state

import "errors"

// What callers branch on.
var (
	// ErrClosed is returned by every call on a closed DB or View.
	ErrClosed = errors.New("state is closed")
	// ErrUnknownStore is returned for a store that the Spec does not name.
	ErrUnknownStore = errors.New("unknown store")
	// ErrFailed marks a DB whose disk failed under it. Nothing is lost, since the
	// changelog has it all: close the DB and open it again, and it is restored.
	ErrFailed = errors.New("state database failed")
	// ErrInUse is returned by Open while someone else, in this process or another,
	// has the directory open.
	ErrInUse = errors.New("state directory is in use")
	// ErrStop, returned by the function given to Cache.Ascend, ends the walk
	// without an error.
	ErrStop = errors.New("stop")
	// ErrTooLarge marks a key longer than MaxKeyBytes.
	ErrTooLarge = errors.New("too large")
)
