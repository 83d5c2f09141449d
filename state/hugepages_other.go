//go:build !linux

package state

// adviseHuge does nothing where there is no such advice to give.
func adviseHuge[T any]([]T) {}
