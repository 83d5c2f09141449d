package kafka

import (
	"encoding/binary"

	"github.com/gretestream/grete/log"
)

// The answer to a Fetch is not encoded by kmsg, since most of it is not in
// memory: batches go from the log's files to the socket.
//
//	throttle 4 · error 2 · session 4            (error and session from version 7)
//	topics: name or id · partitions:
//	  partition 4 · error 2 · high watermark 8 · last stable offset 8 · start 8   (start from 5)
//	  aborted transactions: producer id 8 · first offset 8 each, or null
//	  preferred replica 4                       (from version 11)
//	  records: length · batches
//
// From version 12 on lengths are varints, one more than what they count, and
// each topic, partition, transaction, and the whole end with a count of tags: 0.

// piece is a stretch of an answer: bytes in memory up to end, then a span.
type piece struct {
	end  int
	span *log.Span
}

// appendTo appends the answer to dst. Spans are left out, and noted in pieces.
func (f *fetching) appendTo(dst []byte, pieces []piece) ([]byte, []piece) {
	version := f.req.Version
	flexible := version >= 12
	dst = binary.BigEndian.AppendUint32(dst, uint32(f.ThrottleMillis))
	if version >= 7 {
		dst = binary.BigEndian.AppendUint16(dst, 0) // error
		dst = binary.BigEndian.AppendUint32(dst, 0) // session
	}
	dst = appendLength(dst, len(f.req.Topics), flexible)
	parts := f.parts
	for i := range f.req.Topics {
		t := &f.req.Topics[i]
		if version >= 13 {
			dst = append(dst, t.TopicID[:]...)
		} else if flexible {
			dst = append(appendLength(dst, len(t.Topic), true), t.Topic...)
		} else {
			dst = append(binary.BigEndian.AppendUint16(dst, uint16(len(t.Topic))), t.Topic...)
		}
		dst = appendLength(dst, len(t.Partitions), flexible)
		for range t.Partitions {
			dst = f.appendPart(dst, &parts[0])
			if span := &parts[0].span; span.Size > 0 {
				pieces = append(pieces, piece{len(dst), span})
			}
			if flexible {
				dst = append(dst, 0)
			}
			parts = parts[1:]
		}
		if flexible {
			dst = append(dst, 0)
		}
	}
	if flexible {
		dst = append(dst, 0)
	}
	return dst, append(pieces, piece{end: len(dst)})
}

// appendPart appends what comes before the batches of a partition.
func (f *fetching) appendPart(dst []byte, p *fetchPart) []byte {
	version := f.req.Version
	flexible := version >= 12
	hw, stable, start := int64(p.bounds.End), int64(p.bounds.Stable), int64(p.bounds.Start)
	if p.code != 0 {
		hw, stable, start = -1, -1, -1
	}
	dst = binary.BigEndian.AppendUint32(dst, uint32(p.asked.Partition))
	dst = binary.BigEndian.AppendUint16(dst, uint16(p.code))
	dst = binary.BigEndian.AppendUint64(dst, uint64(hw))
	dst = binary.BigEndian.AppendUint64(dst, uint64(stable))
	if version >= 5 {
		dst = binary.BigEndian.AppendUint64(dst, uint64(start))
	}
	aborted := len(p.aborted)
	if f.req.IsolationLevel != readCommitted {
		aborted = -1
	}
	dst = appendLength(dst, aborted, flexible)
	for _, a := range p.aborted {
		dst = binary.BigEndian.AppendUint64(dst, uint64(a.ProducerID))
		dst = binary.BigEndian.AppendUint64(dst, uint64(a.FirstOffset))
		if flexible {
			dst = append(dst, 0)
		}
	}
	if version >= 11 {
		dst = binary.BigEndian.AppendUint32(dst, 1<<32-1) // no preferred replica
	}
	return appendLength(dst, p.span.Size, flexible)
}

// appendLength appends the length of an array or of bytes; -1 is null.
func appendLength(dst []byte, n int, flexible bool) []byte {
	if flexible {
		return binary.AppendUvarint(dst, uint64(n+1))
	}
	return binary.BigEndian.AppendUint32(dst, uint32(n))
}
