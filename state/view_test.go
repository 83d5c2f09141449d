package state

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"testing"
)

// Views of other goroutines see whole intervals only, small ones and big ones:
// all values of a View are those of the interval that its meta record names.
func TestViewNeverSeesHalfAnInterval(t *testing.T) {
	l := newFakeLog("a.changelog", "b.changelog")
	d := open(t, l, testSpec("a", "b"), Options{FS: newMemFS(), MemTableBytes: 256 << 10})
	defer mustClose(t, d)
	d.pendingMin = 300 // the smallest interval has more

	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 3 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for {
				select {
				case <-stop:
					return
				default:
				}
				if err := checkView(d); err != nil {
					t.Error(err)
					return
				}
			}
		}()
	}
	for i := range uint64(60) {
		value := binary.BigEndian.AppendUint64(nil, i)
		n := 10
		if i%7 == 0 {
			n = 2000 // goes in as a table
		}
		if i > 30 {
			d.pendingMin = 2000 // small ones go in at once, if nothing is pending
		}
		for k := range n {
			d.Store("a").Put(fmt.Append(nil, k), value)
			d.Store("b").Put(fmt.Append(nil, k), value)
		}
		commit(t, l, d, string(value))
	}
	close(stop)
	wg.Wait()
}

// checkView looks at the ten keys that every interval writes.
func checkView(d *DB) (err error) {
	v, err := d.View()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, v.Close()) }()
	if v.Meta() == nil {
		return nil
	}
	for k := range 10 {
		for _, store := range []string{"a", "b"} {
			got, ok, err := v.Get(store, fmt.Append(nil, k))
			if err != nil || !ok || string(got) != string(v.Meta()) {
				return fmt.Errorf("key %d of store %s: got %x, %v, %v, want %x", k, store, got, ok, err, v.Meta())
			}
		}
	}
	return nil
}
