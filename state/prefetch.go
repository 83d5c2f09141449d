//go:build amd64 || arm64

package state

import "unsafe"

// prefetch starts to bring memory into the processor's cache and does not wait
// for it. Any address will do.
//
//go:noescape
func prefetch(p unsafe.Pointer)
