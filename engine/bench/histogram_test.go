package bench

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

func TestBuckets(t *testing.T) {
	f := func(d time.Duration, want int) {
		t.Helper()
		if got := bucketOf(d); got != want {
			t.Errorf("%d ns are in bucket %d, want %d", d, got, want)
		}
	}
	f(-1, 0)
	f(0, 0)
	f(63, 63)
	f(64, 64)
	f(127, 127)
	f(128, 128)
	f(129, 128)
	f(130, 129)
	f(255, 191)
	f(256, 192)
	f(math.MaxInt64, bucketCount-1)

	for b := range bucketCount - 1 {
		end := bucketEnd(b)
		if bucketOf(end) != b || bucketOf(end+1) != b+1 {
			t.Fatalf("bucket %d ends at %d, which is in %d, the next in %d", b, end, bucketOf(end), bucketOf(end+1))
		}
	}
}

// Quantiles are those of the sorted durations, to 1/64.
func TestQuantiles(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var a, b histogram
	var all []time.Duration
	for i := range 10_000 {
		d := time.Duration(math.Exp(r.NormFloat64()*2+10) * 100)
		all = append(all, d)
		if i%2 == 0 {
			a.add(d)
		} else {
			b.add(d)
		}
	}
	a.merge(&b)
	slices.Sort(all)
	for _, q := range []float64{0.01, 0.5, 0.9, 0.99, 0.999, 1} {
		want := float64(all[int(q*float64(len(all)))-1])
		if got := float64(a.quantile(q)); got < want || got > want*(1+1.0/64) {
			t.Errorf("quantile %v is %v, want %v to 1/64 more", q, got, want)
		}
	}
	if a.max != all[len(all)-1] || a.total != 10_000 {
		t.Errorf("max %v of %d, want %v of 10,000", a.max, a.total, all[len(all)-1])
	}
	if (&histogram{}).quantile(0.5) != 0 {
		t.Error("an empty histogram has a median")
	}
}

func BenchmarkHistogramAdd(b *testing.B) {
	var h histogram
	d := time.Duration(0)
	for b.Loop() {
		h.add(d)
		d = (d*5 + 12345) & (1<<30 - 1)
	}
}
