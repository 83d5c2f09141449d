package bench

import (
	"bufio"
	"bytes"
	"os"
	"strconv"
)

// residentMemory returns what the process holds in memory now and held at most,
// in bytes; 0 where the operating system does not tell. The kernel's own peak
// is taken from /proc, because that of getrusage is inherited from the parent.
func residentMemory() (now, peak int64) {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, 0
	}
	lines := bufio.NewScanner(bytes.NewReader(status))
	for lines.Scan() {
		name, value, _ := bytes.Cut(lines.Bytes(), []byte(":"))
		switch string(name) {
		case "VmRSS":
			now = kibibytes(value)
		case "VmHWM":
			peak = kibibytes(value)
		}
	}
	return now, peak
}

// kibibytes reads "  123 kB", which means KiB.
func kibibytes(value []byte) int64 {
	fields := bytes.Fields(value)
	if len(fields) == 0 {
		return 0
	}
	n, err := strconv.ParseInt(string(fields[0]), 10, 64)
	if err != nil {
		return 0
	}
	return n << 10
}
