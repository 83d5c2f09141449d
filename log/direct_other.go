//go:build !linux

package log

func adviseHuge([]byte) {}
