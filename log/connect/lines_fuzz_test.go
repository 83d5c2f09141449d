package connect

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

// FuzzLines holds Lines to cutting at each line feed, however the text comes in,
// and to going on from any position that it has reached.
func FuzzLines(f *testing.F) {
	f.Add([]byte("a\r\nbb\n\nccc"), uint8(2))
	f.Add([]byte("12345678\r\n123456789\n"), uint8(1))
	f.Add([]byte("\xef\xbb\xbf\nlonger than the bound\r\n"), uint8(1))
	f.Fuzz(func(t *testing.T, text []byte, resumeAt uint8) {
		if bytes.HasPrefix(text, gzipMagic) || bytes.HasPrefix(text, zstdMagic) {
			return
		}
		for _, magic := range otherMagics {
			if bytes.HasPrefix(text, []byte(magic)) {
				return
			}
		}
		const most = 8 // bytes
		body := strings.TrimPrefix(string(text), string(byteOrderMark))
		want := strings.Split(body, "\n")
		if want[len(want)-1] == "" {
			want = want[:len(want)-1]
		}
		lines, err := NewLines(iotest.HalfReader(bytes.NewReader(text)), most)
		if err != nil {
			t.Fatal(err)
		}
		for i, whole := range want {
			if i == int(resumeAt) {
				// A second reading that begins here sees the same.
				again, err := NewLines(iotest.OneByteReader(bytes.NewReader(text)), most)
				if err != nil {
					t.Fatal(err)
				}
				if err := again.Skip(lines.Position()); err != nil {
					t.Fatal(err)
				}
				lines = again
			}
			line, err := lines.Next()
			if err != nil {
				t.Fatalf("line %d of %q: %v", i+1, text, err)
			}
			got, cut := string(line.Text), strings.TrimSuffix(whole, "\r")
			if int64(len(got)) != line.Length { // above the bound: its first bytes
				cut = whole[:len(got)]
			}
			if line.Number != int64(i+1) || got != cut || (len(strings.TrimSuffix(whole, "\r")) > most) != (line.Length > most) {
				t.Fatalf("line %d of %q: got %d %q of %d, want %q", i+1, text, line.Number, got, line.Length, cut)
			}
		}
		if _, err := lines.Next(); err != io.EOF || lines.Position() != (Position{Line: int64(len(want)), Byte: int64(len(text))}) {
			t.Fatalf("%q: got %v at %+v, want the end", text, err, lines.Position())
		}
	})
}
