package log

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/cockroachdb/pebble/vfs"
)

// Names below the data directory; doc.go draws the tree.
const (
	lockName          = "LOCK"
	formatName        = "format"
	cleanShutdownName = "clean-shutdown"
	metaDirName       = "meta"
	journalDirName    = "journal"
	topicsDirName     = "topics"
	cutDirName        = "cut"
	ballastName       = "ballast"

	journalSuffix   = ".journal"
	logSuffix       = ".log"
	indexSuffix     = ".index"
	timeIndexSuffix = ".timeindex"
	deleteSuffix    = "-delete"
	tempSuffix      = ".tmp"
	cleanedSuffix   = ".cleaned"

	// formatVersion is the number in the format file: of the directory layout
	// and of everything below it that has no version of its own.
	formatVersion = 1
)

// baseName is the file name, without suffix, of what begins at n: 20 digits, as
// Kafka writes them, so that names sort like numbers.
func baseName(n int64) string { return fmt.Sprintf("%020d", n) }

// parseName returns the number of a file called baseName(n) + suffix.
func parseName(name, suffix string) (n int64, ok bool) {
	digits, ok := strings.CutSuffix(name, suffix)
	if !ok || len(digits) != 20 {
		return 0, false
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	return n, err == nil && baseName(n) == digits
}

// parsePartitionDir splits "topic-3".
func parsePartitionDir(name string) (tp TopicPartition, ok bool) {
	i := strings.LastIndexByte(name, '-')
	if i <= 0 {
		return tp, false
	}
	n, err := strconv.ParseInt(name[i+1:], 10, 32)
	if err != nil || n < 0 || strconv.FormatInt(n, 10) != name[i+1:] {
		return tp, false
	}
	return TopicPartition{Topic: name[:i], Partition: int32(n)}, true
}

// syncDir makes the entries of a directory durable.
func syncDir(fs FS, dir string) error {
	d, err := fs.OpenDir(dir)
	if err != nil {
		return fmt.Errorf("open directory %s: %w", dir, err)
	}
	err = d.Sync()
	if cerr := d.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return fmt.Errorf("sync directory %s: %w", dir, err)
	}
	return nil
}

// writeFile writes a file. Only replaceFile makes it durable.
func writeFile(fs FS, name string, data []byte, sync bool) (err error) {
	f, err := fs.Create(name)
	if err != nil {
		return fmt.Errorf("create %s: %w", name, err)
	}
	defer func() {
		if cerr := f.Close(); err == nil && cerr != nil {
			err = fmt.Errorf("close %s: %w", name, cerr)
		}
	}()
	if len(data) > 0 {
		if _, err := f.Write(data); err != nil {
			return fmt.Errorf("write %s: %w", name, err)
		}
	}
	if sync {
		if err := f.Sync(); err != nil {
			return fmt.Errorf("sync %s: %w", name, err)
		}
	}
	return nil
}

// errReplaced is the error of replaceFile if the new file is in place, but a
// crash may bring the old one back: also if the disk was too full to say so.
var errReplaced = errors.New("replaced, but not for good")

// replaceFile puts data in place of a file, durably: after a crash the file is
// the old one or the new one.
func replaceFile(fs FS, name string, data []byte) error {
	if err := writeFile(fs, name+tempSuffix, data, true); err != nil {
		return err
	}
	if err := fs.Rename(name+tempSuffix, name); err != nil {
		return fmt.Errorf("rename %s: %w", name+tempSuffix, err)
	}
	if err := syncDir(fs, fs.PathDir(name)); err != nil {
		return fmt.Errorf("%w: %w", errReplaced, err)
	}
	return nil
}

// readFile returns what a file holds.
func readFile(fs FS, name string) ([]byte, error) { return readFileInto(nil, fs, name) }

// readFileInto is readFile into the memory of b, as far as it goes.
func readFileInto(b []byte, fs FS, name string) ([]byte, error) {
	f, err := fs.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if int64(cap(b)) < info.Size() {
		b = make([]byte, info.Size())
	}
	b = b[:info.Size()]
	n, err := readFullAt(f, b, 0)
	return b[:n], err
}

// readFullAt fills b from f at pos, or as much of it as there is; the end of
// the file is no error.
func readFullAt(f vfs.File, b []byte, pos int64) (n int, err error) {
	for n < len(b) {
		m, err := f.ReadAt(b[n:], pos+int64(n))
		n += m
		if err == io.EOF {
			return n, nil
		}
		if err != nil {
			return n, err
		}
		if m == 0 {
			return n, nil
		}
	}
	return n, nil
}

// fileSize is the size of a file, or -1 if there is none.
func fileSize(fs FS, name string) (int64, error) {
	info, err := fs.Stat(name)
	if isNotExist(err) {
		return -1, nil
	}
	if err != nil {
		return 0, fmt.Errorf("stat %s: %w", name, err)
	}
	return info.Size(), nil
}
