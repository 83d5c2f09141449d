package log

import (
	"encoding/binary"
	"fmt"
)

// PartitionFor returns the partition of a key among n, as Kafka's Java clients
// choose it: (murmur2(key) & 0x7fffffff) mod n. All writers of Grete use it, so
// equal keys meet. A nil key hashes like an empty one; writers that would
// rather spread null keys choose themselves.
func PartitionFor(key []byte, n int) int32 {
	if n <= 0 {
		panic(fmt.Sprintf("partition for a key among %d partitions", n))
	}
	return int32((murmur2(key) & 0x7fffffff) % uint32(n))
}

// murmur2 is the 32-bit hash of Austin Appleby with the seed that Kafka uses.
func murmur2(b []byte) uint32 {
	const (
		seed = 0x9747b28c
		m    = 0x5bd1e995
		r    = 24
	)
	h := seed ^ uint32(len(b))
	for ; len(b) >= 4; b = b[4:] {
		k := binary.LittleEndian.Uint32(b)
		k *= m
		k ^= k >> r
		k *= m
		h *= m
		h ^= k
	}
	switch len(b) {
	case 3:
		h ^= uint32(b[2]) << 16
		fallthrough
	case 2:
		h ^= uint32(b[1]) << 8
		fallthrough
	case 1:
		h ^= uint32(b[0])
		h *= m
	}
	h ^= h >> 13
	h *= m
	h ^= h >> 15
	return h
}
