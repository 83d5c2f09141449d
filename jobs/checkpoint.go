package jobs

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/gretestream/grete/log"
)

// A checkpoint, the value of a record in the topic <job>.<generation>.checkpoint
// whose key is the task's name. uvarint and varint are those of encoding/binary;
// bytes are a uvarint length and that many bytes.
//
//	version         1   1
//	epoch           uvarint   the term of the life that wrote it; the highest wins
//	watermark       varint    ms; the least int64 where there is none
//	inputs          uvarint   count, then for each
//	  topic         bytes     the log's name
//	  offset        uvarint   next to read
//	  captured      uvarint   end captured when the generation first read it
//	  flags         1         bit 0 idle
//	  upstream      uvarint   count (0: not a repartition), then for each
//	    flags       1         bit 0 heard, 1 idle, 2 caught up, 3 ended (run follows)
//	    watermark   varint
//	    epoch       uvarint
//	    run         bytes     only with bit 3
//	changelogs      uvarint   count, then for each store of the stage, in order
//	  end           uvarint   before the commit's own writes
//	flow            bytes     clocks and cursors, as Flow.Save wrote them
//	marks           uvarint   count, then for each output of the stage, in order
//	  mark          bytes     last outgoing watermark mark; empty: none
//
// A newer version is refused: it may say things that must not be ignored.
const checkpointVersion = 1

const (
	inputIdle = 1 << 0

	upstreamHeard    = 1 << 0
	upstreamIdle     = 1 << 1
	upstreamCaughtUp = 1 << 2
	upstreamEnded    = 1 << 3
	upstreamKnown    = 1<<4 - 1
)

// ErrBadCheckpoint marks bytes that are no checkpoint.
var ErrBadCheckpoint = errors.New("bad checkpoint")

// Checkpoint is where a task restarts from: one record in the topic
// <job>.<generation>.checkpoint, keyed by the task's name, written in each of its
// Commits.
type Checkpoint struct {
	Epoch      log.Epoch
	Inputs     []InputCheckpoint // as the stage's inputs
	Changelogs []log.Offset      // ends of the stage's stores' changelogs before this commit's own writes
	Watermark  int64             // of the task; NoWatermark if none
	Flow       []byte            // Flow.Save
	Marks      [][]byte          // last outgoing watermark per output, so that unchanged ones are not written again
}

// InputCheckpoint is one input's position.
type InputCheckpoint struct {
	Topic    string     // the log's name
	Offset   log.Offset // next to read
	Captured log.Offset // the end when the generation first read it: a table or bootstrap input is read this far before others
	Idle     bool
	Upstream []UpstreamMark // of a repartition input
}

// UpstreamMark is what one upstream task declared last.
type UpstreamMark struct {
	Watermark int64 // NoWatermark if none
	Epoch     log.Epoch
	Heard     bool   // anything at all
	Idle      bool   // not counted
	CaughtUp  bool   // the task has read what its inputs held when its container started
	Ended     string // the id of the bounded run whose end it declared; empty: none
}

// AppendTo adds the encoding to dst and returns the extended slice.
func (c *Checkpoint) AppendTo(dst []byte) []byte {
	dst = append(dst, checkpointVersion)
	dst = binary.AppendUvarint(dst, uint64(c.Epoch))
	dst = binary.AppendVarint(dst, c.Watermark)
	dst = binary.AppendUvarint(dst, uint64(len(c.Inputs)))
	for i := range c.Inputs {
		dst = c.Inputs[i].appendTo(dst)
	}
	dst = binary.AppendUvarint(dst, uint64(len(c.Changelogs)))
	for _, end := range c.Changelogs {
		dst = binary.AppendUvarint(dst, uint64(end))
	}
	dst = appendBytes(dst, c.Flow)
	dst = binary.AppendUvarint(dst, uint64(len(c.Marks)))
	for _, m := range c.Marks {
		dst = appendBytes(dst, m)
	}
	return dst
}

func (in *InputCheckpoint) appendTo(dst []byte) []byte {
	dst = appendBytes(dst, []byte(in.Topic))
	dst = binary.AppendUvarint(dst, uint64(in.Offset))
	dst = binary.AppendUvarint(dst, uint64(in.Captured))
	dst = append(dst, flag(in.Idle, inputIdle))
	dst = binary.AppendUvarint(dst, uint64(len(in.Upstream)))
	for i := range in.Upstream {
		u := &in.Upstream[i]
		flags := flag(u.Heard, upstreamHeard) | flag(u.Idle, upstreamIdle) |
			flag(u.CaughtUp, upstreamCaughtUp) | flag(u.Ended != "", upstreamEnded)
		dst = append(dst, flags)
		dst = binary.AppendVarint(dst, u.Watermark)
		dst = binary.AppendUvarint(dst, uint64(u.Epoch))
		if u.Ended != "" {
			dst = appendBytes(dst, []byte(u.Ended))
		}
	}
	return dst
}

func flag(set bool, bit byte) byte {
	if set {
		return bit
	}
	return 0
}

func appendBytes(dst, b []byte) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(b))), b...)
}

// DecodeCheckpoint reads what AppendTo wrote. The result shares nothing with b.
// Every mistake is ErrBadCheckpoint.
func DecodeCheckpoint(b []byte) (Checkpoint, error) {
	d := decoder{b: b}
	if v := d.byte(); d.err == nil && v != checkpointVersion {
		return Checkpoint{}, fmt.Errorf("%w: version %d, want %d: it was written by a newer grete", ErrBadCheckpoint, v, checkpointVersion)
	}
	c := Checkpoint{
		Epoch:     log.Epoch(d.uvarint()),
		Watermark: d.varint(),
	}
	c.Inputs = make([]InputCheckpoint, d.count())
	for i := range c.Inputs {
		c.Inputs[i] = d.input()
	}
	c.Changelogs = make([]log.Offset, d.count())
	for i := range c.Changelogs {
		c.Changelogs[i] = log.Offset(d.uvarint())
	}
	c.Flow = d.bytes()
	c.Marks = make([][]byte, d.count())
	for i := range c.Marks {
		c.Marks[i] = d.bytes()
	}
	if d.err == nil && len(d.b) > 0 {
		d.fail("%d bytes after the end", len(d.b))
	}
	if d.err != nil {
		return Checkpoint{}, d.err
	}
	return c, nil
}

// decoder reads the fields of a checkpoint. After the first mistake it stays at
// err and every field is 0.
type decoder struct {
	b   []byte
	err error
}

func (d *decoder) fail(format string, args ...any) {
	if d.err == nil {
		d.err = fmt.Errorf("%w: %s", ErrBadCheckpoint, fmt.Sprintf(format, args...))
	}
	d.b = nil
}

func (d *decoder) input() InputCheckpoint {
	in := InputCheckpoint{
		Topic:    string(d.bytes()),
		Offset:   log.Offset(d.uvarint()),
		Captured: log.Offset(d.uvarint()),
		Idle:     d.flags(inputIdle)&inputIdle != 0,
	}
	n := d.count()
	if n == 0 {
		return in
	}
	in.Upstream = make([]UpstreamMark, n)
	for i := range in.Upstream {
		flags := d.flags(upstreamKnown)
		u := UpstreamMark{
			Heard:     flags&upstreamHeard != 0,
			Idle:      flags&upstreamIdle != 0,
			CaughtUp:  flags&upstreamCaughtUp != 0,
			Watermark: d.varint(),
			Epoch:     log.Epoch(d.uvarint()),
		}
		if flags&upstreamEnded != 0 {
			u.Ended = string(d.bytes())
			if u.Ended == "" {
				d.fail("empty id of a run")
			}
		}
		in.Upstream[i] = u
	}
	return in
}

func (d *decoder) byte() byte {
	if len(d.b) == 0 {
		d.fail("cut off")
		return 0
	}
	v := d.b[0]
	d.b = d.b[1:]
	return v
}

func (d *decoder) flags(known byte) byte {
	f := d.byte()
	if f&^known != 0 {
		d.fail("flags %#02x, known are %#02x", f, known)
	}
	return f
}

// uvarint reads a number that fits in an int64.
func (d *decoder) uvarint() int64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 || v > math.MaxInt64 {
		d.fail("bad number")
		return 0
	}
	d.b = d.b[n:]
	return int64(v)
}

func (d *decoder) varint() int64 {
	v, n := binary.Varint(d.b)
	if n <= 0 {
		d.fail("bad number")
		return 0
	}
	d.b = d.b[n:]
	return v
}

// count reads how many things follow; each takes up a byte at least.
func (d *decoder) count() int {
	n := d.uvarint()
	if n > int64(len(d.b)) {
		d.fail("%d things in %d bytes", n, len(d.b))
		return 0
	}
	return int(n)
}

func (d *decoder) bytes() []byte {
	n := d.count()
	if n == 0 {
		return nil
	}
	v := append([]byte(nil), d.b[:n]...)
	d.b = d.b[n:]
	return v
}
