package cli

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var rewrite = flag.Bool("rewrite", false, "write the stories anew from what the commands print")

// TestStories runs the stories in testdata: command lines, one after the other
// on one data directory, with all that they print.
//
//	# what comes next
//	$ topic create a --partitions 2
//	! Created topic a with 2 partitions.
//	$ produce a
//	< k<tab>v
//	! Produced 1 records to a.
//
// A line with $ is a command, | an empty line that it printed, < is its standard input, ! its standard error, "="
// an exit code other than 0, and all else its standard output. "file NAME" writes
// a file from the lines with <. Paths, times and rates are replaced by words.
func TestStories(t *testing.T) {
	stories, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(stories) == 0 {
		t.Fatalf("no stories: %v", err)
	}
	for _, name := range stories {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txt"), func(t *testing.T) { runStory(t, name) })
	}
}

func runStory(t *testing.T, name string) {
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	work := t.TempDir()
	var got strings.Builder
	lines := strings.Split(strings.TrimRight(string(want), "\n"), "\n")
	for i := 0; i < len(lines); i++ {
		line := lines[i]
		command, ok := strings.CutPrefix(line, "$ ")
		if !ok {
			if line == "" || line[0] == '#' {
				got.WriteString(line + "\n")
			}
			continue
		}
		got.WriteString(line + "\n")
		var in strings.Builder
		for i+1 < len(lines) && strings.HasPrefix(lines[i+1], "<") {
			i++
			got.WriteString(lines[i] + "\n")
			text := strings.TrimPrefix(strings.TrimPrefix(lines[i], "<"), " ")
			in.WriteString(strings.ReplaceAll(text, "<tab>", "\t") + "\n")
		}
		got.WriteString(storyCommand(t, work, command, in.String()))
	}
	if *rewrite {
		if err := os.WriteFile(name, []byte(got.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if g, w := got.String(), string(want); g != w {
		t.Errorf("%s (go test -rewrite, and read the difference):\n%s", name, difference(g, w))
	}
}

// storyCommand runs one command and returns what it printed.
func storyCommand(t *testing.T, work, command, in string) string {
	args := strings.Fields(command)
	if args[0] == "file" {
		if err := os.WriteFile(filepath.Join(work, args[1]), []byte(in), 0o644); err != nil {
			t.Fatal(err)
		}
		return ""
	}
	for i, a := range args {
		args[i] = strings.ReplaceAll(a, "WORK", work)
	}
	code, out, errs := runCommand(t.Context(), in, append(args, "--data", filepath.Join(work, "data"))...)
	var b strings.Builder
	for _, line := range strings.SplitAfter(normal(work, out), "\n") {
		if line == "\n" {
			line = "|\n" // a blank line of the story itself is one between chapters
		}
		b.WriteString(line)
	}
	for _, line := range strings.SplitAfter(normal(work, errs), "\n") {
		if line != "" {
			b.WriteString("! " + line)
		}
	}
	if code != 0 {
		fmt.Fprintf(&b, "= %d\n", code)
	}
	return b.String()
}

// runCommand runs the command line in this process, with the jobs of these tests.
func runCommand(ctx context.Context, in string, args ...string) (code int, out, errs string) {
	var o, e bytes.Buffer
	code = run(ctx, args, streams{in: strings.NewReader(in), out: &o, err: &e}, testJobs())
	return code, o.String(), e.String()
}

var normals = []struct {
	pattern *regexp.Regexp
	word    string
}{
	{regexp.MustCompile(`Read [\d.]+(KiB|MiB|B)( in [\d.]+(µs|ms|s))?: \d.*`), "Read ALL OF IT"},
	{regexp.MustCompile(`20[2-9]\d-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z`), "NOW"},
	{regexp.MustCompile(`\([\d,]+ records/s\)`), "(RATE)"},
	{regexp.MustCompile(` in [\d.]+(µs|ms|s)`), " in TIME"},
	{regexp.MustCompile(`127\.0\.0\.1:\d+`), "ADDRESS"},
	{regexp.MustCompile(`id [A-Za-z0-9_-]{22}`), "id ID"},
	{regexp.MustCompile(`pid \d+`), "pid PID"},
	{regexp.MustCompile(`kill \d+`), "kill PID"},
	{regexp.MustCompile(`crc 0x[0-9a-f]+|0x[0-9a-f]{8}`), "CRC"},
}

func normal(work, s string) string {
	s = strings.ReplaceAll(strings.ToValidUTF8(s, `\xff`), work, "WORK")
	for _, n := range normals {
		s = n.pattern.ReplaceAllString(s, n.word)
	}
	return s
}

// difference shows the first line in which two texts differ.
func difference(got, want string) string {
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range max(len(g), len(w)) {
		var gl, wl string
		if i < len(g) {
			gl = g[i]
		}
		if i < len(w) {
			wl = w[i]
		}
		if gl != wl {
			return fmt.Sprintf("line %d\n got: %s\nwant: %s\nall that was printed:\n%s", i+1, gl, wl, got)
		}
	}
	return ""
}
