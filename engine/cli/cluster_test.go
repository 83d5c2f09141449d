package cli

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"
)

// elsewhere is the flags for a log that a Kafka cluster in this process keeps.
func elsewhere(t *testing.T) []string {
	t.Helper()
	c, err := kfake.NewCluster(kfake.NumBrokers(2))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return []string{"--log", "kafka://" + strings.Join(c.ListenAddrs(), ","), "--data", filepath.Join(t.TempDir(), "data"), "--http", "127.0.0.1:0"}
}

// TestLogElsewhere: a user's day with --log, each command with the answer that it
// has on a data directory.
func TestLogElsewhere(t *testing.T) {
	var lines strings.Builder
	for i := range 300 {
		fmt.Fprintf(&lines, `{"key":"k%d","value":"line %d","timestamp":"2026-03-01T10:%02d:00Z"}`+"\n", i%9, i%7, i/60)
	}
	day := func(flags []string) map[string]string {
		answers := map[string]string{}
		do := func(in, command string) {
			t.Helper()
			code, out, errs := runCommand(t.Context(), in, append(strings.Fields(command), flags...)...)
			if code != 0 {
				t.Fatalf("grete %s ended with %d: %s", command, code, errs)
			}
			answers[command] = out
		}
		do("", "topic create notes --partitions 2 --config max.message.bytes=100000")
		do("a\tone\nb\ttwo\nc\tthree\n", "produce notes")
		do("", "consume notes --output json")
		do("", "topic alter notes --config retention.ms=1000000000000")
		do("not a request\n", "ingest - --topic rejected --format access")
		do(lines.String(), "produce lines --partitions 3 --format json")
		do("", "run count --until-end")
		do("", "query count --output csv")
		do("", "run count --until-end")
		do("", "describe count")
		do("", "reprocess count --from earliest --until-end --drop-output")
		do("", "query count --output json --limit 5")
		do("", "topic describe notes --output json")
		do("", "topic delete notes")
		do("", "topic list --output csv")
		return answers
	}
	here, there := day([]string{"--data", filepath.Join(t.TempDir(), "data"), "--http", "127.0.0.1:0"}), day(elsewhere(t))
	for command, want := range here {
		got := there[command]
		if strings.HasPrefix(command, "consume") || strings.HasPrefix(command, "topic list") {
			// Timestamps, and records that only a cluster counts: the ends of
			// transactions.
			if strings.Count(got, "\n") != strings.Count(want, "\n") {
				t.Errorf("grete %s:\n%s, want\n%s", command, got, want)
			}
			continue
		}
		if got != want {
			t.Errorf("grete %s: %s", command, difference(got, want))
		}
	}
}

// TestLogMistakes: what is wrong with --log is told with all other mistakes.
func TestLogMistakes(t *testing.T) {
	f := func(command string, want ...string) {
		t.Helper()
		code, _, errs := runCommand(t.Context(), "", strings.Fields(command)...)
		if code != exitUsage {
			t.Errorf("grete %s ended with %d, want %d: %s", command, code, exitUsage, errs)
		}
		for _, w := range want {
			if !strings.Contains(errs, w) {
				t.Errorf("grete %s: %s, want it to say %q", command, errs, w)
			}
		}
	}
	f("run count --log localhost:9092 --partitions x", "kafka://HOST:PORT", "--partitions")
	f("run count --log kafka://localhost?colour=red --sync none", `"colour"`)
	f("run count --log kafka://localhost --sync none --kafka 127.0.0.1:1", "--sync", "--kafka")
	f("serve --log kafka://localhost", "serve is about the log in --data")
	f("fsck --log kafka://localhost", "leave --log out")

	code, _, errs := runCommand(t.Context(), "", "topic", "list", "--log", "kafka://127.0.0.1:1")
	if code != exitFailure || !strings.Contains(errs, "127.0.0.1:1") {
		t.Errorf("a cluster that is not there: ended with %d: %s", code, errs)
	}
}

// TestQueryBesideRun: a query beside a job that runs on a log kept elsewhere is
// answered by the process that runs it.
func TestQueryBesideRun(t *testing.T) {
	flags := elsewhere(t)
	dir := flags[3]
	if code, _, errs := runCommand(t.Context(), "k\tv\n", append([]string{"produce", "lines", "--partitions", "2"}, flags...)...); code != 0 {
		t.Fatal(errs)
	}
	h := holdAs(t, dir, runnerIn(dir), append([]string{"run", "count", "--http", "127.0.0.1:0"}, flags[:2]...)...)
	code, out, errs := runCommand(t.Context(), "", append([]string{"query", "count", "--output", "csv"}, flags...)...)
	if code != 0 || !strings.HasPrefix(out, "window_start_ms") {
		t.Errorf("query ended with %d: %s%s", code, out, errs)
	}
	h.end()
	if files, _ := filepath.Glob(filepath.Join(dir, containerPrefix+"*")); len(files) != 0 {
		t.Errorf("left behind: %v", files)
	}
}

// runnerIn finds the one process that runs count with its state in dir.
func runnerIn(dir string) func() (*running, error) {
	return func() (*running, error) {
		list, err := (&dataDir{path: dir}).runners("count")
		if err == nil && len(list) != 1 {
			err = fmt.Errorf("%d processes run the job", len(list))
		}
		if err != nil {
			return nil, err
		}
		return list[0], nil
	}
}

// TestJoinServer: a job started on a directory that a server holds runs through
// its Kafka listener, and is asked on the same directory.
func TestJoinServer(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	hold(t, dir, "serve", "--http", "127.0.0.1:0", "--kafka", "127.0.0.1:0")
	do := func(in, command string) string {
		t.Helper()
		code, out, errs := runCommand(t.Context(), in, append(strings.Fields(command), "--data", dir)...)
		if code != 0 {
			t.Fatalf("grete %s ended with %d: %s", command, code, errs)
		}
		return out
	}
	do("", "topic create lines --partitions 2")
	do("", "run count --until-end --http 127.0.0.1:0")
	h := holdAs(t, dir, runnerIn(dir), "run", "count", "--http", "127.0.0.1:0")
	if out := do("", "query count --output csv"); !strings.HasPrefix(out, "window_start_ms") {
		t.Errorf("query: %s", out)
	}
	h.end()
	do("", "query count --output csv")
}
