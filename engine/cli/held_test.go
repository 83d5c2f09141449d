package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gretestream/grete/log"
)

// holder is a command that holds a data directory while others run beside it.
type holder struct {
	t    *testing.T
	dir  string
	stop context.CancelFunc
	done chan int
	errs lockedBuffer
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// hold starts a command and waits until it can be reached.
func hold(t *testing.T, dir string, args ...string) *holder {
	t.Helper()
	return holdAs(t, dir, func() (*running, error) { return readRunning(dir) }, args...)
}

// holdAs is hold for a process that is found in another way.
func holdAs(t *testing.T, dir string, find func() (*running, error), args ...string) *holder {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	h := &holder{t: t, dir: dir, stop: stop, done: make(chan int, 1)}
	go func() {
		h.done <- run(ctx, append(args, "--data", dir), streams{in: strings.NewReader(""), out: io.Discard, err: &h.errs}, testJobs())
	}()
	t.Cleanup(h.end)
	deadline := time.After(30 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		if r, err := find(); err == nil && h.answers(r) {
			return h
		}
		select {
		case code := <-h.done:
			h.done <- code
			t.Fatalf("%v ended with %d: %s", args, code, h.errs.String())
		case <-deadline:
			t.Fatalf("%v cannot be reached: %s", args, h.errs.String())
		case <-tick.C:
		}
	}
}

// answers tells whether all jobs of the process are ready.
func (h *holder) answers(r *running) bool {
	resp, err := r.get(context.Background(), http.MethodGet, "/readyz")
	if err != nil {
		return false
	}
	resp.Body.Close()
	if len(r.Jobs) == 0 {
		return true
	}
	resp, err = r.get(context.Background(), http.MethodGet, "/v1/jobs/"+r.Jobs[0])
	if err != nil {
		return false
	}
	resp.Body.Close()
	return true
}

func (h *holder) end() {
	if h.stop == nil {
		return
	}
	h.stop()
	h.stop = nil
	if code := <-h.done; code != 0 {
		h.t.Errorf("ended with %d: %s", code, h.errs.String())
	}
}

// ask runs a command beside the holder, and wants an exit code and texts.
func (h *holder) ask(code int, args, in string, want ...string) string {
	h.t.Helper()
	got, out, errs := runCommand(h.t.Context(), in, append(strings.Fields(args), "--data", h.dir)...)
	for _, w := range want {
		if !strings.Contains(out+errs, w) {
			h.t.Errorf("%s: printed %s%s\nwant %s", args, out, errs, w)
		}
	}
	if got != code {
		h.t.Errorf("%s: ended with %d, want %d: %s%s", args, got, code, out, errs)
	}
	return out
}

func TestHeldDirectory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	h := hold(t, dir, "run", "shout", "--partitions", "1")

	info, err := os.Stat(filepath.Join(dir, runningFile))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("running.json: got %v and %v, want mode 0600", info.Mode(), err)
	}
	h.ask(0, "produce lines", "a\tone\nb\ttwo\n", "Produced 2 records")
	follow(t, dir, "upper", 2)
	h.ask(0, "consume upper --output csv", "", "a,ONE,", "b,TWO,")
	h.ask(0, "topic list", "", "lines", "upper")
	h.ask(0, "topic create more --partitions 2", "", "Created topic more")
	h.ask(1, "topic create more", "", "topic already exists")
	file := filepath.Join(t.TempDir(), "in.jsonl")
	if err := os.WriteFile(file, []byte("{\"t\":1}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	h.ask(0, "ingest "+file+" --topic clicks", "", "1 records into clicks")
	h.ask(1, "ingest "+file+" --topic clicks", "", "use --again")

	h.ask(1, "run shout", "", `is held by "grete run shout" (pid `, `it runs job "shout" already: ask it with "grete query shout"`)
	h.ask(1, "run latest", "", "a job runs in the process that holds the directory: end that one first (kill ")
	h.ask(1, "serve", "", "one process at a time can serve it")
	h.ask(1, "reprocess latest", "", `does not run job "latest": end that one first`)
	h.ask(1, "fsck", "", "data directory is in use by another process", `"grete run shout"`)
	h.ask(1, "query shout", "", `--store is missing: job "shout" keeps none`)
	h.ask(1, "query shout --store x", "", `unknown store`)

	h.ask(0, "reprocess shout", "", "Job shout, generation 2, has caught up")
	follow(t, dir, "upper", 4)
	h.ask(0, "produce lines", "c\tthree\n", "Produced 1 records")
	follow(t, dir, "upper", 5)
	h.end()
	if _, err := os.Stat(filepath.Join(dir, runningFile)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("running.json is left behind: %v", err)
	}
	for _, want := range []string{"generation 1, at http://127.0.0.1:", "generation 2, at", "records in"} {
		if !strings.Contains(h.errs.String(), want) {
			t.Errorf("the job said %s, want %s", h.errs.String(), want)
		}
	}
}

// follow waits until a topic holds n records, as a follower sees them.
func follow(t *testing.T, dir, topic string, n int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	code, out, errs := runCommand(ctx, "", "consume", topic, "--follow", "--max", fmt.Sprint(n), "--output", "json", "--data", dir)
	if got := strings.Count(out, "\n"); code != 0 || got != n {
		t.Fatalf("followed %s: got %d records, want %d: %s%s", topic, got, n, out, errs)
	}
}

func TestServe(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	if code, _, errs := runCommand(t.Context(), "k\tK:\n", "produce", "prefixes", "--data", dir); code != 0 {
		t.Fatal(errs)
	}
	if code, _, errs := runCommand(t.Context(), "", "run", "latest", "--until-end", "--data", dir); code != 0 {
		t.Fatal(errs)
	}
	h := hold(t, dir, "serve", "--http", "127.0.0.1:0", "--kafka", "127.0.0.1:0")
	h.ask(0, "produce lines", "a\tone\n", "Produced 1")
	h.ask(0, "consume lines", "", "one")
	h.ask(0, "consume lines --group readers --print %k", "", "a")
	h.ask(0, "group describe readers", "", "readers", "lines")
	h.ask(0, "run shout --until-end --http 127.0.0.1:0", "", "1 records") // through its Kafka listener
	h.ask(0, "consume upper", "", "ONE")
	// A job that ran before is asked through the log of the other process.
	h.ask(0, "query latest --output csv", "", "key,value\nk,K:\n")
	r, err := readRunning(dir)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := r.get(t.Context(), http.MethodGet, "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if text, _ := io.ReadAll(resp.Body); !strings.Contains(string(text), "go_goroutines") {
		t.Errorf("metrics: %s", text)
	}
	h.end()
}

// TestQueryRunningJob asks a job while it runs, in every form.
func TestQueryRunningJob(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	h := hold(t, dir, "run", "count", "--partitions", "2")
	h.ask(0, "produce lines --format json", `{"value":"a","timestamp":"2015-05-17T10:05:01Z"}
{"value":"a","timestamp":"2015-05-17T10:05:02Z","partition":1}
{"value":"b","timestamp":"2015-05-17T10:05:03Z"}
`, "Produced 3")
	r, err := readRunning(dir)
	if err != nil {
		t.Fatal(err)
	}
	// The answer waits until it holds what was just produced.
	resp, err := r.get(t.Context(), http.MethodGet, "/v1/jobs/count/stores/counts?format=csv&wait=30s&at-least=lines-0:2&at-least=lines-1:1")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	const want = "window_start_ms,window_start,key,value\n1431857100000,2015-05-17T10:05:00Z,a,2\n1431857100000,2015-05-17T10:05:00Z,b,1\n"
	if got, err := io.ReadAll(resp.Body); err != nil || string(got) != want {
		t.Errorf("at least what was produced: got %s and %v", got, err)
	}
	if got := h.ask(0, "query count --output csv", ""); got != want {
		t.Errorf("csv: got %s", got)
	}
	h.ask(0, "query count --store counts --key b --output json", "", `"key":"b","value":1}`)
	h.ask(0, "query count --top 1", "", "2015-05-17T10:05:00Z  a        2  open")
	h.ask(0, "query count --window 2015-05-17T10:05:00Z --limit 1 --output csv", "", ",a,2")
	h.ask(0, "query count --output arrow", "", "\xff\xff\xff\xff", "window_start")
	h.ask(1, "query count --store nothing", "", `unknown store: job "count" keeps counts`)
	h.ask(1, "query latest --store prefixes", "", `job "latest" has not run in`)
	h.end()
}

// TestStaleRunning: what a killed process left behind is no hindrance.
func TestStaleRunning(t *testing.T) {
	dir := t.TempDir()
	stale := running{Version: runningVersion, PID: 1, Command: "run x", Addresses: []string{"127.0.0.1:1"}, Token: "t"}
	if err := stale.write(dir, runningFile); err != nil {
		t.Fatal(err)
	}
	if code, out, errs := runCommand(t.Context(), "", "topic", "list", "--data", dir); code != 0 {
		t.Errorf("ended with %d: %s%s", code, out, errs)
	}
}

// TestLockedWithoutAnswer: a holder that does not serve is named after a while.
func TestSilentHolder(t *testing.T) {
	dir := t.TempDir()
	l, err := log.Open(dir, log.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	code, _, errs := runCommand(ctx, "", "topic", "list", "--data", dir)
	if code != 1 || strings.Contains(errs, "panic") {
		t.Errorf("got %d and %s", code, errs)
	}
}

func TestDamage(t *testing.T) {
	fresh := func() string {
		dir := filepath.Join(t.TempDir(), "data")
		if code, _, errs := runCommand(t.Context(), strings.Repeat("key\tvalue\n", 100), "produce", "lines", "--partitions", "1", "--data", dir); code != 0 {
			t.Fatal(errs)
		}
		return dir
	}
	f := func(what string, harm func(dir string) error, command string, want ...string) {
		t.Helper()
		dir := fresh()
		if err := harm(dir); err != nil {
			t.Fatal(err)
		}
		code, out, errs := runCommand(t.Context(), "", append(strings.Fields(command), "--data", dir)...)
		if code != 1 {
			t.Errorf("%s: %s ended with %d: %s%s", what, command, code, out, errs)
		}
		for _, w := range want {
			if !strings.Contains(out+errs, w) {
				t.Errorf("%s: %s printed %s%s\nwant %q", what, command, out, errs, w)
			}
		}
		for _, bad := range []string{"panic", "goroutine", "Usage:"} {
			if strings.Contains(out+errs, bad) {
				t.Errorf("%s: %s printed %s%s", what, command, out, errs)
			}
		}
	}
	flip := func(dir string) error {
		name := filepath.Join(dir, "topics", "lines-0", "00000000000000000000.log")
		b, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		b[200] ^= 1
		return os.WriteFile(name, b, 0o644)
	}
	newer := func(dir string) error { return os.WriteFile(filepath.Join(dir, "format"), []byte("99\n"), 0o644) }
	f("flipped bit", flip, "consume lines", "00000000000000000000.log", "grete fsck")
	f("flipped bit", flip, "fsck", "damaged", "00000000000000000000.log", "nothing was changed")
	f("newer format", newer, "topic list", "newer format", "99", "use the newer grete")
	f("newer format", newer, "run shout --until-end", "newer format")
	f("newer format", newer, "fsck", "newer format")
	f("no directory", os.RemoveAll, "fsck", "there is no log")
}

// fullDisk is a log without space.
type fullDisk struct{ log.Log }

func (fullDisk) Append(context.Context, log.TopicPartition, []byte) (log.Offset, error) {
	return 0, fmt.Errorf("append 12 bytes to lines-0: %w", log.ErrNoSpace)
}

func TestFullDisk(t *testing.T) {
	a := &app{}
	p := &producer{app: a, log: fullDisk{}, topic: log.Topic{Name: "lines", Partitions: 1}, flags: &produceFlags{partition: -1}, builders: make([]log.Builder, 1)}
	err := explain(p.run(t.Context(), strings.NewReader("a\tb\n"), p.parseLine))
	if !errors.Is(err, log.ErrNoSpace) || !strings.Contains(err.Error(), "make room on the disk") {
		t.Errorf("got %v", err)
	}
}

// TestRunWhileIngesting: an ingest that waits for more input holds the directory.
func TestRunWhileIngesting(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	in, feed := io.Pipe()
	done := make(chan int)
	var errs lockedBuffer
	go func() {
		done <- run(t.Context(), []string{"ingest", "-", "--topic", "lines", "--format", "json", "--data", dir},
			streams{in: in, out: io.Discard, err: &errs}, testJobs())
	}()
	if _, err := io.WriteString(feed, "{\"a\":1}\n"); err != nil { // it is reading: the directory is held
		t.Fatal(err)
	}
	h := &holder{t: t, dir: dir}
	h.ask(1, "run shout", "", `held by "grete ingest --topic lines"`, "wait until it has ended")
	feed.Close()
	if code := <-done; code != 0 || !strings.Contains(errs.String(), "1 records into lines") {
		t.Errorf("ingest ended with %d: %s", code, errs.String())
	}
}

func TestVersionAndCompletion(t *testing.T) {
	if code, out, _ := runCommand(t.Context(), "", "__complete", "run", ""); code != 0 || !strings.Contains(out, "count\nlatest\nshout\n") {
		t.Errorf("completion of jobs: got %d %s", code, out)
	}
	code, out, errs := runCommand(t.Context(), "", "version", "--output", "json")
	var v struct{ Version, Go string }
	if err := json.Unmarshal([]byte(out), &v); err != nil || code != 0 || v.Go == "" {
		t.Errorf("got %d %s%s %v", code, out, errs, err)
	}
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		if code, out, errs := runCommand(t.Context(), "", "completion", shell); code != 0 || !strings.Contains(out, "grete") {
			t.Errorf("completion %s: got %d %s", shell, code, errs)
		}
	}
}
