package state

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"slices"
	"testing"
)

// The example drawn in doc.go.
func TestWindowKeyIsAsDrawn(t *testing.T) {
	key := AppendWindowKey(appendStoreID(nil, 7), 1431857100000, []byte("/a"))
	if got, want := hex.EncodeToString(key), "00000007"+"8000014d615574e0"+"2f61"; got != want {
		t.Fatalf("got %s, want %s", got, want)
	}
	start, rest, err := ParseWindowKey(key[4:])
	if err != nil || start != 1431857100000 || string(rest) != "/a" {
		t.Fatalf("parse: got %d, %q, %v", start, rest, err)
	}
	if _, _, err := ParseWindowKey(key[:7]); !errors.Is(err, ErrNotWindowKey) {
		t.Fatalf("parse 7 bytes: got %v, want ErrNotWindowKey", err)
	}
}

func TestWindowsLieInOrderOfTime(t *testing.T) {
	starts := []int64{math.MinInt64, -60000, -1, 0, 1, 60000, math.MaxInt64}
	var keys [][]byte
	for _, s := range starts {
		keys = append(keys, AppendWindowKey(nil, s, nil), AppendWindowKey(nil, s, []byte("\xff\xff")))
	}
	if !slices.IsSortedFunc(keys, bytes.Compare) {
		t.Fatalf("keys of %v are not in order: %x", starts, keys)
	}
	in := func(lo, hi, key []byte) bool {
		return bytes.Compare(key, lo) >= 0 && (hi == nil || bytes.Compare(key, hi) < 0)
	}
	for i, s := range starts {
		lo, hi := WindowBounds(s)
		for k, key := range keys {
			if got, want := in(lo, hi, key), k/2 == i; got != want {
				t.Errorf("bounds of window %d hold a key of %d: got %v, want %v", s, starts[k/2], got, want)
			}
		}
		for _, to := range starts {
			lo, hi := WindowRange(s, to)
			for k, key := range keys {
				w := starts[k/2]
				if got, want := in(lo, hi, key), s <= w && w < to; got != want {
					t.Errorf("range %d to %d holds a key of %d: got %v, want %v", s, to, w, got, want)
				}
			}
		}
	}
}

// Expiry deletes whole windows below a bound, a few keys at a time, and takes
// what is not yet applied with it.
func TestExpireWindows(t *testing.T) {
	l := newFakeLog("s.changelog")
	d := open(t, l, testSpec("s"), Options{FS: newMemFS()})
	defer mustClose(t, d)
	s := d.Store("s")
	put := func(start int64) {
		for i := range 5 {
			s.Put(AppendWindowKey(nil, start, fmt.Append(nil, i)), []byte("v"))
		}
	}
	put(-60)
	put(0)
	commit(t, l, d, "")
	put(60)
	put(120)

	var cursor []byte
	var calls []int
	for {
		next, n, err := s.ExpireWindows(120, 4, cursor)
		if err != nil {
			t.Fatal(err)
		}
		calls = append(calls, n)
		commit(t, l, d, "")
		if cursor = next; cursor == nil {
			break
		}
	}
	if want := []int{4, 4, 4, 3}; !slices.Equal(calls, want) {
		t.Fatalf("got %v deletions, want %v", calls, want)
	}
	for key := range contents(t, s.Scan) {
		if start, _, err := ParseWindowKey([]byte(key)); err != nil || start < 120 {
			t.Errorf("window %d is still there (%v)", start, err)
		}
	}
	if got := len(contents(t, s.Scan)); got != 5 {
		t.Errorf("got %d entries, want those 5 of window 120", got)
	}
}
