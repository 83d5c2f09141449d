package state

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble"
	"go.uber.org/goleak"

	"github.com/gretestream/grete/log"
	"github.com/gretestream/grete/log/logtest"
)

// fillStore puts n keys into the first store of a DB and applies them.
func fillStore(t *testing.T, l log.Log, d *DB, n int) {
	t.Helper()
	for i := range n {
		d.stores[0].Put(fmt.Appendf(nil, "key-%06d", i), fmt.Appendf(nil, "value-%d", i))
	}
	commit(t, l, d, "meta")
}

// A flipped bit in a table is noticed when it is read, and the next Open restores
// what was there.
func TestDamagedTableIsRestored(t *testing.T) {
	l, disk := newFakeLog("a.changelog"), logtest.NewDisk(1)
	d := open(t, l, testSpec("a"), Options{FS: disk})
	fillStore(t, l, d, 5000)
	want := contents(t, d.Store("a").Scan)
	mustClose(t, d)

	flipped := 0
	for _, name := range disk.Files("state") {
		if strings.HasSuffix(name, ".sst") {
			disk.FlipBit(name, 40_000)
			flipped++
		}
	}
	if flipped == 0 {
		t.Fatalf("no tables among %v", disk.Files("state"))
	}
	d = open(t, l, testSpec("a"), Options{FS: disk})
	err := d.Store("a").Scan(nil, nil, func(_, _ []byte) bool { return true })
	if !errors.Is(err, ErrFailed) {
		t.Fatalf("scan of a damaged table: got %v, want ErrFailed", err)
	}
	if err := d.Apply(d.Freeze(), nil, nil); !errors.Is(err, ErrFailed) {
		t.Fatalf("apply to a damaged database: got %v, want ErrFailed", err)
	}
	mustClose(t, d)
	d = open(t, l, testSpec("a"), Options{FS: disk})
	defer mustClose(t, d)
	if got := contents(t, d.Store("a").Scan); !maps.Equal(got, want) {
		t.Fatalf("restored: got %d entries, want %d", len(got), len(want))
	}
}

// An instance that was left behind does not keep a processor busy: Pebble tries
// again at once, and for ever, what its goroutines find impossible.
func TestLeftBehindEnds(t *testing.T) {
	opts := Options{FS: newMemFS()}
	opts.EnsureDefaults()
	g := &gate{FS: opts.FS}
	counters := newCounters(opts.Metrics)
	hear := pebbleOptions(&opts, newFailure(opts.Logger, &counters), g, nil).EventListener.BackgroundError
	hear(errors.New("no space")) // goes on: Pebble may succeed next time
	if err := g.close(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		hear(errors.New("no space"))
		t.Error("the goroutine goes on")
	}()
	<-ended
}

// Wherever a bit flips, a later Open has everything again: none asks for a hand.
func TestAnyFlippedBit(t *testing.T) {
	l, disk := newFakeLog("a.changelog"), logtest.NewDisk(1)
	d := open(t, l, testSpec("a"), Options{FS: disk})
	for range 3 { // overlapping tables, so that they are compacted
		fillStore(t, l, d, 5000)
	}
	mustClose(t, d)
	files := 0
	for _, name := range disk.Files("state") {
		size := disk.Size(name)
		if size == 0 {
			continue
		}
		files++
		const places = 24 // a file; both ends are among them
		for i := range int64(places) {
			pos := i * (8*size - 1) / (places - 1)
			t.Run(fmt.Sprintf("%s/%d", name, pos), func(t *testing.T) {
				disk := disk.AfterCrash(logtest.KeepAll)
				disk.FlipBit(name, pos)
				for try := 0; ; try++ {
					d := open(t, l, testSpec("a"), Options{FS: disk})
					err := d.Store("a").Scan(nil, nil, func(_, _ []byte) bool { return true })
					if err == nil {
						checkAgainstLog(t, l, d)
						mustClose(t, d)
						return
					}
					mustClose(t, d)
					if !errors.Is(err, ErrFailed) || try == 1 {
						t.Fatal(err)
					}
				}
			})
		}
	}
	if files < 3 {
		t.Fatalf("got %d files, want manifest, options and tables", files)
	}
}

// A damaged manifest makes Open restore at once.
func TestDamagedManifestIsRestored(t *testing.T) {
	l, disk := newFakeLog("a.changelog"), logtest.NewDisk(1)
	d := open(t, l, testSpec("a"), Options{FS: disk})
	fillStore(t, l, d, 100)
	want := contents(t, d.Store("a").Scan)
	mustClose(t, d)
	for _, name := range disk.Files("state") {
		if strings.HasPrefix(name, "state/MANIFEST") {
			disk.FlipBit(name, 10)
		}
	}
	opts := Options{FS: disk}
	opts.EnsureDefaults()
	d = open(t, l, testSpec("a"), opts)
	defer mustClose(t, d)
	if got := contents(t, d.Store("a").Scan); !maps.Equal(got, want) {
		t.Fatalf("restored: got %d entries, want %d", len(got), len(want))
	}
	if n := newCounters(opts.Metrics).wipes.Count(); n != 1 {
		t.Fatalf("got %d wipes, want 1", n)
	}
}

// Whatever call of Pebble a failing sync hits, the DB fails with words and the
// next Open has everything. Failing syncs of the manifest are those on which
// Pebble itself would end the process.
func TestFailingSync(t *testing.T) {
	for _, match := range []string{"MANIFEST-*", "*.sst", "state", "apply.table", "*"} {
		for nth := 1; nth <= 6; nth++ {
			t.Run(fmt.Sprintf("%s/%d", match, nth), func(t *testing.T) {
				l, disk := newFakeLog("a.changelog"), logtest.NewDisk(1)
				fault := disk.FailSync(match, nth)
				err := fillUntilError(l, disk)
				if fault.Fired() == 0 && nth == 1 {
					t.Fatal("no sync failed")
				}
				if err != nil && !strings.Contains(err.Error(), "state") {
					t.Errorf("error does not name the database: %v", err)
				}
				fault.Clear()
				d := open(t, l, testSpec("a"), Options{FS: disk})
				defer mustClose(t, d)
				checkAgainstLog(t, l, d)
			})
		}
	}
}

// Pebble gives up on its manifest while Close waits for the flush that writes
// it: Close returns, and the next Open has everything.
func TestFailingSyncDuringClose(t *testing.T) {
	l, disk := newFakeLog("a.changelog"), logtest.NewDisk(1)
	d := open(t, l, testSpec("a"), Options{FS: disk})
	fillStore(t, l, d, 100)
	disk.FailSync("MANIFEST-*", 1)
	writing, closing := make(chan struct{}), make(chan struct{})
	var once sync.Once
	disk.OnSync(func(p logtest.SyncPoint) {
		if strings.Contains(p.Name, "MANIFEST") {
			once.Do(func() {
				close(writing)
				<-closing
			})
		}
	})
	if _, err := d.pebble.AsyncFlush(); err != nil {
		t.Fatal(err)
	}
	<-writing
	closed := make(chan error)
	go func() { closed <- d.closePebble() }()
	for !isClosed(d.pebble) {
		runtime.Gosched()
	}
	close(closing)
	if err := <-closed; err != nil {
		t.Fatal(err)
	}
	d.releaseCache()

	d = open(t, l, testSpec("a"), Options{FS: disk})
	defer mustClose(t, d)
	checkAgainstLog(t, l, d)
}

// Where Pebble is given up in the middle of an update, what reads the caller's
// memory has ended when the update returns.
func TestGivenUpAmidUpdate(t *testing.T) {
	l, disk := newFakeLog("a.changelog"), logtest.NewDisk(1)
	d := open(t, l, testSpec("a"), Options{FS: disk})
	filling, fill, updated := make(chan struct{}), make(chan struct{}), make(chan struct{})
	read := false // the race detector sees who comes too early, too
	go func() {
		defer close(updated)
		err := d.update(1, 1, func(changeWriter) error {
			close(filling)
			<-fill
			read = true
			return nil
		})
		if !read || !errors.Is(err, ErrFailed) {
			t.Errorf("update returned with %v, its caller's memory read: %t", err, read)
		}
	}()
	<-filling
	d.failure.fatal(errors.New("given up"), true)
	for range 1000 { // for the update to return too early in
		runtime.Gosched()
	}
	close(fill)
	<-updated
	mustClose(t, d)
}

// isClosed tells whether Close has begun: from then on Pebble panics.
func isClosed(p *pebble.DB) (closed bool) {
	defer func() { closed = recover() != nil }()
	_, c, err := p.Get([]byte("key"))
	if err == nil {
		c.Close()
	}
	return false
}

// A full disk fails the DB once Pebble has tried for a while; given space, the
// next Open goes on.
func TestFullDisk(t *testing.T) {
	for _, space := range []int64{0, 1 << 10, 20 << 10, 50 << 10, 100 << 10} {
		t.Run(fmt.Sprint(space), func(t *testing.T) {
			l, disk := newFakeLog("a.changelog"), logtest.NewDisk(1)
			disk.SetSpace(space)
			err := fillUntilError(l, disk)
			if err == nil {
				t.Fatal("got no error on a full disk")
			}
			disk.SetSpace(1 << 40)
			d := open(t, l, testSpec("a"), Options{FS: disk})
			defer mustClose(t, d)
			checkAgainstLog(t, l, d)
		})
	}
}

// fillUntilError runs a DB through small and big intervals and closes it.
func fillUntilError(l log.Log, disk *logtest.Disk) (err error) {
	d, err := Open(context.Background(), l, testSpec("a"), Options{FS: disk, MemTableBytes: 256 << 10, FlushBytes: 10 << 10})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	for i := range 30 {
		for k := range 50 << (i % 6) {
			d.Store("a").Put(fmt.Appendf(nil, "key-%d", k*i%5000), fmt.Appendf(nil, "%d", i))
		}
		c := d.Freeze()
		offsets, err := l.Commit(context.Background(), &log.Commit{Writes: c.Writes()})
		if err != nil {
			return err
		}
		if err := d.Apply(c, offsets, nil); err != nil {
			return err
		}
	}
	return nil
}

// checkAgainstLog compares the store "a" with its changelog.
func checkAgainstLog(t *testing.T, l *fakeLog, d *DB) {
	t.Helper()
	want := map[string]string{}
	for _, r := range l.topics["a.changelog"].records {
		want[string(r.Key)] = string(r.Value)
	}
	if got := contents(t, d.Store("a").Scan); !maps.Equal(got, want) {
		t.Fatalf("got %d entries, want %d", len(got), len(want))
	}
}

// A DB that is closed leaves no goroutine behind, and waits for its Views.
func TestCloseWaitsForViews(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	l := newFakeLog("a.changelog")
	d := open(t, l, testSpec("a"), Options{FS: newMemFS()})
	fillStore(t, l, d, 10)
	v, err := d.View()
	if err != nil {
		t.Fatal(err)
	}
	read := make(chan error)
	go func() {
		_, ok, err := v.Get("a", []byte("key-000003"))
		if err == nil && !ok {
			err = errors.New("key is gone")
		}
		read <- errors.Join(err, v.Close())
	}()
	closed := make(chan error)
	go func() { closed <- d.Close() }()
	if err := <-read; err != nil {
		t.Fatal(err)
	}
	if err := <-closed; err != nil {
		t.Fatal(err)
	}
	if _, err := d.View(); !errors.Is(err, ErrClosed) {
		t.Fatalf("view of a closed DB: got %v, want ErrClosed", err)
	}
	if err := d.Close(); !errors.Is(err, ErrClosed) {
		t.Fatalf("second close: got %v, want ErrClosed", err)
	}
}
