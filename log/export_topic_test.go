package log

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// An export holds the stored batches, byte for byte, under Kafka's names, with
// indexes that fit.
func TestExport(t *testing.T) {
	ctx := context.Background()
	l, err := Open(t.TempDir(), Options{MaintainEvery: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	topic, err := l.CreateTopic(ctx, TopicSpec{Name: "t", Partitions: 3, Configs: map[string]string{"segment.bytes": "4096", "index.interval.bytes": "512"}})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 200 {
		var b Builder
		b.Append(Timestamp(1000+i), fmt.Appendf(nil, "k%d", i), bytes.Repeat([]byte("v"), i))
		if _, err := l.Append(ctx, TopicPartition{"t", int32(i % 2)}, b.Bytes()); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.DeleteRecords(ctx, TopicPartition{"t", 1}, 70); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "new", "export")
	if err := l.Export(ctx, "t", dir); err != nil {
		t.Fatal(err)
	}
	for n := range int32(3) {
		tp := TopicPartition{"t", n}
		b, err := l.Bounds(ctx, tp)
		if err != nil {
			t.Fatal(err)
		}
		got := exported(t, filepath.Join(dir, tp.String()), topic.ID)
		if want := storedBatches(t, l, tp, b); !bytes.Equal(got, want) {
			t.Errorf("%s: %d bytes, want the %d that are stored from %d on", tp, len(got), len(want), b.Start)
		}
	}
	if err := l.Export(ctx, "t", dir); err == nil {
		t.Error("a second export has written over the first")
	}
	if err := l.Export(ctx, "unknown", dir); err == nil {
		t.Error("a topic that is not there was exported")
	}
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	if err := l.Export(cancelled, "t", filepath.Join(dir, "more")); err == nil {
		t.Error("exported after the end")
	}
}

// exported returns the batches of a partition's files, and checks what is beside
// them.
func exported(t *testing.T, dir string, id TopicID) []byte {
	t.Helper()
	meta, err := os.ReadFile(filepath.Join(dir, "partition.metadata"))
	if err != nil || string(meta) != fmt.Sprintf("version: 0\ntopic_id: %s\n", id) {
		t.Errorf("metadata %q, %v", meta, err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.log"))
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(files)
	var all []byte
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		at := map[int64]BatchInfo{}
		pos := int64(0)
		err = ForEachBatch(data, func(info BatchInfo, _ []byte) error {
			at[pos] = info
			pos += int64(info.Size)
			return nil
		})
		if base, ok := parseName(filepath.Base(name), logSuffix); err != nil || !ok || Offset(base) != at[0].BaseOffset || len(data) > 4096 {
			t.Errorf("%s of %d bytes: %v, first batch at %d", name, len(data), err, at[0].BaseOffset)
		}
		stem := strings.TrimSuffix(name, logSuffix)
		index, err := os.ReadFile(stem + indexSuffix)
		if err != nil {
			t.Fatal(err)
		}
		entries, err := decodeIndex(index, int64(len(data)))
		if err != nil || len(data) > 2000 && len(entries) == 0 {
			t.Errorf("%s: %d entries, %v", name, len(entries), err)
		}
		for _, e := range entries {
			if info, ok := at[int64(e.pos)]; !ok || info.LastOffset() != at[0].BaseOffset+Offset(e.delta) {
				t.Errorf("%s: entry +%d at %d, where batch %+v is", name, e.delta, e.pos, info)
			}
		}
		times, err := os.ReadFile(stem + timeIndexSuffix)
		if err != nil {
			t.Fatal(err)
		}
		if list, err := decodeTimeIndex(times); err != nil || len(list) == 0 {
			t.Errorf("%s: %d times, %v", name, len(list), err)
		}
		all = append(all, data...)
	}
	return all
}

func storedBatches(t *testing.T, l *Embedded, tp TopicPartition, b Bounds) []byte {
	t.Helper()
	r, err := l.OpenReader(tp, b.Start, ReaderOptions{Uncommitted: true})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var all []byte
	for r.Position() < b.End {
		run, err := r.(BatchReader).PollBatches()
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, run...)
	}
	return all
}
