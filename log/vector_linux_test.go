package log

import (
	"bytes"
	"errors"
	"path/filepath"
	"syscall"
	"testing"
)

// Pieces arrive in order and without gaps, more of them than one call takes, and
// in files of the system as in others.
func TestWriteVector(t *testing.T) {
	for _, fs := range []FS{DefaultFS, newMemFS()} {
		name := filepath.Join(t.TempDir(), "f")
		if err := fs.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		f, err := fs.OpenReadWrite(name)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		want := bytes.Repeat([]byte{'.'}, 7)
		if _, err := f.WriteAt(want, 0); err != nil {
			t.Fatal(err)
		}
		var pieces [][]byte
		for i := range 2*maxVector + 3 {
			piece := bytes.Repeat([]byte{byte(i)}, i%5) // empty ones, too
			pieces, want = append(pieces, piece), append(want, piece...)
		}
		if err := writeVector(f, pieces, 7); err != nil {
			t.Fatal(err)
		}
		got, err := readFile(fs, name)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("got %d bytes, %v; want %d", len(got), err, len(want))
		}
	}
}

// A call that wrote only some of it is followed by one for the rest.
func TestDropFront(t *testing.T) {
	for _, tt := range []struct {
		pieces string
		n      int
		want   string
	}{
		{"abc de f", 0, "abc de f"},
		{"abc de f", 2, "c de f"},
		{"abc de f", 3, "de f"},
		{"abc de f", 4, "e f"},
		{"abc de f", 6, ""},
		{"abc  f", 3, "f"},
	} {
		pieces := bytes.Split([]byte(tt.pieces), []byte{' '})
		if got := string(bytes.Join(dropFront(pieces, tt.n), []byte{' '})); got != tt.want {
			t.Errorf("%q without the first %d bytes: got %q, want %q", tt.pieces, tt.n, got, tt.want)
		}
	}
}

func TestWriteVectorFails(t *testing.T) {
	f, err := DefaultFS.Open("/dev/full")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := writeVector(f, [][]byte{{1}}, 0); !errors.Is(err, syscall.EBADF) {
		t.Errorf("file that was opened for reading: got %v", err)
	}
}
