//go:build !amd64 && !arm64

package state

import "unsafe"

// prefetch is only advice.
func prefetch(unsafe.Pointer) {}
