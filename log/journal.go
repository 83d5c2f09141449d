package log

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"sync"

	"github.com/cockroachdb/pebble/vfs"
)

// A journal file begins with a header; entries follow (entry.go), one after the
// other, up to the first that is not whole or not of this use of the file.
//
//	 0  magic    8   "GRETEJNL"
//	 8  version  4   1
//	12  policy   4   sync mode that the entries were written under
//	16  number   8   that of the file's name; another one: the name is new, the content old
//	24  salt     8
//	32  zero    28
//	60  crc      4   CRC-32C of the 60 bytes before
const (
	journalMagic      = "GRETEJNL"
	journalVersion    = 1
	journalHeaderSize = 64

	// largePart is the size from which batches are written from where they lie
	// instead of being gathered with the small ones: a write costs about a
	// microsecond, a copy of 32 KiB three.
	largePart = 32 << 10

	// spareJournals is how many used-up files wait to be used again. Writing
	// over a file that has its size already spares fdatasync the metadata.
	spareJournals = 2

	// maxJournals bounds the files that wait for the background to sync what
	// they vouch for; then appends do it themselves.
	maxJournals = 8
)

// journal is the write side of the shared journal. Its fields are owned by the
// leader of the group commit, who holds Embedded.token, but for those under mu.
type journal struct {
	fs      FS
	dir     string
	mode    SyncMode
	limit   int64  // bytes after which the next file is begun
	seed    uint64 // makes salts of different logs differ
	first   int64  // number above which no file was ever used when the log was opened
	number  int64
	file    vfs.File
	pos     int64
	salt    uint64
	attempt uint32
	seq     uint64 // of the last entry written
	synced  uint64 // of the last entry known to be synced
	buf     []byte // gathered writes
	bufPos  int64  // where buf goes in the file

	mu    sync.Mutex    // guards the fields below
	full  []journalFile // written, waiting until all of their entries are synced in segments
	spare []int64       // numbers of files that may be used again
}

// journalFile is a journal file that is no longer written to.
type journalFile struct {
	number int64
	last   uint64 // sequence of its last entry
}

func journalName(fs FS, dir string, number int64) string {
	return fs.PathJoin(dir, baseName(number)+journalSuffix)
}

// saltOf differs for each number, so entries of an earlier use of a file are
// never taken for new ones.
func saltOf(seed uint64, number int64) uint64 {
	x := seed + uint64(number)*0x9e3779b97f4a7c15
	x ^= x >> 30
	x *= 0xbf58476d1ce4e5b9
	x ^= x >> 27
	x *= 0x94d049bb133111eb
	return (x ^ x>>31) | 1 // never zero, which unwritten bytes are
}

// journalHeader is the header of a journal file.
type journalHeader struct {
	mode   SyncMode
	number int64
	salt   uint64
}

func appendJournalHeader(dst []byte, h journalHeader) []byte {
	from := len(dst)
	dst = append(dst, journalMagic...)
	dst = binary.BigEndian.AppendUint32(dst, journalVersion)
	dst = binary.BigEndian.AppendUint32(dst, uint32(h.mode))
	dst = binary.BigEndian.AppendUint64(dst, uint64(h.number))
	dst = binary.BigEndian.AppendUint64(dst, h.salt)
	dst = append(dst, make([]byte, 28)...)
	return binary.BigEndian.AppendUint32(dst, crc32.Checksum(dst[from:], castagnoli))
}

func parseJournalHeader(b []byte) (h journalHeader, err error) {
	if len(b) < journalHeaderSize || string(b[:8]) != journalMagic {
		return h, fmt.Errorf("%w: no journal header", ErrCorrupt)
	}
	if got, want := crc32.Checksum(b[:60], castagnoli), binary.BigEndian.Uint32(b[60:]); got != want {
		return h, fmt.Errorf("%w: journal header: crc %08x, want %08x", ErrCorrupt, got, want)
	}
	if v := binary.BigEndian.Uint32(b[8:]); v != journalVersion {
		return h, fmt.Errorf("%w: journal version %d, want %d", ErrNewerFormat, v, journalVersion)
	}
	return journalHeader{
		mode:   SyncMode(binary.BigEndian.Uint32(b[12:])),
		number: int64(binary.BigEndian.Uint64(b[16:])),
		salt:   binary.BigEndian.Uint64(b[24:]),
	}, nil
}

// begin starts the next file: a spare one under a new name, or a new one. Its
// name is durable before anything is written to it: so a crash cannot bring
// back the old name over new entries.
func (j *journal) begin() error {
	number := j.number + 1
	name := journalName(j.fs, j.dir, number)
	j.mu.Lock()
	var spare int64 = -1
	if n := len(j.spare); n > 0 {
		spare = j.spare[0]
		j.spare = j.spare[1:]
	}
	j.mu.Unlock()
	if spare >= 0 {
		if err := j.fs.Rename(journalName(j.fs, j.dir, spare), name); err != nil {
			return fmt.Errorf("reuse journal file %d: %w", spare, err)
		}
	}
	f, err := j.fs.OpenReadWrite(name)
	if err != nil {
		return fmt.Errorf("open journal file: %w", err)
	}
	if err := syncDir(j.fs, j.dir); err != nil {
		_ = f.Close()
		return fatalError{err}
	}
	if j.file != nil {
		if err := j.file.Close(); err != nil {
			_ = f.Close()
			return fatalError{fmt.Errorf("close journal file %d: %w", j.number, err)}
		}
		j.mu.Lock()
		j.full = append(j.full, journalFile{j.number, j.seq})
		j.mu.Unlock()
	}
	j.file, j.number, j.salt, j.attempt = f, number, saltOf(j.seed, number), 0
	j.buf = appendJournalHeader(j.buf[:0], journalHeader{j.mode, number, j.salt})
	j.pos, j.bufPos = journalHeaderSize, 0
	return nil
}

// write writes the entries of a group. If it fails, none of them will ever be
// read back, unless the error is fatal.
func (j *journal) write(g *group) error {
	if j.file == nil || j.pos >= j.limit {
		if j.file != nil && j.mode == SyncInterval {
			if err := j.sync(); err != nil {
				return err
			}
		}
		if err := j.begin(); err != nil {
			return err
		}
	}
	pos, seq := j.pos, j.seq
	err := j.writeEntries(g)
	if err == nil {
		return nil
	}
	// What has been written must not come to life after a crash: it has been
	// refused. Erase the header of its first entry, and make later entries
	// differ from what may still lie behind them.
	j.pos, j.seq, j.buf = pos, seq, j.buf[:0]
	j.bufPos = pos
	j.attempt++
	var zero [entryHeaderSize]byte
	if pos == journalHeaderSize {
		// The file header may be missing too; it goes with the next write.
		j.buf = appendJournalHeader(j.buf, journalHeader{j.mode, j.number, j.salt})
		j.bufPos = 0
	}
	info, serr := j.file.Stat()
	if serr != nil {
		return fatalError{fmt.Errorf("%w; and it could not be undone: %v", err, serr)}
	}
	n := min(info.Size()-pos, entryHeaderSize) // beyond the end there may be no space
	if n <= 0 {
		return err
	}
	if _, werr := j.file.WriteAt(zero[:n], pos); werr != nil {
		return fatalError{fmt.Errorf("%w; and it could not be undone: %v", err, werr)}
	}
	if serr := j.file.SyncData(); serr != nil {
		return fatalError{fmt.Errorf("%w; and it could not be undone: %v", err, serr)}
	}
	return err
}

func (j *journal) writeEntries(g *group) error {
	for _, e := range g.entries {
		if err := j.writeEntry(e); err != nil {
			return err
		}
	}
	return j.flush()
}

func (j *journal) writeEntry(e *entry) error {
	j.seq++
	e.seq = j.seq
	length := entryHeaderSize + len(e.parts)*entryPartSize
	for i := range e.parts {
		length += len(e.parts[i].batches)
	}
	head := len(j.buf)
	j.buf = appendEntryHead(j.buf, &entryHeader{
		salt: j.salt, length: length, sequence: j.seq, synced: j.synced,
		time: e.time, attempt: j.attempt, parts: len(e.parts),
	})
	for i := range e.parts {
		j.buf = appendEntryPart(j.buf, &e.parts[i].entryPart)
	}
	crc := crc32.Checksum(j.buf[head+entrySequencePos:], castagnoli)
	for i := range e.parts {
		crc = appendCRC(crc, e.parts[i].batches)
	}
	binary.BigEndian.PutUint32(j.buf[head+entryCRCPos:], crc)

	for i := range e.parts {
		b := e.parts[i].batches
		if len(b) < largePart {
			j.buf = append(j.buf, b...)
			continue
		}
		if err := j.flush(); err != nil {
			return err
		}
		if _, err := j.file.WriteAt(b, j.bufPos); err != nil {
			return fmt.Errorf("write journal file %d at %d: %w", j.number, j.bufPos, err)
		}
		j.bufPos += int64(len(b))
	}
	end := j.bufPos + int64(len(j.buf))
	for ; end%entryAlign != 0; end++ {
		j.buf = append(j.buf, 0)
	}
	j.pos = end
	if len(j.buf) >= 1<<20 {
		return j.flush()
	}
	return nil
}

// flush writes what has been gathered.
func (j *journal) flush() error {
	if len(j.buf) == 0 {
		return nil
	}
	if _, err := j.file.WriteAt(j.buf, j.bufPos); err != nil {
		return fmt.Errorf("write journal file %d at %d: %w", j.number, j.bufPos, err)
	}
	j.bufPos += int64(len(j.buf))
	j.buf = j.buf[:0]
	return nil
}

// sync makes everything written durable. Its errors are final: a failed fsync
// marks the lost pages clean, so a second one would lie.
func (j *journal) sync() error {
	if j.file == nil || j.synced == j.seq {
		return nil
	}
	if err := j.file.SyncData(); err != nil {
		return fatalError{fmt.Errorf("sync journal file %d: %w", j.number, err)}
	}
	j.synced = j.seq
	return nil
}

// release gives up the files whose entries are all at or below seq: what they
// vouch for is synced in the segments and the meta says so.
func (j *journal) release(seq uint64) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	for len(j.full) > 0 && j.full[0].last <= seq {
		number := j.full[0].number
		j.full = j.full[1:]
		if len(j.spare) < spareJournals {
			j.spare = append(j.spare, number)
		} else if err := j.fs.Remove(journalName(j.fs, j.dir, number)); err != nil {
			return fmt.Errorf("remove journal file %d: %w", number, err)
		}
	}
	return nil
}

// waiting is the number of files that wait for release.
func (j *journal) waiting() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return len(j.full)
}

// fatalError marks an error after which nothing more may be written.
type fatalError struct{ err error }

func (e fatalError) Error() string { return e.err.Error() }
func (e fatalError) Unwrap() error { return e.err }
