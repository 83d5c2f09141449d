package state

import (
	"encoding/binary"
	"fmt"
	"maps"
	"math/rand/v2"
	"testing"

	"pgregory.net/rapid"

	"github.com/gretestream/grete/log"
	"github.com/gretestream/grete/state/codec"
)

// A cache over a store that is committed, evicted, crashed and opened again
// behaves like a map.
func TestCacheIsAMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := &cacheModel{t: t, log: newFakeLog("s.changelog"), fs: newMemFS(), spec: testSpec("s")}
		m.prefix = []byte(rapid.SampledFrom([]string{"", "w", "\xff\xff"}).Draw(t, "prefix"))
		m.want, m.durable = map[string]int64{}, map[string]int64{}
		m.open(true)
		// A neighbour that must not be seen.
		m.db.Store("s").Put([]byte("v"), []byte{1})
		if len(m.prefix) == 0 {
			m.db.Store("s").Delete([]byte("v"))
		}
		m.commit()
		t.Repeat(map[string]func(*rapid.T){
			"ref":    m.ref,
			"put":    m.put,
			"delete": m.delete,
			"get":    m.get,
			"ascend": m.ascend,
			"freeze": func(*rapid.T) { m.freeze() },
			"apply":  func(*rapid.T) { m.apply() },
			"evict":  func(t *rapid.T) { m.cache.Evict(int64(rapid.IntRange(0, 3000).Draw(t, "keep"))) },
			"load":   func(t *rapid.T) { m.no(m.cache.Load(int64(rapid.SampledFrom([]int{0, 1 << 20}).Draw(t, "max")))) },
			"drop": func(*rapid.T) {
				m.drain()
				m.cache.Drop()
			},
			"crash": func(t *rapid.T) { m.crash(rapid.Bool().Draw(t, "clean")) },
			"":      m.check,
		})
		mustCloseRapid(t, m.db)
	})
}

type cacheModel struct {
	t       *rapid.T
	log     *fakeLog
	fs      memFS
	spec    Spec
	prefix  []byte
	db      *DB
	cache   *Cache[int64]
	want    map[string]int64 // what the cache holds
	durable map[string]int64 // what the log holds
	frozen  *Changes
	offsets []log.Offset
}

func mustCloseRapid(t *rapid.T, d *DB) {
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
}

func (m *cacheModel) no(err error) {
	if err != nil {
		m.t.Fatal(err)
	}
}

func (m *cacheModel) open(fresh bool) {
	d, err := Open(m.t.Context(), m.log, m.spec, Options{FS: m.fs, FlushBytes: 2000})
	m.no(err)
	m.db, m.frozen = d, nil
	d.pendingMin = rapid.SampledFrom([]int{0, 100, 1 << 20}).Draw(m.t, "pendingMin")
	m.cache = NewCache[int64](d.Store("s"), m.prefix, codec.Int64, fresh)
}

func (m *cacheModel) key(t *rapid.T) []byte {
	return []byte(rapid.SampledFrom(cacheKeys).Draw(t, "key"))
}

// Keys of all kinds: empty, short, at and around the inline limits, long, with
// the same beginnings.
var cacheKeys = func() (keys []string) {
	const long = "0123456789abcdefghijklmnopqrstuvwxyz"
	for _, n := range []int{0, 1, 2, 8, 15, 16, 17, 19, 20, 21, 24, 36} {
		keys = append(keys, long[:n])
	}
	for i := range 40 {
		keys = append(keys, fmt.Sprintf("%020d-%d", i%3, i), fmt.Sprint(i), fmt.Sprintf("\xff%d\x00", i%7))
	}
	return keys
}()

func (m *cacheModel) ref(t *rapid.T) {
	key := m.key(t)
	v, existed, err := m.cache.Ref(key)
	m.no(err)
	want, ok := m.want[string(key)]
	if existed != ok || *v != want {
		t.Fatalf("ref %q: got %d, %v, want %d, %v", key, *v, existed, want, ok)
	}
	*v += 1 + int64(len(key))
	m.want[string(key)] = *v
}

func (m *cacheModel) put(t *rapid.T) {
	key, v := m.key(t), rapid.Int64().Draw(t, "v")
	m.no(m.cache.Put(key, v))
	m.want[string(key)] = v
}

func (m *cacheModel) delete(t *rapid.T) {
	key := m.key(t)
	m.no(m.cache.Delete(key))
	delete(m.want, string(key))
}

func (m *cacheModel) get(t *rapid.T) {
	key := m.key(t)
	v, ok, err := m.cache.GetString(string(key))
	m.no(err)
	want, wantOK := m.want[string(key)]
	if ok != wantOK || ok && *v != want {
		t.Fatalf("get %q: got %v, %v, want %d, %v", key, v, ok, want, wantOK)
	}
}

func (m *cacheModel) ascend(t *rapid.T) {
	lo, hi := m.key(t), m.key(t)
	if rapid.Bool().Draw(t, "open") {
		hi = nil
	}
	want := map[string]int64{}
	for k, v := range m.want {
		if k >= string(lo) && (hi == nil || k < string(hi)) {
			want[k] = v
		}
	}
	got := map[string]int64{}
	last := ""
	m.no(m.cache.Ascend(lo, hi, func(key []byte, v *int64) error {
		if len(got) > 0 && string(key) <= last {
			t.Fatalf("ascend: %q after %q", key, last)
		}
		last = string(key)
		got[last] = *v
		return nil
	}))
	if !maps.Equal(got, want) {
		t.Fatalf("ascend %q to %q: got %v, want %v", lo, hi, got, want)
	}
}

func (m *cacheModel) drain() {
	m.no(m.cache.Drain())
	if m.cache.Dirty() != 0 {
		m.t.Fatalf("%d dirty after drain", m.cache.Dirty())
	}
}

func (m *cacheModel) freeze() {
	if m.frozen != nil {
		return
	}
	m.drain()
	m.frozen = m.db.Freeze()
	var err error
	m.offsets, err = m.log.Commit(m.t.Context(), &log.Commit{Writes: m.frozen.Writes()})
	m.no(err)
	m.durable = maps.Clone(m.want)
}

func (m *cacheModel) apply() {
	if m.frozen == nil {
		return
	}
	m.no(m.db.Apply(m.frozen, m.offsets, nil))
	m.frozen = nil
	v, err := m.db.View()
	m.no(err)
	got := map[string]int64{}
	m.no(v.Scan("s", m.prefix, prefixEnd(m.prefix), func(key, v []byte) bool {
		got[string(key[len(m.prefix):])] = int64(binary.BigEndian.Uint64(v))
		return true
	}))
	m.no(v.Close())
	if !maps.Equal(got, m.durable) {
		m.t.Fatalf("view: got %v, want %v", got, m.durable)
	}
}

func (m *cacheModel) commit() {
	m.freeze()
	m.apply()
}

// crash opens the database again after what was not committed is lost; not
// clean means that Pebble lost its memtables too.
func (m *cacheModel) crash(clean bool) {
	if clean {
		mustCloseRapid(m.t, m.db)
	} else if err := m.db.pebble.Close(); err != nil { // does not flush
		m.t.Fatal(err)
	} else {
		m.db.releaseCache()
	}
	m.want = maps.Clone(m.durable)
	m.open(false)
}

func (m *cacheModel) check(t *rapid.T) {
	if m.cache.Fresh() && m.cache.Len() != len(m.want) {
		t.Fatalf("len: got %d, want %d", m.cache.Len(), len(m.want))
	}
}

// Many keys, so that the table grows and entries move into gaps over long runs.
func TestBigCacheIsAMap(t *testing.T) {
	c := benchCache(t)
	rnd := rand.New(rand.NewPCG(1, 2))
	want := map[int]int64{}
	var key []byte
	for i := range 400_000 {
		id := rnd.IntN(1000 + i/4)
		key = appendDigits(append(key[:0], "some-prefix-"[:rnd.IntN(2)*12]...), id)
		if len(key) > 10 {
			id = -1 - id
		}
		if rnd.IntN(3) == 0 {
			if err := c.Delete(key); err != nil {
				t.Fatal(err)
			}
			delete(want, id)
		} else {
			v, existed, err := c.Ref(key)
			old, ok := want[id]
			if err != nil || existed != ok || *v != old {
				t.Fatalf("step %d, key %s: got %d, %v, %v, want %d, %v", i, key, *v, existed, err, old, ok)
			}
			*v++
			want[id]++
		}
		if i%9973 == 0 {
			if err := c.Drain(); err != nil {
				t.Fatal(err)
			}
		}
		if i%99_991 == 0 {
			c.Evict(c.Bytes() / 2)
		}
	}
	got := 0
	if err := c.Ascend(nil, nil, func(key []byte, v *int64) error { got++; return nil }); err != nil {
		t.Fatal(err)
	}
	if got != len(want) {
		t.Fatalf("ascend: got %d keys, want %d", got, len(want))
	}
}

func TestCacheRefDoesNotAllocate(t *testing.T) {
	c := benchCache(t)
	keys := benchKeys(1000)
	if n := testing.AllocsPerRun(100, func() {
		for _, k := range keys {
			v, _, err := c.Ref(k)
			if err != nil {
				t.Fatal(err)
			}
			*v++
		}
	}); n != 0 {
		t.Fatalf("got %v allocations per 1000 calls, want 0", n)
	}
}

func TestCacheBytesPerEntry(t *testing.T) {
	const n = 1_000_000
	c := benchCache(t)
	for i := range n {
		if _, _, err := c.Ref(benchKey(i)); err != nil {
			t.Fatal(err)
		}
	}
	if per := float64(c.Bytes()) / n; per > 60 {
		t.Fatalf("got %.1f bytes per entry, want at most 60", per)
	} else {
		t.Logf("%.1f bytes per entry", per)
	}
}

func benchKey(i int) []byte { return fmt.Appendf(nil, "user-%07d", i) }

func benchKeys(n int) [][]byte {
	keys := make([][]byte, n)
	for i := range keys {
		keys[i] = benchKey(i)
	}
	return keys
}

// benchCache is an empty cache over a store of a DB that the test closes.
func benchCache(t testing.TB) *Cache[int64] {
	d := open(t, newFakeLog("s.changelog"), testSpec("s"), Options{FS: newMemFS()})
	t.Cleanup(func() { mustClose(t, d) })
	return NewCache[int64](d.Store("s"), nil, codec.Int64, true)
}

// BenchmarkCacheRef is one change of a present key, in an order that no cache of
// the processor foresees; "warm" announces keys by batches of 512.
func BenchmarkCacheRef(b *testing.B) {
	for _, n := range []int{10_000, 10_000_000} {
		c := benchCache(b)
		var key []byte
		for i := range n {
			key = appendDigits(append(key[:0], "k-"...), i)
			if _, _, err := c.Ref(key); err != nil {
				b.Fatal(err)
			}
		}
		for _, warm := range []bool{false, true} {
			b.Run(fmt.Sprintf("keys=%d/warm=%v", n, warm), func(b *testing.B) {
				start := cpuTime()
				b.ReportAllocs()
				keys := make([][]byte, 512)
				at := uint64(0)
				for done := 0; done < b.N; done += len(keys) {
					for k := range keys {
						keys[k] = appendDigits(append(keys[k][:0], "k-"...), int(at))
						at = (at + 7_368_787) % uint64(n)
					}
					for k := 0; warm && k < len(keys); k++ {
						c.Warm(keys[k])
					}
					for _, key := range keys {
						v, _, err := c.Ref(key)
						if err != nil {
							b.Fatal(err)
						}
						*v++
					}
				}
				b.ReportMetric(float64(c.Bytes())/float64(n), "bytes/key")
				b.ReportMetric(float64(cpuTime()-start)/float64(b.N), "cpu-ns/op")
			})
		}
	}
}

// BenchmarkCacheMiss is one Ref of a key that lies on the disk only, and one
// entry of Load, which reads all of them.
func BenchmarkCacheMiss(b *testing.B) {
	const n = 1_000_000
	spec := testSpec("s")
	spec.Dir = b.TempDir()
	d := open(b, newFakeLog("s.changelog"), spec, Options{})
	defer mustClose(b, d)
	for from := 0; from < n; from += n / 10 { // ten tables in L0
		for i := range n / 10 {
			d.Store("s").Put(appendDigits(nil, (from+i)*7_368_787%n), []byte("12345678"))
		}
		changes := d.Freeze()
		if err := d.Apply(changes, make([]log.Offset, len(changes.Writes())), nil); err != nil {
			b.Fatal(err)
		}
	}
	b.Run("ref", func(b *testing.B) {
		var key []byte
		c := NewCache[int64](d.Store("s"), nil, codec.Int64, false)
		for i := range b.N {
			key = appendDigits(key[:0], i*7_368_787%n)
			if _, existed, err := c.Ref(key); !existed && i < n || err != nil {
				b.Fatal(existed, err)
			}
		}
	})
	b.Run("load", func(b *testing.B) {
		for left := b.N; left > 0; left -= n {
			c := NewCache[int64](d.Store("s"), nil, codec.Int64, false)
			if err := c.Load(1 << 40); err != nil || !c.Fresh() || c.Len() != n {
				b.Fatal(err, c.Fresh(), c.Len())
			}
		}
	})
}
