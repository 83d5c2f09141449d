package operators

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// What a Flow saves in the checkpoint: clocks and watermarks, by name, so that a
// step added to the job leaves those of the others alone. All else that must
// survive is state in stores.
//
//	version   1  1
//	clocks       uvarint count, then for each:
//	  label      uvarint length, bytes
//	  max        varint ms; the smallest int64: no record yet
//	  value      varint ms; likewise: not heard from
//	  idle    1  bit 0: out of the minimum by the engine, bit 1: quiet
//	timelines    uvarint count, then for each:
//	  key        uvarint length, bytes
//	  watermark  varint ms
//	  waiting    uvarint count, 1 byte for each feed: 1 if it has to catch up
const saveVersion = 1

// Save encodes clocks for the checkpoint. Appends to dst.
func (f *Flow) Save(dst []byte) []byte {
	dst = append(dst, saveVersion)
	dst = binary.AppendUvarint(dst, uint64(len(f.clocks)))
	for _, c := range f.clocks {
		dst = appendText(dst, c.label)
		dst = binary.AppendVarint(dst, c.max)
		dst = binary.AppendVarint(dst, c.value)
		idle := byte(0)
		if c.atEnd {
			idle |= 1
		}
		if c.quiet {
			idle |= 2
		}
		dst = append(dst, idle)
	}
	dst = binary.AppendUvarint(dst, uint64(len(f.lines)))
	for _, l := range f.lines {
		dst = appendText(dst, l.key)
		dst = binary.AppendVarint(dst, l.w)
		dst = binary.AppendUvarint(dst, uint64(len(l.feeds)))
		for _, fd := range l.feeds {
			waiting := byte(0)
			if fd.waiting {
				waiting = 1
			}
			dst = append(dst, waiting)
		}
	}
	return dst
}

func appendText(dst []byte, s string) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(s)))
	return append(dst, s...)
}

// restore sets the clocks to what Save wrote and lets the operators read back
// their state. A nil saved is a fresh start.
func (f *Flow) restore(saved []byte) error {
	if saved != nil {
		if err := f.load(saved); err != nil {
			return err
		}
	}
	for _, o := range f.operators {
		if r, ok := o.operator.(interface{ restore(w int64) error }); ok {
			w := int64(noTime)
			if o.step.line >= 0 {
				w = f.lines[o.step.line].w
			}
			if err := r.restore(w); err != nil {
				return fmt.Errorf("%s: %w", o.step, err)
			}
		}
	}
	for _, l := range f.lines {
		if l.w != noTime {
			l.next = noTime
			if err := l.fire(); err != nil { // sets the next boundaries; closes what a crash left over
				return err
			}
		}
		l.setLimits()
	}
	return nil
}

func (f *Flow) load(saved []byte) error {
	d := saveReader{b: saved}
	if v := d.byte(); v != saveVersion {
		return fmt.Errorf("got version %d of the operators' part, want %d: it was written by another release", v, saveVersion)
	}
	for n := d.uvarint(); n > 0 && d.err == nil; n-- {
		label, largest, value, idle := d.text(), d.varint(), d.varint(), d.byte()
		for _, c := range f.clocks {
			if c.label == label {
				c.max, c.value, c.atEnd, c.quiet = largest, value, idle&1 != 0, idle&2 != 0
			}
		}
	}
	for n := d.uvarint(); n > 0 && d.err == nil; n-- {
		key, w := d.text(), d.varint()
		waiting := make([]bool, 0, 4)
		for m := d.uvarint(); m > 0 && d.err == nil; m-- {
			waiting = append(waiting, d.byte() == 1)
		}
		for _, l := range f.lines {
			if l.key != key {
				continue
			}
			l.w = w
			for i, fd := range l.feeds {
				fd.waiting = i < len(waiting) && waiting[i]
			}
		}
	}
	if d.err == nil && len(d.b) > 0 {
		d.err = fmt.Errorf("%d bytes after the end", len(d.b))
	}
	return d.err
}

// saveReader reads with a sticky error.
type saveReader struct {
	b   []byte
	err error
}

var errShortSave = errors.New("the operators' part ends early")

func (d *saveReader) fail() { d.b, d.err = nil, errShortSave }

func (d *saveReader) byte() byte {
	if len(d.b) == 0 {
		d.fail()
		return 0
	}
	v := d.b[0]
	d.b = d.b[1:]
	return v
}

func (d *saveReader) uvarint() uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 {
		d.fail()
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *saveReader) varint() int64 {
	v, n := binary.Varint(d.b)
	if n <= 0 {
		d.fail()
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *saveReader) text() string {
	n := d.uvarint()
	if n > uint64(len(d.b)) {
		d.fail()
		return ""
	}
	v := string(d.b[:n])
	d.b = d.b[n:]
	return v
}
