package log

import (
	"hash/crc32"
	"math/rand/v2"
	"testing"
)

func TestCombineCRC(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	text := make([]byte, 300_000)
	for i := range text {
		text[i] = byte(r.Uint32())
	}
	for _, n := range []int{0, 1, 2, 3, 255, 256, 65_535, 65_536, 65_537, len(text) - 1, len(text)} {
		a, b := text[:len(text)-n], text[len(text)-n:]
		got := combineCRC(crc32.Checksum(a, castagnoli), crc32.Checksum(b, castagnoli), n)
		if want := crc32.Checksum(text, castagnoli); got != want {
			t.Errorf("the last %d bytes combined: got %#08x, want %#08x", n, got, want)
		}
	}
}

// appendCRC is the checksum of the bytes, for batches small and large.
func TestAppendCRC(t *testing.T) {
	var b Builder
	b.MaxBatchBytes = 100_000
	value := make([]byte, 1_000)
	for i := range 250 {
		value[i] = byte(i)
		b.Append(Timestamp(i), nil, value)
	}
	all := append([]byte(nil), b.Bytes()...)
	b.Reset()
	b.Append(1, nil, value)
	all = append(all, b.Bytes()...)
	setBatchOffset(all, 77, 3) // what lies before the batch's own checksum counts
	start := crc32.Checksum([]byte("an entry's head"), castagnoli)
	if got, want := appendCRC(start, all), crc32.Update(start, castagnoli, all); got != want {
		t.Errorf("got %#08x, want %#08x", got, want)
	}
	if got := appendCRC(start, nil); got != start {
		t.Errorf("got %#08x after no batches, want %#08x", got, start)
	}
}

func BenchmarkAppendCRC(b *testing.B) {
	var builder Builder
	value := make([]byte, 100)
	for range 10_000 {
		builder.Append(1, nil, value)
	}
	batches := builder.Bytes()
	b.SetBytes(int64(len(batches)))
	for b.Loop() {
		appendCRC(1, batches)
	}
}
