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
//	 8  version  4   2; 1 had no references
//	12  policy   4   sync mode that the entries were written under
//	16  number   8   that of the file's name; another one: the name is new, the content old
//	24  salt     8
//	32  zero    28
//	60  crc      4   CRC-32C of the 60 bytes before
//
// It is written in whole blocks of 4 KiB, with zeros behind the last entry: the
// block that an entry ends in is written again with the next one. So writes can
// go past the cache of the operating system, where they cost twice as much.
const (
	journalMagic      = "GRETEJNL"
	journalVersion    = 2
	journalHeaderSize = 64

	// journalBuffer bounds what is gathered for one write to the journal, in bytes.
	journalBuffer = 4 << 20

	// spareJournals is how many used-up files wait to be used again. Writing
	// over a file that has its size already spares fdatasync the metadata.
	spareJournals = 2

	// maxJournals bounds the files that wait for the background to sync what
	// they vouch for; then appends do it themselves.
	maxJournals = 8

	// lazyJournals is how many files a log gathers that leaves it to the system
	// when to write, before it syncs what they vouch for. Appends wait for that if
	// there are four times as many.
	lazyJournals = 32

	// wideWrite is from how many bytes a write is gathered in memory of huge pages.
	wideWrite = 64 << 10
)

// journal is the write side of the shared journal. Its fields are owned by the
// leader of the group commit, who holds Embedded.token, but for those under mu.
type journal struct {
	fs       FS
	dir      string
	mode     SyncMode
	limit    int64  // bytes after which the next file is begun
	seed     uint64 // makes salts of different logs differ
	first    int64  // number above which no file was ever used when the log was opened
	number   int64
	file     vfs.File
	pos      int64
	salt     uint64
	attempt  uint32
	seq      uint64            // of the last entry written
	synced   uint64            // of the last entry known to be synced
	buf      []byte            // gathered writes: the bytes before pos, from the beginning of a block
	head     []byte            // scratch
	refs     []byte            // scratch
	before   journalMark       // where the last group began
	tail     [DirectBlock]byte // of buf, there
	referred int64             // bytes that entries of this file refer to

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
	if v := binary.BigEndian.Uint32(b[8:]); v > journalVersion {
		return h, fmt.Errorf("%w: journal version %d, want at most %d", ErrNewerFormat, v, journalVersion)
	}
	return journalHeader{
		mode:   SyncMode(binary.BigEndian.Uint32(b[12:])),
		number: int64(binary.BigEndian.Uint64(b[16:])),
		salt:   binary.BigEndian.Uint64(b[24:]),
	}, nil
}

// begin starts the next file: a spare one under a new name, or a new one. Its
// name is durable before anything is written to it: so a crash cannot bring
// back the old name over new entries. Without syncs it may: entries under
// another name than theirs are not found, and nobody was promised them.
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
	f, err := j.open(name)
	if err != nil {
		return fmt.Errorf("open journal file: %w", err)
	}
	if j.mode != SyncNone {
		if err := syncDir(j.fs, j.dir); err != nil {
			_ = f.Close()
			return fatalError{err}
		}
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
	j.file, j.number, j.salt, j.attempt, j.referred = f, number, saltOf(j.seed, number), 0, 0
	j.reserve(DirectBlock)
	j.buf = appendJournalHeader(j.buf[:0], journalHeader{j.mode, number, j.salt})
	j.pos = journalHeaderSize
	return nil
}

// open opens a file for writing whole blocks: directly where each group is synced
// at once. To wait for the disk twice would make the other policies slow.
func (j *journal) open(name string) (vfs.File, error) {
	if d, ok := j.fs.(DirectFS); ok && j.mode == SyncGroup {
		return d.OpenDirect(name)
	}
	return j.fs.OpenReadWrite(name)
}

// journalMark is a place to come back to.
type journalMark struct {
	pos         int64
	seq, synced uint64
	tail        int // bytes of the block that pos lies in
	referred    int64
}

// isFull tells whether the next entry goes to the next file: this one has so many
// bytes, or vouches for so many.
func (j *journal) isFull() bool { return j.file == nil || j.pos+j.referred >= j.limit }

// write writes the entries of a group. If it fails, none of them will ever be
// read back, unless the error is fatal.
func (j *journal) write(g *group) error {
	j.before = journalMark{j.pos, j.seq, j.synced, copy(j.tail[:], j.buf), j.referred}
	if err := j.writeEntries(g); err != nil {
		return j.takeBack(err)
	}
	return nil
}

// takeBack undoes the last write, because of err. What has been written must not
// come to life after a crash: it has been refused. Erase the head of its first
// entry, and make later entries differ from what may still lie behind them.
func (j *journal) takeBack(err error) error {
	j.pos, j.seq, j.synced, j.referred = j.before.pos, j.before.seq, j.before.synced, j.before.referred
	j.buf = append(j.buf[:0], j.tail[:j.before.tail]...) // less than a block, with what was acknowledged
	j.attempt++
	if uerr := j.erase(); uerr != nil {
		return fatalError{fmt.Errorf("%w; and it could not be undone: %v", err, uerr)}
	}
	return err
}

func (j *journal) writeEntries(g *group) error {
	size := int64(len(j.buf))
	for _, e := range g.entries {
		size += padded(e.size())
	}
	j.reserve(size)
	for _, e := range g.entries {
		if err := j.writeEntry(e); err != nil {
			return err
		}
	}
	return j.finish()
}

func (j *journal) writeEntry(e *entry) error {
	j.seq++
	e.seq = j.seq
	head := appendEntryHead(j.head[:0], &entryHeader{
		salt: j.salt, length: int(e.size()), sequence: j.seq, synced: j.synced,
		time: e.time, attempt: j.attempt, parts: len(e.parts),
	})
	for i := range e.parts {
		head = appendEntryPart(head, &e.parts[i].entryPart)
	}
	j.head = head
	crc := crc32.Checksum(head[entrySequencePos:], castagnoli)
	j.refs = j.refs[:0]
	for i := range e.parts {
		if ref := e.parts[i].ref; ref != nil {
			from := len(j.refs)
			j.refs = ref.appendTo(j.refs)
			crc = crc32.Update(crc, castagnoli, j.refs[from:])
			j.referred += ref.bytes
		} else {
			crc = appendCRC(crc, e.parts[i].batches)
		}
	}
	binary.BigEndian.PutUint32(head[entryCRCPos:], crc)

	if err := j.put(head); err != nil {
		return err
	}
	refs := j.refs
	for i := range e.parts {
		body := e.parts[i].batches
		if e.parts[i].ref != nil {
			body, refs = refs[:referenceSize], refs[referenceSize:]
		}
		if err := j.put(body); err != nil {
			return err
		}
	}
	return j.put(zeros[:padded(j.pos)-j.pos])
}

// size is the bytes of an entry in the journal, without padding.
func (e *entry) size() int64 {
	n := int64(entryHeaderSize + len(e.parts)*entryPartSize)
	for i := range e.parts {
		n += e.parts[i].bytes()
	}
	return n
}

// reserve makes the buffer large enough for n bytes, or as large as it gets: no
// larger than a file of the journal.
func (j *journal) reserve(n int64) {
	most := min(journalBuffer, padTo(j.limit, DirectBlock))
	if want := min(padTo(n, DirectBlock), most); int64(cap(j.buf)) < want {
		room := 2 * want
		if want >= wideWrite {
			room = max(room, hugePage)
		}
		j.buf = append(alignedBytes(int(min(room, most))), j.buf...)
	}
}

// put gathers bytes, and writes whenever the buffer is full.
func (j *journal) put(b []byte) error {
	for len(b) > 0 {
		if len(j.buf) == cap(j.buf) {
			if err := j.flush(); err != nil {
				return err
			}
		}
		n := copy(j.buf[len(j.buf):cap(j.buf)], b)
		j.buf = j.buf[:len(j.buf)+n]
		j.pos += int64(n)
		b = b[n:]
	}
	return nil
}

// flush writes the buffer, which is full.
func (j *journal) flush() error {
	if err := j.writeBuf(j.buf); err != nil {
		return err
	}
	j.buf = j.buf[:0]
	return nil
}

// finish writes what is left, with zeros up to the end of the block. The block
// that the next entry begins in stays in the buffer, to be written again with it.
func (j *journal) finish() error {
	n := len(j.buf)
	if n == 0 {
		return nil
	}
	if err := j.writeBuf(append(j.buf, zeros[:padTo(int64(n), DirectBlock)-int64(n)]...)); err != nil {
		return err
	}
	j.buf = j.buf[:copy(j.buf, j.buf[n-n%DirectBlock:])]
	return nil
}

// writeBuf writes whole blocks, of which the bytes of buf end at pos.
func (j *journal) writeBuf(b []byte) error {
	at := j.pos - int64(len(j.buf))
	if _, err := j.file.WriteAt(b, at); err != nil {
		return fmt.Errorf("write journal file %d at %d: %w", j.number, at, err)
	}
	return nil
}

var zeros [DirectBlock]byte

// erase overwrites, durably, what lies at pos, up to the end of the block: the
// salt of an entry at least.
func (j *journal) erase() error {
	info, err := j.file.Stat()
	if err != nil {
		return err
	}
	if info.Size() <= j.pos-int64(len(j.buf)) {
		return nil // nothing is there, and maybe no space to write to
	}
	if err := j.writeBuf(append(j.buf, zeros[len(j.buf):]...)); err != nil {
		return err
	}
	return j.file.SyncData()
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
