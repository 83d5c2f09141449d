package log

import "github.com/cockroachdb/pebble/vfs"

// writeEach writes pieces one behind the other at pos.
func writeEach(f vfs.File, pieces [][]byte, pos int64) error {
	for _, b := range pieces {
		n, err := f.WriteAt(b, pos)
		if err != nil {
			return err
		}
		pos += int64(n)
	}
	return nil
}
