package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// memory fills the page cache, as it is filled on any machine that a broker has
// run on for a while.
//
// Memory that nobody uses may have gone back from a virtual machine to its host.
// Then the first touch of a page costs several microseconds, many times what it
// costs to receive, check and copy what is put there: a run in free memory
// measures the host.
type memory struct {
	hole *os.File // reads as zeroes, and takes no place on the disk
	at   int64
	b    []byte
}

const (
	holeBytes = 4 << 40
	fillStep  = 64 << 20 // read before it is looked how much is still free
)

func newMemory(dir string) (*memory, error) {
	f, err := os.Create(filepath.Join(dir, "hole"))
	if err != nil {
		return nil, err
	}
	// Nobody else needs its name, or will have to remove it.
	return &memory{hole: f, b: make([]byte, 1<<20)}, errors.Join(os.Remove(f.Name()), f.Truncate(holeBytes))
}

// fill reads until the kernel makes room for what is read rather than take what
// is free, which it keeps some percent of, or until it has read as much as there
// is memory.
func (m *memory) fill() error {
	total, before, err := memInfo()
	for read := int64(0); err == nil && read < total; {
		for range fillStep / len(m.b) {
			if _, err := m.hole.ReadAt(m.b, m.at%holeBytes); err != nil {
				return err
			}
			m.at += int64(len(m.b))
			read += int64(len(m.b))
		}
		var free int64
		_, free, err = memInfo()
		if free < total/16 && before-free < fillStep/2 {
			return nil
		}
		before = free
	}
	return err
}

// memInfo tells how much memory there is and how much is free, in bytes.
func memInfo() (total, free int64, err error) {
	b, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0, 0, err
	}
	if _, err := fmt.Sscanf(string(b), "MemTotal: %d kB\nMemFree: %d kB", &total, &free); err != nil {
		return 0, 0, fmt.Errorf("read /proc/meminfo: %w", err)
	}
	return total << 10, free << 10, nil
}
