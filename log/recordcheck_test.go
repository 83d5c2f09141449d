package log

import (
	"errors"
	"testing"

	"github.com/klauspost/compress/snappy"
)

// batchOf is a sealed batch with these bytes for records.
func batchOf(records []byte, count int, attributes int16) []byte {
	b := append(make([]byte, BatchHeaderSize), records...)
	putBatchHeader(b, &BatchInfo{
		Size: len(b), Count: count, LastOffsetDelta: int32(count - 1), Attributes: attributes,
		ProducerID: -1, ProducerEpoch: -1, BaseSequence: -1,
	})
	sealBatch(b)
	return b
}

func TestCheckRecords(t *testing.T) {
	// length, attributes, time delta, offset delta, key, value, headers; zigzag.
	good := []byte{12, 0, 0, 0, 1, 1, 0}
	second := []byte{12, 0, 0, 2, 1, 1, 0}
	join := func(bs ...[]byte) (all []byte) {
		for _, b := range bs {
			all = append(all, b...)
		}
		return all
	}
	for _, c := range []struct {
		name    string
		records []byte
		count   int
		index   int // of the bad record; -1: not about one; -2: it is good
	}{
		{"one", good, 1, -2},
		{"two", join(good, second), 2, -2},
		{"empty key and value", []byte{12, 0, 0, 0, 0, 0, 0}, 1, -2},
		{"a header", []byte{18, 0, 0, 0, 1, 1, 2, 2, 'h', 1}, 1, -2},
		{"fewer than the header says", good, 2, -1},
		{"more than the header says", join(good, second), 1, -1},
		{"bytes behind", append(join(good), 0), 1, -1},
		{"offsets repeat", join(good, good), 2, 1},
		{"offsets do not begin at 0", second, 1, 0},
		{"record longer than the batch", []byte{14, 0, 0, 0, 1, 1, 0}, 1, 0},
		{"record of negative length", []byte{1, 0, 0, 0, 1, 1, 0}, 1, 0},
		{"key longer than the record", []byte{12, 0, 0, 0, 40, 1, 0}, 1, 0},
		{"key of length -2", []byte{12, 0, 0, 0, 3, 1, 0}, 1, 0},
		{"value longer than the record", []byte{12, 0, 0, 0, 1, 40, 0}, 1, 0},
		{"headers longer than the record", []byte{12, 0, 0, 0, 1, 1, 2}, 1, 0},
		{"headers shorter than the record", []byte{14, 0, 0, 0, 1, 1, 0, 0}, 1, 0},
		{"header without a key", []byte{16, 0, 0, 0, 1, 1, 2, 1, 1}, 1, 0},
		{"a varint without end", []byte{28, 0, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1, 1, 0}, 1, 0},
	} {
		b := batchOf(c.records, c.count, 0)
		info, err := CheckBatch(b)
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		_, err = checkRecords(&info, b)
		var bad *InvalidRecordError
		switch {
		case c.index == -2 && err != nil:
			t.Errorf("%s: %v", c.name, err)
		case c.index > -2 && !errors.Is(err, ErrInvalidRecord):
			t.Errorf("%s: got %v, want ErrInvalidRecord", c.name, err)
		case c.index >= 0 && (!errors.As(err, &bad) || bad.Indexes[0] != c.index):
			t.Errorf("%s: got %v, want record %d named", c.name, err, c.index)
		}
	}
}

// A few bytes that claim to unpack to gigabytes are refused before they do.
func TestCheckRecordsBomb(t *testing.T) {
	claim := []byte{0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0} // snappy: 4 GiB
	zeros := snappy.Encode(nil, make([]byte, MaxDecompressedBytes+1))
	for _, packed := range [][]byte{claim, zeros} {
		b := batchOf(packed, 1, int16(CompressionSnappy))
		info := parseHeader(b)
		if _, err := checkRecords(&info, b); !errors.Is(err, ErrInvalidRecord) {
			t.Errorf("%d bytes: got %v, want ErrInvalidRecord", len(packed), err)
		}
	}
}

// The largest timestamp of a batch is that of its records, whatever its producer
// says: searches by time and retention go by it.
func TestProduceCorrectsMaxTimestamp(t *testing.T) {
	l := mustOpen(t, "data", testOptions(newMemFS()))
	mustCreate(t, l, "a", 1)
	b := plainBatch(2)
	setMaxTime(b, 5000)
	mustProduce(t, l, TopicPartition{"a", 0}, b)
	info, err := CheckBatch(b)
	if err != nil || info.MaxTimestamp != 1000 {
		t.Errorf("stored with largest timestamp %d, %v, want that of the records, 1000", info.MaxTimestamp, err)
	}
}

// What gets in can be read: whatever bytes a producer sends, if they pass, they
// decode to records with the facts that were found.
func FuzzCheckRecords(f *testing.F) {
	f.Add(plainBatch(3)[BatchHeaderSize:], 3, uint8(0))
	for _, c := range []Compression{CompressionGzip, CompressionSnappy, CompressionLZ4, CompressionZstd} {
		f.Add(pack(f, c, true, plainBatch(3)[BatchHeaderSize:]), 3, uint8(c))
	}
	f.Add([]byte{18, 0, 0, 0, 1, 1, 2, 2, 'h', 1}, 1, uint8(0))
	f.Fuzz(func(t *testing.T, records []byte, count int, codec uint8) {
		if count < 1 || count > 1<<20 {
			return
		}
		b := batchOf(records, count, int16(codec&attrCompression))
		info, err := CheckBatch(b)
		if err != nil {
			t.Fatal(err)
		}
		facts, err := checkRecords(&info, b)
		if err != nil {
			if !errors.Is(err, ErrInvalidRecord) {
				t.Fatalf("got %v, want ErrInvalidRecord", err)
			}
			return
		}
		var d decoder
		recs, err := d.decodeBatch(nil, &info, b)
		if err != nil || len(recs) != count {
			t.Fatalf("passed, but does not decode: %d of %d records, %v", len(recs), count, err)
		}
		keyless, newest := -1, recs[0].Timestamp
		for i := range recs {
			if newest = max(newest, recs[i].Timestamp); recs[i].Key == nil && keyless < 0 {
				keyless = i
			}
			if recs[i].Offset != Offset(i) {
				t.Fatalf("record %d has offset %d", i, recs[i].Offset)
			}
		}
		if facts.keyless != keyless || facts.maxTime != newest {
			t.Fatalf("found %+v, want keyless %d, largest time %d", facts, keyless, newest)
		}
	})
}

func BenchmarkCheckRecords(b *testing.B) {
	var recs []Record
	for i := range 150 {
		recs = append(recs, Record{Offset: Offset(i), Timestamp: 1000, Key: []byte("k"), Value: make([]byte, 100)})
	}
	batch := appendBatch(nil, BatchInfo{ProducerID: -1, LastOffsetDelta: 149}, 1000, recs)
	info := parseHeader(batch)
	b.ReportAllocs()
	cpu := startCPU(b)
	for b.Loop() {
		if _, err := checkRecords(&info, batch); err != nil {
			b.Fatal(err)
		}
	}
	cpu.report(150 * b.N)
}
