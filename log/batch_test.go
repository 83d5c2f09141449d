package log

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"testing"

	"pgregory.net/rapid"
)

// encode is one Builder run over recs.
func encode(recs []Record, maxBatchBytes int) []byte {
	b := Builder{MaxBatchBytes: maxBatchBytes}
	for _, r := range recs {
		b.Append(r.Timestamp, r.Key, r.Value, r.Headers...)
	}
	return bytes.Clone(b.Bytes())
}

// place gives the batches of a run consecutive offsets from base on.
func place(t testing.TB, run []byte, base Offset) []byte {
	t.Helper()
	err := ForEachBatch(run, func(info BatchInfo, batch []byte) error {
		setBatchOffset(batch, base, 7)
		base += Offset(info.LastOffsetDelta) + 1
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return run
}

func sameBytes(a, b []byte) bool { return (a == nil) == (b == nil) && bytes.Equal(a, b) }

func checkSameRecords(t testing.TB, got, want []Record, base Offset) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("got %d records, want %d", len(got), len(want))
	}
	for i, g := range got {
		w := want[i]
		if g.Offset != base+Offset(i) || g.Timestamp != w.Timestamp || !sameBytes(g.Key, w.Key) || !sameBytes(g.Value, w.Value) {
			t.Fatalf("record %d: got %v, want %v", i, g, w)
		}
		if len(g.Headers) != len(w.Headers) {
			t.Fatalf("record %d: got %d headers, want %d", i, len(g.Headers), len(w.Headers))
		}
		for j, h := range g.Headers {
			if h.Key != w.Headers[j].Key || !sameBytes(h.Value, w.Headers[j].Value) {
				t.Fatalf("record %d: got header %v, want %v", i, h, w.Headers[j])
			}
		}
	}
}

func genRecords(t *rapid.T) []Record {
	data := rapid.OneOf(rapid.Just([]byte(nil)), rapid.Map(rapid.SliceOfN(rapid.Byte(), 0, 300), func(b []byte) []byte { return append([]byte{}, b...) }))
	header := rapid.Custom(func(t *rapid.T) Header {
		return Header{Key: rapid.StringN(0, 8, 20).Draw(t, "name"), Value: data.Draw(t, "header")}
	})
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) Record {
		return Record{
			Timestamp: Timestamp(rapid.Int64Range(-1, 1<<45).Draw(t, "time")),
			Key:       data.Draw(t, "key"),
			Value:     data.Draw(t, "value"),
			Headers:   rapid.SliceOfN(header, 0, 4).Draw(t, "headers"),
		}
	}), 1, 50).Draw(t, "records")
}

// What goes into a Builder comes out of DecodeRecords, however it is split.
func TestBatchRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		recs := genRecords(t)
		maxBytes := rapid.SampledFrom([]int{1, 200, 4096, 0}).Draw(t, "max batch bytes")
		run := encode(recs, maxBytes)
		n, err := CheckBatches(run)
		if err != nil || n != int64(len(recs)) {
			t.Fatalf("got %d offsets, %v, want %d", n, err, len(recs))
		}
		base := Offset(0)
		if err := ForEachBatch(run, func(info BatchInfo, batch []byte) error {
			setBatchOffset(batch, 40+base, 7)
			base = info.LastOffset() - info.BaseOffset + 1 + base
			if maxBytes > 0 && info.Count > 1 && info.Size > maxBytes {
				t.Fatalf("batch of %d bytes, want at most %d", info.Size, maxBytes)
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		got, err := DecodeRecords(nil, run)
		if err != nil {
			t.Fatal(err)
		}
		if len(got) != len(recs) {
			t.Fatalf("got %d records, want %d", len(got), len(recs))
		}
		for i, g := range got {
			if w := recs[i]; g.Offset != 40+Offset(i) || g.Timestamp != w.Timestamp || !sameBytes(g.Key, w.Key) || !sameBytes(g.Value, w.Value) || len(g.Headers) != len(w.Headers) {
				t.Fatalf("record %d: got %v, want %v", i, g, w)
			}
		}
	})
}

// A Builder puts most records together in a short way and takes the checksum in
// parts: the bytes are those of the long way.
func TestBuilderShortWay(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.SampledFrom([]int{0, 1, 62, 63, 64, 65, 100, 3000, 4096, 8185, 8190, 8192, 20000})
		field := rapid.Custom(func(t *rapid.T) []byte {
			n := size.Draw(t, "bytes") + rapid.IntRange(-1, 1).Draw(t, "off by")
			if n < 0 {
				return nil
			}
			return bytes.Repeat([]byte{byte(n)}, n)
		})
		recs := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) Record {
			return Record{Timestamp: 1<<41 + Timestamp(rapid.SampledFrom([]int{-9000, -65, -64, 0, 63, 64, 8191, 8192, 1 << 40}).Draw(t, "time")),
				Key: field.Draw(t, "key"), Value: field.Draw(t, "value")}
		}), 1, 200).Draw(t, "records")
		for i := range recs {
			recs[i].Offset = Offset(i)
		}
		info := BatchInfo{LastOffsetDelta: int32(len(recs) - 1), ProducerID: -1, ProducerEpoch: -1, BaseSequence: -1}
		want := appendBatch(nil, info, recs[0].Timestamp, recs)
		if got := encode(recs, 1<<30); !bytes.Equal(got, want) {
			t.Fatal("differs from the long way")
		}
	})
}

// A batch that Kafka's own tools read, byte by byte.
func TestBatchBytes(t *testing.T) {
	var b Builder
	b.Append(1000, []byte("k"), []byte("v"), Header{Key: "h", Value: nil})
	b.Append(998, nil, []byte{}, Header{Key: "", Value: []byte{}})
	got := place(t, b.Bytes(), 5)
	want := []byte{
		0, 0, 0, 0, 0, 0, 0, 5, // base offset
		0, 0, 0, 72, // length
		0, 0, 0, 7, // leader epoch
		2,
		0, 0, 0, 0, // crc, below
		0, 0, // attributes
		0, 0, 0, 1, // last offset delta
		0, 0, 0, 0, 0, 0, 0x03, 0xe8,
		0, 0, 0, 0, 0, 0, 0x03, 0xe8,
		255, 255, 255, 255, 255, 255, 255, 255,
		255, 255,
		255, 255, 255, 255,
		0, 0, 0, 2,
		22, 0, 0, 0, 2, 'k', 2, 'v', 2, 2, 'h', 1,
		16, 0, 3, 2, 1, 0, 2, 0, 0,
	}
	want[batchLengthPos+3] = byte(len(want) - batchFrameSize)
	sealBatch(want)
	if !bytes.Equal(got, want) {
		t.Errorf("got\n%v, want\n%v", got, want)
	}
	if b.Len() != 2 || b.Size() != len(want) {
		t.Errorf("got %d records of %d bytes", b.Len(), b.Size())
	}
	b.Reset()
	if len(b.Bytes()) != 0 || b.Len() != 0 {
		t.Error("records after Reset")
	}
}

func TestBatchMistakes(t *testing.T) {
	good := encode([]Record{{Timestamp: 1, Key: []byte("key"), Value: []byte("value")}}, 0)
	f := func(name string, corrupt bool, spoil func(b []byte) []byte) {
		t.Helper()
		_, err := DecodeRecords(nil, spoil(bytes.Clone(good)))
		if !errors.Is(err, ErrInvalidBatch) || errors.Is(err, ErrCorrupt) != corrupt {
			t.Errorf("%s: got %v", name, err)
		}
	}
	reseal := func(b []byte) []byte { sealBatch(b); return b }
	f("flipped bit", true, func(b []byte) []byte { b[70] ^= 1; return b })
	f("cut", false, func(b []byte) []byte { return b[:len(b)-1] })
	f("half a header", false, func(b []byte) []byte { return b[:30] })
	f("magic", false, func(b []byte) []byte { b[batchMagicPos] = 1; return b })
	f("negative length", false, func(b []byte) []byte { b[batchLengthPos] = 0xff; return b })
	f("count", false, func(b []byte) []byte { b[batchCountPos+3] = 9; return reseal(b) })
	f("huge count", false, func(b []byte) []byte {
		binary.BigEndian.PutUint32(b[batchCountPos:], 1<<30)
		binary.BigEndian.PutUint32(b[batchLastDeltaPos:], 1<<30)
		return reseal(b)
	})
	f("record length", false, func(b []byte) []byte { b[BatchHeaderSize] += 2; return reseal(b) })
	f("key length", false, func(b []byte) []byte { b[BatchHeaderSize+4] = 0x7e; return reseal(b) })
	f("header count", false, func(b []byte) []byte { b[len(b)-1] = 4; return reseal(b) })
	f("negative base offset", false, func(b []byte) []byte { b[0] = 0x80; return b })
	f("unknown codec", false, func(b []byte) []byte { b[batchAttributesPos+1] = 7; return reseal(b) })
}

func TestBatchKinds(t *testing.T) {
	run := encode([]Record{{Timestamp: 1, Value: []byte("x")}, {Timestamp: 9, Value: []byte("y")}}, 0)
	run[batchAttributesPos+1] = attrAppendTime | attrTransactional
	sealBatch(run)
	recs, err := DecodeRecords(nil, run)
	if err != nil || len(recs) != 2 || recs[0].Timestamp != 9 {
		t.Errorf("append time: got %v, %v", recs, err)
	}
	run[batchAttributesPos+1] = attrControl
	sealBatch(run)
	if recs, err := DecodeRecords(nil, run); err != nil || len(recs) != 0 {
		t.Errorf("control batch: got %v, %v", recs, err)
	}
}

func TestBuilderAllocatesNothing(t *testing.T) {
	var b Builder
	key, value := []byte("0123456789"), make([]byte, 90)
	run := func() {
		b.Reset()
		for i := range 1000 {
			b.Append(Timestamp(i), key, value)
		}
		b.Bytes()
	}
	run()
	if n := testing.AllocsPerRun(10, run); n != 0 {
		t.Errorf("got %v allocations, want none", n)
	}
	var d decoder
	var recs []Record
	decode := func() {
		d.reset()
		info, err := CheckBatch(b.Bytes())
		if err == nil {
			recs, err = d.decodeBatch(recs[:0], &info, b.Bytes())
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	decode()
	if n := testing.AllocsPerRun(10, decode); n != 0 {
		t.Errorf("decode: got %v allocations, want none", n)
	}
}

// The vectors are those by which Kafka's clients in all languages are checked.
func TestMurmur2(t *testing.T) {
	f := func(key string, want int32) {
		t.Helper()
		if got := int32(murmur2([]byte(key))); got != want {
			t.Errorf("murmur2(%q): got %d, want %d", key, got, want)
		}
	}
	f("21", -973932308)
	f("foobar", -790332482)
	f("a-little-bit-long-string", -985981536)
	f("a-little-bit-longer-string", -1486304829)
	f("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971)
	f("abc", 479470107)
	if got := PartitionFor([]byte("21"), 4); got != int32((uint32(0xffffffff-973932308+1)&0x7fffffff)%4) {
		t.Errorf("got partition %d", got)
	}
}

func FuzzBatch(f *testing.F) {
	f.Add(encode([]Record{{Timestamp: 1, Key: []byte("k"), Value: []byte("v"), Headers: []Header{{Key: "h"}}}, {Timestamp: 5}}, 0), true)
	f.Add([]byte{}, false)
	f.Fuzz(func(t *testing.T, b []byte, reseal bool) {
		if info, err := ParseBatch(b); err == nil && reseal {
			b = bytes.Clone(b)
			sealBatch(b[:info.Size])
		}
		recs, err := DecodeRecords(nil, b)
		if err != nil {
			if !errors.Is(err, ErrInvalidBatch) {
				t.Fatalf("got %v, want ErrInvalidBatch", err)
			}
			return
		}
		// Whatever decodes encodes again to the same records.
		again, err := DecodeRecords(nil, encode(recs, 0))
		if err != nil {
			t.Fatal(err)
		}
		for i := range recs {
			recs[i].Offset = Offset(i)
		}
		checkSameRecords(t, again, recs, 0)
	})
}

func BenchmarkBuilder(b *testing.B) {
	var bl Builder
	key, value := []byte("0123456789"), make([]byte, 90)
	b.ReportAllocs()
	const n = 1000
	cpu := startCPU(b)
	for b.Loop() {
		bl.Reset()
		for i := range n {
			bl.Append(Timestamp(i), key, value)
		}
		bl.Bytes()
	}
	cpu.report(b.N * n)
}

func BenchmarkDecode(b *testing.B) {
	var bl Builder
	key, value := []byte("0123456789"), make([]byte, 90)
	const n = 1000
	for i := range n {
		bl.Append(Timestamp(i), key, value)
	}
	run := bl.Bytes()
	var d decoder
	var recs []Record
	b.ReportAllocs()
	cpu := startCPU(b)
	for b.Loop() {
		d.reset()
		info, err := CheckBatch(run)
		if err == nil {
			recs, err = d.decodeBatch(recs[:0], &info, run)
		}
		if err != nil {
			b.Fatal(err)
		}
	}
	cpu.report(b.N * n)
}

func ExampleBuilder() {
	var b Builder
	b.Append(1000, []byte("user-1"), []byte("clicked"))
	b.Append(1001, []byte("user-2"), nil)
	recs, err := DecodeRecords(nil, b.Bytes())
	if err != nil {
		panic(err)
	}
	for _, r := range recs {
		fmt.Printf("%s %q tombstone=%v\n", r.Key, r.Value, r.IsTombstone())
	}
	// Output:
	// user-1 "clicked" tombstone=false
	// user-2 "" tombstone=true
}
