//go:build !linux

package log

import "github.com/cockroachdb/pebble/vfs"

func writeVector(f vfs.File, pieces [][]byte, pos int64) error { return writeEach(f, pieces, pos) }
