package jobs

import (
	"bytes"
	"testing"

	"github.com/gretestream/grete/log"
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
