package log

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
)

// foundEntry is a whole entry of the journal, found on open.
type foundEntry struct {
	file   int64 // number
	pos    int64
	size   int64 // without padding
	header entryHeader
	parts  []foundPart
}

// foundPart is an entryPart without its bytes.
type foundPart struct {
	id        TopicID
	partition int32
	kind      partKind
	base      Offset
	end       Offset     // after the batches
	bytes     int64      // of batches that are in the entry
	ref       *reference // to batches that are not, or nil
}

// foundJournal is what a directory's journal says.
type foundJournal struct {
	numbers []int64 // of all files
	entries []foundEntry
	last    uint64 // sequence of the last good entry, or what the meta has safe
	mark    uint64 // highest sequence that is known to have been synced
	// torn says where the journal ends before the end of its bytes, if it does.
	torn error

	largest int // bytes of the largest file
}

// listJournal returns the numbers of the journal files in order.
func listJournal(fs FS, dir string) ([]int64, error) {
	names, err := fs.List(dir)
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", dir, err)
	}
	var numbers []int64
	for _, name := range names {
		if n, ok := parseName(name, journalSuffix); ok {
			numbers = append(numbers, n)
		}
	}
	slices.Sort(numbers)
	return numbers, nil
}

// scanJournal reads the whole journal. Entries up to safe are of no interest.
//
// The journal ends at the first bad entry, unless some later entry says that
// the bad one had been synced: then it is damage, and an error. Entries are
// chained by their sequence: a file that was used before holds older entries
// behind its end, and so may a file of an earlier life of the log. What comes
// at or behind the first entry of a later file is such a leftover: the life that
// wrote that one did not take it for part of the journal.
func scanJournal(fs FS, dir string, seed, safe uint64) (*foundJournal, error) {
	numbers, err := listJournal(fs, dir)
	if err != nil {
		return nil, err
	}
	j := &foundJournal{numbers: numbers, last: safe}
	files, err := j.scanFiles(fs, dir, seed)
	if err != nil {
		return nil, err
	}
	j.mark = safe
	for n, f := range files {
		number := numbers[n]
		if len(f.entries) == 0 && j.torn == nil {
			j.torn = f.bad[0]
		}
		for i, e := range f.entries {
			j.mark = max(j.mark, e.header.synced)
			switch seq := e.header.sequence; {
			case seq >= f.limit:
				// Left over.
			case seq == j.last+1:
				j.entries = append(j.entries, e)
				j.last = seq
				j.torn = f.bad[i+1]
			case seq > j.last && j.torn == nil:
				j.torn = fmt.Errorf("journal file %s at byte %d: entry %d, want %d", journalName(fs, dir, number), e.pos, seq, j.last+1)
			}
		}
	}
	if j.mark > j.last {
		why := j.torn
		if why == nil {
			why = fmt.Errorf("journal %s ends there", dir)
		}
		return nil, fmt.Errorf("%w: journal entry %d had been synced but is not whole: %w", ErrCorrupt, j.last+1, why)
	}
	return j, nil
}

// scanFiles reads all files, and finds out where each ends at the latest.
func (j *foundJournal) scanFiles(fs FS, dir string, seed uint64) ([]*scannedFile, error) {
	files := make([]*scannedFile, len(j.numbers))
	var data []byte
	for i, number := range j.numbers {
		name := journalName(fs, dir, number)
		var err error
		if data, err = readFileInto(data, fs, name); err != nil {
			return nil, fmt.Errorf("read journal: %w", err)
		}
		j.largest = max(j.largest, len(data))
		if files[i], err = scanJournalFile(name, data, seed, number); err != nil {
			return nil, err
		}
	}
	next := uint64(math.MaxUint64)
	for _, f := range slices.Backward(files) {
		f.limit = next
		if len(f.entries) > 0 {
			next = min(next, f.entries[0].header.sequence)
		}
	}
	return files, nil
}

// scannedFile is what one journal file holds.
type scannedFile struct {
	entries []foundEntry
	bad     map[int]error // what is wrong after that many entries
	limit   uint64        // the sequence with which the next file begins
}

// scanJournalFile reads the entries of one file, which holds data; it keeps none
// of it. Behind a bad one it goes on
// looking for whole ones, which may know that the bad one was synced. The salt
// follows from the number, so entries are found even under a damaged header.
func scanJournalFile(name string, data []byte, seed uint64, number int64) (*scannedFile, error) {
	f := &scannedFile{bad: map[int]error{}}
	// A header of another number is no mistake: a spare that has got its new
	// name and nothing else.
	if _, err := parseJournalHeader(data); errors.Is(err, ErrNewerFormat) {
		return nil, fmt.Errorf("%s: %w", name, err)
	} else if err != nil {
		f.bad[0] = fmt.Errorf("%s: %w", name, err)
	}
	f.scan(name, number, data, saltOf(seed, number))
	return f, nil
}

func (f *scannedFile) scan(name string, number int64, data []byte, salt uint64) {
	var parts []entryPart
	attempt := uint32(0)
	for pos := int64(journalHeaderSize); pos < int64(len(data)); {
		if pos%DirectBlock != 0 && allZero(data[pos:min(padTo(pos, DirectBlock), int64(len(data)))]) {
			pos = padTo(pos, DirectBlock) // what the last write was filled up with
			continue
		}
		h, ps, err := decodeEntry(parts[:0], data[pos:], salt)
		parts = ps
		if err == nil && h.attempt < attempt {
			err = fmt.Errorf("%w: left over from a failed write", ErrCorrupt)
		}
		if err != nil {
			if _, seen := f.bad[len(f.entries)]; !seen {
				f.bad[len(f.entries)] = fmt.Errorf("%s at byte %d: %w", name, pos, err)
			}
			pos = nextSalt(data, pos+entryAlign, salt)
			continue
		}
		attempt = h.attempt
		f.entries = append(f.entries, foundEntry{file: number, pos: pos, size: int64(h.length), header: h, parts: summarize(parts)})
		pos += padded(int64(h.length))
	}
}

// nextSalt finds the next place where an entry may begin.
func nextSalt(data []byte, pos int64, salt uint64) int64 {
	for ; pos+entryHeaderSize <= int64(len(data)); pos += entryAlign {
		if binary.BigEndian.Uint64(data[pos:]) == salt {
			return pos
		}
	}
	return int64(len(data))
}

// summarize reads off what the batches of an entry cover.
func summarize(parts []entryPart) []foundPart {
	found := make([]foundPart, len(parts))
	for i, p := range parts {
		found[i] = foundPart{id: p.id, partition: p.partition, kind: p.kind, base: p.base, end: p.base, bytes: int64(len(p.batches)), ref: p.ref}
		if p.ref != nil {
			found[i].kind, found[i].end = partBatches, p.ref.end
		}
		for b := p.batches; len(b) >= BatchHeaderSize; {
			info := parseHeader(b)
			if info.Size < BatchHeaderSize || info.Size > len(b) {
				break // the checksum held, so this was never written; replay will say so
			}
			found[i].end = info.NextOffset()
			b = b[info.Size:]
		}
	}
	return found
}
