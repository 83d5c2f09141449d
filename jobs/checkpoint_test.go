package jobs

import (
	"bytes"
	"errors"
	"reflect"
	"testing"

	"github.com/gretestream/grete/log"
)

func sampleCheckpoint() Checkpoint {
	return Checkpoint{
		Epoch:     7,
		Watermark: -3,
		Inputs: []InputCheckpoint{
			{Topic: "views", Offset: 1 << 40, Captured: 12, Idle: true},
			{Topic: "visits.1.by-page.repartition", Offset: 5, Upstream: []UpstreamMark{
				{Watermark: NoWatermark},
				{Watermark: 99, Epoch: 4, Heard: true, Idle: true, CaughtUp: true, Ended: "run"},
			}},
		},
		Changelogs: []log.Offset{0, 300},
		Flow:       []byte{1, 2, 3},
		Marks:      [][]byte{nil, {9}},
	}
}

func TestCheckpointRoundTrip(t *testing.T) {
	want := sampleCheckpoint()
	got, err := DecodeCheckpoint(want.AppendTo(nil))
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
}

func TestCheckpointMistakes(t *testing.T) {
	c := sampleCheckpoint()
	good := c.AppendTo(nil)
	for n := range good {
		if _, err := DecodeCheckpoint(good[:n]); !errors.Is(err, ErrBadCheckpoint) {
			t.Errorf("cut to %d bytes: got %v", n, err)
		}
	}
	if _, err := DecodeCheckpoint(append(bytes.Clone(good), 0)); !errors.Is(err, ErrBadCheckpoint) {
		t.Errorf("one byte too many: got %v", err)
	}
	newer := bytes.Clone(good)
	newer[0] = 2
	if _, err := DecodeCheckpoint(newer); !errors.Is(err, ErrBadCheckpoint) {
		t.Errorf("newer version: got %v", err)
	}
}

func FuzzDecodeCheckpoint(f *testing.F) {
	c := sampleCheckpoint()
	f.Add(c.AppendTo(nil))
	f.Add([]byte{1})
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := DecodeCheckpoint(b)
		if err != nil {
			return
		}
		again, err := DecodeCheckpoint(c.AppendTo(nil))
		if err != nil || !reflect.DeepEqual(again, c) {
			t.Fatalf("got %+v, %v\nwant %+v", again, err, c)
		}
	})
}
