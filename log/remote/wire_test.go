package remote

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"testing"

	"github.com/gretestream/grete/log"
)

func batches(values ...string) []byte {
	var b log.Builder
	for _, v := range values {
		b.Append(1, nil, []byte(v))
	}
	return b.Bytes()
}

func TestCommitFrame(t *testing.T) {
	want := &log.Commit{
		Producer: "p", Epoch: 7, Group: "g",
		Offsets: []log.GroupOffset{{TopicPartition: log.TopicPartition{Topic: "in", Partition: 3}, Offset: 9, Metadata: "m"}},
		Writes: []log.Write{
			{TopicPartition: log.TopicPartition{Topic: "a"}, Batches: batches("1", "2")},
			{TopicPartition: log.TopicPartition{Topic: "b", Partition: 1}, Batches: batches("3")},
		},
	}
	frame, err := appendCommitHead(nil, want)
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range want.Writes {
		frame = append(frame, w.Batches...)
	}
	got, err := readCommit(bytes.NewReader(frame))
	if err != nil {
		t.Fatal(err)
	}
	if g, w := fmt.Sprintf("%+v", got), fmt.Sprintf("%+v", want); g != w {
		t.Errorf("got  %s\nwant %s", g, w)
	}
	for n := range frame {
		if _, err := readCommit(bytes.NewReader(frame[:n])); err == nil {
			t.Errorf("a frame cut at byte %d of %d was read", n, len(frame))
		}
	}
}

func FuzzReadCommit(f *testing.F) {
	frame, err := appendCommitHead(nil, &log.Commit{Producer: "p", Writes: []log.Write{{Batches: batches("1")}}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(append(frame, batches("1")...))
	f.Add([]byte("\x00\x00\x00\x02{}"))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := readCommit(bytes.NewReader(b))
		if err != nil {
			return
		}
		size := 0
		for _, w := range c.Writes {
			size += len(w.Batches)
		}
		if size > len(b) {
			t.Errorf("%d bytes of batches from a frame of %d", size, len(b))
		}
	})
}

// FuzzWire: whatever stands in an answer, what is understood is sent the same.
func FuzzWire(f *testing.F) {
	f.Add([]byte(`{"name":"t","id":"AQIDBAUGBwgJCgsMDQ4PEA","partitions":3,"configs":{"a":"b"}}`))
	f.Add([]byte(`{"topic":"t","partition":1,"offset":9,"leader_epoch":-1,"metadata":"m"}`))
	f.Add([]byte(`{"code":"fenced","message":"m"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var topic wireTopic
		if json.Unmarshal(b, &topic) == nil {
			if got, err := topic.decode(); err == nil {
				again, err := encodeTopic(got).decode()
				if err != nil || !reflect.DeepEqual(again, got) {
					t.Errorf("topic %+v, then %+v, %v", got, again, err)
				}
			}
		}
		var o wireGroupOffset
		if json.Unmarshal(b, &o) == nil && encodeGroupOffset(o.decode()) != o {
			t.Errorf("offset %+v, then %+v", o, encodeGroupOffset(o.decode()))
		}
		var we wireError
		if json.Unmarshal(b, &we) == nil {
			if err := we.decode(); err == nil {
				t.Errorf("error %+v is none", we)
			}
		}
	})
}

func TestErrorsKeepTheirMeaning(t *testing.T) {
	for _, c := range codes {
		w, _ := encodeError(fmt.Errorf("append to t-0: %w", c.err))
		err := w.decode()
		if !errors.Is(err, c.err) {
			t.Errorf("code %q: errors.Is(%v, %v) is false", c.name, err, c.err)
		}
		if got, want := err.Error(), "append to t-0: "+c.err.Error(); got != want {
			t.Errorf("code %q: got %q, want %q", c.name, got, want)
		}
	}
	w, _ := encodeError(errors.New("something else"))
	if err := w.decode(); err.Error() != "something else" || errors.Unwrap(err) != nil {
		t.Errorf("got %v, want an error without a meaning", err)
	}
}

func TestRunsKeepOffsets(t *testing.T) {
	var want []log.Record
	for _, off := range []log.Offset{5, 6, 9, 12, 13, 14} {
		want = append(want, log.Record{Offset: off, Timestamp: log.Timestamp(off) * 10, Key: []byte{byte(off)}, Headers: []log.Header{{Key: "h"}}})
	}
	var b log.Builder
	b.MaxBatchBytes = 80 // so that runs are cut into batches, too
	got, err := log.DecodeRecords(nil, appendRuns(nil, &b, want))
	if err != nil {
		t.Fatal(err)
	}
	if g, w := fmt.Sprint(got), fmt.Sprint(want); g != w {
		t.Errorf("got  %s\nwant %s", g, w)
	}
}
