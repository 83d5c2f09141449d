package cli

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

func TestTableFitsTheTerminal(t *testing.T) {
	r := &rows{columns: []column{{title: "Topic"}, {"Records", true}, {title: "Key"}}}
	r.add("page-views", int64(1234567), "/a/very/long/path/that/does/not/fit/into/forty/columns")
	r.add("b", 1, "x\x1b[2J\xff")
	f := func(width int, want string) {
		t.Helper()
		var b bytes.Buffer
		r.writeTable(&b, width)
		if b.String() != want {
			t.Errorf("width %d:\n%swant\n%s", width, b.String(), want)
		}
		for _, line := range strings.Split(b.String(), "\n") {
			if n := len([]rune(line)); width > 0 && n > width {
				t.Errorf("width %d: a line of %d columns: %s", width, n, line)
			}
		}
	}
	f(0, "TOPIC       RECORDS  KEY\npage-views  1234567  /a/very/long/path/that/does/not/fit/into/forty/columns\nb                 1  x�[2J�\n")
	f(40, "TOPIC       RECORDS  KEY\npage-views  1234567  /a/very/long/path/…\nb                 1  x�[2J�\n")
}

func TestProgressLine(t *testing.T) {
	p := &progress{label: "ingest", unit: "B"}
	t0 := time.Unix(0, 0)
	p.points = []point{{t0, 0}, {t0.Add(2 * time.Second), 4 << 20}}
	if got, want := p.line(4<<20, 16<<20), "ingest  ██████░░░░░░░░░░░░░░░░░░  25%  4MiB of 16MiB  2MiB/s  7s left"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if got, want := p.line(4<<20, 0), "ingest  4MiB  2MiB/s"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	p.unit = "records"
	p.points = []point{{t0, 0}, {t0.Add(time.Second), 1000}}
	if got, want := p.line(1000, 10_000_000), "ingest  ░░░░░░░░░░░░░░░░░░░░░░░░   0%  1,000 records of 10,000,000 records  1,000 records/s  2h46m left"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestProgressIsForTerminals(t *testing.T) {
	var errs bytes.Buffer
	a := &app{streams: streams{err: &errs}}
	bar := a.progress("x", "records")
	bar.update(1, 2)
	bar.end()
	if errs.Len() > 0 {
		t.Errorf("drew %q into a file", errs.String())
	}
	a.terminal.err = 60
	bar.update(1, 2)
	bar.end()
	if got := errs.String(); !strings.HasPrefix(got, "\r\x1b[Kx  ") || !strings.HasSuffix(got, "\r\x1b[K") {
		t.Errorf("drew %q", got)
	}
}

func TestColours(t *testing.T) {
	if got := (terminal{colours: true}).red("error:"); got != "\x1b[31merror:\x1b[0m" {
		t.Errorf("got %q", got)
	}
	if got := (terminal{}).red("error:"); got != "error:" {
		t.Errorf("got %q", got)
	}
}

func TestBytes(t *testing.T) {
	f := func(s string, want int64) {
		t.Helper()
		if got, err := parseBytes(s); err != nil || got != want {
			t.Errorf("%q: got %d, %v, want %d", s, got, err, want)
		}
	}
	f("1GiB", 1<<30)
	f("512 mib", 512<<20)
	f("1.5g", 3<<29)
	f("100MB", 100_000_000)
	f("1073741824", 1<<30)
	for _, s := range []string{"", "x", "-1GiB", "1KiB", "NaNGiB", "1e30TiB"} {
		if n, err := parseBytes(s); err == nil {
			t.Errorf("%q: got %d, want an error", s, n)
		}
	}
	if got := formatBytes(1536 << 20); got != "1.5GiB" {
		t.Errorf("got %s", got)
	}
}
