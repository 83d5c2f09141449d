package connect

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/gretestream/grete/log"
)

func TestLines(t *testing.T) {
	f := func(in string, max int, want ...string) {
		t.Helper()
		for _, r := range []io.Reader{strings.NewReader(in), iotest.OneByteReader(strings.NewReader(in)), bytes.NewReader(gzipped(in)), bytes.NewReader(zstded(in))} {
			l, err := NewLines(r, max)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for {
				line, err := l.Next()
				if err == io.EOF {
					break
				}
				if err != nil {
					t.Fatal(err)
				}
				p := l.Position()
				got = append(got, fmt.Sprintf("%d@%d %s %d", line.Number, p.Byte, line.Text, line.Length))
			}
			if !slices.Equal(got, want) {
				t.Errorf("%.40q: got %q, want %q", in, got, want)
			}
		}
	}
	f("", 0)
	f("a\nb\n", 0, "1@2 a 1", "2@4 b 1")
	f("a\r\n\r\nb", 0, "1@3 a 1", "2@5  0", "3@6 b 1")
	f("\xef\xbb\xbfa\n", 0, "1@5 a 1")
	f("abcd\nabcde\nab", 4, "1@5 abcd 4", "2@11 abcd 5", "3@13 ab 2")
	long := strings.Repeat("x", 3*readBuffer)
	f("a\n"+long+"\nb\n", 10, "1@2 a 1", fmt.Sprintf("2@%d %s %d", 3+len(long), long[:10], len(long)), fmt.Sprintf("3@%d b 1", 5+len(long)))
	f(long, 0, fmt.Sprintf("1@%d %s %d", len(long), long, len(long)))
	f(long, 7, fmt.Sprintf("1@%d %s %d", len(long), long[:7], len(long)))

	if _, err := NewLines(strings.NewReader("BZh91AY"), 0); err == nil || !strings.Contains(err.Error(), "bzip2") {
		t.Errorf("got %v, want bzip2 to be refused", err)
	}
}

func gzipped(texts ...string) []byte {
	var b bytes.Buffer
	for _, text := range texts { // one member each
		w := gzip.NewWriter(&b)
		io.WriteString(w, text)
		w.Close()
	}
	return b.Bytes()
}

func zstded(text string) []byte {
	w, _ := zstd.NewWriter(nil)
	defer w.Close()
	return w.EncodeAll([]byte(text), nil)
}

// clicks returns n JSON lines; every fifth is malformed.
func clicks(n int) string {
	var b strings.Builder
	for i := range n {
		if i%5 == 4 {
			fmt.Fprintf(&b, "broken %d\n", i)
		} else {
			fmt.Fprintf(&b, `{"t":%d,"u":"user-%d","i":%d}`+"\n", 1_000_000+i, i%7, i)
		}
	}
	return b.String()
}

func writeFile(t *testing.T, path string, content []byte) Source {
	t.Helper()
	if err := os.WriteFile(path, content, 0o644); err != nil {
		t.Fatal(err)
	}
	src, err := File(path)
	if err != nil {
		t.Fatal(err)
	}
	return src
}

func clickOptions() Options {
	return Options{Topic: "clicks", BatchLines: 10, Format: Format{KeyField: "u", TimeField: "t", TimeUnit: "s"},
		Now: func() time.Time { return time.UnixMilli(42) }}
}

// wantClicks checks that the log holds exactly clicks(n), each once and in order.
func wantClicks(t *testing.T, m *memory, n int) {
	t.Helper()
	got := map[string]int{}
	for _, topic := range []string{"clicks", "clicks.rejects"} {
		for _, r := range m.records(t, topic) {
			got[string(r.Value)]++
		}
	}
	lines := strings.Split(strings.TrimSuffix(clicks(n), "\n"), "\n")
	for _, line := range lines {
		if got[line] != 1 {
			t.Errorf("got %q %d times, want once", line, got[line])
		}
		delete(got, line)
	}
	if len(got) != 0 {
		t.Errorf("got lines that are not in the file: %v", got)
	}
	for p := range m.topics["clicks"].Partitions {
		last := log.Timestamp(0)
		for _, b := range m.batches[log.TopicPartition{Topic: "clicks", Partition: int32(p)}] {
			records, err := log.DecodeRecords(nil, b)
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range records {
				if r.Timestamp <= last || log.PartitionFor(r.Key, m.topics["clicks"].Partitions) != int32(p) {
					t.Errorf("partition %d: %s of %v after %v", p, r.Key, r.Timestamp, last)
				}
				last = r.Timestamp
			}
		}
	}
}

func TestIngestStoresRecordsAndRejects(t *testing.T) {
	m := newMemory()
	sum, err := Ingest(context.Background(), m, Stream("stdin", strings.NewReader(clicks(25))), clickOptions())
	if want := (Summary{Lines: 25, Records: 20, Rejected: 5, Bytes: int64(len(clicks(25)))}); err != nil || sum != want {
		t.Fatalf("got %+v, %v, want %+v", sum, err, want)
	}
	wantClicks(t, m, 25)
	if len(m.offsets) != 0 {
		t.Errorf("a stream left progress behind: %v", m.offsets)
	}
	r := m.records(t, "clicks.rejects")[1]
	got := fmt.Sprintf("%d %s", r.Timestamp, r.Value)
	for _, h := range r.Headers {
		got += fmt.Sprintf(" %s=%s", h.Key, h.Value)
	}
	if want := `42 broken 9 line=10 reason=not JSON at byte 0: got 'b' source=stdin`; got != want {
		t.Errorf("got reject %s, want %s", got, want)
	}
}

func TestIngestContinuesWhereItStopped(t *testing.T) {
	const n = 95
	dir := t.TempDir()
	for name, content := range map[string][]byte{"plain": []byte(clicks(n)), "clicks.gz": gzipped(clicks(n)[:500], clicks(n)[500:]), "clicks.zst": zstded(clicks(n))} {
		src := writeFile(t, filepath.Join(dir, name), content)
		for stopAt := range 10 {
			m := newMemory()
			m.refuse = func(commit int) error {
				if commit == stopAt {
					return errors.New("power cut")
				}
				return nil
			}
			first, err := Ingest(context.Background(), m, src, clickOptions())
			if err == nil || first.Lines != int64(10*stopAt) {
				t.Fatalf("%s: stop at commit %d: got %+v, %v", name, stopAt, first, err)
			}
			m.refuse = nil
			sum, err := Ingest(context.Background(), m, src, clickOptions())
			if err != nil || sum.Resumed != first.Lines || sum.Lines != n-first.Lines {
				t.Fatalf("%s: continue after commit %d: got %+v, %v", name, stopAt, sum, err)
			}
			wantClicks(t, m, n)
			if _, err := Ingest(context.Background(), m, src, clickOptions()); !errors.Is(err, ErrFinished) {
				t.Fatalf("%s: a finished file: got %v, want ErrFinished", name, err)
			}
		}
	}
}

// A delimited file is continued with the header that stands before its lines.
func TestIngestContinuesBehindTheHeader(t *testing.T) {
	src := writeFile(t, filepath.Join(t.TempDir(), "x.csv"), []byte("\xef\xbb\xbfa,b\n1,2\n3,4\n5,6\n"))
	m := newMemory()
	opts := Options{Topic: "t", Partitions: 1, BatchLines: 1}
	for stop := range 4 {
		m.refuse = func(commit int) error {
			if commit > stop {
				return errors.New("power cut")
			}
			return nil
		}
		_, err := Ingest(context.Background(), m, src, opts)
		if (err == nil) != (stop == 3) {
			t.Fatalf("run %d: %v", stop, err)
		}
	}
	var got []string
	for _, r := range m.records(t, "t") {
		got = append(got, string(r.Value))
	}
	if want := []string{`{"a":"1","b":"2"}`, `{"a":"3","b":"4"}`, `{"a":"5","b":"6"}`}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestIngestAgainAndOtherContent(t *testing.T) {
	path := filepath.Join(t.TempDir(), "clicks")
	src := writeFile(t, path, []byte(clicks(20)))
	m := newMemory()
	run := func(again bool, wantRecords int, wantErr error) {
		t.Helper()
		opts := clickOptions()
		opts.Again = again
		if _, err := Ingest(context.Background(), m, src, opts); !errors.Is(err, wantErr) {
			t.Errorf("got %v, want %v", err, wantErr)
		}
		if got := len(m.records(t, "clicks")); got != wantRecords {
			t.Errorf("got %d records, want %d", got, wantRecords)
		}
	}
	run(false, 16, nil)
	run(false, 16, ErrFinished)
	run(true, 32, nil)
	run(false, 32, ErrFinished)
	writeFile(t, path, []byte(clicks(10))) // another file by its first bytes
	run(false, 40, nil)
	writeFile(t, path, []byte(clicks(20)))
	run(false, 40, ErrFinished)
	writeFile(t, path, nil)
	run(false, 40, nil)
	run(false, 40, ErrFinished)
}

func TestIngestContinuesAGrownFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "clicks")
	const n = 4000 // above the 64 KiB that tell a file from another
	m := newMemory()
	opts := clickOptions()
	opts.BatchLines = 1000
	for _, lines := range []int{n, n + 10} {
		src := writeFile(t, path, []byte(clicks(lines)))
		if _, err := Ingest(context.Background(), m, src, opts); err != nil {
			t.Fatal(err)
		}
	}
	wantClicks(t, m, n+10)

	// Its last line had no end: what follows would be half a line.
	unended := clicks(n) + `{"t":1`
	for _, content := range []string{unended, unended + "}\n"} {
		_, err := Ingest(context.Background(), m, writeFile(t, path+"2", []byte(content)), opts)
		if (content == unended) != (err == nil) || err != nil && !errors.Is(err, ErrFinished) {
			t.Errorf("got %v", err)
		}
	}
}

func TestIngestFencesAnotherOfTheSameFile(t *testing.T) {
	src := writeFile(t, filepath.Join(t.TempDir(), "clicks"), []byte(clicks(50)))
	m := newMemory()
	opts := clickOptions()
	var once bool
	opts.Progress = func(Progress) {
		if once {
			return
		}
		once = true // the second one begins and ends after the first commit of the first
		if sum, err := Ingest(context.Background(), m, src, clickOptions()); err != nil || sum.Resumed != 10 {
			t.Errorf("second ingest: got %+v, %v", sum, err)
		}
	}
	if sum, err := Ingest(context.Background(), m, src, opts); !errors.Is(err, log.ErrFenced) || sum.Lines != 10 {
		t.Errorf("first ingest: got %+v, %v, want ErrFenced after 10 lines", sum, err)
	}
	wantClicks(t, m, 50)
}

func TestIngestOfABrokenFile(t *testing.T) {
	dir := t.TempDir()
	whole := gzipped(noise(5000))
	src := writeFile(t, filepath.Join(dir, "clicks.gz"), whole[:len(whole)/2])
	m := newMemory()
	opts := Options{Topic: "t", Format: Format{Kind: JSONLines}}
	sum, err := Ingest(context.Background(), m, src, opts)
	if err == nil || !strings.Contains(err.Error(), "truncated") || !strings.Contains(err.Error(), fmt.Sprintf("after line %d", sum.Lines)) {
		t.Errorf("got %+v, %v, want the lines before the break and where it is", sum, err)
	}
	if got := len(m.records(t, "t")); got == 0 || int64(got) != sum.Records || sum.Rejected != 0 {
		t.Errorf("got %d records, want those before the break: %+v", got, sum)
	}
	// The rest of the file arrives: it is continued, since its start is the same.
	src = writeFile(t, filepath.Join(dir, "clicks.gz"), whole)
	if _, err := Ingest(context.Background(), m, src, opts); err != nil {
		t.Fatal(err)
	}
	if got := len(m.records(t, "t")); got != 5000 {
		t.Errorf("got %d records, want 5000", got)
	}

	if _, err := Ingest(context.Background(), m, Source{name: filepath.Join(dir, "none"), file: true}, opts); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v, want that there is no such file", err)
	}
	if _, err := Ingest(context.Background(), m, Source{name: dir, file: true}, opts); err == nil {
		t.Error("a folder was accepted")
	}
}

// noise returns n JSON lines that hardly compress.
func noise(n int) string {
	r := rand.New(rand.NewPCG(1, 2))
	var b strings.Builder
	for range n {
		fmt.Fprintf(&b, `{"a":"%x%x%x%x"}`+"\n", r.Uint64(), r.Uint64(), r.Uint64(), r.Uint64())
	}
	return b.String()
}

func TestIngestRejectsLongLines(t *testing.T) {
	text := clicks(3) + strings.Repeat("y", 5000) + "\n" + clicks(3)
	opts := clickOptions()
	opts.MaxLine = 100
	m := newMemory()
	sum, err := Ingest(context.Background(), m, Stream("s", strings.NewReader(text)), opts)
	if err != nil || sum.Records != 6 || sum.Rejected != 1 {
		t.Errorf("got %+v, %v", sum, err)
	}
	// And a record that no topic of default settings takes.
	opts.MaxLine = 4 << 20
	text = `{"t":1,"x":"` + strings.Repeat("y", 2<<20) + "\"}\n"
	if sum, err = Ingest(context.Background(), m, Stream("s", strings.NewReader(text)), opts); err != nil || sum.Rejected != 1 {
		t.Errorf("got %+v, %v", sum, err)
	}
}

func TestIngestStops(t *testing.T) {
	ctx, stop := context.WithCancel(context.Background())
	opts := clickOptions()
	opts.Progress = func(p Progress) {
		if p.Lines == 30 {
			stop()
		}
	}
	m := newMemory()
	src := writeFile(t, filepath.Join(t.TempDir(), "clicks"), []byte(clicks(500)))
	sum, err := Ingest(ctx, m, src, opts)
	if !errors.Is(err, context.Canceled) || sum.Lines < 30 {
		t.Errorf("got %+v, %v", sum, err)
	}
	opts.Progress = nil
	if _, err := Ingest(context.Background(), m, src, opts); err != nil {
		t.Fatal(err)
	}
	wantClicks(t, m, 500)
}

// What has come down a pipe is committed before more comes, and a pipe that is
// silent does not keep Ingest from being stopped.
func TestIngestOfAPipe(t *testing.T) {
	r, w := io.Pipe()
	defer r.Close()
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	m := newMemory()
	opts := clickOptions()
	committed := make(chan int64, 10)
	opts.Progress = func(p Progress) { committed <- p.Lines }
	done := make(chan error)
	go func() {
		_, err := Ingest(ctx, m, Stream("pipe", r), opts)
		done <- err
	}()
	for i, text := range []string{clicks(3), clicks(2) + "half a li"} {
		if _, err := w.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
		if got, want := <-committed, []int64{3, 5}[i]; got != want {
			t.Errorf("got %d lines committed, want %d", got, want)
		}
	}
	stop()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want that it was stopped", err)
	}
}

func TestIngestLeavesNothingBehindAMistake(t *testing.T) {
	m := newMemory()
	for _, format := range []Format{{Kind: "xml"}, {TimeUnit: "%Q"}, {Delimiter: ";;"}, {Delimiter: ";", KeyField: "none"}} {
		if _, err := Ingest(context.Background(), m, Stream("s", strings.NewReader("a;b\n")), Options{Topic: "t", Format: format}); err == nil {
			t.Errorf("%+v was accepted", format)
		}
	}
	if _, err := Ingest(context.Background(), m, Stream("s", strings.NewReader("")), Options{}); err == nil {
		t.Error("no topic was accepted")
	}
	if len(m.topics) != 0 {
		t.Errorf("got topics %v, want none", m.topics)
	}
}

func TestKeylessRecordsFillAllPartitions(t *testing.T) {
	m := newMemory()
	opts := clickOptions()
	opts.Format.KeyField, opts.Partitions = "", 3
	if _, err := Ingest(context.Background(), m, writeFile(t, filepath.Join(t.TempDir(), "clicks"), []byte(clicks(60))), opts); err != nil {
		t.Fatal(err)
	}
	for p := range int32(3) {
		if n := len(m.batches[log.TopicPartition{Topic: "clicks", Partition: p}]); n != 2 {
			t.Errorf("partition %d: got %d batches, want 2", p, n)
		}
	}
}

func BenchmarkIngest(b *testing.B) {
	const n = 100_000
	line := `83.149.9.216 - - [17/May/2015:10:05:03 +0000] "GET /presentations/logstash/images/kibana-search.png HTTP/1.1" 200 203023 "http://semicomplete.com/" "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_9_1) AppleWebKit/537.36"` + "\n"
	text := strings.Repeat(line, n)
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		m := newMemory()
		if _, err := Ingest(context.Background(), m, Stream("s", strings.NewReader(text)), Options{Topic: "t"}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "lines/s")
}
