package state

import (
	"bytes"
	"testing"

	"github.com/gretestream/grete/log"
)

// Own records come back as they were written, and nothing else is taken for one.
func FuzzOwnRecords(f *testing.F) {
	f.Add(position{topic: log.TopicID{1, 2}, partition: 3, offset: 4, at: 5}.appendTo(nil))
	f.Add(identity{generation: 7, cluster: "c"}.encode())
	f.Add([]byte{})
	f.Add(AppendWindowKey(nil, -60, []byte("k")))
	f.Fuzz(func(t *testing.T, b []byte) {
		if p, err := decodePosition(b); err == nil && !bytes.Equal(p.appendTo(nil), b) {
			t.Errorf("position %+v: got %x, want %x", p, p.appendTo(nil), b)
		}
		if i, err := decodeIdentity(b); err == nil && !bytes.Equal(i.encode(), b) {
			t.Errorf("identity %+v: got %x, want %x", i, i.encode(), b)
		}
		if start, key, err := ParseWindowKey(b); err == nil && !bytes.Equal(AppendWindowKey(nil, start, key), b) {
			t.Errorf("window %d, key %x: got %x, want %x", start, key, AppendWindowKey(nil, start, key), b)
		}
	})
}

func TestPrefixEnd(t *testing.T) {
	f := func(prefix, want []byte) {
		t.Helper()
		if got := prefixEnd(prefix); !bytes.Equal(got, want) || (got == nil) != (want == nil) {
			t.Errorf("end of %x: got %x, want %x", prefix, got, want)
		}
	}
	f([]byte{1, 2}, []byte{1, 3})
	f([]byte{1, 0xff}, []byte{2})
	f([]byte{0xff, 0xff}, nil)
	f(nil, nil)
}
