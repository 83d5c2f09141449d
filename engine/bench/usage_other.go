//go:build !unix

package bench

import (
	"errors"
	"fmt"
	"time"
)

// cpuTime is the user and system time that the process has used so far.
func cpuTime() (time.Duration, error) {
	return 0, fmt.Errorf("get resource usage: %w on this operating system", errors.ErrUnsupported)
}
