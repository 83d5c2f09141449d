package logtest_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble"
	"github.com/cockroachdb/pebble/vfs"

	"github.com/gretestream/grete/log/logtest"
)

func write(t testing.TB, d *logtest.Disk, name, data string) vfs.File {
	t.Helper()
	f, err := d.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write([]byte(data)); err != nil {
		t.Fatal(err)
	}
	return f
}

func sync(t testing.TB, f interface{ Sync() error }) {
	t.Helper()
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
}

func syncDir(t testing.TB, d *logtest.Disk, name string) {
	t.Helper()
	f, err := d.OpenDir(name)
	if err != nil {
		t.Fatal(err)
	}
	sync(t, f)
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

func read(t testing.TB, d *logtest.Disk, name string) string {
	t.Helper()
	b, err := d.ReadFile(name)
	if errors.Is(err, os.ErrNotExist) {
		return "-"
	}
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestCrashLosesWhatIsNotSynced(t *testing.T) {
	d := logtest.NewDisk(1)
	f := write(t, d, "a", "synced")
	sync(t, f)
	syncDir(t, d, "/")
	f.Write([]byte(" not"))
	write(t, d, "b", "bytes synced, name not").Sync()

	nothing, all := d.AfterCrash(logtest.KeepNothing), d.AfterCrash(logtest.KeepAll)
	if got := read(t, nothing, "a") + " " + read(t, nothing, "b"); got != "synced -" {
		t.Errorf("keep nothing: got %q", got)
	}
	if got := read(t, all, "a"); got != "synced not" {
		t.Errorf("keep all: got %q", got)
	}
	if got := read(t, all, "b"); got != "bytes synced, name not" {
		t.Errorf("keep all: got %q", got)
	}
}

func TestSyncedFileInUnsyncedDirectoryIsGone(t *testing.T) {
	d := logtest.NewDisk(1)
	d.MkdirAll("x/y", 0o755)
	sync(t, write(t, d, "x/y/a", "1"))
	syncDir(t, d, "x/y")
	if got := d.AfterCrash(logtest.KeepNothing).Files("/"); len(got) != 0 {
		t.Errorf("got %v, want nothing: neither x nor y has a durable name", got)
	}
	syncDir(t, d, "x")
	syncDir(t, d, "/")
	if got := d.AfterCrash(logtest.KeepNothing).Files("/"); fmt.Sprint(got) != "[/x/y/a]" {
		t.Errorf("got %v, want /x/y/a", got)
	}
}

func TestRenameIsOneStep(t *testing.T) {
	d := logtest.NewDisk(1)
	sync(t, write(t, d, "meta", "old"))
	syncDir(t, d, "/")
	sync(t, write(t, d, "meta.tmp", "new"))
	if err := d.Rename("meta.tmp", "meta"); err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for seed := range uint64(200) {
		c := d.AfterCrash(logtest.Random(seed))
		seen[read(t, c, "meta")+" "+read(t, c, "meta.tmp")] = true
	}
	for _, want := range []string{"old -", "old new", "new -"} {
		if !seen[want] {
			t.Errorf("never seen: %s", want)
		}
		delete(seen, want)
	}
	if len(seen) > 0 {
		t.Errorf("impossible states: %v", seen)
	}
	syncDir(t, d, "/")
	if got := read(t, d.AfterCrash(logtest.KeepNothing), "meta"); got != "new" {
		t.Errorf("after the directory's sync: got %s, want new", got)
	}
}

func TestCrashTearsPagesAtSectors(t *testing.T) {
	d := logtest.NewDisk(1)
	f, _ := d.OpenReadWrite("a")
	f.WriteAt(bytes.Repeat([]byte{'o'}, 4096), 0)
	sync(t, f)
	syncDir(t, d, "/")
	f.WriteAt(bytes.Repeat([]byte{'n'}, 4096), 0)
	seen := map[string]int{}
	for seed := range uint64(300) {
		got := read(t, d.AfterCrash(logtest.Policy{Keep: 0.7, Tear: 0.7, Seed: seed}), "a")
		shape := ""
		for i := 0; i < 4096; i += 512 {
			s := got[i : i+512]
			if s != strings.Repeat(s[:1], 512) {
				t.Fatalf("seed %d: sector at %d is torn", seed, i)
			}
			shape += s[:1]
		}
		seen[shape]++
	}
	if seen["oooooooo"] == 0 || seen["nnnnnnnn"] == 0 || len(seen) < 8 {
		t.Errorf("too few kinds of outcome: %v", seen)
	}
}

func TestCrashLeavesHoles(t *testing.T) {
	d := logtest.NewDisk(1)
	f := write(t, d, "a", "")
	sync(t, f)
	syncDir(t, d, "/")
	f.Write(bytes.Repeat([]byte{'n'}, 3*4096))
	for seed := range uint64(200) {
		got := read(t, d.AfterCrash(logtest.Random(seed)), "a")
		if len(got) == 3*4096 && got[0] == 0 && got[2*4096] == 'n' {
			return
		}
	}
	t.Error("never: size and third page kept, first page lost")
}

func TestTruncateIsUndoneWholly(t *testing.T) {
	d := logtest.NewDisk(1)
	sync(t, write(t, d, "a", strings.Repeat("o", 10_000)))
	syncDir(t, d, "/")
	d.Truncate("a", 100)
	f, _ := d.OpenReadWrite("a")
	f.WriteAt([]byte(strings.Repeat("n", 5000)), 100)
	undone, done := 0, 0
	for seed := range uint64(300) {
		got := read(t, d.AfterCrash(logtest.Random(seed)), "a")
		switch {
		case len(got) == 10_000 && got == strings.Repeat("o", 10_000):
			undone++
		case len(got) <= 5100:
			done++
			if strings.Contains(got[min(100, len(got)):], "o") {
				t.Fatalf("seed %d: old bytes behind the cut came back in a file that kept the cut", seed)
			}
		default:
			t.Fatalf("seed %d: size %d", seed, len(got))
		}
	}
	if undone == 0 || done == 0 {
		t.Errorf("undone %d, done %d: want some of both", undone, done)
	}
}

func TestOldDiskIsDeadAfterCrash(t *testing.T) {
	d := logtest.NewDisk(1)
	f := write(t, d, "a", "1")
	lock, err := d.Lock("LOCK")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Lock("LOCK"); !errors.Is(err, syscall.EAGAIN) {
		t.Errorf("second lock: got %v, want EAGAIN", err)
	}
	next := d.Crash(logtest.KeepAll)
	if _, err := f.Write([]byte("x")); !errors.Is(err, logtest.ErrCrashed) {
		t.Errorf("write: got %v", err)
	}
	if _, err := f.ReadAt(make([]byte, 1), 0); !errors.Is(err, logtest.ErrCrashed) {
		t.Errorf("read: got %v", err)
	}
	if err := d.Remove("a"); !errors.Is(err, logtest.ErrCrashed) {
		t.Errorf("remove: got %v", err)
	}
	lock.Close()
	if got := read(t, next, "a"); got != "1" {
		t.Errorf("got %q", got)
	}
	if _, err := next.Lock("LOCK"); err != nil {
		t.Errorf("lock after crash: %v", err)
	}
}

func TestCrashAtSync(t *testing.T) {
	for i, when := range []logtest.When{logtest.Before, logtest.After, logtest.Before, logtest.After} {
		d := logtest.NewDisk(1)
		f := write(t, d, "a", "1")
		sync(t, f)
		syncDir(t, d, "/")
		d.CrashAtSync(3-i/2, when) // the second two: of one that is past, the next
		f.Write([]byte("2"))
		if err := f.Sync(); !errors.Is(err, logtest.ErrCrashed) {
			t.Fatalf("%s: got %v, want a crash", when, err)
		}
		if _, err := d.Create("b"); !errors.Is(err, logtest.ErrCrashed) {
			t.Fatalf("%s: create: got %v, want a crash", when, err)
		}
		want := map[logtest.When]string{logtest.Before: "1", logtest.After: "12"}[when]
		if got := read(t, d.Crash(logtest.KeepNothing), "a"); got != want {
			t.Errorf("%s: got %q, want %q", when, got, want)
		}
	}
}

func TestOnSyncSeesBothSides(t *testing.T) {
	d := logtest.NewDisk(1)
	var got []string
	d.OnSync(func(p logtest.SyncPoint) {
		got = append(got, p.String()+": "+read(t, d.AfterCrash(logtest.KeepNothing), "a"))
	})
	f := write(t, d, "a", "1")
	syncDir(t, d, "/")
	sync(t, f)
	want := []string{
		"before sync 1 of /: -",
		"after sync 1 of /: ",
		"before sync 2 of a: ",
		"after sync 2 of a: 1",
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestFailedSyncLosesPagesForEver(t *testing.T) {
	d := logtest.NewDisk(1)
	f := write(t, d, "a", "1")
	sync(t, f)
	syncDir(t, d, "/")
	fault := d.FailSync("*", 1)
	f.Write([]byte("2"))
	if err := f.Sync(); !errors.Is(err, syscall.EIO) {
		t.Fatalf("got %v, want EIO", err)
	}
	if fault.Fired() != 1 {
		t.Errorf("fired %d times", fault.Fired())
	}
	sync(t, f) // succeeds, and saves nothing
	if got := read(t, d, "a"); got != "12" {
		t.Errorf("before the crash: got %q, want 12", got)
	}
	if got := read(t, d.AfterCrash(logtest.KeepNothing), "a"); got != "1\x00" {
		t.Errorf("after the crash: got %q, want the page lost", got)
	}
	f.(io.WriterAt).WriteAt([]byte("3"), 0)
	sync(t, f)
	if got := read(t, d.AfterCrash(logtest.KeepNothing), "a"); got != "32" {
		t.Errorf("written again: got %q, want 32", got)
	}
}

func TestShortWrite(t *testing.T) {
	d := logtest.NewDisk(1)
	d.FailWrite("*.log", 2, 3)
	f := write(t, d, "x.log", "abc")
	n, err := f.Write([]byte("defghi"))
	if n != 3 || !errors.Is(err, syscall.EIO) {
		t.Errorf("got %d, %v; want 3 bytes and EIO", n, err)
	}
	if n, err = f.Write([]byte("X")); n != 1 || err != nil {
		t.Errorf("got %d, %v", n, err)
	}
	if got := read(t, d, "x.log"); got != "abcdefX" {
		t.Errorf("got %q", got)
	}
}

func TestNoSpace(t *testing.T) {
	d := logtest.NewDisk(1)
	d.SetSpace(3 * 4096)
	f := write(t, d, "a", strings.Repeat("a", 5000))
	n, err := f.Write(make([]byte, 10_000))
	if want := 3*4096 - 5000; n != want || !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("got %d, %v; want %d bytes and ENOSPC", n, err, want)
	}
	if u, _ := d.GetDiskUsage("/"); u.AvailBytes != 0 {
		t.Errorf("got %d bytes available, want 0", u.AvailBytes)
	}
	if err := d.Truncate("a", 4096); err != nil {
		t.Fatal(err)
	}
	if got := d.Used(); got != 4096 {
		t.Errorf("used %d after the truncation, want 4096", got)
	}
	g := write(t, d, "b", strings.Repeat("b", 8192))
	d.Remove("b")
	if got := d.Used(); got != 3*4096 {
		t.Errorf("used %d, want a removed file that is open to keep its space", got)
	}
	g.Close()
	if got := d.Used(); got != 4096 {
		t.Errorf("used %d, want 4096", got)
	}
}

func TestFlipBit(t *testing.T) {
	d := logtest.NewDisk(1)
	sync(t, write(t, d, "a", "a"))
	syncDir(t, d, "/")
	before := d.AfterCrash(logtest.KeepAll)
	d.FlipBit("a", 1)
	if got := read(t, d, "a"); got != "c" {
		t.Errorf("got %q, want c", got)
	}
	if got := read(t, d.AfterCrash(logtest.KeepNothing), "a"); got != "c" {
		t.Errorf("after a crash: got %q, want c", got)
	}
	if got := read(t, before, "a"); got != "a" {
		t.Errorf("another disk: got %q, want a", got)
	}
}

func TestKillKeepsBytesUnsynced(t *testing.T) {
	d := logtest.NewDisk(1)
	sync(t, write(t, d, "a", "1"))
	syncDir(t, d, "/")
	write(t, d, "b", "2")
	d = d.Kill()
	if got := read(t, d, "b"); got != "2" {
		t.Errorf("got %q, want 2: the OS lives on", got)
	}
	if got := read(t, d.AfterCrash(logtest.KeepNothing), "b"); got != "-" {
		t.Errorf("got %q: a kill must not sync", got)
	}
	f, _ := d.OpenReadWrite("b")
	sync(t, f)
	syncDir(t, d, "/")
	if got := read(t, d.AfterCrash(logtest.KeepNothing), "b"); got != "2" {
		t.Errorf("got %q, want 2", got)
	}
}

// TestPebble writes with synced and unsynced batches, cuts the power at many
// points and asks Pebble for what it acknowledged.
func TestPebble(t *testing.T) {
	open := func(d *logtest.Disk) *pebble.DB {
		db, err := pebble.Open("db", &pebble.Options{FS: d, Logger: quiet{}, MemTableSize: 16 << 10, FormatMajorVersion: pebble.FormatNewest})
		if err != nil {
			t.Fatal(err)
		}
		return db
	}
	for seed := range uint64(20) {
		d := logtest.NewDisk(seed)
		d.MkdirAll("db", 0o755)
		syncDir(t, d, "/")
		acked := 0
		for round := range 3 {
			db := open(d)
			for i := range 150 {
				key := fmt.Sprintf("%06d", acked)
				if err := db.Set([]byte(key), bytes.Repeat([]byte{byte(acked)}, 300), pebble.Sync); err != nil {
					t.Fatal(err)
				}
				acked++
				if i%40 == 39 {
					if err := db.Flush(); err != nil {
						t.Fatal(err)
					}
				}
			}
			old, oldDB := d, db
			d = d.AfterCrash(logtest.Random(uint64(round))) // the living one is closed in peace
			if err := oldDB.Close(); err != nil {
				t.Fatal(err)
			}
			old.Crash(logtest.KeepNothing)
		}
		db := open(d)
		for i := range acked {
			v, c, err := db.Get(fmt.Appendf(nil, "%06d", i))
			if err != nil {
				t.Fatalf("seed %d: key %d: %v", seed, i, err)
			}
			if len(v) != 300 || v[0] != byte(i) {
				t.Fatalf("seed %d: key %d: got %x", seed, i, v)
			}
			c.Close()
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

type quiet struct{}

func (quiet) Infof(string, ...any)           {}
func (quiet) Errorf(string, ...any)          {}
func (quiet) Fatalf(format string, a ...any) { panic(fmt.Sprintf(format, a...)) }
