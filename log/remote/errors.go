package remote

import (
	"errors"
	"net/http"

	"github.com/gretestream/grete/log"
)

// ErrUnauthorized says that the token is not that of the process that answers.
var ErrUnauthorized = errors.New("wrong token")

// codes names each error that callers branch on. The names are part of the
// wire; they are never reused for another meaning.
var codes = []struct {
	name   string
	err    error
	status int
}{
	{"closed", log.ErrClosed, http.StatusServiceUnavailable},
	{"unknown-topic", log.ErrUnknownTopic, http.StatusNotFound},
	{"unknown-partition", log.ErrUnknownPartition, http.StatusNotFound},
	{"topic-exists", log.ErrTopicExists, http.StatusConflict},
	{"offset-out-of-range", log.ErrOffsetOutOfRange, http.StatusRequestedRangeNotSatisfiable},
	{"fenced", log.ErrFenced, http.StatusConflict},
	{"read-only", log.ErrReadOnly, http.StatusServiceUnavailable},
	{"no-space", log.ErrNoSpace, http.StatusInsufficientStorage},
	{"locked", log.ErrLocked, http.StatusConflict},
	{"newer-format", log.ErrNewerFormat, http.StatusConflict},
	{"too-large", log.ErrTooLarge, http.StatusRequestEntityTooLarge},
	{"invalid-batch", log.ErrInvalidBatch, http.StatusBadRequest},
	{"corrupt", log.ErrCorrupt, http.StatusInternalServerError},
	{"unsupported", errors.ErrUnsupported, http.StatusNotImplemented},
	{"unauthorized", ErrUnauthorized, http.StatusUnauthorized},
}

// wireError is an error as it travels.
type wireError struct {
	Code    string `json:"code,omitempty"`
	Message string `json:"error"`
}

// encodeError returns err for the wire and the HTTP status that suits it.
func encodeError(err error) (wireError, int) {
	for _, c := range codes {
		if errors.Is(err, c.err) {
			return wireError{Code: c.name, Message: err.Error()}, c.status
		}
	}
	return wireError{Message: err.Error()}, http.StatusInternalServerError
}

// remoteError is an error of the other process: its words, and the sentinel
// that they stand for.
type remoteError struct {
	message string
	is      error // or nil
}

func (e *remoteError) Error() string { return e.message }
func (e *remoteError) Unwrap() error { return e.is }

func (w wireError) decode() error {
	e := &remoteError{message: w.Message}
	for _, c := range codes {
		if c.name == w.Code {
			e.is = c.err
		}
	}
	return e
}
