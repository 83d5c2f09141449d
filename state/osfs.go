package state

import (
	"os"

	"github.com/cockroachdb/pebble/vfs"

	"github.com/gretestream/grete/log"
)

var defaultFS log.FS = osFS{vfs.Default}

type osFS struct{ vfs.FS }

func (osFS) Truncate(name string, size int64) error { return os.Truncate(name, size) }
