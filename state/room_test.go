package state

import (
	"fmt"
	"testing"
)

// TestApplyThroughTheFirstMemtables: Pebble begins with small memtables and does
// not flush before half of a full one has gathered, so their number says nothing
// about room.
func TestApplyThroughTheFirstMemtables(t *testing.T) {
	l := newFakeLog("a.changelog")
	d := open(t, l, testSpec("a"), Options{FS: newMemFS()})
	defer mustClose(t, d)
	s := d.Store("a")
	value := make([]byte, 1000)
	for i := range 60 {
		for k := range 100 {
			s.Put(fmt.Appendf(nil, "%d-%d", i, k), value)
		}
		commit(t, l, d, "")
	}
}
