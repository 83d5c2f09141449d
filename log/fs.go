package log

import "github.com/cockroachdb/pebble/vfs"

// FS is the one door to the disk, for the log and, through the embedded
// vfs.FS, for Pebble: so a whole node can lose its power in a test.
type FS interface {
	vfs.FS
	// Truncate cuts the named file to size bytes. It must not be open for
	// writing. Like a write, it is durable only after a Sync of the file.
	Truncate(name string, size int64) error
}
