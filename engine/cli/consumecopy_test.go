package cli

import (
	"bufio"
	"bytes"
	"context"
	"math"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gretestream/grete/log"
)

// A record that comes while a follower reads up to what was the end is not passed
// over: it comes next.
func TestCopyLeavesWhatComes(t *testing.T) {
	l, err := log.Open(filepath.Join(t.TempDir(), "data"), log.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ctx, tp := context.Background(), log.TopicPartition{Topic: "t", Partition: 0}
	if _, err := l.CreateTopic(ctx, log.TopicSpec{Name: "t", Partitions: 1}); err != nil {
		t.Fatal(err)
	}
	for _, v := range []string{"a", "b", "came meanwhile"} {
		if _, err := log.AppendRecords(ctx, l, tp, log.Record{Timestamp: 1, Value: []byte(v)}); err != nil {
			t.Fatal(err)
		}
	}
	r, err := l.OpenReader(tp, 0, log.ReaderOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var out bytes.Buffer
	p := &recordPrinter{app: &app{}, topic: "t", out: bufio.NewWriter(&out), left: -1, until: math.MaxInt64}
	if done, err := p.copy(ctx, r, 0, 2); done || err != nil {
		t.Fatalf("copy: %v, %v", done, err)
	}
	records, err := r.Poll()
	if err != nil || len(records) != 1 || string(records[0].Value) != "came meanwhile" {
		t.Fatalf("after the copy: got %d records, %v; want the one that came meanwhile", len(records), err)
	}
	if err := p.out.Flush(); err != nil || strings.Count(out.String(), "\n") != 2 {
		t.Errorf("copied %q, %v; want two lines", out.String(), err)
	}
}
