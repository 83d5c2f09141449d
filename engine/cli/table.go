package cli

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/gretestream/grete/engine/query"
)

// column is one column of an output. Its name in JSON and CSV is the title in
// lower case with _ for blanks.
type column struct {
	title string
	right bool // aligned to the right: numbers
}

func (c column) name() string { return strings.ReplaceAll(strings.ToLower(c.title), " ", "_") }

func left(titles ...string) (columns []column) {
	for _, t := range titles {
		columns = append(columns, column{title: t})
	}
	return columns
}

// rows is what a command prints: a table, JSON objects or CSV. Cells are
// strings, integers, floats, booleans or what JSON can write.
type rows struct {
	columns []column
	cells   [][]any
}

func (r *rows) add(cells ...any) { r.cells = append(r.cells, cells) }

// print writes rows in the form of --output.
func (a *app) print(r *rows) error {
	w := bufio.NewWriter(a.out)
	switch a.common.output {
	case "json":
		for _, cells := range r.cells {
			if err := r.writeJSON(w, cells); err != nil {
				return err
			}
		}
	case "csv":
		r.writeCSV(w)
	default:
		r.writeTable(w, a.terminal.out)
	}
	return w.Flush()
}

// writeJSON keeps the order of the columns.
func (r *rows) writeJSON(w *bufio.Writer, cells []any) error {
	w.WriteByte('{')
	for i, c := range r.columns {
		if i > 0 {
			w.WriteByte(',')
		}
		fmt.Fprintf(w, "%q:", c.name())
		var b bytes.Buffer
		enc := json.NewEncoder(&b)
		enc.SetEscapeHTML(false)
		if err := enc.Encode(cells[i]); err != nil {
			return err
		}
		w.Write(bytes.TrimSpace(b.Bytes()))
	}
	_, err := w.WriteString("}\n")
	return err
}

func (r *rows) writeCSV(w *bufio.Writer) {
	for i, c := range r.columns {
		if i > 0 {
			w.WriteByte(',')
		}
		w.WriteString(c.name())
	}
	w.WriteByte('\n')
	var field []byte
	for _, cells := range r.cells {
		for i, cell := range cells {
			if i > 0 {
				w.WriteByte(',')
			}
			field = query.AppendCSV(field[:0], query.AppendText(nil, cell))
			w.Write(field)
		}
		w.WriteByte('\n')
	}
}

const (
	columnGap     = 2 // blanks between columns
	leastColumn   = 8 // columns are not narrowed below this
	plainMaxWidth = 0 // without a terminal: no limit
)

// writeTable aligns the columns and, on a terminal, narrows the widest ones until
// a line fits.
func (r *rows) writeTable(w io.Writer, width int) {
	text := make([][]string, 0, len(r.cells)+1)
	var titles []string
	for _, c := range r.columns {
		titles = append(titles, strings.ToUpper(c.title))
	}
	text = append(text, titles)
	for _, cells := range r.cells {
		line := make([]string, len(cells))
		for i, cell := range cells {
			line[i] = printable(string(query.AppendText(nil, cell)))
		}
		text = append(text, line)
	}
	widths := make([]int, len(r.columns))
	for _, line := range text {
		for i, cell := range line {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	if width > plainMaxWidth {
		fit(widths, width)
	}
	for _, line := range text {
		var b strings.Builder
		for i, cell := range line {
			if i > 0 {
				b.WriteString(strings.Repeat(" ", columnGap))
			}
			cell = shorten(cell, widths[i])
			pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
			if r.columns[i].right {
				b.WriteString(pad + cell)
			} else {
				b.WriteString(cell + pad)
			}
		}
		fmt.Fprintln(w, strings.TrimRight(b.String(), " "))
	}
}

// fit narrows the widest columns until they are width wide together.
func fit(widths []int, width int) {
	total := columnGap * (len(widths) - 1)
	for _, n := range widths {
		total += n
	}
	for total > width {
		widest := 0
		for i := range widths {
			if widths[i] > widths[widest] {
				widest = i
			}
		}
		if widths[widest] <= leastColumn {
			return
		}
		widths[widest]--
		total--
	}
}

// shorten cuts s to n runes, the last of which is then an ellipsis.
func shorten(s string, n int) string {
	if utf8.RuneCountInString(s) <= n {
		return s
	}
	runes := []rune(s)
	return string(runes[:max(n-1, 0)]) + "…"
}

// printable replaces what would move the cursor or change the terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return '\ufffd'
		}
		return r
	}, s)
}
