package log

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
)

// A record batch, version 2 ("magic 2"), as Kafka's protocol carries it and as
// it lies in a segment. Integers are big-endian.
//
//	 0  base offset       8   set by the log; not under the checksum
//	 8  length            4   of everything after this field
//	12  leader epoch      4   set by the log; not under the checksum
//	16  magic             1   2
//	17  crc               4   CRC-32C of everything after this field
//	21  attributes        2   bits 0-2 compression, 3 append time, 4 transactional,
//	                          5 control, 6 delete horizon
//	23  last offset delta 4
//	27  base timestamp    8
//	35  max timestamp     8
//	43  producer id       8   -1: none
//	51  producer epoch    2
//	53  base sequence     4
//	57  record count      4
//	61  records
const (
	batchOffsetPos      = 0
	batchLengthPos      = 8
	batchLeaderEpochPos = 12
	batchMagicPos       = 16
	batchCRCPos         = 17
	batchAttributesPos  = 21 // the checksum begins here
	batchLastDeltaPos   = 23
	batchBaseTimePos    = 27
	batchMaxTimePos     = 35
	batchProducerPos    = 43
	batchEpochPos       = 51
	batchSequencePos    = 53
	batchCountPos       = 57

	// BatchHeaderSize is the number of bytes before the records of a batch.
	BatchHeaderSize = 61
	// batchFrameSize is what Length does not count.
	batchFrameSize = 12

	batchMagic = 2

	attrCompression   = 0x07
	attrAppendTime    = 0x08
	attrTransactional = 0x10
	attrControl       = 0x20
	attrDeleteHorizon = 0x40
	attrKnown         = 0x7f
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// BatchInfo is the header of a record batch.
type BatchInfo struct {
	BaseOffset      Offset
	Size            int // bytes of the whole batch, header included
	LeaderEpoch     int32
	CRC             uint32
	Attributes      int16
	LastOffsetDelta int32
	BaseTimestamp   Timestamp
	MaxTimestamp    Timestamp
	ProducerID      int64 // -1: none
	ProducerEpoch   int16
	BaseSequence    int32
	Count           int // records in the batch; after compaction fewer than LastOffsetDelta+1
}

// LastOffset is the offset of the last record.
func (i *BatchInfo) LastOffset() Offset { return i.BaseOffset + Offset(i.LastOffsetDelta) }

// NextOffset is the offset after the last record.
func (i *BatchInfo) NextOffset() Offset { return i.LastOffset() + 1 }

// Compression tells how the records are packed.
func (i *BatchInfo) Compression() Compression { return Compression(i.Attributes & attrCompression) }

// IsTransactional tells whether the batch is part of a Kafka transaction.
func (i *BatchInfo) IsTransactional() bool { return i.Attributes&attrTransactional != 0 }

// IsControl tells whether the batch holds a mark of the log (the end of a
// transaction) instead of records. It takes up offsets but readers never see it.
func (i *BatchInfo) IsControl() bool { return i.Attributes&attrControl != 0 }

// IsAppendTime tells whether all records carry MaxTimestamp, the time of the append.
func (i *BatchInfo) IsAppendTime() bool { return i.Attributes&attrAppendTime != 0 }

// ParseBatch reads and checks the header of the batch that b begins with. It
// does not check the checksum (CheckBatch does). A batch that goes on beyond
// the end of b, and every other mistake, is ErrInvalidBatch.
func ParseBatch(b []byte) (BatchInfo, error) {
	if len(b) < BatchHeaderSize {
		return BatchInfo{}, fmt.Errorf("%w: %d bytes, want at least the %d of a header", ErrInvalidBatch, len(b), BatchHeaderSize)
	}
	info := parseHeader(b)
	if err := info.check(b[batchMagicPos]); err != nil {
		return BatchInfo{}, err
	}
	if info.Size > len(b) {
		return BatchInfo{}, fmt.Errorf("%w: cut off after %d of %d bytes", ErrInvalidBatch, len(b), info.Size)
	}
	return info, nil
}

// parseHeader reads a header without judging it. b holds at least a header.
func parseHeader(b []byte) BatchInfo {
	b = b[:BatchHeaderSize]
	return BatchInfo{
		BaseOffset:      Offset(binary.BigEndian.Uint64(b[batchOffsetPos:])),
		Size:            int(int32(binary.BigEndian.Uint32(b[batchLengthPos:]))) + batchFrameSize,
		LeaderEpoch:     int32(binary.BigEndian.Uint32(b[batchLeaderEpochPos:])),
		CRC:             binary.BigEndian.Uint32(b[batchCRCPos:]),
		Attributes:      int16(binary.BigEndian.Uint16(b[batchAttributesPos:])),
		LastOffsetDelta: int32(binary.BigEndian.Uint32(b[batchLastDeltaPos:])),
		BaseTimestamp:   Timestamp(binary.BigEndian.Uint64(b[batchBaseTimePos:])),
		MaxTimestamp:    Timestamp(binary.BigEndian.Uint64(b[batchMaxTimePos:])),
		ProducerID:      int64(binary.BigEndian.Uint64(b[batchProducerPos:])),
		ProducerEpoch:   int16(binary.BigEndian.Uint16(b[batchEpochPos:])),
		BaseSequence:    int32(binary.BigEndian.Uint32(b[batchSequencePos:])),
		Count:           int(int32(binary.BigEndian.Uint32(b[batchCountPos:]))),
	}
}

// check judges the fields of a header among themselves.
func (i *BatchInfo) check(magic byte) error {
	switch {
	case magic != batchMagic:
		return fmt.Errorf("%w: magic %d, want %d", ErrInvalidBatch, magic, batchMagic)
	case i.Size < BatchHeaderSize:
		return fmt.Errorf("%w: size %d, want at least %d", ErrInvalidBatch, i.Size, BatchHeaderSize)
	case i.Count < 0 || i.LastOffsetDelta < 0 || i.Count > int(i.LastOffsetDelta)+1:
		return fmt.Errorf("%w: %d records with last offset delta %d", ErrInvalidBatch, i.Count, i.LastOffsetDelta)
	case i.BaseOffset < 0 || i.NextOffset() < 0:
		return fmt.Errorf("%w: base offset %d", ErrInvalidBatch, i.BaseOffset)
	}
	return nil
}

// CheckBatch is ParseBatch and also checks the checksum. A wrong one is both
// ErrInvalidBatch and ErrCorrupt.
func CheckBatch(b []byte) (BatchInfo, error) {
	info, err := ParseBatch(b)
	if err != nil {
		return info, err
	}
	if got := crc32.Checksum(b[batchAttributesPos:info.Size], castagnoli); got != info.CRC {
		return info, fmt.Errorf("%w: %w: crc %08x, want %08x", ErrInvalidBatch, ErrCorrupt, got, info.CRC)
	}
	return info, nil
}

// ForEachBatch calls fn for each batch in b, in order, with its checked header
// (checksum excepted) and its bytes. It stops at the first mistake or error of
// fn and says at which byte that was.
func ForEachBatch(b []byte, fn func(info BatchInfo, batch []byte) error) error {
	for pos := 0; pos < len(b); {
		info, err := ParseBatch(b[pos:])
		if err == nil {
			err = fn(info, b[pos:pos+info.Size])
		}
		if err != nil {
			return fmt.Errorf("batch at byte %d: %w", pos, err)
		}
		pos += info.Size
	}
	return nil
}

// CheckBatches checks a run of whole batches, checksums included, and counts
// the offsets that they take up.
func CheckBatches(b []byte) (offsets int64, err error) {
	for pos := 0; pos < len(b); {
		info, err := CheckBatch(b[pos:])
		if err != nil {
			return 0, fmt.Errorf("batch at byte %d: %w", pos, err)
		}
		offsets += int64(info.LastOffsetDelta) + 1
		pos += info.Size
	}
	return offsets, nil
}

// setBatchOffset gives a batch its place. Neither field is under the checksum.
func setBatchOffset(b []byte, base Offset, leaderEpoch int32) {
	binary.BigEndian.PutUint64(b[batchOffsetPos:], uint64(base))
	binary.BigEndian.PutUint32(b[batchLeaderEpochPos:], uint32(leaderEpoch))
}

// setBatchProducer makes a batch part of a transaction, without a sequence.
func setBatchProducer(b []byte, pid int64, epoch int16) {
	b[batchAttributesPos+1] |= attrTransactional
	binary.BigEndian.PutUint64(b[batchProducerPos:], uint64(pid))
	binary.BigEndian.PutUint16(b[batchEpochPos:], uint16(epoch))
	sealBatch(b)
}

// sealBatch fills in the checksum of a complete batch.
func sealBatch(b []byte) {
	binary.BigEndian.PutUint32(b[batchCRCPos:], crc32.Checksum(b[batchAttributesPos:], castagnoli))
}

// stampBatch gives all records of a batch the time of the append.
func stampBatch(b []byte, now Timestamp) {
	b[batchAttributesPos+1] |= attrAppendTime
	setMaxTime(b, now)
}

// setMaxTime changes the largest timestamp of a complete batch.
func setMaxTime(b []byte, t Timestamp) {
	binary.BigEndian.PutUint64(b[batchMaxTimePos:], uint64(t))
	sealBatch(b)
}

// StampProducer makes a complete batch one of a producer, from a sequence number
// on, and of its transaction if it is in one.
func StampProducer(batch []byte, id int64, epoch int16, sequence int32, transactional bool) {
	if transactional {
		batch[batchAttributesPos+1] |= attrTransactional
	}
	binary.BigEndian.PutUint64(batch[batchProducerPos:], uint64(id))
	binary.BigEndian.PutUint16(batch[batchEpochPos:], uint16(epoch))
	binary.BigEndian.PutUint32(batch[batchSequencePos:], uint32(sequence))
	sealBatch(batch)
}
