package log_test

import (
	"context"
	"fmt"
	"regexp"
	"sort"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"github.com/gretestream/grete/log"
	"github.com/gretestream/grete/log/logtest"
)

// TestCrashStories plays the stories in testdata/crash. Each begins with an empty disk;
// what a command answers stands below its dashes. With -rewrite the answers are
// written anew: read the diff.
//
//	open [sync=group|none|interval(1h)]     close
//	create t [partitions=n] [config=value]  delete t
//	append t-0=(a,b)                        one record per value; the offset of the first
//	commit t-0=(a,b) t-1=c group=g at=(t-0:5) producer=p epoch=n
//	fence p                                 trim t-0 before=n
//	read t-0 [from=n]                       bounds t-0
//	committed g                             maintain
//	crash unsynced=lost|kept|seed-n         power cut; the disk is there again, no log is open
//	cut-at-sync n [when=before|after]       power cut at the n-th sync from now
//	kill                                    the process dies, the OS lives
//	fail-sync n [match=*.log]               the n-th sync from now fails, once
//	fail-write n [match=*.log] [short=n]    the n-th write from now fails, once
//	space bytes                             so much more can be written
//	flip file byte=n                        one bit of a file turns over
//	ls [dir]                                files with sizes; * what is not synced
func TestCrashStories(t *testing.T) {
	datadriven.Walk(t, "testdata/crash", func(t *testing.T, file string) {
		s := &crashStory{d: newDisk(1), t: t}
		defer func() {
			if s.l != nil {
				s.l.Close()
			}
		}()
		datadriven.RunTest(t, file, func(t *testing.T, td *datadriven.TestData) string {
			s.t = t
			out, err := s.play(td)
			if err != nil {
				out += "error: " + checksums.ReplaceAllString(err.Error(), "#")
			}
			if out != "" && !strings.HasSuffix(out, "\n") {
				out += "\n"
			}
			return out
		})
	})
}

// checksums differ from run to run where they cover the random id of the log.
var checksums = regexp.MustCompile(`\b[0-9a-f]{8}\b`)

type crashStory struct {
	t *testing.T
	d *logtest.Disk
	l log.Log
}

func (s *crashStory) play(td *datadriven.TestData) (string, error) {
	ctx := context.Background()
	var first string // the first argument, without its value
	if len(td.CmdArgs) > 0 {
		first = td.CmdArgs[0].Key
	}
	number := func(key string, otherwise int) int {
		if a, ok := td.Arg(key); ok {
			n, err := strconv.Atoi(a.Vals[0])
			if err != nil {
				td.Fatalf(s.t, "%s: %v", key, err)
			}
			return n
		}
		return otherwise
	}
	word := func(key, otherwise string) string {
		if a, ok := td.Arg(key); ok {
			return a.Vals[0]
		}
		return otherwise
	}
	if s.l == nil {
		switch td.Cmd {
		case "append", "commit", "create", "delete", "fence", "trim", "read", "bounds", "committed", "maintain", "close":
			return "", fmt.Errorf("no log is open")
		}
	}
	switch td.Cmd {
	case "open":
		policy, err := log.ParseSyncPolicy(word("sync", "group"))
		if err != nil {
			return "", err
		}
		l, err := mount(s.d, policy)
		if err != nil {
			return "", err
		}
		s.l = l
		return "", nil
	case "close":
		err := s.l.Close()
		s.l = nil
		return "", err
	case "create":
		spec := log.TopicSpec{Name: first, Partitions: number("partitions", 1), Configs: map[string]string{}}
		for _, a := range td.CmdArgs[1:] {
			if a.Key != "partitions" {
				spec.Configs[a.Key] = a.Vals[0]
			}
		}
		_, err := s.l.CreateTopic(ctx, spec)
		return "", err
	case "delete":
		return "", s.l.DeleteTopic(ctx, first)
	case "append":
		at, err := s.l.Append(ctx, s.partition(first), s.batch(td.CmdArgs[0].Vals))
		if err != nil {
			return "", err
		}
		return fmt.Sprintf("offset=%s", at), nil
	case "commit":
		c := &log.Commit{Group: word("group", ""), Producer: word("producer", ""), Epoch: log.Epoch(number("epoch", 0))}
		for _, a := range td.CmdArgs {
			switch a.Key {
			case "group", "producer", "epoch":
			case "at":
				for _, v := range a.Vals {
					tp, off, _ := strings.Cut(v, ":")
					n, _ := strconv.Atoi(off)
					c.Offsets = append(c.Offsets, log.GroupOffset{TopicPartition: s.partition(tp), Offset: log.Offset(n)})
				}
			default:
				c.Writes = append(c.Writes, log.Write{TopicPartition: s.partition(a.Key), Batches: s.batch(a.Vals)})
			}
		}
		at, err := s.l.Commit(ctx, c)
		if err != nil {
			return "", err
		}
		return fmt.Sprintf("offsets=%v", at), nil
	case "fence":
		_, err := s.l.Fence(ctx, first)
		return "", err
	case "trim":
		return "", s.l.DeleteRecords(ctx, s.partition(first), log.Offset(number("before", 0)))
	case "bounds":
		b, err := s.l.Bounds(ctx, s.partition(first))
		if err != nil {
			return "", err
		}
		return fmt.Sprintf("start=%s end=%s", b.Start, b.End), nil
	case "read":
		return s.read(s.partition(first), number("from", -1))
	case "committed":
		got, err := s.l.Committed(ctx, first)
		var lines []string
		for tp, g := range got {
			lines = append(lines, fmt.Sprintf("%s: %s\n", tp, g.Offset))
		}
		sort.Strings(lines)
		return strings.Join(lines, ""), err
	case "maintain":
		return "", maintain(s.l)
	case "crash":
		policy := logtest.KeepNothing
		switch v := word("unsynced", "lost"); v {
		case "lost":
		case "kept":
			policy = logtest.KeepAll
		default:
			n, err := strconv.ParseUint(strings.TrimPrefix(v, "seed-"), 10, 64)
			if err != nil {
				td.Fatalf(s.t, "unsynced: %v", err)
			}
			policy = logtest.Random(n)
		}
		s.end(s.d.Crash(policy))
		return "", nil
	case "kill":
		s.end(s.d.Kill())
		return "", nil
	case "cut-at-sync":
		when := logtest.Before
		if word("when", "before") == "after" {
			when = logtest.After
		}
		s.d.CrashAtSync(s.d.Stats().Syncs+s.number(first), when)
		return "", nil
	case "fail-sync":
		s.d.FailSync(word("match", "*"), s.number(first))
		return "", nil
	case "fail-write":
		s.d.FailWrite(word("match", "*"), s.number(first), number("short", 0))
		return "", nil
	case "space":
		s.d.SetSpace(s.d.Used() + int64(s.number(first)))
		return "", nil
	case "flip":
		name := s.d.PathJoin("data", first)
		if size := s.d.Size(name); int64(number("byte", 0)) >= size {
			return "", fmt.Errorf("%s has %d bytes", first, size)
		}
		s.d.FlipBit(name, int64(number("byte", 0))*8)
		return "", nil
	case "ls":
		var out strings.Builder
		for _, line := range strings.SplitAfter(s.d.String(), "\n") {
			if strings.Contains(line, first) {
				out.WriteString(strings.ReplaceAll(line, "/data/", ""))
			}
		}
		return out.String(), nil
	}
	td.Fatalf(s.t, "unknown command %s", td.Cmd)
	return "", nil
}

// end drops the log with its disk, and goes on with the next disk.
func (s *crashStory) end(next *logtest.Disk) {
	if s.l != nil {
		_ = s.l.Close() // its disk is gone: only to end its goroutines
		s.l = nil
	}
	s.d = next
}

func (s *crashStory) number(arg string) int {
	n, err := strconv.Atoi(arg)
	if err != nil {
		s.t.Fatal(err)
	}
	return n
}

func (s *crashStory) partition(arg string) log.TopicPartition {
	i := strings.LastIndexByte(arg, '-')
	if i < 0 {
		s.t.Fatalf("%q is no partition", arg)
	}
	return log.TopicPartition{Topic: arg[:i], Partition: int32(s.number(arg[i+1:]))}
}

// batch makes one record per value; "x*9" is x nine times.
func (s *crashStory) batch(values []string) []byte {
	var b log.Builder
	for i, v := range values {
		if x, times, ok := strings.Cut(v, "*"); ok {
			v = strings.Repeat(x, s.number(times))
		}
		b.Append(log.Timestamp(timeBase+i), nil, []byte(v))
	}
	return b.Bytes()
}

func (s *crashStory) read(tp log.TopicPartition, from int) (string, error) {
	b, err := s.l.Bounds(context.Background(), tp)
	if err != nil {
		return "", err
	}
	at := b.Start
	if from >= 0 {
		at = log.Offset(from)
	}
	r, err := s.l.OpenReader(tp, at, log.ReaderOptions{MaxBytes: 1})
	if err != nil {
		return "", err
	}
	defer r.Close()
	var out strings.Builder
	for {
		recs, err := r.Poll()
		if err != nil || len(recs) == 0 {
			return out.String(), err
		}
		for _, rec := range recs {
			v := string(rec.Value)
			if len(v) > 20 {
				v = fmt.Sprintf("%s… (%d bytes)", v[:4], len(v))
			}
			fmt.Fprintf(&out, "%s: %s\n", rec.Offset, v)
		}
	}
}
