package engine

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/gretestream/grete/jobs"
	"github.com/gretestream/grete/log"
)

// A watermark mark: the value of the header grete.watermark of a record with
// null key and null value in a repartition topic. A task writes it last in a
// commit, into every partition of the topic, and only when it says something
// new. uvarint and varint are those of encoding/binary.
//
//	version      1   1
//	flags        1   bit 0 idle, 1 caught up, 2 ended (run follows)
//	generation   uvarint
//	task         uvarint   partition of the task that writes
//	tasks        uvarint   how many tasks its stage has
//	epoch        uvarint   the term of the life that writes
//	watermark    varint    earliest result time still possible, ms; the least int64: none
//	run length   uvarint   only with bit 2
//	run
const (
	watermarkHeader = "grete.watermark"

	markVersion = 1

	markIdle     = 1 << 0
	markCaughtUp = 1 << 1
	markEnded    = 1 << 2
	markKnown    = 1<<3 - 1
)

// errBadMark marks bytes that are no watermark mark.
var errBadMark = errors.New("bad watermark mark")

// mark is what one task tells the readers of a repartition topic.
type mark struct {
	Generation int64
	Task       int
	Tasks      int
	Epoch      log.Epoch
	Watermark  int64  // jobs.NoWatermark if none
	Idle       bool   // the task is not to be waited for
	CaughtUp   bool   // it has read what its inputs held when its container started
	Ended      string // id of the bounded run in which it has written everything
}

// unheard is what readers assume of a task that has written no mark.
var unheard = mark{Watermark: jobs.NoWatermark}

// says tells whether m says the same as o, whoever wrote it and in which life.
func (m *mark) says(o *mark) bool {
	return m.Watermark == o.Watermark && m.Idle == o.Idle && m.CaughtUp == o.CaughtUp && m.Ended == o.Ended
}

// isMark tells marks from records of the stage that writes the topic.
func isMark(r *log.Record) bool {
	return len(r.Headers) == 1 && r.Key == nil && r.Headers[0].Key == watermarkHeader
}

// appendTo adds the encoding to dst.
func (m *mark) appendTo(dst []byte) []byte {
	var flags byte
	if m.Idle {
		flags |= markIdle
	}
	if m.CaughtUp {
		flags |= markCaughtUp
	}
	if m.Ended != "" {
		flags |= markEnded
	}
	dst = append(dst, markVersion, flags)
	dst = binary.AppendUvarint(dst, uint64(m.Generation))
	dst = binary.AppendUvarint(dst, uint64(m.Task))
	dst = binary.AppendUvarint(dst, uint64(m.Tasks))
	dst = binary.AppendUvarint(dst, uint64(m.Epoch))
	dst = binary.AppendVarint(dst, m.Watermark)
	if m.Ended != "" {
		dst = binary.AppendUvarint(dst, uint64(len(m.Ended)))
		dst = append(dst, m.Ended...)
	}
	return dst
}

// decodeMark reads what appendTo wrote. Every mistake is errBadMark.
func decodeMark(b []byte) (mark, error) {
	if len(b) < 2 {
		return mark{}, fmt.Errorf("%w: %d bytes", errBadMark, len(b))
	}
	if b[0] != markVersion {
		return mark{}, fmt.Errorf("%w: version %d, want %d: it was written by a newer grete", errBadMark, b[0], markVersion)
	}
	flags := b[1]
	if flags&^markKnown != 0 {
		return mark{}, fmt.Errorf("%w: flags %#02x, known are %#02x", errBadMark, flags, markKnown)
	}
	d := markDecoder{b: b[2:]}
	m := mark{
		Generation: int64(d.uvarint()),
		Task:       int(d.uvarint()),
		Tasks:      int(d.uvarint()),
		Epoch:      log.Epoch(d.uvarint()),
		Watermark:  d.varint(),
		Idle:       flags&markIdle != 0,
		CaughtUp:   flags&markCaughtUp != 0,
	}
	if flags&markEnded != 0 {
		n := d.uvarint()
		if n == 0 || n > uint64(len(d.b)) {
			d.bad = true
		} else {
			m.Ended, d.b = string(d.b[:n]), d.b[n:]
		}
	}
	if d.bad || len(d.b) > 0 || m.Task < 0 || m.Tasks < 0 || m.Task >= m.Tasks || m.Generation < 0 || m.Epoch < 0 {
		return mark{}, fmt.Errorf("%w: %x", errBadMark, b)
	}
	return m, nil
}

// markDecoder reads numbers until the first mistake, which stays.
type markDecoder struct {
	b   []byte
	bad bool
}

func (d *markDecoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 {
		d.bad, d.b = true, nil
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *markDecoder) varint() int64 {
	v, n := binary.Varint(d.b)
	if n <= 0 {
		d.bad, d.b = true, nil
		return 0
	}
	d.b = d.b[n:]
	return v
}
