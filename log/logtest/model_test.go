package logtest_test

import (
	"fmt"
	"path"
	"testing"

	"pgregory.net/rapid"

	"github.com/gretestream/grete/log/logtest"
)

// modelFile is what a crash may leave of one file.
type modelFile struct {
	now     []byte
	synced  []byte         // as of the last sync
	since   map[int][]byte // by position: every byte written there since
	minSize int            // since the last sync
}

func (f *modelFile) sync() {
	f.synced = append([]byte(nil), f.now...)
	f.since = map[int][]byte{}
	f.minSize = len(f.now)
}

// model is a flat file system that remembers what may be left of it.
type model struct {
	now     map[string]*modelFile
	durable map[string]*modelFile
	// maybe holds every file that had a name since the directory was synced.
	maybe map[string]map[*modelFile]bool
}

func (m *model) name(name string, f *modelFile) {
	m.now[name] = f
	if m.maybe[name] == nil {
		m.maybe[name] = map[*modelFile]bool{}
	}
	m.maybe[name][f] = true
}

func (m *model) syncDir() {
	m.durable, m.maybe = map[string]*modelFile{}, map[string]map[*modelFile]bool{}
	for name, f := range m.now {
		m.durable[name] = f
	}
}

// check tells whether got can be what is left of f.
func (f *modelFile) check(got []byte) error {
	lo, hi := min(len(f.synced), f.minSize), max(len(f.synced), len(f.now))
	if len(got) < lo || len(got) > hi {
		return fmt.Errorf("size %d, want %d to %d", len(got), lo, hi)
	}
next:
	for i, b := range got {
		if b == 0 && i >= f.minSize || i < len(f.synced) && b == f.synced[i] {
			continue
		}
		if b == 0 && i >= len(f.synced) {
			continue
		}
		for _, w := range f.since[i] {
			if w == b {
				continue next
			}
		}
		return fmt.Errorf("byte %d is %q, which was never there", i, b)
	}
	return nil
}

func TestModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := logtest.NewDisk(rapid.Uint64().Draw(t, "seed"))
		m := &model{now: map[string]*modelFile{}, durable: map[string]*modelFile{}, maybe: map[string]map[*modelFile]bool{}}
		names := rapid.SampledFrom([]string{"a", "b", "c", "d"})
		step := byte(0)
		must := func(err error) {
			if err != nil {
				t.Fatal(err)
			}
		}
		compare := func() {
			got := d.Files("/")
			if len(got) != len(m.now) {
				t.Fatalf("got files %v, want %d", got, len(m.now))
			}
			for _, name := range got {
				b, err := d.ReadFile(name)
				must(err)
				f := m.now[path.Base(name)]
				if f == nil || string(f.now) != string(b) {
					t.Fatalf("%s differs from the model: %d bytes", name, len(b))
				}
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"create": func(t *rapid.T) {
				name := names.Draw(t, "name")
				f, err := d.Create(name)
				must(err)
				must(f.Close())
				m.name(name, &modelFile{since: map[int][]byte{}})
			},
			"write": func(t *rapid.T) {
				name := names.Draw(t, "name")
				f := m.now[name]
				if f == nil {
					t.Skip()
				}
				step++
				at := rapid.IntRange(0, 9000).Draw(t, "at")
				b := make([]byte, rapid.IntRange(1, 6000).Draw(t, "len"))
				for i := range b {
					b[i] = max(step, 1)
				}
				h, err := d.OpenReadWrite(name)
				must(err)
				_, err = h.WriteAt(b, int64(at))
				must(err)
				must(h.Close())
				if n := at + len(b); n > len(f.now) {
					f.now = append(f.now, make([]byte, n-len(f.now))...)
				}
				copy(f.now[at:], b)
				for i, c := range b {
					f.since[at+i] = append(f.since[at+i], c)
				}
			},
			"truncate": func(t *rapid.T) {
				name := names.Draw(t, "name")
				f := m.now[name]
				if f == nil {
					t.Skip()
				}
				n := rapid.IntRange(0, 9000).Draw(t, "size")
				must(d.Truncate(name, int64(n)))
				if n <= len(f.now) {
					f.now = f.now[:n]
					f.minSize = min(f.minSize, n)
				} else {
					f.now = append(f.now, make([]byte, n-len(f.now))...)
				}
			},
			"rename": func(t *rapid.T) {
				from, to := names.Draw(t, "from"), names.Draw(t, "to")
				f := m.now[from]
				if f == nil || from == to {
					t.Skip()
				}
				must(d.Rename(from, to))
				delete(m.now, from)
				m.name(to, f)
			},
			"remove": func(t *rapid.T) {
				name := names.Draw(t, "name")
				if m.now[name] == nil {
					t.Skip()
				}
				must(d.Remove(name))
				delete(m.now, name)
			},
			"sync": func(t *rapid.T) {
				name := names.Draw(t, "name")
				f := m.now[name]
				if f == nil {
					t.Skip()
				}
				h, err := d.Open(name)
				must(err)
				must(h.Sync())
				must(h.Close())
				f.sync()
			},
			"sync directory": func(t *rapid.T) {
				h, err := d.OpenDir("/")
				must(err)
				must(h.Sync())
				must(h.Close())
				m.syncDir()
			},
			"kill": func(t *rapid.T) { d = d.Kill() },
			"crash": func(t *rapid.T) {
				policy := logtest.Random(rapid.Uint64().Draw(t, "policy"))
				if rapid.IntRange(0, 3).Draw(t, "extreme") == 0 {
					policy = logtest.KeepNothing
				}
				d = d.Crash(policy)
				next := map[string]*modelFile{}
				for _, name := range d.Files("/") {
					b, err := d.ReadFile(name)
					must(err)
					base := path.Base(name)
					could := m.maybe[base]
					var last error
					ok := false
					for f := range could {
						if last = f.check(b); last == nil {
							ok = true
						}
					}
					if f := m.durable[base]; f != nil && !ok {
						if last = f.check(b); last == nil {
							ok = true
						}
					}
					if !ok {
						t.Fatalf("%s, %s: %v", policy, name, last)
					}
					f := &modelFile{now: b}
					f.sync()
					next[base] = f
				}
				for name, f := range m.durable {
					if m.now[name] == f && len(m.maybe[name]) == 0 && next[name] == nil {
						t.Fatalf("%s: %s is gone, and it was durable", policy, name)
					}
				}
				m.now = next
				m.syncDir()
			},
			"": func(t *rapid.T) { compare() },
		})
	})
}
