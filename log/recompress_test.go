package log

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
)

// Whatever producers send is stored as compression.type says, and reads as it was.
func TestRecompress(t *testing.T) {
	l, err := Open(t.TempDir(), Options{ReserveBytes: -1, BallastBytes: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for name, want := range compressionTypes {
		if _, err := l.CreateTopic(t.Context(), TopicSpec{Name: name, Partitions: 1, Configs: map[string]string{"compression.type": name}}); err != nil {
			t.Fatal(err)
		}
		tp := TopicPartition{Topic: name}
		var values [][]byte
		for _, sent := range compressionTypes {
			var b Builder
			for i := range 3 {
				v := bytes.Repeat(fmt.Appendf(nil, "%s to %s %d ", sent, want, i), 5000) // more than a block of snappy
				values = append(values, v)
				b.Append(Timestamp(1000+i), []byte("k"), v, Header{Key: "h", Value: []byte("x")})
			}
			batch := bytes.Clone(b.Bytes())
			if sent != CompressionNone {
				batch = packBatch(t, sent, true, batch)
			}
			pd, err := l.Produce(tp, batch, ProduceOptions{})
			if err != nil {
				t.Fatalf("%s to %s: %v", sent, want, err)
			}
			if _, err := pd.Wait(t.Context()); err != nil {
				t.Fatalf("%s to %s: %v", sent, want, err)
			}
		}
		r, err := l.OpenReader(tp, 0, ReaderOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i < len(values); {
			recs, err := r.Poll()
			if err != nil || len(recs) == 0 {
				t.Fatalf("%s: %d of %d records, %v", name, i, len(values), err)
			}
			for j := range recs {
				if !bytes.Equal(recs[j].Value, values[i]) || string(recs[j].Key) != "k" || len(recs[j].Headers) != 1 || recs[j].Timestamp != Timestamp(1000+i%3) {
					t.Errorf("%s: record %d is not what was sent", name, i)
				}
				i++
			}
		}
		r.Close()
		raw, err := l.OpenReader(tp, 0, ReaderOptions{Uncommitted: true})
		if err != nil {
			t.Fatal(err)
		}
		for raw.Position() < r.Position() {
			run, err := raw.(BatchReader).PollBatches()
			if err != nil {
				t.Fatal(err)
			}
			if err := ForEachBatch(run, func(info BatchInfo, batch []byte) error {
				if _, err := CheckBatch(batch); err != nil || info.Compression() != want {
					t.Errorf("%s: a stored batch is packed with %s: %v", name, info.Compression(), err)
				}
				return nil
			}); err != nil {
				t.Fatal(err)
			}
		}
		raw.Close()
	}
}

// A batch of few bytes that unpacks to more than may be is refused, whatever it
// was to be packed as: by the check of its records, and by recompress itself, if
// it came to that. One that may be unpacked still has to fit into the topic.
func TestRecompressBomb(t *testing.T) {
	l := mustOpen(t, "data", testOptions(newMemFS()))
	for _, name := range []string{"zstd", "uncompressed"} {
		if _, err := l.CreateTopic(t.Context(), TopicSpec{Name: name, Partitions: 1, Configs: map[string]string{"compression.type": name}}); err != nil {
			t.Fatal(err)
		}
	}
	gzipped := func(zeros int) []byte {
		packed, err := CompressionGzip.compress(nil, make([]byte, zeros))
		if err != nil {
			t.Fatal(err)
		}
		return batchOf(packed, 1, int16(CompressionGzip))
	}
	bomb := gzipped(MaxDecompressedBytes + 1)
	for _, name := range []string{"zstd", "uncompressed"} {
		if _, err := l.Produce(TopicPartition{name, 0}, bytes.Clone(bomb), ProduceOptions{}); !errors.Is(err, ErrInvalidRecord) {
			t.Errorf("%d bytes for a topic that is %s: %v, want ErrInvalidRecord", len(bomb), name, err)
		}
		if out, err := recompress(compressionTypes[name], bomb); err == nil || len(out) > 0 {
			t.Errorf("packed as %s: %d bytes, %v, want an error", name, len(out), err)
		}
	}
	if out, err := recompress(CompressionZstd, gzipped(MaxDecompressedBytes)); err != nil || len(out) == 0 {
		t.Errorf("the most that may be: %d bytes, %v", len(out), err)
	}

	var b Builder
	b.Append(1000, nil, make([]byte, 4<<20)) // beyond max.message.bytes, until it is packed
	packed := packBatch(t, CompressionGzip, true, bytes.Clone(b.Bytes()))
	if _, err := l.Produce(TopicPartition{"uncompressed", 0}, bytes.Clone(packed), ProduceOptions{}); !errors.Is(err, ErrTooLarge) {
		t.Errorf("4 MiB, uncompressed: %v, want ErrTooLarge", err)
	}
	mustProduce(t, l, TopicPartition{"zstd", 0}, packed)
}
