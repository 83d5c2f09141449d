package connect

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gretestream/grete/log"
	"github.com/gretestream/grete/log/logtest"
)

// The power is cut at each sync of an ingest into an embedded log, before and
// after it took effect; then the ingest is run again. Every line is there once.
func TestIngestSurvivesPowerCutsAtEachSync(t *testing.T) {
	const n = 60
	src := writeFile(t, filepath.Join(t.TempDir(), "clicks"), []byte(clicks(n)))
	ctx := context.Background()
	crashes := 0
	for sync := 1; ; sync++ {
		disk := logtest.NewDisk(uint64(sync))
		disk.CrashAtSync(sync, logtest.When(sync%2))
		if l, err := log.Open("data", log.Options{FS: disk, MaintainEvery: -1}); err == nil {
			Ingest(ctx, l, src, clickOptions()) // however far it comes
			l.Close()
		}
		finished := !disk.Crashed()
		disk = disk.Crash(logtest.Random(uint64(sync)))

		l, err := log.Open("data", log.Options{FS: disk, MaintainEvery: -1})
		if err != nil {
			t.Fatalf("open after a power cut at sync %d: %v", sync, err)
		}
		// The first run may have finished and died before it could say so.
		if _, err := Ingest(ctx, l, src, clickOptions()); err != nil && !errors.Is(err, ErrFinished) || err == nil && finished {
			t.Fatalf("ingest after a power cut at sync %d: %v", sync, err)
		}
		if got, want := storedLines(t, l), lineCounts(n); got != want {
			t.Fatalf("after a power cut at sync %d:\n got %s\nwant %s", sync, got, want)
		}
		l.Close()
		if finished {
			break
		}
		crashes++
	}
	if crashes < 10 {
		t.Errorf("got %d power cuts, want some at each commit", crashes)
	}
}

// lineCounts says that each line of clicks(n) is there once.
func lineCounts(n int) string {
	var b strings.Builder
	for i, line := range strings.Split(strings.TrimSuffix(clicks(n), "\n"), "\n") {
		fmt.Fprintf(&b, "%d:1:%d ", i, len(line))
	}
	return b.String()
}

// storedLines counts the lines of clicks in both topics, in order of the file.
func storedLines(t *testing.T, l log.Log) string {
	t.Helper()
	counts, lengths := map[int]int{}, map[int]int{}
	topics, err := l.Topics(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	for _, topic := range topics {
		for p := range topic.Partitions {
			if topic.Internal {
				continue
			}
			r, err := l.OpenReader(log.TopicPartition{Topic: topic.Name, Partition: int32(p)}, 0, log.ReaderOptions{})
			if err != nil {
				t.Fatal(err)
			}
			for {
				records, err := r.Poll()
				if err != nil {
					t.Fatal(err)
				}
				if len(records) == 0 {
					break
				}
				for i := range records {
					var number int
					text := string(records[i].Value)
					if k := strings.LastIndex(text, `"i":`); k >= 0 {
						fmt.Sscanf(text[k:], `"i":%d`, &number)
					} else {
						fmt.Sscanf(text, "broken %d", &number)
					}
					counts[number]++
					lengths[number] = len(text)
				}
			}
			r.Close()
		}
	}
	var b strings.Builder
	for i := range len(counts) {
		fmt.Fprintf(&b, "%d:%d:%d ", i, counts[i], lengths[i])
	}
	return b.String()
}
