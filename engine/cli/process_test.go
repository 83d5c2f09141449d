package cli_test

import (
	"bytes"
	"context"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestSignals: the built binary ends in order at the first signal, and leaves a
// directory that the next command opens as it is.
func TestSignals(t *testing.T) {
	grete := buildGrete(t)
	dir := filepath.Join(t.TempDir(), "data")
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		for _, args := range [][]string{{"run", "pageviews"}, {"serve", "--kafka", "127.0.0.1:0"}, {"demo", "--rate", "100"}} {
			name := strings.Join(args, " ") + " " + sig.String()
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			cmd := exec.CommandContext(ctx, grete, append(args, "--data", dir, "--http", "127.0.0.1:0")...)
			var errs lineSignal
			errs.want, errs.seen = "http://127.0.0.1:", make(chan struct{})
			cmd.Stderr = &errs
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			select {
			case <-errs.seen:
			case <-ctx.Done():
				t.Errorf("%s: never said that it serves: %s", name, errs.text.String())
			}
			if err := cmd.Process.Signal(sig); err != nil {
				t.Error(err)
			}
			if err := cmd.Wait(); err != nil {
				t.Errorf("%s: %v: %s", name, err, errs.text.String())
			}
			cancel()
			out, err := exec.Command(grete, "fsck", "--data", dir).CombinedOutput()
			if err != nil || !strings.Contains(string(out), "No damage found") {
				t.Errorf("fsck after %s: %v: %s", name, err, out)
			}
		}
	}
}

// lineSignal closes seen when a text has been written. It is written to by one
// goroutine, and read after that has ended.
type lineSignal struct {
	want string
	seen chan struct{}
	text bytes.Buffer
	done bool
}

func (l *lineSignal) Write(p []byte) (int, error) {
	l.text.Write(p)
	if !l.done && strings.Contains(l.text.String(), l.want) {
		l.done = true
		close(l.seen)
	}
	return len(p), nil
}
