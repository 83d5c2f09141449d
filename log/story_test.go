package log

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
)

// story drives a log through testdata/*.txt. Its disk keeps everything that was
// written; what a power cut would lose is taken away by hand.
//
//	open [sync=none]            kill                     the process ends, the disk stays
//	create T [partitions=N] [config=value ...]           close
//	append T-P n=N [size=B]     appends N records in one batch
//	commit T-P=N ... [group=G T-P@O ...]                 one Commit
//	read T-P [from=O]           offsets and what is wrong with them
//	delete-records T-P before=O   maintain               advance d=1h
//	files                       names and sizes below the data directory
//	flip FILE at=POS            cut FILE to=SIZE | by=N    remove FILE
//	verify                      what fsck says
//
// and, of producers and transactions (txnstory_test.go):
//
//	produce T-P pid=I seq=S [epoch=E] [n=N] [txn]   one batch of a client
//	end pid=I commit|abort T-P ... [epoch=E]        one Commit with markers
//	txn-offsets pid=I group=G T-P@O ...             offsets in a transaction
//	bounds T-P                  with the last stable offset and what was aborted
//	producers T-P               pending G
type story struct {
	t    *testing.T
	fs   memFS
	l    *Embedded
	now  time.Time
	next map[TopicPartition]int // number of the next value
}

func TestStories(t *testing.T) {
	datadriven.Walk(t, "testdata/stories", func(t *testing.T, path string) {
		s := &story{t: t, fs: newMemFS(), now: time.UnixMilli(1_000_000), next: map[TopicPartition]int{}}
		datadriven.RunTest(t, path, s.run)
		if s.l != nil {
			_ = s.l.Close()
		}
	})
}

func (s *story) run(t *testing.T, d *datadriven.TestData) string {
	var b strings.Builder
	if err := s.do(d, &b); err != nil {
		fmt.Fprintf(&b, "error: %s\n", scrub(err.Error()))
	}
	if b.Len() == 0 {
		return "ok\n"
	}
	return b.String()
}

// scrub takes out what differs from run to run.
func scrub(msg string) string {
	words := strings.Fields(msg)
	for i, w := range words {
		if bare := strings.TrimRight(w, ",:;"); i > 0 && strings.TrimRight(words[i-1], ",:;") == "salt" || i > 1 && words[i-2] == "salt" && words[i-1] == "want" || isCRC(bare) {
			words[i] = "#" + w[len(bare):]
		}
	}
	return strings.Join(words, " ")
}

func isCRC(w string) bool {
	return (len(w) == 8 || len(w) == 16) && strings.Trim(w, "0123456789abcdef") == ""
}

func parseTP(s string) TopicPartition {
	tp, ok := parsePartitionDir(s)
	if !ok {
		panic("not a partition: " + s)
	}
	return tp
}

func (s *story) do(d *datadriven.TestData, b *strings.Builder) error {
	ctx := context.Background()
	arg := func() string { return d.CmdArgs[0].Key }
	scan := func(name string, v any) {
		if d.HasArg(name) {
			d.ScanArgs(s.t, name, v)
		}
	}
	switch d.Cmd {
	case "open":
		opts := testOptions(s.fs)
		opts.JournalBytes = 4096
		opts.Now = func() time.Time { return s.now }
		mode := "group"
		scan("sync", &mode)
		scan("journal-bytes", &opts.JournalBytes)
		opts.Sync, _ = ParseSyncPolicy(mode)
		l, err := Open("data", opts)
		if err == nil {
			s.l = l
		}
		return err
	case "kill":
		s.fs = s.fs.clone(s.t)
		s.l.abort()
		s.l = nil
	case "close":
		err := s.l.Close()
		s.l = nil
		return err
	case "create":
		spec := TopicSpec{Name: arg(), Configs: map[string]string{}}
		for _, a := range d.CmdArgs[1:] {
			if a.Key == "partitions" {
				a.Scan(s.t, 0, &spec.Partitions)
			} else {
				spec.Configs[a.Key] = a.Vals[0]
			}
		}
		_, err := s.l.CreateTopic(ctx, spec)
		return err
	case "delete":
		return s.l.DeleteTopic(ctx, arg())
	case "append":
		tp, n, size, at := parseTP(arg()), 1, 0, s.now
		scan("n", &n)
		scan("size", &size)
		var key string
		scan("key", &key)
		bl := s.records(tp, n, size, at, key, d.HasArg("tombstone"))
		off, err := s.l.Append(ctx, tp, bl.Bytes())
		if err == nil {
			fmt.Fprintf(b, "at %d\n", off)
		}
		return err
	case "commit":
		c := &Commit{}
		for _, a := range d.CmdArgs {
			if a.Key == "group" {
				c.Group = a.Vals[0]
			} else if tp, off, ok := strings.Cut(a.Key, "@"); ok {
				var o int64
				fmt.Sscan(off, &o)
				c.Offsets = append(c.Offsets, GroupOffset{TopicPartition: parseTP(tp), Offset: Offset(o)})
			} else {
				n := 0
				a.Scan(s.t, 0, &n)
				tp := parseTP(a.Key)
				c.Writes = append(c.Writes, s.records(tp, n, 0, s.now, "", false).Write(tp))
			}
		}
		offs, err := s.l.Commit(ctx, c)
		if err == nil {
			fmt.Fprintf(b, "at %v\n", offs)
		}
		return err
	case "committed":
		m, err := s.l.Committed(ctx, arg())
		for _, tp := range slices.SortedFunc(maps.Keys(m), compareTP) {
			fmt.Fprintf(b, "%s %d\n", tp, m[tp].Offset)
		}
		return err
	case "read":
		from := int64(-1)
		scan("from", &from)
		return s.read(parseTP(arg()), Offset(from), d.HasArg("keys"), b)
	case "delete-records":
		var before int64
		scan("before", &before)
		return s.l.DeleteRecords(ctx, parseTP(arg()), Offset(before))
	case "maintain":
		return s.l.Maintain()
	case "advance":
		var by string
		scan("d", &by)
		dur, err := time.ParseDuration(by)
		s.now = s.now.Add(dur)
		return err
	case "files":
		s.list("data", b)
	case "flip", "cut", "remove":
		return s.harm(d)
	case "verify":
		rep, err := Verify(ctx, s.fs, "data", nil)
		fmt.Fprintf(b, "segments=%d batches=%d records=%d journal=%d ok=%v\n", rep.Segments, rep.Batches, rep.Records, rep.JournalEntries, rep.OK())
		for _, p := range rep.Problems {
			fmt.Fprintln(b, scrub(p.String()))
		}
		return err
	default:
		return s.doTxn(d, b)
	}
	return nil
}

func (s *story) records(tp TopicPartition, n, size int, at time.Time, key string, tombstone bool) *Builder {
	var bl Builder
	for range n {
		v := value(s.next[tp])
		k := fmt.Appendf(nil, "k%d", s.next[tp])
		if key != "" {
			k = []byte(key)
		}
		for len(v) < size {
			v = append(v, '.')
		}
		if tombstone {
			v = nil
		}
		bl.Append(TimestampOf(at), k, v)
		s.next[tp]++
	}
	return &bl
}

// read prints the records as ranges of offsets whose values follow on.
func (s *story) read(tp TopicPartition, from Offset, keys bool, b *strings.Builder) error {
	bounds, err := s.l.Bounds(context.Background(), tp)
	if err != nil {
		return err
	}
	if from < 0 {
		from = bounds.Start
	}
	r, err := s.l.OpenReader(tp, from, ReaderOptions{})
	if err != nil {
		return err
	}
	defer r.Close()
	fmt.Fprintf(b, "bounds %d %d:", bounds.Start, bounds.End)
	defer b.WriteString("\n")
	for {
		recs, err := r.Poll()
		if err != nil || len(recs) == 0 {
			return err
		}
		for _, rec := range recs {
			if keys {
				fmt.Fprintf(b, " %d:%s=%s", rec.Offset, rec.Key, strings.TrimRight(string(rec.Value), "."))
				if rec.IsTombstone() {
					b.WriteString("nil")
				}
				continue
			}
			var n int
			if _, err := fmt.Sscanf(strings.TrimRight(string(rec.Value), "."), "value %d", &n); err != nil {
				return fmt.Errorf("value at %d is %q", rec.Offset, rec.Value)
			}
			if int(rec.Offset) == n {
				fmt.Fprintf(b, " %d", rec.Offset)
			} else {
				fmt.Fprintf(b, " %d=%d", rec.Offset, n)
			}
		}
	}
}

func (s *story) list(dir string, b *strings.Builder) {
	names, err := s.fs.List(dir)
	if err != nil {
		s.t.Fatal(err)
	}
	slices.Sort(names)
	for _, name := range names {
		path := s.fs.PathJoin(dir, name)
		info, err := s.fs.Stat(path)
		if err != nil {
			s.t.Fatal(err)
		}
		if info.IsDir() {
			s.list(path, b)
		} else if strings.HasSuffix(name, ".json") {
			fmt.Fprintln(b, path)
		} else {
			fmt.Fprintln(b, path, info.Size())
		}
	}
}

// harm changes a file behind the log's back.
func (s *story) harm(d *datadriven.TestData) error {
	name := s.fs.PathJoin("data", d.CmdArgs[0].Key)
	if d.Cmd == "remove" {
		return s.fs.Remove(name)
	}
	data, err := readFile(s.fs, name)
	if err != nil {
		return err
	}
	if d.Cmd == "flip" {
		var at int
		d.ScanArgs(s.t, "at", &at)
		if at < 0 {
			at += len(data)
		}
		data[at] ^= 0x10
		return writeFile(s.fs, name, data, false)
	}
	to := 0
	if d.HasArg("by") {
		d.ScanArgs(s.t, "by", &to)
		to = len(data) - to
	} else {
		d.ScanArgs(s.t, "to", &to)
	}
	return s.fs.Truncate(name, int64(to))
}

// clone copies a file system.
func (fs memFS) clone(t testing.TB) memFS {
	t.Helper()
	to := newMemFS()
	var walk func(dir string)
	walk = func(dir string) {
		if err := to.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		names, err := fs.List(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			path := fs.PathJoin(dir, name)
			info, err := fs.Stat(path)
			if err != nil {
				t.Fatal(err)
			}
			if info.IsDir() {
				walk(path)
				continue
			}
			data, err := readFile(fs, path)
			if err == nil {
				err = writeFile(to, path, data, false)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	walk("data")
	return to
}

// abort ends the background of a log without closing it, as a crash would.
func (l *Embedded) abort() {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	close(l.stop)
	l.working.Wait()
}
