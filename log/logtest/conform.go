package logtest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gretestream/grete/log"
)

// Kind is a kind of log.Log.
type Kind struct {
	// Open returns a log that nobody else uses. It is closed by the test.
	Open func(t *testing.T) log.Log
	// AnyConfig says that the log takes any topic config, as a fake may.
	AnyConfig bool
}

// Conform holds a kind of log.Log against the contract that all kinds keep.
// Offsets may have gaps and what was committed may be seen a moment later: what is
// asked for is what the engine relies on, not what one kind happens to do.
func Conform(t *testing.T, kind Kind) {
	tests := []struct {
		name string
		run  func(c *conform)
	}{
		{"topics", (*conform).topics},
		{"topics that cannot be", (*conform).badTopics},
		{"append and read", (*conform).appendAndRead},
		{"readers wait", (*conform).readersWait},
		{"readers seek", (*conform).readersSeek},
		{"large writes", (*conform).largeWrites},
		{"bounds and times", (*conform).boundsAndTimes},
		{"deleted records", (*conform).deletedRecords},
		{"unknown partitions", (*conform).unknownPartitions},
		{"commits", (*conform).commits},
		{"commits that fail leave nothing", (*conform).failedCommits},
		{"fences", (*conform).fences},
		{"committed offsets", (*conform).committedOffsets},
		{"at least once", (*conform).atLeastOnce},
		{"groups", (*conform).groups},
		{"closed", (*conform).closedLog},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			l := kind.Open(t)
			defer func() {
				if err := l.Close(); err != nil {
					t.Errorf("close: %v", err)
				}
			}()
			test.run(&conform{t, ctx, l, &kind})
		})
	}
}

type conform struct {
	*testing.T
	ctx context.Context
	log.Log
	kind *Kind
}

// must ends the test on an error.
func (c *conform) must(err error) {
	c.Helper()
	if err != nil {
		c.Fatal(err)
	}
}

// wantErr wants a particular error.
func (c *conform) wantErr(err, want error) {
	c.Helper()
	if !errors.Is(err, want) {
		c.Errorf("got error %v, want %v", err, want)
	}
}

// topic makes a topic.
func (c *conform) topic(name string, partitions int) log.Topic {
	c.Helper()
	t, err := c.CreateTopic(c.ctx, log.TopicSpec{Name: name, Partitions: partitions})
	c.must(err)
	return t
}

func at(topic string, partition int32) log.TopicPartition {
	return log.TopicPartition{Topic: topic, Partition: partition}
}

// batches encodes one record for each value; a value "k=v" has a key.
func batches(values ...string) []byte {
	var b log.Builder
	for i, v := range values {
		key, value, ok := strings.Cut(v, "=")
		if !ok {
			b.Append(log.Timestamp(1000+i), nil, []byte(v))
			continue
		}
		b.Append(log.Timestamp(1000+i), []byte(key), []byte(value))
	}
	return slices.Clone(b.Bytes())
}

// append appends and returns the first offset.
func (c *conform) append(tp log.TopicPartition, values ...string) log.Offset {
	c.Helper()
	o, err := c.Append(c.ctx, tp, batches(values...))
	c.must(err)
	return o
}

// reader opens a reader that is closed with the test.
func (c *conform) reader(tp log.TopicPartition, from log.Offset, opts log.ReaderOptions) log.Reader {
	c.Helper()
	r, err := c.OpenReader(tp, from, opts)
	c.must(err)
	return r
}

// read reads as many records as are wanted, and compares their values.
func (c *conform) read(r log.Reader, want ...string) {
	c.Helper()
	var got []string
	last := r.Position() - 1
	for len(got) < len(want) {
		recs, err := r.Next(c.ctx)
		if err != nil {
			c.Fatalf("read at %d: %v after %q, want %q", r.Position(), err, got, want)
		}
		for i := range recs {
			rec := &recs[i]
			if rec.Offset <= last {
				c.Fatalf("got offset %d after %d", rec.Offset, last)
			}
			last = rec.Offset
			v := string(rec.Value)
			if rec.Key != nil {
				v = string(rec.Key) + "=" + v
			}
			got = append(got, v)
		}
		if r.Position() <= last {
			c.Fatalf("reader stands at %d after it returned offset %d", r.Position(), last)
		}
	}
	if !slices.Equal(got, want) {
		c.Fatalf("read %q, want %q", got, want)
	}
}

// all reads a partition from its start and wants these values and no more.
func (c *conform) all(tp log.TopicPartition, want ...string) {
	c.Helper()
	b, err := c.Bounds(c.ctx, tp)
	c.must(err)
	r := c.reader(tp, b.Start, log.ReaderOptions{})
	defer r.Close()
	c.read(r, want...)
	// A last record shows that nothing lies in between.
	c.append(tp, "the end")
	c.read(r, "the end")
}

// eventually waits until a condition holds.
func (c *conform) eventually(what string, f func() bool) {
	c.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !f() {
		select {
		case <-tick.C:
		case <-c.ctx.Done():
			c.Fatalf("waited in vain until %s", what)
		}
	}
}

func (c *conform) topics() {
	made, err := c.CreateTopic(c.ctx, log.TopicSpec{Name: "b", Partitions: 3, Configs: map[string]string{"cleanup.policy": "compact", "max.message.bytes": "2000000"}})
	c.must(err)
	if made.Name != "b" || made.Partitions != 3 || made.Internal || made.ID == (log.TopicID{}) {
		c.Errorf("made %+v", made)
	}
	got, err := c.Topic(c.ctx, "b")
	c.must(err)
	if got.ID != made.ID || got.Partitions != 3 || got.Configs["cleanup.policy"] != "compact" || got.Configs["max.message.bytes"] != "2000000" {
		c.Errorf("described as %+v, want %+v", got, made)
	}
	c.topic("a", 1)
	if t := c.topic("by-default", 0); t.Partitions < 1 {
		c.Errorf("a topic that names no number of partitions has %d", t.Partitions)
	}
	list, err := c.Topics(c.ctx)
	c.must(err)
	var names []string
	for _, t := range list {
		if !t.Internal {
			names = append(names, t.Name)
		}
	}
	if !slices.Equal(names, []string{"a", "b", "by-default"}) {
		c.Errorf("topics are %q", names)
	}

	hour := "3600000"
	got, err = c.AlterTopic(c.ctx, "b", map[string]*string{"retention.ms": &hour, "max.message.bytes": nil})
	c.must(err)
	_, still := got.Configs["max.message.bytes"]
	if got.Configs["retention.ms"] != hour || still || got.Configs["cleanup.policy"] != "compact" {
		c.Errorf("altered to %v", got.Configs)
	}

	c.append(at("a", 0), "of the first")
	c.must(c.DeleteTopic(c.ctx, "a"))
	_, err = c.Topic(c.ctx, "a")
	c.wantErr(err, log.ErrUnknownTopic)
	again := c.topic("a", 2)
	if again.ID == made.ID || again.Partitions != 2 {
		c.Errorf("made again as %+v", again)
	}
	c.all(at("a", 0))
}

func (c *conform) badTopics() {
	c.topic("taken", 1)
	f := func(want error, spec log.TopicSpec) {
		c.Helper()
		_, err := c.CreateTopic(c.ctx, spec)
		c.wantErr(err, want)
	}
	f(log.ErrTopicExists, log.TopicSpec{Name: "taken", Partitions: 1})
	f(log.ErrInvalidTopic, log.TopicSpec{Name: "../up"})
	f(log.ErrInvalidTopic, log.TopicSpec{})
	f(log.ErrInvalidConfig, log.TopicSpec{Name: "x", Partitions: -1})
	if !c.kind.AnyConfig {
		f(log.ErrInvalidConfig, log.TopicSpec{Name: "x", Partitions: 1, Configs: map[string]string{"no.such.config": "1"}})
		f(log.ErrInvalidConfig, log.TopicSpec{Name: "x", Partitions: 1, Configs: map[string]string{"retention.ms": "soon"}})
		value := "soon"
		_, err := c.AlterTopic(c.ctx, "taken", map[string]*string{"retention.ms": &value})
		c.wantErr(err, log.ErrInvalidConfig)
	}
	_, err := c.Topic(c.ctx, "x")
	c.wantErr(err, log.ErrUnknownTopic)
	_, err = c.AlterTopic(c.ctx, "x", map[string]*string{"retention.ms": nil})
	c.wantErr(err, log.ErrUnknownTopic)
	c.wantErr(c.DeleteTopic(c.ctx, "x"), log.ErrUnknownTopic)
}

func (c *conform) appendAndRead() {
	c.topic("t", 2)
	tp := at("t", 1)
	var b log.Builder
	b.Append(10, []byte("k"), []byte("v"), log.Header{Key: "h", Value: []byte("1")}, log.Header{Key: "null"})
	b.Append(5, nil, []byte{})
	b.Append(20, []byte{}, nil)
	o, err := c.Append(c.ctx, tp, b.Bytes())
	c.must(err)
	if o != 0 {
		c.Errorf("first offset is %d, want 0", o)
	}
	if o := c.append(tp, "second"); o != 3 {
		c.Errorf("offset after three records is %d, want 3", o)
	}
	r := c.reader(tp, 0, log.ReaderOptions{})
	defer r.Close()
	var recs []log.Record
	for len(recs) < 4 {
		next, err := r.Next(c.ctx)
		c.must(err)
		for _, rec := range next {
			rec.Key, rec.Value, rec.Headers = slices.Clone(rec.Key), slices.Clone(rec.Value), slices.Clone(rec.Headers)
			recs = append(recs, rec)
		}
	}
	got := fmt.Sprintf("%+v", recs)
	want := fmt.Sprintf("%+v", []log.Record{
		{Offset: 0, Timestamp: 10, Key: []byte("k"), Value: []byte("v"), Headers: []log.Header{{Key: "h", Value: []byte("1")}, {Key: "null"}}},
		{Offset: 1, Timestamp: 5, Value: []byte{}},
		{Offset: 2, Timestamp: 20, Key: []byte{}},
		{Offset: 3, Timestamp: 1000, Value: []byte("second")},
	})
	if got != want {
		c.Errorf("read\n%s, want\n%s", got, want)
	}
	if recs[1].Key != nil || recs[1].Value == nil || recs[2].Key == nil || !recs[2].IsTombstone() {
		c.Errorf("null and empty are mixed up: %#v", recs)
	}
	c.all(at("t", 0))

	_, err = c.Append(c.ctx, tp, []byte("no batch"))
	c.wantErr(err, log.ErrInvalidBatch)
	damaged := batches("damaged")
	damaged[len(damaged)-1] ^= 1
	_, err = c.Append(c.ctx, tp, damaged)
	c.wantErr(err, log.ErrInvalidBatch)
}

func (c *conform) readersWait() {
	c.topic("t", 1)
	tp := at("t", 0)
	wake := make(chan struct{}, 1)
	r := c.reader(tp, 0, log.ReaderOptions{Wake: wake})
	defer r.Close()
	recs, err := r.Poll()
	if len(recs) > 0 || err != nil {
		c.Fatalf("poll of nothing: %v, %v", recs, err)
	}
	if r.Position() != 0 || r.End() != 0 {
		c.Errorf("stands at %d, end %d, want 0 and 0", r.Position(), r.End())
	}
	c.append(tp, "one")
	for got := 0; got == 0; {
		select {
		case <-wake:
		case <-c.ctx.Done():
			c.Fatal("nobody woke the reader")
		}
		recs, err := r.Poll()
		c.must(err)
		got = len(recs)
	}
	if r.Position() != 1 || r.End() != 1 {
		c.Errorf("stands at %d, end %d, want 1 and 1", r.Position(), r.End())
	}

	short, cancel := context.WithCancel(c.ctx)
	cancel()
	_, err = r.Next(short)
	c.wantErr(err, context.Canceled)

	done := make(chan error, 1)
	go func() {
		_, err := c.Append(c.ctx, tp, batches("two"))
		done <- err
	}()
	c.read(r, "two")
	c.must(<-done)
	c.must(r.Close())
	_, err = r.Poll()
	c.wantErr(err, log.ErrClosed)
}

func (c *conform) readersSeek() {
	c.topic("t", 1)
	tp := at("t", 0)
	c.append(tp, "a", "b", "c", "d")
	c.append(tp, "e")
	r := c.reader(tp, 2, log.ReaderOptions{}) // the middle of a batch
	defer r.Close()
	c.read(r, "c", "d", "e")
	c.must(r.Seek(1))
	c.read(r, "b", "c", "d", "e")
	c.must(r.Seek(5))
	recs, err := r.Poll()
	c.must(err)
	if len(recs) > 0 || r.Position() != 5 {
		c.Errorf("at the end: %d records, position %d", len(recs), r.Position())
	}
	c.wantErr(r.Seek(6), log.ErrOffsetOutOfRange)
	c.wantErr(r.Seek(-1), log.ErrOffsetOutOfRange)
	_, err = c.OpenReader(tp, 6, log.ReaderOptions{})
	c.wantErr(err, log.ErrOffsetOutOfRange)
	// Two readers of one partition do not disturb each other.
	other := c.reader(tp, 0, log.ReaderOptions{})
	defer other.Close()
	c.read(other, "a", "b", "c", "d", "e")
	c.append(tp, "f")
	c.must(r.Seek(4))
	c.read(r, "e", "f")
	c.read(other, "f")
}

func (c *conform) largeWrites() {
	c.topic("t", 2)
	var b log.Builder
	var want []string
	for i := range 40 {
		v := fmt.Sprintf("%03d", i) + strings.Repeat("x", 100<<10)
		b.Append(1, nil, []byte(v))
		want = append(want, v)
	}
	// Several batches in one write, and more than a reader takes at a time.
	o, err := c.Commit(c.ctx, &log.Commit{Writes: []log.Write{
		{TopicPartition: at("t", 0), Batches: slices.Clone(b.Bytes())}, {TopicPartition: at("t", 1), Batches: batches("small")}}})
	c.must(err)
	if len(o) != 2 || o[0] != 0 || o[1] != 0 {
		c.Errorf("offsets are %v, want 0 and 0", o)
	}
	r := c.reader(at("t", 0), 0, log.ReaderOptions{MaxBytes: 1000})
	defer r.Close()
	c.read(r, want...)
	c.append(at("t", 0), "after")
	c.read(r, "after")
}

func (c *conform) boundsAndTimes() {
	c.topic("t", 1)
	tp := at("t", 0)
	f := func(t log.Timestamp, want log.Offset, wantTime log.Timestamp) {
		c.Helper()
		o, at, err := c.OffsetFor(c.ctx, tp, t)
		c.must(err)
		if o != want || at != wantTime {
			c.Errorf("offset for %d is %d at %d, want %d at %d", t, o, at, want, wantTime)
		}
	}
	f(0, 0, log.NoTimestamp)
	for _, at := range []log.Timestamp{100, 300, 200, 400} {
		var b log.Builder
		b.Append(at, nil, []byte("v"))
		_, err := c.Append(c.ctx, tp, b.Bytes())
		c.must(err)
	}
	bounds, err := c.Bounds(c.ctx, tp)
	c.must(err)
	if want := (log.Bounds{Start: 0, Stable: 4, End: 4}); bounds != want {
		c.Errorf("bounds are %+v, want %+v", bounds, want)
	}
	f(0, 0, 100)
	f(100, 0, 100)
	f(101, 1, 300)
	f(301, 3, 400)
	f(401, 4, log.NoTimestamp)
}

func (c *conform) deletedRecords() {
	c.topic("t", 1)
	tp := at("t", 0)
	c.append(tp, "a", "b")
	c.append(tp, "c", "d")
	c.must(c.DeleteRecords(c.ctx, tp, 3))
	b, err := c.Bounds(c.ctx, tp)
	c.must(err)
	if b.Start != 3 || b.End != 4 {
		c.Errorf("bounds are %+v, want 3 to 4", b)
	}
	c.must(c.DeleteRecords(c.ctx, tp, 1)) // long gone
	_, err = c.OpenReader(tp, 2, log.ReaderOptions{})
	c.wantErr(err, log.ErrOffsetOutOfRange)
	c.all(tp, "d")
	c.wantErr(c.DeleteRecords(c.ctx, tp, 100), log.ErrOffsetOutOfRange)
}

func (c *conform) unknownPartitions() {
	c.topic("t", 1)
	for _, test := range []struct {
		tp   log.TopicPartition
		want error
	}{{at("no-such-topic", 0), log.ErrUnknownTopic}, {at("t", 1), log.ErrUnknownPartition}, {at("t", -1), log.ErrUnknownPartition}} {
		_, err := c.Append(c.ctx, test.tp, batches("x"))
		c.wantErr(err, test.want)
		_, err = c.Bounds(c.ctx, test.tp)
		c.wantErr(err, test.want)
		_, _, err = c.OffsetFor(c.ctx, test.tp, 0)
		c.wantErr(err, test.want)
		c.wantErr(c.DeleteRecords(c.ctx, test.tp, 0), test.want)
		_, err = c.OpenReader(test.tp, 0, log.ReaderOptions{})
		c.wantErr(err, test.want)
	}
}

func (c *conform) commits() {
	c.topic("in", 2)
	c.topic("out", 2)
	epoch, err := c.Fence(c.ctx, "job.task-0")
	c.must(err)
	var last []log.Offset
	for i := range 5 {
		offsets, err := c.Commit(c.ctx, &log.Commit{
			Producer: "job.task-0", Epoch: epoch,
			Writes: []log.Write{
				{TopicPartition: at("out", 0), Batches: batches(fmt.Sprint("k=", i), "x")},
				{TopicPartition: at("out", 1), Batches: batches(fmt.Sprint(i))},
			},
			Group: "g", Offsets: []log.GroupOffset{{TopicPartition: at("in", 0), Offset: log.Offset(i)}},
		})
		c.must(err)
		if len(offsets) != 2 || last != nil && (offsets[0] < last[0]+2 || offsets[1] < last[1]+1) {
			c.Fatalf("offsets of commit %d are %v after %v", i, offsets, last)
		}
		last = offsets
	}
	c.all(at("out", 0), "k=0", "x", "k=1", "x", "k=2", "x", "k=3", "x", "k=4", "x")
	c.all(at("out", 1), "0", "1", "2", "3", "4")
	r := c.reader(at("out", 0), last[0], log.ReaderOptions{})
	defer r.Close()
	c.read(r, "k=4", "x", "the end")
	// Readers come to the end, over what no reader sees.
	c.eventually("the reader stands at the end", func() bool {
		b, err := c.Bounds(c.ctx, at("out", 0))
		c.must(err)
		recs, err := r.Poll()
		c.must(err)
		return len(recs) == 0 && r.Position() == b.End && r.End() == b.End
	})
	// Whoever reads up to an offset gets there, whatever lies before it.
	c.must(r.Seek(0))
	for end := r.End(); r.Position() < end; {
		before := r.Position()
		recs, err := r.Next(c.ctx)
		c.must(err)
		if len(recs) == 0 && r.Position() == before {
			c.Fatalf("next returned nothing at %d", before)
		}
	}
	// Nothing at all, and offsets alone.
	_, err = c.Commit(c.ctx, &log.Commit{Producer: "job.task-0", Epoch: epoch})
	c.must(err)
	_, err = c.Commit(c.ctx, &log.Commit{Group: "g", Offsets: []log.GroupOffset{{TopicPartition: at("in", 1), Offset: 7}}})
	c.must(err)
	got, err := c.Committed(c.ctx, "g")
	c.must(err)
	if len(got) != 2 || got[at("in", 0)].Offset != 4 || got[at("in", 1)].Offset != 7 {
		c.Errorf("committed offsets are %v", got)
	}
}

func (c *conform) failedCommits() {
	c.topic("t", 2)
	epoch, err := c.Fence(c.ctx, "p")
	c.must(err)
	_, err = c.Commit(c.ctx, &log.Commit{Producer: "p", Epoch: epoch, Writes: []log.Write{
		{TopicPartition: at("t", 0), Batches: batches("half")},
		{TopicPartition: at("t", 5), Batches: batches("of it")},
	}})
	c.wantErr(err, log.ErrUnknownPartition)
	_, err = c.Commit(c.ctx, &log.Commit{Producer: "p", Epoch: epoch, Writes: []log.Write{
		{TopicPartition: at("t", 0), Batches: batches("half")},
		{TopicPartition: at("t", 1), Batches: []byte("no batch")},
	}})
	if err == nil {
		c.Error("a commit of bytes that are no batch succeeded")
	}
	epoch, err = c.Fence(c.ctx, "p")
	c.must(err)
	_, err = c.Commit(c.ctx, &log.Commit{Producer: "p", Epoch: epoch, Writes: []log.Write{{TopicPartition: at("t", 0), Batches: batches("whole")}}})
	c.must(err)
	c.all(at("t", 0), "whole")
	c.all(at("t", 1))
}

func (c *conform) fences() {
	c.topic("t", 1)
	tp := at("t", 0)
	write := func(epoch log.Epoch, value string) error {
		_, err := c.Commit(c.ctx, &log.Commit{Producer: "p", Epoch: epoch, Writes: []log.Write{{TopicPartition: tp, Batches: batches(value)}}})
		return err
	}
	first, err := c.Fence(c.ctx, "p")
	c.must(err)
	c.must(write(first, "first"))
	second, err := c.Fence(c.ctx, "p")
	c.must(err)
	if second <= first {
		c.Errorf("epoch %d after %d", second, first)
	}
	c.wantErr(write(first, "zombie"), log.ErrFenced)
	c.must(write(second, "second"))
	other, err := c.Fence(c.ctx, "q")
	c.must(err)
	_, err = c.Commit(c.ctx, &log.Commit{Producer: "q", Epoch: other, Writes: []log.Write{{TopicPartition: tp, Batches: batches("other")}}})
	c.must(err)
	c.must(write(second, "third"))
	c.all(tp, "first", "second", "other", "third")
}

func (c *conform) committedOffsets() {
	c.topic("t", 3)
	got, err := c.Committed(c.ctx, "nobody")
	c.must(err)
	if len(got) != 0 {
		c.Errorf("a group that never was has committed %v", got)
	}
	commit := func(offsets ...log.GroupOffset) {
		c.Helper()
		_, err := c.Commit(c.ctx, &log.Commit{Group: "g", Offsets: offsets, Writes: []log.Write{{TopicPartition: at("t", 0), Batches: batches("with it")}}})
		c.must(err)
	}
	commit(log.GroupOffset{TopicPartition: at("t", 0), Offset: 10, LeaderEpoch: -1, Metadata: "mine"}, log.GroupOffset{TopicPartition: at("t", 2), Offset: 30, LeaderEpoch: -1})
	got, err = c.Committed(c.ctx, "g", at("t", 0), at("t", 1))
	c.must(err)
	if o := got[at("t", 0)]; len(got) != 1 || o.Offset != 10 || o.Metadata != "mine" || o.TopicPartition != at("t", 0) {
		c.Errorf("committed offsets are %+v", got)
	}
	commit(log.GroupOffset{TopicPartition: at("t", 0), Offset: 5, LeaderEpoch: -1})
	got, err = c.Committed(c.ctx, "g")
	c.must(err)
	if len(got) != 2 || got[at("t", 0)].Offset != 5 || got[at("t", 2)].Offset != 30 {
		c.Errorf("committed offsets are %+v", got)
	}
	_, err = c.Commit(c.ctx, &log.Commit{Group: "g", Offsets: []log.GroupOffset{{TopicPartition: at("t", 2), Offset: -1}}})
	c.must(err)
	got, err = c.Committed(c.ctx, "g")
	c.must(err)
	if _, still := got[at("t", 2)]; still || len(got) != 1 {
		c.Errorf("committed offsets are %+v after one was forgotten", got)
	}
	if _, err := c.Commit(c.ctx, &log.Commit{Offsets: []log.GroupOffset{{TopicPartition: at("t", 0)}}}); err == nil {
		c.Error("offsets without a group were committed")
	}
}

func (c *conform) atLeastOnce() {
	c.topic("t", 3)
	epoch, err := c.Fence(c.ctx, "p")
	c.must(err)
	offsets, err := c.Commit(c.ctx, &log.Commit{
		Producer: "p", Epoch: epoch, AtLeastOnce: true, Group: "g",
		Writes: []log.Write{
			{TopicPartition: at("t", 0), Batches: batches("a")}, {TopicPartition: at("t", 1), Batches: batches("b")}, {TopicPartition: at("t", 2), Batches: batches("c", "d")},
		},
		Offsets: []log.GroupOffset{{TopicPartition: at("t", 0), Offset: 1, LeaderEpoch: -1}},
	})
	c.must(err)
	if !slices.Equal(offsets, []log.Offset{0, 0, 0}) {
		c.Errorf("offsets are %v", offsets)
	}
	c.all(at("t", 0), "a")
	c.all(at("t", 2), "c", "d")
	got, err := c.Committed(c.ctx, "g")
	c.must(err)
	if got[at("t", 0)].Offset != 1 {
		c.Errorf("committed offsets are %v", got)
	}
	_, err = c.Commit(c.ctx, &log.Commit{Producer: "p", Epoch: epoch - 1, AtLeastOnce: true, Writes: []log.Write{{TopicPartition: at("t", 0), Batches: batches("zombie")}}})
	c.wantErr(err, log.ErrFenced)
}

func (c *conform) groups() {
	c.topic("t", 4)
	_, err := c.Join(c.ctx, log.GroupSpec{Group: "g", Topics: []string{"no-such-topic"}})
	c.wantErr(err, log.ErrUnknownTopic)
	if _, err := c.Join(c.ctx, log.GroupSpec{Topics: []string{"t"}}); err == nil {
		c.Error("joined a group without a name")
	}
	a, err := c.Join(c.ctx, log.GroupSpec{Group: "g", Topics: []string{"t"}})
	c.must(err)
	c.assigned(a, 4)
	held, changed := a.Assignment()

	joined := make(chan log.Member, 1)
	go func() {
		b, err := c.Join(c.ctx, log.GroupSpec{Group: "g", Topics: []string{"t"}})
		if err != nil {
			c.Errorf("second member: %v", err)
		}
		joined <- b
	}()
	select {
	case <-changed:
	case <-c.ctx.Done():
		c.Fatal("the first member was not told that it has to share")
	}
	kept := c.assigned(a, 2)
	b := <-joined
	if b == nil {
		return
	}
	// Nothing is given on before its owner has let go of it.
	if tps, _ := b.Assignment(); len(tps) != 0 {
		c.Errorf("the second member has %v, which the first one works on", tps)
	}
	gone := slices.DeleteFunc(slices.Clone(held), func(tp log.TopicPartition) bool { return slices.Contains(kept, tp) })
	a.Release(gone[0])
	a.Release(gone[1:]...)
	got := c.assigned(b, 2)
	for _, tp := range got {
		if slices.Contains(kept, tp) {
			c.Errorf("%v belongs to both members", tp)
		}
	}
	if now := c.assigned(a, 2); !slices.Equal(now, kept) {
		c.Errorf("the first member has %v, had %v", now, kept)
	}
	c.must(a.Close())
	c.assigned(b, 4)
	if tps, _ := a.Assignment(); len(tps) != 0 {
		c.Errorf("who has left still has %v", tps)
	}
	c.must(b.Close())
	c.must(b.Close())
}

// assigned waits until a member has so many partitions.
func (c *conform) assigned(m log.Member, n int) []log.TopicPartition {
	c.Helper()
	for {
		tps, changed := m.Assignment()
		if len(tps) == n {
			return tps
		}
		select {
		case <-changed:
		case <-c.ctx.Done():
			c.Fatalf("member has %v, want %d partitions", tps, n)
		}
	}
}

func (c *conform) closedLog() {
	c.topic("t", 1)
	if c.ClusterID() == "" {
		c.Error("no cluster id")
	}
	epoch, err := c.Fence(c.ctx, "p")
	c.must(err)
	c.must(c.Close())
	_, err = c.Append(c.ctx, at("t", 0), batches("late"))
	c.wantErr(err, log.ErrClosed)
	_, err = c.Commit(c.ctx, &log.Commit{Producer: "p", Epoch: epoch, Writes: []log.Write{{TopicPartition: at("t", 0), Batches: batches("late")}}})
	c.wantErr(err, log.ErrClosed)
	_, err = c.Fence(c.ctx, "p")
	c.wantErr(err, log.ErrClosed)
	_, err = c.Join(c.ctx, log.GroupSpec{Group: "g", Topics: []string{"t"}})
	c.wantErr(err, log.ErrClosed)
}
