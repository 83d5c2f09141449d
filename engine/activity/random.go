package activity

import (
	"math"
	"math/bits"
	"slices"
)

// random is a small generator of random numbers (splitmix64) that starts at a
// point computed from what is asked for: no state is shared between records.
type random uint64

// at returns the numbers that belong to record i of a stream of the seed.
func at(seed, stream, i uint64) random {
	r := random(seed + stream*0xd1b54a32d192ed03)
	return random(r.next() ^ i*0x9e3779b97f4a7c15)
}

func (r *random) next() uint64 {
	*r += 0x9e3779b97f4a7c15
	x := uint64(*r)
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// below returns a number in [0, n).
func (r *random) below(n int) int {
	hi, _ := bits.Mul64(r.next(), uint64(n))
	return int(hi)
}

// percent is true in p of 100 cases.
func (r *random) percent(p int) bool { return r.below(100) < p }

// zipf chooses ranks so that rank n is met in proportion to 1/(n+1)^exponent.
type zipf []float64 // cumulative shares, the last is 1

func newZipf(n int, exponent float64) zipf {
	z := make(zipf, n)
	sum := 0.0
	for i := range z {
		sum += math.Pow(float64(i+1), -exponent)
		z[i] = sum
	}
	for i := range z {
		z[i] /= sum
	}
	z[n-1] = 1
	return z
}

// rank returns a number in [0, len(z)).
func (z zipf) rank(r *random) int {
	share := float64(r.next()>>11) / (1 << 53)
	i, _ := slices.BinarySearch(z, share)
	return min(i, len(z)-1)
}
