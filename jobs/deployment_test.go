package jobs

import (
	"bytes"
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
	d.Dropping = []string{"counts.2.page-0"}
	if b, err = d.Encode(); err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte(`{"version":3}`))
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
	ctx := t.Context()
	l := &looked{Log: logtest.Open(t), behind: make(chan struct{}, 1)}
	tp := logtest.Create(t, l, PlansTopic, 1)[0]
	end := logtest.Begin(t, l.Log, tp, log.Record{Key: []byte("other"), Value: []byte("never committed")})
	d := &Deployment{From: log.NoTimestamp, Plan: Plan{Job: "counts", Generation: 1}}
	if err := d.Save(ctx, l, nil); err != nil {
		t.Fatal(err)
	}
	select {
	case <-l.behind:
	default:
		t.Fatal("saved without a look behind the open transaction")
	}
	d.Plan.Generation = 2
	saved := make(chan error)
	go func() { saved <- d.Save(ctx, l, nil) }()
	select {
	case <-l.behind: // while the transaction is open
	case err := <-saved:
		t.Fatalf("saved without a look behind the open transaction: %v", err)
	}
	end(false)
	if err := <-saved; !errors.Is(err, ErrOvertaken) {
		t.Fatalf("saved over what is stored: got %v, want ErrOvertaken", err)
	}
	stored, err := LoadDeployment(ctx, l, "counts")
	if err != nil || stored.Plan.Generation != 1 {
		t.Fatalf("got %+v and %v, want generation 1", stored, err)
	}
}

// TestCurrentBehindOpenTransaction: who starts a job does not take an older plan
// for the current one because another job's deploy was killed.
func TestCurrentBehindOpenTransaction(t *testing.T) {
	ctx := t.Context()
	l := &looked{Log: logtest.Open(t), behind: make(chan struct{}, 1)}
	if d, err := CurrentDeployment(ctx, l, "counts"); d != nil || err != nil {
		t.Fatalf("got %+v and %v, want none", d, err)
	}
	tp := logtest.Create(t, l, PlansTopic, 1)[0]
	first := &Deployment{From: log.NoTimestamp, Plan: Plan{Job: "counts", Generation: 1}}
	if err := first.Save(ctx, l, nil); err != nil {
		t.Fatal(err)
	}
	end := logtest.Begin(t, l.Log, tp, log.Record{Key: []byte("other"), Value: []byte("never committed")})
	if d, err := CurrentDeployment(ctx, l, "counts"); err != nil || d.Plan.Generation != 1 {
		t.Fatalf("with nothing behind the transaction: got %+v and %v, want generation 1", d, err)
	}
	second := *first
	second.Plan.Generation = 2
	value, err := second.Encode()
	if err != nil {
		t.Fatal(err)
	}
	logtest.Append(t, l, tp, log.Record{Key: []byte("counts"), Value: value})
	for len(l.behind) > 0 {
		<-l.behind
	}
	found := make(chan error)
	var d *Deployment
	go func() {
		var err error
		d, err = CurrentDeployment(ctx, l, "counts")
		found <- err
	}()
	select {
	case <-l.behind: // while the transaction is open
	case err := <-found:
		t.Fatalf("found %+v and %v without a look behind the open transaction", d, err)
	}
	end(false)
	if err := <-found; err != nil || d.Plan.Generation != 2 {
		t.Fatalf("got %+v and %v, want generation 2", d, err)
	}
}

// Only what an older grete must not run has a newer version.
func TestDeploymentVersion(t *testing.T) {
	d := &Deployment{Plan: Plan{Job: "counts", Generation: 2}}
	for want, dropping := range map[int][]string{1: nil, 2: {"counts.1.page-0"}} {
		d.Dropping = dropping
		b, err := d.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if got, err := DecodeDeployment(b); err != nil || got.Version != want || len(got.Dropping) != len(dropping) {
			t.Errorf("dropping %v: got %+v and %v, want version %d", dropping, got, err, want)
		}
	}
	if _, err := DecodeDeployment([]byte(`{"version":3,"plan":{"job":"counts","generation":1}}`)); err == nil {
		t.Error("version 3 was read")
	}
}

func TestNewerGeneration(t *testing.T) {
	ctx, l := t.Context(), logtest.Open(t)
	check := func(above, want int64, wantErr error) {
		t.Helper()
		if g, err := NewerGeneration(ctx, l, "counts", above); g != want || !errors.Is(err, wantErr) {
			t.Errorf("above %d: got %d and %v, want %d and %v", above, g, err, want, wantErr)
		}
	}
	store := func(job string, generation int64) {
		t.Helper()
		value, err := (&Deployment{Plan: Plan{Job: job, Generation: generation}}).Encode()
		if err != nil {
			t.Fatal(err)
		}
		logtest.Append(t, l, log.TopicPartition{Topic: PlansTopic}, log.Record{Key: []byte(job), Value: value})
	}
	check(0, 0, nil) // nothing was ever deployed
	tp := logtest.Create(t, l, PlansTopic, 1)[0]
	store("counts", 1)
	store("other", 9)
	check(0, 1, nil)
	check(1, 0, nil)
	end := logtest.Begin(t, l, tp, log.Record{Key: []byte("other"), Value: []byte("never committed")})
	check(1, 0, nil)
	store("counts", 2)
	check(0, 1, nil) // that is known
	check(1, 0, ErrDeploying)
	check(2, 0, nil)
	end(true) // nonsense, but of another job
	check(1, 2, nil)
	check(2, 0, nil)
}

// looked is a log that tells when somebody looks behind an open transaction.
type looked struct {
	log.Log
	behind chan struct{}
}

func (l *looked) OpenReader(tp log.TopicPartition, from log.Offset, opts log.ReaderOptions) (log.Reader, error) {
	if opts.Uncommitted {
		l.behind <- struct{}{}
	}
	return l.Log.OpenReader(tp, from, opts)
}
