//go:build !linux

package log

func adviseHuge([]byte) {}

func offHeap(n int) []byte { return make([]byte, n) }
