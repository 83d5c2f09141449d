package cli

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gretestream/grete/examples"
)

func TestDemo(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	var out, errs bytes.Buffer
	code := run(t.Context(), []string{"demo", "--for", "2s", "--rate", "500"}, streams{in: strings.NewReader(""), out: &out, err: &errs}, examples.Jobs())
	if code != 0 {
		t.Fatalf("ended with %d: %s%s", code, out.String(), errs.String())
	}
	for _, want := range []string{"Top pages of the minute from 20", "VIEWS  PAGE", "\n 1  "} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("printed %s\nwant %q", out.String(), want)
		}
	}
	if !strings.Contains(errs.String(), "curl 'http://127.0.0.1:") || strings.Contains(errs.String()+out.String(), "\x1b") {
		t.Errorf("notes: %s", errs.String())
	}
	if left, _ := filepath.Glob(filepath.Join(os.Getenv("TMPDIR"), "grete-demo-*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// TestDemoEndsInOrder: Ctrl-C, at any moment, is a good end; the data stays where
// --data says.
func TestDemoEndsInOrder(t *testing.T) {
	for _, after := range []time.Duration{time.Millisecond, 10 * time.Millisecond, 30 * time.Millisecond, 100 * time.Millisecond, 700 * time.Millisecond} {
		dir := filepath.Join(t.TempDir(), "data")
		ctx, cancel := context.WithCancel(t.Context())
		timer := time.AfterFunc(after, cancel)
		var out, errs bytes.Buffer
		code := run(ctx, []string{"demo", "--data", dir}, streams{in: strings.NewReader(""), out: &out, err: &errs}, testJobs())
		timer.Stop()
		cancel()
		if code != 0 {
			t.Fatalf("after %v: ended with %d: %s%s", after, code, out.String(), errs.String())
		}
		if code, out, errs := runCommand(t.Context(), "", "fsck", "--data", dir); code != 0 {
			t.Errorf("after %v: fsck: %d %s%s", after, code, out, errs)
		}
	}
}
