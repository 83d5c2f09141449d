package state

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// The sorter orders keys as bytes.Compare does and keeps the last of equal ones.
func TestSorter(t *testing.T) {
	var s sorter
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.SampledFrom([]int{0, 1, 2, 100, 127, 128, 129, 1000, 5000}).Draw(t, "n")
		rnd := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
		// Few letters and long common beginnings make ties at every depth.
		letters := rapid.SampledFrom([]string{"a", "\x00", "\x00\x01", "\x00\xff", "0123456789"}).Draw(t, "letters")
		beginnings := rapid.SampledFrom([][]string{{""}, {"w", ""}, {"window-1-", "window-2-", "window-2"}, {"\x80\x00\x01\x4d\x61\x55\x74\xe0", "\x80\x00\x01\x4d\x61\x56\x5f\x40"}}).Draw(t, "beginnings")
		longest := rapid.SampledFrom([]int{1, 7, 8, 9, 17, 30}).Draw(t, "longest")
		keys := make([][]byte, n)
		for i := range keys {
			keys[i] = []byte(beginnings[rnd.IntN(len(beginnings))])
			for range rnd.IntN(longest + 1) {
				keys[i] = append(keys[i], letters[rnd.IntN(len(letters))])
			}
		}

		last := map[string]uint32{}
		for i, k := range keys {
			last[string(k)] = uint32(i)
		}
		want := make([]uint32, 0, len(last))
		for _, i := range last {
			want = append(want, i)
		}
		slices.SortFunc(want, func(a, b uint32) int { return bytes.Compare(keys[a], keys[b]) })

		got := s.sort(nil, n, func(i uint32) []byte { return keys[i] })
		if !slices.Equal(got, want) {
			t.Fatalf("%d keys of up to %d letters %q: got %v, want %v", n, longest, letters, got, want)
		}
	})
}

func BenchmarkSorter(b *testing.B) {
	for _, n := range []int{1000, 400_000} {
		keys := make([]byte, 0, 24*n)
		for range n {
			keys = fmt.Appendf(keys, "window-0user-%011d", rand.IntN(10_000_000))
		}
		b.Run(fmt.Sprintf("n=%d", n), func(b *testing.B) {
			var s sorter
			var order []uint32
			for range b.N/n + 1 {
				order = s.sort(order[:0], n, func(i uint32) []byte { return keys[24*i : 24*i+24] })
			}
		})
	}
}
