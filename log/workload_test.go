package log_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"

	"github.com/gretestream/grete/log"
)

// A model of the log and a workload that keeps it, for the crash tests.
//
// The model is a history of what was acknowledged (or seen by a reader), plus
// the operations that are under way. A copy of both, taken at any instant, says
// what a log that is opened after a crash at that instant must hold: everything
// acknowledged, and each operation under way either wholly or not at all.

// Every record is made from its id, which stands in its timestamp, so that a
// record found says what it must look like.
const (
	idsPerOp = 1000
	timeBase = 1_700_000_000_000
)

func makeRecord(id int64) log.Record {
	r := rand.New(rand.NewPCG(uint64(id), 7))
	rec := log.Record{Timestamp: log.Timestamp(timeBase + id)}
	if r.IntN(8) > 0 {
		rec.Key = fmt.Appendf(nil, "k%d", r.IntN(50))
	}
	switch k := r.IntN(16); {
	case k == 0: // a tombstone
	case k == 1:
		rec.Value = []byte{}
	case k == 2: // larger than a page
		rec.Value = bytes.Repeat(fmt.Appendf(nil, "v%d ", id), 700)
	default:
		rec.Value = bytes.Repeat(fmt.Appendf(nil, "v%d ", id), 1+r.IntN(40))
	}
	if r.IntN(6) == 0 {
		rec.Headers = []log.Header{{Key: "id", Value: fmt.Appendf(nil, "%d", id)}, {Key: "null"}}
	}
	return rec
}

func encode(ids []int64) []byte {
	var b log.Builder
	switch n := len(ids); {
	case n >= 100:
		b.MaxBatchBytes = 20 << 10 // several, larger than the journal's buffer
	case n > 2:
		b.MaxBatchBytes = 600 // so that one append holds several batches
	}
	for _, id := range ids {
		r := makeRecord(id)
		b.Append(r.Timestamp, r.Key, r.Value, r.Headers...)
	}
	return slices.Clone(b.Bytes())
}

func sameRecord(got, want log.Record) error {
	sameBytes := func(a, b []byte) bool { return (a == nil) == (b == nil) && bytes.Equal(a, b) }
	switch {
	case got.Timestamp != want.Timestamp:
		return fmt.Errorf("timestamp %d, want %d", got.Timestamp, want.Timestamp)
	case !sameBytes(got.Key, want.Key):
		return fmt.Errorf("key %q, want %q", got.Key, want.Key)
	case !sameBytes(got.Value, want.Value):
		return fmt.Errorf("value %.40q (%d bytes), want %.40q (%d bytes)", got.Value, len(got.Value), want.Value, len(want.Value))
	case len(got.Headers) != len(want.Headers):
		return fmt.Errorf("%d headers, want %d", len(got.Headers), len(want.Headers))
	}
	for i, h := range got.Headers {
		if w := want.Headers[i]; h.Key != w.Key || !sameBytes(h.Value, w.Value) {
			return fmt.Errorf("header %s=%q, want %s=%q", h.Key, h.Value, w.Key, w.Value)
		}
	}
	return nil
}

// op is one call on the log. As a thing of the past, at holds its outcome.
type op struct {
	kind    opKind
	writes  []opWrite // append, commit, saw
	group   string    // commit
	offsets map[log.TopicPartition]log.Offset
	topic   string // create, delete, grow
	parts   int
	configs map[string]string
	before  log.Offset // trim
	tp      log.TopicPartition
	name    string // fence
	epoch   log.Epoch
}

type opWrite struct {
	tp  log.TopicPartition
	at  log.Offset
	ids []int64
}

type opKind string

const (
	opAppend opKind = "append"
	opCommit opKind = "commit"
	opCreate opKind = "create"
	opDelete opKind = "delete"
	opGrow   opKind = "grow"
	opTrim   opKind = "trim"
	opFence  opKind = "fence"
	opSaw    opKind = "saw" // a reader was given these records
)

func (o *op) String() string {
	switch o.kind {
	case opCreate, opDelete, opGrow:
		return fmt.Sprintf("%s %s", o.kind, o.topic)
	case opTrim:
		return fmt.Sprintf("trim %s to %d", o.tp, o.before)
	case opFence:
		return fmt.Sprintf("fence %s", o.name)
	}
	var b strings.Builder
	fmt.Fprint(&b, o.kind)
	for _, w := range o.writes {
		fmt.Fprintf(&b, " %s@%d+%d", w.tp, w.at, len(w.ids))
	}
	if o.group != "" {
		fmt.Fprintf(&b, " %s=%v", o.group, o.offsets)
	}
	return b.String()
}

// history is the model. Safe for concurrent use.
type history struct {
	mu       sync.Mutex
	past     []*op
	underWay map[*op]bool
	lastID   int64
}

func newHistory() *history { return &history{underWay: map[*op]bool{}} }

func (h *history) begin(o *op) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.underWay[o] = true
}

// end says how a call ended. An operation that was refused before it could take
// effect is forgotten; after any other error it stays under way for ever.
func (h *history) end(o *op, done *op, refused bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if done == nil && !refused {
		return
	}
	delete(h.underWay, o)
	if done != nil {
		h.past = append(h.past, done)
	}
}

// deleting tells whether the deletion of a topic, or of any, is under way or
// has failed on its way.
func (h *history) deleting(topic string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	for o := range h.underWay {
		if o.kind == opDelete && (o.topic == topic || topic == "") {
			return true
		}
	}
	return false
}

func (h *history) saw(o *op) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.past = append(h.past, o)
}

// snapshot is the model as of now; the copy shares nothing that changes.
func (h *history) snapshot() *history {
	h.mu.Lock()
	defer h.mu.Unlock()
	c := &history{past: h.past[:len(h.past):len(h.past)], underWay: map[*op]bool{}, lastID: h.lastID}
	for o := range h.underWay {
		c.underWay[o] = true
	}
	return c
}

func (h *history) ids(n int) []int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.lastID++
	ids := make([]int64, n)
	for i := range ids {
		ids[i] = h.lastID*idsPerOp + int64(i)
	}
	return ids
}

// state is what a history adds up to.
type state struct {
	topics map[string]*topicState
	groups map[string]map[log.TopicPartition]log.Offset
	epochs map[string]log.Epoch
	gone   map[string]bool // topics that were deleted at some time
}

type topicState struct {
	parts   []partState
	configs map[string]string
}

type partState struct {
	start log.Offset
	ids   []int64 // by offset; 0: not known
}

func (p *partState) set(at log.Offset, ids []int64) {
	if n := int(at) + len(ids); n > len(p.ids) {
		p.ids = append(p.ids, make([]int64, n-len(p.ids))...)
	}
	copy(p.ids[at:], ids)
}

func (h *history) state() *state {
	s := &state{topics: map[string]*topicState{}, groups: map[string]map[log.TopicPartition]log.Offset{}, epochs: map[string]log.Epoch{}, gone: map[string]bool{}}
	h.mu.Lock()
	past := h.past
	h.mu.Unlock()
	for _, o := range past {
		switch o.kind {
		case opCreate:
			s.topics[o.topic] = &topicState{parts: make([]partState, o.parts), configs: o.configs}
		case opGrow:
			if t := s.topics[o.topic]; t != nil {
				t.parts = append(t.parts, make([]partState, o.parts-len(t.parts))...)
			}
		case opDelete:
			delete(s.topics, o.topic)
			s.gone[o.topic] = true
			for _, m := range s.groups {
				for tp := range m {
					if tp.Topic == o.topic {
						delete(m, tp)
					}
				}
			}
		case opTrim:
			if p := s.part(o.tp); p != nil {
				p.start = max(p.start, o.before)
			}
		case opFence:
			s.epochs[o.name] = max(s.epochs[o.name], o.epoch)
		default:
			for _, w := range o.writes {
				if p := s.part(w.tp); p != nil {
					p.set(w.at, w.ids)
				}
			}
			if o.group != "" {
				m := s.groups[o.group]
				if m == nil {
					m = map[log.TopicPartition]log.Offset{}
					s.groups[o.group] = m
				}
				for tp, off := range o.offsets {
					m[tp] = off
				}
			}
		}
	}
	return s
}

func (s *state) part(tp log.TopicPartition) *partState {
	t := s.topics[tp.Topic]
	if t == nil || int(tp.Partition) >= len(t.parts) {
		return nil
	}
	return &t.parts[tp.Partition]
}

// compacted tells whether compaction may take records from a partition.
func (s *state) compacted(tp log.TopicPartition) bool {
	t := s.topics[tp.Topic]
	return t != nil && t.configs["cleanup.policy"] == "compact"
}

func (s *state) partitions() []log.TopicPartition {
	var tps []log.TopicPartition
	for _, name := range s.topicNames() {
		for p := range s.topics[name].parts {
			tps = append(tps, log.TopicPartition{Topic: name, Partition: int32(p)})
		}
	}
	return tps
}

func (s *state) topicNames() []string {
	var names []string
	for name := range s.topics {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// workload makes calls on a log at random and keeps the history of them.
type workload struct {
	r *rand.Rand
	l log.Log
	h *history
	// refused tells that an error means that nothing was done and the workload
	// may go on, such as a full disk.
	refused func(error) bool
	noGaps  bool // no compacted topics
	burst   int  // calls made at once in a burst; 0: none, so that all is deterministic
}

// run makes n steps, or fewer if the log fails; it returns why.
func (w *workload) run(n int) error {
	for range n {
		if err := w.step(); err != nil {
			return err
		}
	}
	return nil
}

func (w *workload) step() error {
	s := w.h.state()
	tps := s.partitions()
	if len(tps) < 4 {
		return w.create(s)
	}
	pick := func() log.TopicPartition { return tps[w.r.IntN(len(tps))] }
	switch k := w.r.IntN(100); {
	case k < 40:
		return w.append(pick(), 1+w.r.IntN(5))
	case k < 70:
		return w.commit(tps, "g", "producer")
	case k < 80:
		return w.look(pick())
	case k < 85 && w.burst > 0:
		return w.all(s, tps)
	case k < 89:
		tp := pick()
		p := s.part(tp)
		return w.trim(tp, p.start+log.Offset(w.r.IntN(max(0, len(p.ids)-int(p.start))+1)))
	case k < 92:
		return w.create(s)
	case k < 93:
		names := s.topicNames()
		return w.grow(s, names[w.r.IntN(len(names))])
	case k < 94:
		if len(s.topics) < 3 {
			return nil
		}
		names := s.topicNames()
		return w.remove(names[w.r.IntN(len(names))])
	case k < 96:
		return w.fence("producer")
	case k < 99: // fills segments and journal
		return w.append(pick(), 20)
	default: // more than a file of the journal, in several writes
		return w.append(pick(), 150)
	}
}

// done ends an operation; err is handed on unless the workload may go on.
func (w *workload) done(o, outcome *op, err error) error {
	if err == nil {
		w.h.end(o, outcome, false)
		return nil
	}
	refused := w.refused != nil && w.refused(err) || errors.Is(err, log.ErrUnknownTopic) && w.h.deleting("")
	w.h.end(o, nil, refused)
	if refused {
		return nil
	}
	return fmt.Errorf("%s: %w", o, err)
}

func (w *workload) append(tp log.TopicPartition, n int) error {
	ids := w.h.ids(n)
	o := &op{kind: opAppend, writes: []opWrite{{tp: tp, at: -1, ids: ids}}}
	w.h.begin(o)
	at, err := w.l.Append(context.Background(), tp, encode(ids))
	return w.done(o, &op{kind: opAppend, writes: []opWrite{{tp: tp, at: at, ids: ids}}}, err)
}

func (w *workload) commit(tps []log.TopicPartition, group, producer string) error {
	c := &log.Commit{Group: group, Producer: producer}
	o := &op{kind: opCommit, group: group, offsets: map[log.TopicPartition]log.Offset{}}
	if producer != "" {
		c.Epoch = w.h.state().epochs[producer]
		if c.Epoch == 0 {
			return w.fence(producer)
		}
	}
	order := w.r.Perm(len(tps))
	writes, offsets := 1+w.r.IntN(3), w.r.IntN(3)
	next := log.Offset(w.r.IntN(1000))
	for _, i := range order[:min(writes, len(order))] {
		ids := w.h.ids(1 + int(next)%4)
		o.writes = append(o.writes, opWrite{tp: tps[i], at: -1, ids: ids})
		c.Writes = append(c.Writes, log.Write{TopicPartition: tps[i], Batches: encode(ids)})
	}
	for _, i := range order[:min(offsets, len(order))] {
		o.offsets[tps[i]] = next
		c.Offsets = append(c.Offsets, log.GroupOffset{TopicPartition: tps[i], Offset: next, Metadata: fmt.Sprint(next)})
	}
	w.h.begin(o)
	at, err := w.l.Commit(context.Background(), c)
	if err != nil {
		return w.done(o, nil, err)
	}
	outcome := *o
	outcome.writes = slices.Clone(o.writes)
	for i := range at {
		outcome.writes[i].at = at[i]
	}
	return w.done(o, &outcome, nil)
}

// all makes several calls at once, so that they share syncs.
func (w *workload) all(s *state, tps []log.TopicPartition) error {
	errs := make([]error, w.burst)
	var wg sync.WaitGroup
	for i := range w.burst {
		tp := tps[w.r.IntN(len(tps))]
		own := *w
		own.r = rand.New(rand.NewPCG(w.r.Uint64(), 0))
		wg.Go(func() {
			switch {
			case i == 1:
				errs[i] = maintain(w.l)
			case i == 3:
				errs[i] = own.create(s)
			case i == 4:
				errs[i] = own.look(tp)
			case i%3 == 2:
				errs[i] = own.commit(tps, fmt.Sprintf("g%d", i), "")
			default:
				errs[i] = w.append(tp, 1+i%4)
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

func (w *workload) create(s *state) error {
	o := &op{kind: opCreate, parts: 1 + w.r.IntN(3)}
	for i := range 4 {
		if name := fmt.Sprintf("t%d", i); s.topics[name] == nil {
			o.topic = name
			break
		}
	}
	if o.topic == "" {
		return nil
	}
	switch {
	case o.topic == "t0":
		o.configs = map[string]string{"retention.bytes": "8000"}
	case o.topic == "t1" && !w.noGaps:
		o.configs = map[string]string{"cleanup.policy": "compact", "min.cleanable.dirty.ratio": "0", "delete.retention.ms": "0"}
	}
	w.h.begin(o)
	_, err := w.l.CreateTopic(context.Background(), log.TopicSpec{Name: o.topic, Partitions: o.parts, Configs: o.configs})
	return w.done(o, o, err)
}

func (w *workload) grow(s *state, topic string) error {
	l, ok := w.l.(interface {
		AddPartitions(ctx context.Context, name string, n int) (log.Topic, error)
	})
	o := &op{kind: opGrow, topic: topic, parts: len(s.topics[topic].parts) + 1}
	if !ok || o.parts > 5 {
		return nil
	}
	w.h.begin(o)
	_, err := l.AddPartitions(context.Background(), o.topic, o.parts)
	return w.done(o, o, err)
}

func (w *workload) remove(topic string) error {
	o := &op{kind: opDelete, topic: topic}
	w.h.begin(o)
	return w.done(o, o, w.l.DeleteTopic(context.Background(), topic))
}

func (w *workload) trim(tp log.TopicPartition, before log.Offset) error {
	o := &op{kind: opTrim, tp: tp, before: before}
	w.h.begin(o)
	return w.done(o, o, w.l.DeleteRecords(context.Background(), tp, before))
}

func (w *workload) fence(producer string) error {
	o := &op{kind: opFence, name: producer}
	w.h.begin(o)
	epoch, err := w.l.Fence(context.Background(), producer)
	return w.done(o, &op{kind: opFence, name: producer, epoch: epoch}, err)
}

// look reads a partition from somewhere; what it sees must never vanish.
func (w *workload) look(tp log.TopicPartition) error {
	b, err := w.l.Bounds(context.Background(), tp)
	if errors.Is(err, log.ErrUnknownTopic) && w.h.deleting(tp.Topic) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("bounds of %s: %w", tp, err)
	}
	if b.End == b.Start {
		return nil
	}
	from := b.Start + log.Offset(w.r.Int64N(int64(b.End-b.Start)))
	recs, err := readFrom(w.l, tp, from, b.End, w.h.state().compacted(tp))
	if errors.Is(err, log.ErrOffsetOutOfRange) {
		return nil // retention was faster
	}
	if err != nil {
		return fmt.Errorf("look at %s: %w", tp, err)
	}
	o := &op{kind: opSaw}
	for _, r := range recs {
		o.writes = append(o.writes, opWrite{tp: tp, at: r.Offset, ids: []int64{idOf(r)}})
	}
	w.h.saw(o)
	return nil
}

func idOf(r log.Record) int64 { return int64(r.Timestamp) - timeBase }

// readFrom reads [from, to) and checks that each record is what was written, in
// order, and that there are no gaps unless compaction may have made them.
func readFrom(l log.Log, tp log.TopicPartition, from, to log.Offset, gaps bool) ([]log.Record, error) {
	r, err := l.OpenReader(tp, from, log.ReaderOptions{})
	if err != nil {
		return nil, fmt.Errorf("open reader: %w", err)
	}
	defer r.Close()
	var out []log.Record
	for next := from; next < to; {
		recs, err := r.Poll()
		if err != nil {
			return nil, fmt.Errorf("poll at %d: %w", next, err)
		}
		if len(recs) == 0 && gaps {
			break
		}
		if len(recs) == 0 {
			return nil, fmt.Errorf("no records at %d, want them up to %d", next, to)
		}
		for _, rec := range recs {
			if rec.Offset != next && !(gaps && rec.Offset > next) {
				return nil, fmt.Errorf("got offset %d, want %d", rec.Offset, next)
			}
			next = rec.Offset
			if err := sameRecord(rec, makeRecord(idOf(rec))); err != nil {
				return nil, fmt.Errorf("offset %d is not what was written: %w", next, err)
			}
			if next < to {
				rec.Key, rec.Value, rec.Headers = nil, nil, nil // not ours after the next Poll
				out = append(out, rec)
			}
			next++
		}
	}
	return out, nil
}

// check compares a log, just opened after a crash, with the model. It returns
// the history in which each operation under way is either past or forgotten.
//
// lossy allows that a partition and its groups fell back to an earlier state,
// as after a power cut without syncs.
func (h *history) check(l log.Log, lossy bool) (*history, error) {
	ctx := context.Background()
	next := h.snapshot()
	s := next.state()
	topics, err := l.Topics(ctx)
	if err != nil {
		return nil, fmt.Errorf("list topics: %w", err)
	}
	exists := map[string]log.Topic{}
	for _, t := range topics {
		if !t.Internal {
			exists[t.Name] = t
		}
	}

	// Topics: those acknowledged, give or take the ones under way.
	for o := range next.underWay {
		switch got, is := exists[o.topic]; {
		case o.kind == opGrow && is && s.topics[o.topic] != nil && got.Partitions == o.parts && len(s.topics[o.topic].parts) < o.parts:
			next.past = append(next.past, o)
		case o.kind == opCreate && is && s.topics[o.topic] == nil, o.kind == opDelete && !is && s.topics[o.topic] != nil:
			next.past = append(next.past, o)
		}
	}
	s = next.state()
	for name, t := range s.topics {
		got, is := exists[name]
		if !is {
			return nil, fmt.Errorf("topic %s is gone", name)
		}
		if got.Partitions != len(t.parts) {
			return nil, fmt.Errorf("topic %s: %d partitions, want %d", name, got.Partitions, len(t.parts))
		}
		for k, v := range t.configs {
			if got.Configs[k] != v {
				return nil, fmt.Errorf("topic %s: config %s=%q, want %q", name, k, got.Configs[k], v)
			}
		}
	}
	for name := range exists {
		if s.topics[name] == nil {
			return nil, fmt.Errorf("topic %s is there and should not be", name)
		}
	}

	// Records.
	owner := map[int64]*op{} // of the first id of each write under way
	for o := range next.underWay {
		for _, w := range o.writes {
			owner[w.ids[0]/idsPerOp] = o
		}
	}
	found := map[*op][]opWrite{}
	for _, tp := range s.partitions() {
		p := s.part(tp)
		b, recs, err := readWhole(l, tp, s.compacted(tp))
		if err != nil {
			return nil, err
		}
		highest := p.start
		for o := range next.underWay {
			if o.kind == opTrim && o.tp == tp {
				highest = max(highest, o.before)
			}
		}
		if s.topics[tp.Topic].configs["retention.bytes"] != "" {
			highest = b.End
		}
		if lossy {
			highest = max(highest, b.End)
		}
		switch {
		case b.Start < p.start && !lossy:
			return nil, fmt.Errorf("%s: start offset %d, want at least %d", tp, b.Start, p.start)
		case b.Start > highest:
			return nil, fmt.Errorf("%s: start offset %d, want at most %d", tp, b.Start, highest)
		case int(b.End) < len(p.ids) && !lossy:
			return nil, fmt.Errorf("%s: end offset %d, want at least %d: acknowledged records are lost", tp, b.End, len(p.ids))
		}
		if b.Start > p.start {
			next.past = append(next.past, &op{kind: opTrim, tp: tp, before: b.Start})
		}
		for _, r := range recs {
			id := idOf(r)
			o := owner[id/idsPerOp]
			if o != nil {
				found[o] = append(found[o], opWrite{tp: tp, at: r.Offset, ids: []int64{id}})
			}
			if int(r.Offset) < len(p.ids) && p.ids[r.Offset] != 0 {
				if want := p.ids[r.Offset]; id != want {
					return nil, fmt.Errorf("%s offset %d: record %d, want %d", tp, r.Offset, id, want)
				}
			} else if o == nil {
				return nil, fmt.Errorf("%s offset %d: record %d, which nobody is writing there", tp, r.Offset, id)
			}
		}
		if err := checkOffsetFor(l, tp, recs, s.compacted(tp)); err != nil {
			return nil, err
		}
		if s.compacted(tp) {
			if err := p.excuse(recs, b); err != nil && !lossy {
				return nil, fmt.Errorf("%s, compacted: %w", tp, err)
			}
		}
	}

	// Each operation under way is whole or absent. What fell below the start
	// offset of its partition or went with its topic cannot be asked for.
	for o := range next.underWay {
		if len(o.writes) == 0 || found[o] == nil {
			continue
		}
		for _, w := range o.writes {
			p := s.part(w.tp)
			if p == nil {
				continue
			}
			var got []int64
			for _, f := range found[o] {
				if f.tp == w.tp {
					got = append(got, f.ids...)
				}
			}
			b, err := l.Bounds(ctx, w.tp)
			if err != nil {
				return nil, fmt.Errorf("bounds of %s: %w", w.tp, err)
			}
			trimmed := int(b.Start) > len(p.ids)
			if !slices.Equal(got, w.ids) && !trimmed && !s.compacted(w.tp) {
				return nil, fmt.Errorf("%s is not whole: in %s records %v, want %v", o, w.tp, got, w.ids)
			}
			if !slices.IsSorted(got) || len(slices.Compact(got)) > len(w.ids) {
				return nil, fmt.Errorf("%s: in %s records %v, want %v", o, w.tp, got, w.ids)
			}
		}
		past := *o
		past.writes = found[o]
		next.past = append(next.past, &past)
	}

	// Groups.
	for _, group := range h.groupNames() {
		got, err := l.Committed(ctx, group)
		if err != nil {
			return nil, fmt.Errorf("committed offsets of %s: %w", group, err)
		}
		absent := s.groups[group]
		present := next.state().groups[group]
		// A commit under way that only sets offsets, or whose records are gone
		// with their topic, shows in the offsets alone.
		for o := range next.underWay {
			if o.group != group || found[o] != nil || lossy {
				continue
			}
			visible := false
			for _, w := range o.writes {
				visible = visible || s.part(w.tp) != nil
			}
			if visible {
				continue
			}
			all := true
			for tp, off := range o.offsets {
				all = all && got[tp].Offset == off
			}
			if all {
				next.past = append(next.past, &op{kind: opCommit, group: group, offsets: o.offsets})
				present = next.state().groups[group]
			}
		}
		if lossy {
			continue
		}
		for tp, want := range present {
			g, is := got[tp]
			if !is || g.Offset != want {
				return nil, fmt.Errorf("group %s: offset of %s is %d (%t), want %d (before the last commit: %d)", group, tp, g.Offset, is, want, absent[tp])
			}
			if g.Metadata != fmt.Sprint(want) {
				return nil, fmt.Errorf("group %s: metadata of %s is %q, want %q", group, tp, g.Metadata, fmt.Sprint(want))
			}
		}
		for tp, g := range got {
			if _, is := present[tp]; !is {
				return nil, fmt.Errorf("group %s: offset %d of %s, which was never committed or went with its topic", group, g.Offset, tp)
			}
		}
	}

	// Producers: an epoch handed out is never handed out again.
	for name, last := range s.epochs {
		_, err := l.Commit(ctx, &log.Commit{Producer: name, Epoch: last - 1})
		if last > 0 && !errors.Is(err, log.ErrFenced) {
			return nil, fmt.Errorf("commit of %s under epoch %d, fenced by %d: got %v, want %w", name, last-1, last, err, log.ErrFenced)
		}
		epoch, err := l.Fence(ctx, name)
		if err != nil {
			return nil, fmt.Errorf("fence %s: %w", name, err)
		}
		if epoch <= last && !lossy {
			return nil, fmt.Errorf("fence %s: epoch %d after %d", name, epoch, last)
		}
		next.past = append(next.past, &op{kind: opFence, name: name, epoch: epoch})
	}
	clear(next.underWay)
	return next, nil
}

// readWhole reads all of a partition, again if retention in the background was
// faster.
func readWhole(l log.Log, tp log.TopicPartition, gaps bool) (log.Bounds, []log.Record, error) {
	for {
		b, err := l.Bounds(context.Background(), tp)
		if err != nil {
			return b, nil, fmt.Errorf("bounds of %s: %w", tp, err)
		}
		if b.Start < 0 || b.Start > b.End {
			return b, nil, fmt.Errorf("%s: bounds %d to %d", tp, b.Start, b.End)
		}
		recs, err := readFrom(l, tp, b.Start, b.End, gaps)
		if err == nil {
			return b, recs, nil
		}
		if !errors.Is(err, log.ErrOffsetOutOfRange) {
			return b, nil, fmt.Errorf("%s [%d, %d): %w", tp, b.Start, b.End, err)
		}
	}
}

// checkOffsetFor asks for the times of some records, which the time index knows.
// With gaps, compaction may take a record while it is asked for.
func checkOffsetFor(l log.Log, tp log.TopicPartition, recs []log.Record, gaps bool) error {
	for i := 0; i < len(recs); i += 1 + len(recs)/3 {
		t := recs[i].Timestamp
		want := recs[slices.IndexFunc(recs, func(r log.Record) bool { return r.Timestamp >= t })]
		at, found, err := l.OffsetFor(context.Background(), tp, t)
		if err != nil {
			return fmt.Errorf("offset for %d in %s: %w", t, tp, err)
		}
		b, err := l.Bounds(context.Background(), tp)
		if err != nil {
			return fmt.Errorf("bounds of %s: %w", tp, err)
		}
		if b.Start > want.Offset {
			continue // retention was faster
		}
		if at == want.Offset && found == want.Timestamp {
			continue
		}
		there, err := readFrom(l, tp, want.Offset, want.Offset+1, gaps)
		if err != nil && !errors.Is(err, log.ErrOffsetOutOfRange) {
			return fmt.Errorf("%s at %d: %w", tp, want.Offset, err)
		}
		if !gaps || len(there) > 0 { // else compaction was
			return fmt.Errorf("offset for %d in %s: got %d (%d), want %d (%d)", t, tp, at, found, want.Offset, want.Timestamp)
		}
	}
	return nil
}

// excuse tells whether compaction may have taken the records that are missing:
// those whose key comes again, and tombstones.
func (p *partState) excuse(recs []log.Record, b log.Bounds) error {
	there := map[log.Offset]bool{}
	last := map[string]log.Offset{}
	note := func(at log.Offset, id int64) {
		if r := makeRecord(id); r.Key != nil {
			last[string(r.Key)] = max(last[string(r.Key)], at)
		}
	}
	for _, r := range recs {
		there[r.Offset] = true
		note(r.Offset, idOf(r))
	}
	for at, id := range p.ids {
		if id != 0 {
			note(log.Offset(at), id)
		}
	}
	for i, id := range p.ids {
		at := log.Offset(i)
		if id == 0 || at < b.Start || there[at] {
			continue
		}
		if r := makeRecord(id); r.Key == nil || !r.IsTombstone() && last[string(r.Key)] <= at {
			return fmt.Errorf("record %d at offset %d is missing, and nothing replaces it", id, at)
		}
	}
	return nil
}

func (h *history) groupNames() []string {
	seen := map[string]bool{}
	for _, o := range h.past {
		seen[o.group] = o.group != ""
	}
	for o := range h.underWay {
		seen[o.group] = o.group != ""
	}
	var names []string
	for name, is := range seen {
		if is {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}
