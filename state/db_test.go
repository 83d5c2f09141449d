package state

import (
	"context"
	"errors"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/gretestream/grete/log"
)

func TestStoreReadsItsOwnWrites(t *testing.T) {
	l := newFakeLog("a.changelog", "b.changelog")
	d := open(t, l, testSpec("a", "b"), Options{FS: newMemFS()})
	defer mustClose(t, d)
	a := d.Store("a")

	get := func(key, want string) {
		t.Helper()
		v, ok, err := a.Get([]byte(key))
		if err != nil || ok != (want != "-") || ok && string(v) != want {
			t.Fatalf("get %q: got %q, %v, %v, want %q", key, v, ok, err, want)
		}
	}
	scan := func(want string) {
		t.Helper()
		var b strings.Builder
		if err := a.Scan(nil, nil, func(k, v []byte) bool {
			b.WriteString(string(k) + "=" + string(v) + " ")
			return true
		}); err != nil {
			t.Fatal(err)
		}
		if got := strings.TrimSpace(b.String()); got != want {
			t.Fatalf("scan: got %q, want %q", got, want)
		}
	}

	a.Put([]byte("x"), []byte("1"))
	a.Put([]byte("y"), nil)
	get("x", "1")
	get("y", "")
	get("z", "-")
	c := d.Freeze()
	a.Put([]byte("x"), []byte("2"))
	a.Put([]byte("z"), []byte("3"))
	get("x", "2")
	get("y", "")
	scan("x=2 y= z=3")
	offsets, err := l.Commit(context.Background(), &log.Commit{Writes: c.Writes()})
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Apply(c, offsets, []byte("m1")); err != nil {
		t.Fatal(err)
	}
	a.Delete([]byte("y"))
	a.Delete([]byte("none"))
	get("y", "-")
	scan("x=2 z=3")

	v, err := d.View()
	if err != nil {
		t.Fatal(err)
	}
	if got, want := contents(t, func(lo, hi []byte, f func(k, v []byte) bool) error { return v.Scan("a", lo, hi, f) }),
		(map[string]string{"x": "1", "y": ""}); !maps.Equal(got, want) {
		t.Fatalf("view: got %v, want %v", got, want)
	}
	if string(v.Meta()) != "m1" {
		t.Fatalf("meta: got %q, want m1", v.Meta())
	}
	commit(t, l, d, "m2")
	scan("x=2 z=3")
	if got, ok, _ := v.Get("a", []byte("y")); !ok || len(got) != 0 {
		t.Fatalf("view moved: got %q, %v", got, ok)
	}
	if _, _, err := v.Get("c", nil); !errors.Is(err, ErrUnknownStore) {
		t.Fatalf("got %v, want ErrUnknownStore", err)
	}
	mustClose(t, v)
	mustClose(t, v)
	if _, _, err := v.Get("a", nil); !errors.Is(err, ErrClosed) {
		t.Fatalf("got %v, want ErrClosed", err)
	}
	if d.Applied() != 2 || d.Frozen() != 2 {
		t.Fatalf("got %d applied and %d frozen, want 2 and 2", d.Applied(), d.Frozen())
	}
}

// What a DB finds on its disk either fits the log or is restored.
func TestOpenRestores(t *testing.T) {
	now := time.UnixMilli(1e12)
	clock := func() time.Time { return now }

	cases := map[string]struct {
		change          func(l *fakeLog, spec *Spec)
		wipes, restores int64
		records         int64
		stay            bool // what was there before stays
	}{
		"as it was":         {func(*fakeLog, *Spec) {}, 0, 0, 0, true},
		"another log":       {func(l *fakeLog, _ *Spec) { l.cluster = "other" }, 1, 2, 3, true},
		"other generation":  {func(_ *fakeLog, s *Spec) { s.Generation++ }, 1, 2, 3, true},
		"recreated topic":   {func(l *fakeLog, _ *Spec) { l.topics["a.changelog"].id[0] = 9 }, 1, 2, 3, true},
		"log is shorter":    {func(l *fakeLog, _ *Spec) { l.topics["a.changelog"].records = l.topics["a.changelog"].records[:1] }, 1, 2, 2, false},
		"records deleted":   {func(l *fakeLog, _ *Spec) { more(l); l.topics["a.changelog"].start = 3 }, 0, 1, 1, false},
		"behind":            {func(l *fakeLog, _ *Spec) { more(l) }, 0, 0, 2, false},
		"behind for a day":  {func(l *fakeLog, _ *Spec) { more(l); now = now.Add(13 * time.Hour) }, 0, 1, 4, false},
		"at rest for a day": {func(*fakeLog, *Spec) { now = now.Add(13 * time.Hour) }, 0, 0, 0, true},
		"without a store":   {func(_ *fakeLog, s *Spec) { s.Stores = s.Stores[:1] }, 0, 0, 0, true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			l, fs, spec := newFakeLog("a.changelog", "b.changelog"), newMemFS(), testSpec("a", "b")
			d := open(t, l, spec, Options{FS: fs, Now: clock})
			d.Store("a").Put([]byte("x"), []byte("1"))
			d.Store("a").Put([]byte("y"), []byte("2"))
			d.Store("b").Put([]byte("x"), []byte("3"))
			commit(t, l, d, "meta")
			mustClose(t, d)

			tc.change(l, &spec)
			var progress []int64
			opts := Options{FS: fs, Now: clock, Progress: func(done, total int64) { progress = append(progress, done, total) }}
			opts.EnsureDefaults()
			d = open(t, l, spec, opts)
			defer mustClose(t, d)
			c := newCounters(opts.Metrics)
			if c.wipes.Count() != tc.wipes || c.restores.Count() != tc.restores || c.restoreRecord.Count() != tc.records {
				t.Errorf("got %d wipes, %d restores, %d records, want %d, %d, %d", c.wipes.Count(), c.restores.Count(), c.restoreRecord.Count(), tc.wipes, tc.restores, tc.records)
			}
			if n := len(progress); tc.records > 0 && (n == 0 || progress[n-1] != progress[n-2]) {
				t.Errorf("progress: got %v", progress)
			}
			for _, s := range d.stores {
				want := map[string]string{}
				topic := l.topics[s.spec.Changelog.Topic]
				for _, r := range topic.records[topic.start:] {
					want[string(r.Key)] = string(r.Value)
					if r.IsTombstone() {
						delete(want, string(r.Key))
					}
				}
				if got := contents(t, s.Scan); !maps.Equal(got, want) {
					t.Errorf("store %s: got %v, want %v", s.Name(), got, want)
				}
			}
			v, err := d.View()
			if err != nil {
				t.Fatal(err)
			}
			defer mustClose(t, v)
			if fresh := tc.records == 0; (v.Meta() != nil) != fresh {
				t.Errorf("meta: got %q", v.Meta())
			}
		})
	}
}

// more adds two records behind what was applied.
func more(l *fakeLog) {
	t := l.topics["a.changelog"]
	t.records = append(t.records,
		log.Record{Offset: 2, Key: []byte("x")},
		log.Record{Offset: 3, Key: []byte("z"), Value: []byte("9")})
}

// A store that left the job and came back under its id starts from its changelog.
func TestRemovedStoreLeavesNothing(t *testing.T) {
	l, fs, spec := newFakeLog("a.changelog", "b.changelog"), newMemFS(), testSpec("a", "b")
	d := open(t, l, spec, Options{FS: fs})
	d.Store("b").Put([]byte("x"), []byte("3"))
	commit(t, l, d, "")
	mustClose(t, d)
	one := spec
	one.Stores = spec.Stores[:1]
	mustClose(t, open(t, l, one, Options{FS: fs}))
	l.topics["b.changelog"].records = nil
	d = open(t, l, spec, Options{FS: fs})
	defer mustClose(t, d)
	if got := contents(t, d.Store("b").Scan); len(got) != 0 {
		t.Fatalf("got %v, want nothing", got)
	}
}

func TestSpecAndOptionsAreChecked(t *testing.T) {
	spec := testSpec("a", "a")
	spec.Dir = ""
	spec.Stores[1].ID = ownID
	_, err := Open(context.Background(), newFakeLog(), spec, Options{FS: newMemFS(), MemTableBytes: 1, FlushEvery: -1})
	for _, want := range []string{"MemTableBytes is 1", "FlushEvery is -1ns", "Dir is empty", `"a" is named twice`, "reserved", "another store has too"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	if _, err := Open(context.Background(), newFakeLog(), testSpec("a"), Options{FS: newMemFS()}); !errors.Is(err, log.ErrUnknownTopic) {
		t.Errorf("got %v, want ErrUnknownTopic", err)
	}
}
