package log

import (
	"encoding/binary"
	"fmt"
)

// A marker ends a transaction in one partition. It is a batch with the
// attributes transactional and control, the producer's id and epoch, no
// sequence, and one record, as in Kafka (EndTransactionMarker):
//
//	key    2  version 0          value  2  version 0
//	       2  0 abort, 1 commit         4  coordinator epoch
const (
	markerKeySize   = 4
	markerValueSize = 6
	markerAbort     = 0
	markerCommit    = 1
)

// appendMarker appends the control batch of a marker.
func appendMarker(dst []byte, m *Marker, now Timestamp) []byte {
	kind := uint16(markerAbort)
	if m.Commit {
		kind = markerCommit
	}
	var key, value []byte
	key = binary.BigEndian.AppendUint16(key, 0)
	key = binary.BigEndian.AppendUint16(key, kind)
	value = binary.BigEndian.AppendUint16(value, 0)
	value = binary.BigEndian.AppendUint32(value, uint32(m.CoordinatorEpoch))
	return appendBatch(dst, BatchInfo{
		Attributes: attrTransactional | attrControl, ProducerID: m.ProducerID, ProducerEpoch: m.ProducerEpoch, BaseSequence: -1,
	}, now, []Record{{Timestamp: now, Key: key, Value: value}})
}

// decodeMarker reads a control batch. It is no marker if compaction has emptied
// it, or if it is of another kind: Kafka has such of its own.
func decodeMarker(info *BatchInfo, batch []byte) (m Marker, ok bool, err error) {
	if info.Count == 0 {
		return m, false, nil
	}
	plain := *info
	plain.Attributes &^= attrControl
	var d decoder
	recs, err := d.decodeBatch(nil, &plain, batch)
	if err != nil {
		return m, false, fmt.Errorf("control batch: %w", err)
	}
	k := fields{b: recs[0].Key}
	k.int16()
	kind := k.int16()
	if k.bad || kind != markerAbort && kind != markerCommit {
		return m, false, nil
	}
	v := fields{b: recs[0].Value}
	v.int16()
	m = Marker{ProducerID: info.ProducerID, ProducerEpoch: info.ProducerEpoch, CoordinatorEpoch: v.int32(), Commit: kind == markerCommit}
	if v.bad {
		return m, false, fmt.Errorf("%w: control batch: value of %d bytes, want %d", ErrCorrupt, len(recs[0].Value), markerValueSize)
	}
	return m, true, nil
}
