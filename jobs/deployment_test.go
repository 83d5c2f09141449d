package jobs

import (
	"bytes"
	"context"
	"errors"
	"testing"

	"github.com/gretestream/grete/log"
	"github.com/gretestream/grete/log/logtest"
)

// FuzzDecodeDeployment: what decodes is stored the same.
func FuzzDecodeDeployment(f *testing.F) {
	d := Deployment{From: log.NoTimestamp, Dropped: []DroppedOutput{{Topic: "out", Partition: 1, Before: 9}}, Plan: Plan{Job: "counts", Generation: 3}}
	b, err := d.Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte(`{"version":2}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := DecodeDeployment(b)
		if err != nil {
			return
		}
		stored, err := d.Encode()
		if err != nil {
			t.Fatalf("%s: %v", b, err)
		}
		again, err := DecodeDeployment(stored)
		if err != nil {
			t.Fatalf("%s, stored as %s: %v", b, stored, err)
		}
		if twice, err := again.Encode(); err != nil || !bytes.Equal(twice, stored) {
			t.Fatalf("stored as %s, then as %s: %v", stored, twice, err)
		}
	})
}

// TestSaveBehindOpenTransaction: the deploy of another job that was killed does not
// hide from Save what is stored.
func TestSaveBehindOpenTransaction(t *testing.T) {
	ctx := context.Background()
	l, err := log.Open("data", log.Options{FS: logtest.NewDisk(1), ReserveBytes: -1, BallastBytes: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	other := &Deployment{From: log.NoTimestamp, Plan: Plan{Job: "other", Generation: 1}}
	if err := other.Save(ctx, l, nil); err != nil {
		t.Fatal(err)
	}
	id, err := l.NewProducerID()
	if err != nil {
		t.Fatal(err)
	}
	var b log.Builder
	b.Append(1, []byte("other"), []byte("never committed"))
	log.StampProducer(b.Bytes(), id, 0, 0, true)
	tp := log.TopicPartition{Topic: PlansTopic}
	pd, err := l.Produce(tp, b.Bytes(), log.ProduceOptions{})
	if err == nil {
		_, err = pd.Wait(ctx)
	}
	if err != nil {
		t.Fatal(err)
	}
	d := &Deployment{From: log.NoTimestamp, Plan: Plan{Job: "counts", Generation: 1}}
	if err := d.Save(ctx, l, nil); err != nil {
		t.Fatal(err)
	}
	d.Plan.Generation = 2
	saved := make(chan error)
	go func() { saved <- d.Save(ctx, l, nil) }()
	if _, err := l.Commit(ctx, &log.Commit{Markers: []log.Marker{{TopicPartition: tp, ProducerID: id}}}); err != nil {
		t.Fatal(err)
	}
	if err := <-saved; !errors.Is(err, ErrOvertaken) {
		t.Fatalf("saved over what is stored: got %v, want ErrOvertaken", err)
	}
	stored, err := LoadDeployment(ctx, l, "counts")
	if err != nil || stored.Plan.Generation != 1 {
		t.Fatalf("got %+v and %v, want generation 1", stored, err)
	}
}
