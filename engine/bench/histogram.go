package bench

import (
	"math/bits"
	"time"
)

// histogram counts durations in buckets that grow with what they hold, so that
// every quantile is known to 1/64 of itself, in constant memory. Durations below
// 64 ns have a bucket each; above, each power of two is cut into 64.
//
//	value     0 … 63    64 … 127      128 … 255     256 …
//	bucket    0 … 63    64 … 127      128 … 191     192 …
//	width     1 ns      1 ns          2 ns          4 ns
//
// Not for concurrent use; merge one per goroutine.
type histogram struct {
	counts [bucketCount]int64
	total  int64
	max    time.Duration
}

const (
	subBits     = 6 // 1 << subBits buckets per power of two
	bucketCount = (63 - subBits + 1) << subBits
)

func bucketOf(d time.Duration) int {
	v := uint64(max(d, 0))
	if v < 1<<subBits {
		return int(v)
	}
	shift := bits.Len64(v) - 1 - subBits
	return (shift+1)<<subBits + int(v>>shift) - 1<<subBits
}

// bucketEnd is the largest duration of a bucket.
func bucketEnd(b int) time.Duration {
	if b < 1<<subBits {
		return time.Duration(b)
	}
	shift := b>>subBits - 1
	v := uint64(b&(1<<subBits-1)+1<<subBits+1)<<shift - 1
	return time.Duration(v)
}

func (h *histogram) add(d time.Duration) {
	h.counts[bucketOf(d)]++
	h.total++
	h.max = max(h.max, d)
}

func (h *histogram) merge(o *histogram) {
	for i, n := range &o.counts {
		h.counts[i] += n
	}
	h.total += o.total
	h.max = max(h.max, o.max)
}

// quantile returns a duration that q (0 to 1) of all do not exceed; 0 if there
// are none.
func (h *histogram) quantile(q float64) time.Duration {
	want := int64(q*float64(h.total) + 0.5)
	seen := int64(0)
	for b, n := range &h.counts {
		if seen += n; n > 0 && seen >= want {
			return min(bucketEnd(b), h.max)
		}
	}
	return h.max
}

func (h *histogram) latency() *Latency {
	return &Latency{P50: h.quantile(0.50), P90: h.quantile(0.90), P99: h.quantile(0.99), Max: h.max}
}
