package codec

import (
	"bytes"
	"errors"
	"math"
	"reflect"
	"testing"
	"time"
)

// roundTrip encodes v, compares with want, and decodes it with and without an
// Arena.
func roundTrip[T any](t *testing.T, c Codec[T], v T, want string) {
	t.Helper()
	got, err := c.Append([]byte("x"), v)
	if err != nil || string(got) != "x"+want {
		t.Errorf("%s: encode %v: got %q, %v, want %q", c.Name(), v, got, err, "x"+want)
	}
	for _, a := range []*Arena{nil, {}} {
		var back T
		src := []byte(want)
		if err := c.Decode(&back, src, a); err != nil {
			t.Errorf("%s: decode %q: %v", c.Name(), want, err)
		}
		clear(src) // nothing decoded may point into src
		if !reflect.DeepEqual(back, v) {
			t.Errorf("%s: decode %q: got %v, want %v", c.Name(), want, back, v)
		}
	}
}

func malformed[T any](t *testing.T, c Codec[T], src string) {
	t.Helper()
	var v T
	if err := c.Decode(&v, []byte(src), nil); !errors.Is(err, ErrMalformed) {
		t.Errorf("%s: decode %q: got %v, %v, want ErrMalformed", c.Name(), src, v, err)
	}
}

func TestPlainCodecs(t *testing.T) {
	roundTrip(t, String, "", "")
	roundTrip(t, String, "a\xffb", "a\xffb")
	roundTrip(t, Bytes, []byte{}, "")
	roundTrip(t, Bytes, []byte("abc"), "abc")
	roundTrip(t, Int64, 1, "\x00\x00\x00\x00\x00\x00\x00\x01")
	roundTrip(t, Int64, math.MinInt64, "\x80\x00\x00\x00\x00\x00\x00\x00")
	roundTrip(t, Int32, -2, "\xff\xff\xff\xfe")
	roundTrip(t, Int16, 258, "\x01\x02")
	roundTrip(t, Int8, -1, "\xff")
	roundTrip(t, Float64, 1, "\x3f\xf0\x00\x00\x00\x00\x00\x00")
	roundTrip(t, Float32, 1, "\x3f\x80\x00\x00")
	roundTrip(t, Bool, true, "\x01")
	roundTrip(t, Bool, false, "\x00")

	malformed(t, Int64, "1234567")
	malformed(t, Int32, "12345")
	malformed(t, Int16, "")
	malformed(t, Int8, "12")
	malformed(t, Float64, "123456789")
	malformed(t, Float32, "")
	malformed(t, Bool, "\x02")
	malformed(t, Bool, "")
}

func TestWindowKeys(t *testing.T) {
	minute := Windowed[string]{"home", Window{60_000, 120_000}}
	roundTrip(t, WindowKey(String, time.Minute), minute, "home\x00\x00\x00\x00\x00\x00\xea\x60")
	roundTrip(t, WindowKey(String), Windowed[string]{"home", Window{60_000, 60_000}}, "home\x00\x00\x00\x00\x00\x00\xea\x60")
	roundTrip(t, SpanKey(String), minute, "home\x00\x00\x00\x00\x00\x01\xd4\xc0\x00\x00\x00\x00\x00\x00\xea\x60")
	roundTrip(t, Span, Window{-1, 0}, "\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff\xff\xff\xff\xff\xff\xff")
	malformed(t, WindowKey(String), "1234567")
	malformed(t, SpanKey(String), "123456789012345")
	malformed(t, Span, "")

	if got, want := minute.String(), "home@[1970-01-01T00:01:00Z, 1970-01-01T00:02:00Z)"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestForChoosesByKind(t *testing.T) {
	type Page string
	type Count int
	type Raw []byte
	type Struct struct{ A int }

	name := func(got interface{ Name() string }, err error) string {
		if err != nil {
			return err.Error()
		}
		return got.Name()
	}
	f := func(got, want string) {
		t.Helper()
		if got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	f(name(For[Page]()), "string")
	f(name(For[Count]()), "int64")
	f(name(For[uint16]()), "uint16")
	f(name(For[Raw]()), "bytes")
	f(name(For[Struct]()), "json(Struct)")
	f(name(For[*Struct]()), "json(*codec.Struct)")
	f(name(For[time.Time]()), "json(Time)")
	f(name(For[Windowed[Page]]()), "span-key(string)")
	f(name(For[Window]()), "span")
	f(name(For[func()]()), "no codec for func(): a func has no bytes of its own; want a string, number, []byte, struct, slice or map")

	page, _ := For[Page]()
	roundTrip(t, page, "home", "home")
	count, _ := For[Count]()
	roundTrip(t, count, -1, "\xff\xff\xff\xff\xff\xff\xff\xff")
	u16, _ := For[uint16]()
	roundTrip(t, u16, 0xfffe, "\xff\xfe")
	raw, _ := For[Raw]()
	roundTrip(t, raw, Raw("abc"), "abc")
	windowed, _ := For[Windowed[Page]]()
	roundTrip(t, windowed, Windowed[Page]{"a", Window{0, 1}}, "a\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00")
}

func TestOrderedEncodings(t *testing.T) {
	ints := []int64{math.MinInt64, -2, -1, 0, 1, 256, math.MaxInt64}
	for i := 1; i < len(ints); i++ {
		if a, b := AppendOrderedInt64(nil, ints[i-1]), AppendOrderedInt64(nil, ints[i]); bytes.Compare(a, b) >= 0 {
			t.Errorf("%d encodes to %x, not below %d: %x", ints[i-1], a, ints[i], b)
		}
	}
	keys := []string{"", "\x00", "\x00\x00", "\x00\x01", "\x00\xff", "\x01", "a", "a\x00", "a\x00b", "a\x01", "ab", "\xff", "\xff\xff"}
	for i := 1; i < len(keys); i++ {
		a, b := AppendEscaped(nil, []byte(keys[i-1])), AppendEscaped(nil, []byte(keys[i]))
		if bytes.Compare(a, b) >= 0 || bytes.HasPrefix(b, a) {
			t.Errorf("%q encodes to %x, not below %q: %x", keys[i-1], a, keys[i], b)
		}
	}
}

func FuzzOrdered(f *testing.F) {
	f.Add([]byte("a\x00b"), []byte("a"), int64(-1))
	f.Fuzz(func(t *testing.T, a, b []byte, n int64) {
		ea, eb := AppendEscaped(nil, a), AppendEscaped(nil, b)
		if bytes.Compare(a, b) != bytes.Compare(ea, eb) {
			t.Fatalf("order of %x and %x is lost in %x and %x", a, b, ea, eb)
		}
		key, rest, err := Unescape(nil, AppendOrderedInt64(ea, n))
		if err != nil || !bytes.Equal(key, a) {
			t.Fatalf("unescape: got %x, %v, want %x", key, err, a)
		}
		if got, rest, err := OrderedInt64(rest); got != n || len(rest) != 0 || err != nil {
			t.Fatalf("ordered int64: got %d, %x, %v, want %d", got, rest, err, n)
		}
		// Arbitrary bytes: no panic, and what is accepted is canonical.
		if key, rest, err := Unescape(nil, a); err == nil && !bytes.Equal(AppendEscaped(nil, key), a[:len(a)-len(rest)]) {
			t.Fatalf("unescape %x accepted what it would not write", a)
		}
	})
}

func TestArena(t *testing.T) {
	a := &Arena{BlockBytes: 64}
	var kept []string
	var want []string
	for i := range 100 {
		b := bytes.Repeat([]byte{byte('a' + i%26)}, i%40)
		kept, want = append(kept, a.String(b)), append(want, string(b))
		clear(b)
	}
	if !reflect.DeepEqual(kept, want) {
		t.Errorf("strings changed after they were cut: got %q, want %q", kept, want)
	}
	p, q := a.Bytes([]byte("abc")), a.Bytes([]byte("def"))
	_ = append(p, 'X')
	if string(q) != "def" {
		t.Errorf("appending to one slice changed the next: %q", q)
	}
	if (*Arena)(nil).Bytes(nil) == nil || a.Bytes(nil) == nil {
		t.Error("Bytes returned nil for no bytes, want an empty slice")
	}
}

// FuzzPlain feeds every fixed layout with arbitrary bytes: what a codec accepts
// it writes back unchanged.
func FuzzPlain(f *testing.F) {
	f.Add([]byte("12345678"))
	f.Add([]byte("home1234567812345678"))
	f.Fuzz(func(t *testing.T, src []byte) {
		canonical(t, String, src)
		canonical(t, Bytes, src)
		canonical(t, Int64, src)
		canonical(t, Int32, src)
		canonical(t, Int16, src)
		canonical(t, Int8, src)
		canonical(t, Float64, src)
		canonical(t, Float32, src)
		canonical(t, Bool, src)
		canonical(t, WindowKey(String), src)
		canonical(t, WindowKey(Int32, time.Minute), src)
		canonical(t, SpanKey(Int64), src)
		canonical(t, Span, src)
	})
}

func canonical[T any](t *testing.T, c Codec[T], src []byte) {
	t.Helper()
	var v T
	if err := c.Decode(&v, src, nil); err != nil {
		if !errors.Is(err, ErrMalformed) {
			t.Fatalf("%s: decode %x: %v is not ErrMalformed", c.Name(), src, err)
		}
		return
	}
	if back, err := c.Append(nil, v); err != nil || !bytes.Equal(back, src) {
		t.Fatalf("%s: %x was read as %v and written as %x, %v", c.Name(), src, v, back, err)
	}
}
