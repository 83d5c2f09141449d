package cli

import (
	"io"
	"os"

	"golang.org/x/term"
)

// terminal says what the standard streams are.
type terminal struct {
	out, err int  // width in columns; 0: not a terminal
	colours  bool // of the standard error
}

// terminalOf looks at the streams of the process. Streams of tests are none.
func terminalOf(s streams) terminal {
	width := func(w io.Writer) int {
		f, ok := w.(*os.File)
		if !ok || !term.IsTerminal(int(f.Fd())) {
			return 0
		}
		columns, _, err := term.GetSize(int(f.Fd()))
		if err != nil || columns <= 0 {
			columns = 80
		}
		return columns
	}
	t := terminal{out: width(s.out), err: width(s.err)}
	t.colours = t.err > 0 && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
	return t
}

func (t terminal) red(s string) string { return t.paint("31", s) }

func (t terminal) paint(code, s string) string {
	if !t.colours {
		return s
	}
	return "\x1b[" + code + "m" + s + "\x1b[0m"
}
