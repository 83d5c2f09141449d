package main

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// diskFiles are written at a time, as many as a topic has partitions here.
const diskFiles = partitions

// measureDisk tells how many bytes a second the disk takes for new files that
// grow by chunks, each of them durable before the next: no server that syncs
// before it answers can be faster with requests that bring so much at a time.
func measureDisk(dir string, chunk int, d time.Duration) (bytesPerSecond float64, err error) {
	if dir, err = os.MkdirTemp(dir, "disk"); err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	syscall.Sync()
	var written atomic.Int64
	var wg sync.WaitGroup
	errs := make([]error, diskFiles)
	began := time.Now()
	for i := range errs {
		wg.Go(func() {
			f, err := os.Create(filepath.Join(dir, strconv.Itoa(i)))
			if err != nil {
				errs[i] = err
				return
			}
			for b := randomValue(chunk); err == nil && time.Since(began) < d; {
				if _, err = f.Write(b); err == nil {
					err = syscall.Fdatasync(int(f.Fd()))
				}
				written.Add(int64(chunk))
			}
			errs[i] = errors.Join(err, f.Close())
		})
	}
	wg.Wait()
	return float64(written.Load()) / time.Since(began).Seconds(), errors.Join(errs...)
}
