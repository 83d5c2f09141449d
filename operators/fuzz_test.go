package operators

import (
	"bytes"
	"errors"
	"reflect"
	"strconv"
	"testing"

	"github.com/gretestream/grete/state/codec"
)

// Whatever a checkpoint holds: no panic, and what is understood of it is saved
// the same.
func FuzzSave(f *testing.F) {
	bare := func() *Flow {
		a, b := &clock{label: "a", max: noTime, value: noTime}, &clock{label: "b", max: noTime, value: noTime}
		return &Flow{clocks: []stepClock{{clock: a}, {clock: b}}, lines: []*timeline{
			{key: "l", w: noTime, feeds: []*feed{{clock: a}, {clock: b}}},
			{key: "", w: noTime},
		}}
	}
	fl := bare()
	fl.clocks[0].value, fl.clocks[1].quiet, fl.lines[0].w, fl.lines[0].feeds[1].waiting = 70, true, 60, true
	f.Add(fl.Save(nil))
	f.Add((&Flow{}).Save(nil))
	f.Add(append((&Flow{}).Save(nil), 0))
	f.Fuzz(func(t *testing.T, saved []byte) {
		fl, again := bare(), bare()
		if fl.load(saved) != nil {
			return
		}
		b := fl.Save(nil)
		if err := again.load(b); err != nil || !bytes.Equal(again.Save(nil), b) {
			t.Fatalf("saved as %x, then as %x: %v", b, again.Save(nil), err)
		}
	})
}

// Whatever a store holds of closing windows: no panic, and what is understood is
// written the same.
func FuzzProgress(f *testing.F) {
	p := progress{closed: 5, window: -60, mid: true, key: []byte("k"), provisional: []int64{1, 2}}
	f.Add(p.append(nil))
	f.Add((&progress{closed: noTime}).append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := parseProgress(b)
		if err != nil {
			if !errors.Is(err, codec.ErrMalformed) {
				t.Fatalf("got %v, want ErrMalformed", err)
			}
			return
		}
		again, err := parseProgress(p.append(nil))
		if err != nil || !reflect.DeepEqual(again, p) {
			t.Fatalf("got %+v, %v, want %+v", again, err, p)
		}
	})
}

// Whatever a store holds of windows and their keys: no panic, and what is
// understood is written the same.
func FuzzCell(f *testing.F) {
	c := cellCodec[int64]{acc: codec.Int64, start: 60, timed: true}
	for _, v := range []cell[int64]{{acc: 7, max: noTime}, {acc: 8, max: 70}} {
		b, err := c.Append(nil, v)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add(topKey(nil, codec.Window{Start: -5, End: 60}))
	f.Add(fixed{}.sliceKey(nil, 60))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		var v, again cell[int64]
		if err := c.Decode(&v, b, nil); err == nil && v.max != noTime {
			stored, err := c.Append(nil, v)
			if err != nil || c.Decode(&again, stored, nil) != nil || again != v {
				t.Fatalf("cell %+v: stored as %x, %v, which is %+v", v, stored, err, again)
			}
		} else if err != nil && !errors.Is(err, codec.ErrMalformed) {
			t.Fatalf("got %v, want ErrMalformed", err)
		}
		if w, err := parseTopKey(b); err == nil && !bytes.HasPrefix(b, topKey(nil, w)) {
			t.Fatalf("key %x of windows: got %v", b, w)
		}
		if start, key, err := (fixed{}).parseKey(b); err == nil && !bytes.Equal(append((fixed{}).sliceKey(nil, start), key...), b) {
			t.Fatalf("key %x of a slice: got %d, %x", b, start, key)
		}
	})
}

// Whatever a key in a query says: no panic, and what is taken is the key of a
// value that reads the same.
func FuzzParseKey(f *testing.F) {
	for _, s := range []string{"", "a", "-1", "1e3", "9223372036854775808", "true", `{"S":"x","N":1}`, "[1,2]"} {
		f.Add(s)
	}
	type object struct {
		S string
		N int
	}
	f.Fuzz(func(t *testing.T, text string) {
		if s := queried(t, codec.String, text); s == nil || *s != text {
			t.Errorf("text %q was refused, or is another", text)
		}
		if n := queried(t, codec.Int64, text); n != nil {
			if again := queried(t, codec.Int64, strconv.FormatInt(*n, 10)); again == nil || *again != *n {
				t.Errorf("number %q is %d", text, *n)
			}
		}
		queried(t, codec.Int8, text)
		queried(t, codec.Bool, text)
		queried(t, codec.Float32, text)
		queried(t, codec.JSON[uint16](), text)
		queried(t, codec.JSON[[]int](), text)
		queried(t, codec.JSON[object](), text)
	})
}

// queried is the key that a query's text stands for; nil if it was refused.
func queried[K any](t *testing.T, c Codec[K], text string) *K {
	t.Helper()
	b, err := parseKey(c, text)
	if err != nil {
		return nil
	}
	var k K
	if err := c.Decode(&k, b, nil); err != nil {
		t.Errorf("%q is the key %x, which does not decode: %v", text, b, err)
	}
	return &k
}
