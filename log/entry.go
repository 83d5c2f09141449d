package log

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
)

// A journal entry is one atomic step: the batches of one Append or Commit.
// Integers are big-endian; entries are padded with zeros to 8 bytes.
//
//	 0  salt         8   of this use of the file: entries of an earlier use differ
//	 8  length       4   of the entry without padding
//	12  crc          4   CRC-32C of the rest of the entry
//	16  sequence     8   one more than that of the entry before
//	24  synced       8   highest sequence known to be synced when this was written
//	32  append time  8   milliseconds since 1970
//	40  attempt      4   failed writes to this file before this one
//	44  part count   4
//	48  parts       40 each
//	      0  topic id     16
//	     16  partition     4
//	     20  kind          4   0 batches, 1 start offset, 2 reference to batches (reference.go)
//	     24  base offset   8   of the first batch; or the new start offset
//	     32  bytes         8   of batches; or of the reference
//	    batches and references, in the order of the parts
const (
	entrySaltPos     = 0
	entryLengthPos   = 8
	entryCRCPos      = 12
	entrySequencePos = 16 // the checksum begins here
	entrySyncedPos   = 24
	entryTimePos     = 32
	entryAttemptPos  = 40
	entryCountPos    = 44
	entryHeaderSize  = 48
	entryPartSize    = 40
	entryAlign       = 8
)

type partKind uint32

const (
	partBatches   partKind = iota // records
	partStart                     // the start offset is raised
	partReference                 // records that lie in a segment; in memory such a part is of kind partBatches
)

// entryHeader is the fixed part of an entry.
type entryHeader struct {
	salt     uint64
	length   int
	crc      uint32
	sequence uint64
	synced   uint64
	time     Timestamp
	attempt  uint32
	parts    int
}

// entryPart is what an entry says about one partition.
type entryPart struct {
	id        TopicID
	partition int32
	kind      partKind
	base      Offset
	batches   []byte
	ref       *reference // to batches that are not in the entry, or nil
}

// bytes is how much an entry holds of a part, beside the table.
func (p *entryPart) bytes() int64 {
	if p.ref != nil {
		return referenceSize
	}
	return int64(len(p.batches))
}

// appendEntryHead appends the header (without its checksum) and the parts
// table of an entry.
func appendEntryHead(dst []byte, h *entryHeader) []byte {
	dst = binary.BigEndian.AppendUint64(dst, h.salt)
	dst = binary.BigEndian.AppendUint32(dst, uint32(h.length))
	dst = binary.BigEndian.AppendUint32(dst, 0)
	dst = binary.BigEndian.AppendUint64(dst, h.sequence)
	dst = binary.BigEndian.AppendUint64(dst, h.synced)
	dst = binary.BigEndian.AppendUint64(dst, uint64(h.time))
	dst = binary.BigEndian.AppendUint32(dst, h.attempt)
	return binary.BigEndian.AppendUint32(dst, uint32(h.parts))
}

func appendEntryPart(dst []byte, p *entryPart) []byte {
	dst = append(dst, p.id[:]...)
	dst = binary.BigEndian.AppendUint32(dst, uint32(p.partition))
	kind := p.kind
	if p.ref != nil {
		kind = partReference
	}
	dst = binary.BigEndian.AppendUint32(dst, uint32(kind))
	dst = binary.BigEndian.AppendUint64(dst, uint64(p.base))
	return binary.BigEndian.AppendUint64(dst, uint64(p.bytes()))
}

func parseEntryHeader(b []byte) entryHeader {
	b = b[:entryHeaderSize]
	return entryHeader{
		salt:     binary.BigEndian.Uint64(b[entrySaltPos:]),
		length:   int(binary.BigEndian.Uint32(b[entryLengthPos:])),
		crc:      binary.BigEndian.Uint32(b[entryCRCPos:]),
		sequence: binary.BigEndian.Uint64(b[entrySequencePos:]),
		synced:   binary.BigEndian.Uint64(b[entrySyncedPos:]),
		time:     Timestamp(binary.BigEndian.Uint64(b[entryTimePos:])),
		attempt:  binary.BigEndian.Uint32(b[entryAttemptPos:]),
		parts:    int(binary.BigEndian.Uint32(b[entryCountPos:])),
	}
}

// decodeEntry reads the entry that b begins with and appends its parts to dst;
// their batches alias b. Whatever is not a whole entry of this salt is ErrCorrupt.
func decodeEntry(dst []entryPart, b []byte, salt uint64) (entryHeader, []entryPart, error) {
	if len(b) < entryHeaderSize {
		return entryHeader{}, dst, fmt.Errorf("%w: %d bytes, want at least %d", ErrCorrupt, len(b), entryHeaderSize)
	}
	h := parseEntryHeader(b)
	if h.salt != salt {
		return h, dst, fmt.Errorf("%w: salt %016x, want %016x", ErrCorrupt, h.salt, salt)
	}
	if h.length < entryHeaderSize || h.length > len(b) || h.parts < 0 || h.parts > (h.length-entryHeaderSize)/entryPartSize {
		return h, dst, fmt.Errorf("%w: entry of %d bytes with %d parts, %d bytes are left", ErrCorrupt, h.length, h.parts, len(b))
	}
	b = b[:h.length]
	if got := crc32.Checksum(b[entrySequencePos:], castagnoli); got != h.crc {
		return h, dst, fmt.Errorf("%w: crc %08x, want %08x", ErrCorrupt, got, h.crc)
	}
	body := b[entryHeaderSize+h.parts*entryPartSize:]
	for i := range h.parts {
		d := b[entryHeaderSize+i*entryPartSize:]
		p := entryPart{
			partition: int32(binary.BigEndian.Uint32(d[16:])),
			kind:      partKind(binary.BigEndian.Uint32(d[20:])),
			base:      Offset(binary.BigEndian.Uint64(d[24:])),
		}
		copy(p.id[:], d)
		n := binary.BigEndian.Uint64(d[32:])
		if n > uint64(len(body)) || p.kind > partReference {
			return h, dst, fmt.Errorf("%w: part %d: kind %d of %d bytes, %d are left", ErrCorrupt, i, p.kind, n, len(body))
		}
		p.batches, body = body[:n:n], body[n:]
		if p.kind == partReference {
			ref, err := decodeReference(p.batches)
			if err != nil {
				return h, dst, fmt.Errorf("part %d: %w", i, err)
			}
			p.batches, p.ref = nil, ref
		}
		dst = append(dst, p)
	}
	if len(body) != 0 {
		return h, dst, fmt.Errorf("%w: %d bytes after the last part", ErrCorrupt, len(body))
	}
	return h, dst, nil
}

// padded is n rounded up to where the next entry begins.
func padded(n int64) int64 { return padTo(n, entryAlign) }

// padTo is n rounded up to a multiple of align, a power of two.
func padTo(n, align int64) int64 { return (n + align - 1) &^ (align - 1) }
