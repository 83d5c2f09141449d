package logtest_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/gretestream/grete/log"
	"github.com/gretestream/grete/log/logtest"
)

// A test that cuts the power: what was acknowledged is there, and the commit
// that was under way is whole or absent.
func Example() {
	ctx := context.Background()
	d := logtest.NewDisk(1)
	l, err := log.Open("data", log.Options{FS: d})
	if err != nil {
		panic(err)
	}
	if _, err := l.CreateTopic(ctx, log.TopicSpec{Name: "page-views", Partitions: 1}); err != nil {
		panic(err)
	}
	tp := log.TopicPartition{Topic: "page-views"}

	var b log.Builder
	b.Append(0, []byte("/home"), []byte("acknowledged"))
	if _, err := l.Append(ctx, tp, b.Bytes()); err != nil {
		panic(err)
	}

	d.CrashAtSync(d.Stats().Syncs+1, logtest.Before)
	b.Reset()
	b.Append(0, []byte("/home"), []byte("under way"))
	_, err = l.Append(ctx, tp, b.Bytes())
	fmt.Println("acknowledged:", err == nil)
	l.Close() // ends what is left of it

	l, err = log.Open("data", log.Options{FS: d.Crash(logtest.KeepNothing)})
	if err != nil {
		panic(err)
	}
	defer l.Close()
	r, err := l.OpenReader(tp, 0, log.ReaderOptions{})
	if err != nil {
		panic(err)
	}
	defer r.Close()
	recs, err := r.Poll()
	for _, rec := range recs {
		fmt.Printf("%s: %s\n", rec.Offset, rec.Value)
	}
	// Output:
	// acknowledged: false
	// 0: acknowledged
}

// Most tests only want a log.
func ExampleOpen() {
	_ = func(t *testing.T) { // func TestSomething(t *testing.T)
		l := logtest.Open(t)
		tps := logtest.Create(t, l, "page-views", 2)
		logtest.Fill(t, l, tps[0], 10, nil)
		for _, rec := range logtest.ReadAll(t, l, tps[0]) {
			t.Logf("%s: %s", rec.Key, rec.Value)
		}
	}
}

func TestOpenFillReadAll(t *testing.T) {
	l := logtest.Open(t)
	tps := logtest.Create(t, l, "t", 2)
	logtest.Fill(t, l, tps[1], 2500, nil)
	recs := logtest.ReadAll(t, l, tps[1])
	if len(recs) != 2500 {
		t.Fatalf("got %d records, want 2500", len(recs))
	}
	for i, r := range recs {
		if want := fmt.Sprintf("v%d", i); int(r.Offset) != i || string(r.Value) != want {
			t.Fatalf("record %d: got %s at %s, want %s", i, r.Value, r.Offset, want)
		}
	}
	if at := logtest.Append(t, l, tps[1], log.Record{Value: []byte{}}, log.Record{Headers: []log.Header{{Key: "h"}}}); at != 2500 {
		t.Errorf("appended at %s, want 2500", at)
	}
	last := logtest.ReadAll(t, l, tps[1])[2500:]
	if last[0].Value == nil || last[1].Value != nil || last[1].Headers[0].Value != nil {
		t.Errorf("nil and empty are mixed up: %+v", last)
	}
}
