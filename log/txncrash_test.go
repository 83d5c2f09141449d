package log_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/gretestream/grete/log"
	"github.com/gretestream/grete/log/logtest"
)

// The promise under test: a batch of an idempotent producer is there once, in
// the order of its sequence, at the offset that was answered; a transaction has
// ended in all of its partitions or in none, together with what its coordinator
// wrote and with its committed offsets; and what a reader is given is what was
// committed. After any crash.

const (
	txnParts   = 3 // of topic t, that producers write to
	txnPids    = 4 // the lower half is idempotent, the upper half transactional
	stateTopic = "state"
)

var internalOffsets = log.TopicPartition{Topic: "__consumer_offsets"}

// produced is a batch as a client sends it; its ids stand in the timestamps.
func produced(ids []int64, pid int64, epoch int16, sequence int32, transactional bool) []byte {
	var b log.Builder
	for _, id := range ids {
		b.Append(log.Timestamp(timeBase+id), nil, fmt.Appendf(nil, "%d %0200d", id, id))
	}
	batch := slices.Clone(b.Bytes())
	if transactional {
		batch[22] |= 0x10
	}
	binary.BigEndian.PutUint64(batch[43:], uint64(pid))
	binary.BigEndian.PutUint16(batch[51:], uint16(epoch))
	binary.BigEndian.PutUint32(batch[53:], uint32(sequence))
	binary.BigEndian.PutUint32(batch[17:], crc32.Checksum(batch[21:], crc32.MakeTable(crc32.Castagnoli)))
	return batch
}

// send is one batch of a producer. It is not changed once it is made.
type send struct {
	part     int32
	pid      int
	epoch    int16
	sequence int32
	ids      []int64
}

func (s *send) bytes(m *txnModel) []byte {
	return produced(s.ids, m.pids[s.pid], s.epoch, s.sequence, s.pid >= txnPids/2)
}

// txnEnd is the end of a transaction. It is not changed once it is made.
type txnEnd struct {
	id      int64 // of the coordinator's record
	pid     int
	epoch   int16
	commit  bool
	parts   []int32
	offsets log.Offset // committed in it, or -1
}

// txnModel is what was acknowledged and what is under way.
type txnModel struct {
	pids  [txnPids]int64
	epoch [txnPids]int16
	lives int16            // epochs given out
	next  map[[2]int]int32 // sequence by producer and partition

	sends []*send // in order, by producer and partition
	base  map[*send]log.Offset
	ends  []*txnEnd
	ended map[*txnEnd]bool

	open    [txnPids]map[int32]bool // partitions of the open transaction, or nil
	pending [txnPids]log.Offset     // offset committed in it, or -1
	unsure  [txnPids]bool           // whether pending was written is not known
	group   [txnPids]log.Offset     // committed offset, or -1
	lastID  int64
}

func newTxnModel() *txnModel {
	m := &txnModel{next: map[[2]int]int32{}, base: map[*send]log.Offset{}, ended: map[*txnEnd]bool{}}
	for i := range m.pids {
		m.pids[i], m.pending[i], m.group[i] = -1, -1, -1
	}
	return m
}

func (m *txnModel) clone() *txnModel {
	c := *m
	c.next, c.base, c.ended = maps.Clone(m.next), maps.Clone(m.base), maps.Clone(m.ended)
	c.sends, c.ends = slices.Clone(m.sends), slices.Clone(m.ends)
	for i := range c.open {
		c.open[i] = maps.Clone(m.open[i])
	}
	return &c
}

func txnPart(n int32) log.TopicPartition { return log.TopicPartition{Topic: "t", Partition: n} }

func (m *txnModel) group1(pid int) string { return fmt.Sprint("g", pid) }

// txnWorkload makes calls on a log at random and keeps the model.
type txnWorkload struct {
	r *rand.Rand
	l *log.Embedded
	m *txnModel
}

// begin makes the topics and gets producer ids; a crash may have come before.
func (w *txnWorkload) begin() error {
	for name, n := range map[string]int{"t": txnParts, stateTopic: 1} {
		if _, err := w.l.CreateTopic(context.Background(), log.TopicSpec{Name: name, Partitions: n}); err != nil && !errors.Is(err, log.ErrTopicExists) {
			return err
		}
	}
	for i, id := range w.m.pids {
		if id >= 0 {
			continue
		}
		var err error
		if w.m.pids[i], err = w.l.NewProducerID(); err != nil {
			return err
		}
	}
	return nil
}

func (w *txnWorkload) run(n int) error {
	for range n {
		if err := w.step(); err != nil {
			return err
		}
	}
	return nil
}

func (w *txnWorkload) step() error {
	pid := w.r.IntN(txnPids)
	transactional := pid >= txnPids/2
	switch k := w.r.IntN(100); {
	case k < 60:
		return w.send(pid, 1+w.r.IntN(3))
	case k < 70:
		return w.again(pid)
	case k < 78 && transactional:
		return w.commitOffset(pid)
	case k < 94 && transactional:
		return w.end(pid, w.r.IntN(2) == 0)
	case k < 96 && w.m.open[pid] == nil: // the producer begins anew
		w.m.lives++
		w.m.epoch[pid] = w.m.lives
		for part := range txnParts {
			delete(w.m.next, [2]int{pid, part})
		}
		return nil
	case k < 98:
		return w.l.Maintain()
	default:
		_, err := log.AppendRecords(context.Background(), w.l, log.TopicPartition{Topic: stateTopic}, make([]log.Record, 20)...)
		return err
	}
}

// send has n batches under way at once.
func (w *txnWorkload) send(pid, n int) error {
	var sends []*send
	var waiting []*log.Produced
	for range n {
		s := &send{part: int32(w.r.IntN(txnParts)), pid: pid, epoch: w.m.epoch[pid]}
		for range 1 + w.r.IntN(3) {
			w.m.lastID++
			s.ids = append(s.ids, w.m.lastID)
		}
		at := [2]int{pid, int(s.part)}
		s.sequence = w.m.next[at]
		w.m.next[at] += int32(len(s.ids))
		if pid >= txnPids/2 {
			if w.m.open[pid] == nil {
				w.m.open[pid] = map[int32]bool{}
			}
			w.m.open[pid][s.part] = true
		}
		w.m.sends = append(w.m.sends, s)
		pd, err := w.l.Produce(txnPart(s.part), s.bytes(w.m), log.ProduceOptions{})
		if err != nil {
			return fmt.Errorf("produce %+v: %w", s, err)
		}
		sends, waiting = append(sends, s), append(waiting, pd)
	}
	for i, pd := range waiting {
		r, err := pd.Wait(context.Background())
		if err != nil {
			return fmt.Errorf("produce %+v: %w", sends[i], err)
		}
		w.m.base[sends[i]] = r.Base
	}
	return nil
}

// window are the last batches of a producer in a partition and an epoch.
func (m *txnModel) window(pid int, part int32) []*send {
	var all []*send
	for _, s := range m.sends {
		if s.pid == pid && s.part == part && s.epoch == m.epoch[pid] {
			all = append(all, s)
		}
	}
	return all[max(0, len(all)-5):]
}

// again sends batches again that a client might.
func (w *txnWorkload) again(pid int) error {
	part := int32(w.r.IntN(txnParts))
	for _, s := range w.m.window(pid, part) {
		pd, err := w.l.Produce(txnPart(part), s.bytes(w.m), log.ProduceOptions{})
		if err != nil {
			return fmt.Errorf("produce %+v again: %w", s, err)
		}
		r, err := pd.Wait(context.Background())
		if err != nil {
			return fmt.Errorf("produce %+v again: %w", s, err)
		}
		if want := w.m.base[s]; r.Base != want {
			return fmt.Errorf("produce %+v again: %w: offset %d, want %d", s, errTxnModel, r.Base, want)
		}
	}
	return nil
}

var errTxnModel = errors.New("not what the model says")

func (w *txnWorkload) commitOffset(pid int) error {
	if w.m.open[pid] == nil {
		return nil
	}
	w.m.lastID++
	o := log.Offset(w.m.lastID)
	was := w.m.pending[pid]
	w.m.pending[pid], w.m.unsure[pid] = o, true
	err := w.l.CommitTxnOffsets(context.Background(), w.m.group1(pid), w.m.pids[pid], w.m.epoch[pid],
		[]log.GroupOffset{{TopicPartition: txnPart(0), Offset: o, LeaderEpoch: -1}})
	if err != nil {
		return fmt.Errorf("commit offset %d after %d: %w", o, was, err)
	}
	w.m.unsure[pid] = false
	return nil
}

func (w *txnWorkload) end(pid int, commit bool) error {
	if w.m.open[pid] == nil {
		return nil
	}
	w.m.lastID++
	e := &txnEnd{id: w.m.lastID, pid: pid, epoch: w.m.epoch[pid], commit: commit, parts: slices.Sorted(maps.Keys(w.m.open[pid])), offsets: w.m.pending[pid]}
	c := &log.Commit{}
	var b log.Builder
	b.Append(log.Timestamp(timeBase+e.id), nil, nil)
	c.Writes = append(c.Writes, b.Write(log.TopicPartition{Topic: stateTopic}))
	mark := func(tp log.TopicPartition) {
		c.Markers = append(c.Markers, log.Marker{TopicPartition: tp, ProducerID: w.m.pids[pid], ProducerEpoch: e.epoch, Commit: commit})
	}
	for _, part := range e.parts {
		mark(txnPart(part))
	}
	if e.offsets >= 0 {
		mark(internalOffsets)
	}
	w.m.ends = append(w.m.ends, e)
	if _, err := w.l.Commit(context.Background(), c); err != nil {
		return fmt.Errorf("end %+v: %w", e, err)
	}
	w.m.settle(e)
	return nil
}

// settle takes down that a transaction has ended.
func (m *txnModel) settle(e *txnEnd) {
	m.ended[e] = true
	m.open[e.pid] = nil
	if e.commit && e.offsets >= 0 {
		m.group[e.pid] = e.offsets
	}
	m.pending[e.pid], m.unsure[e.pid] = -1, false
}

// rawBatch is a batch as it is stored.
type rawBatch struct {
	info   log.BatchInfo
	ids    []int64
	commit bool // of a marker
}

func readRaw(l *log.Embedded, tp log.TopicPartition) ([]rawBatch, error) {
	r, err := l.OpenReader(tp, 0, log.ReaderOptions{Uncommitted: true})
	if err != nil {
		return nil, err
	}
	defer r.Close()
	var all []rawBatch
	for {
		run, err := r.(log.BatchReader).PollBatches()
		if err != nil || len(run) == 0 {
			return all, err
		}
		err = log.ForEachBatch(run, func(info log.BatchInfo, batch []byte) error {
			b := rawBatch{info: info}
			if info.IsControl() {
				b.commit = batch[61+8] == 1 // the low byte of the type in the key
			}
			recs, err := log.DecodeRecords(nil, batch)
			for i := range recs {
				b.ids = append(b.ids, idOf(recs[i]))
			}
			all = append(all, b)
			return err
		})
		if err != nil {
			return nil, err
		}
	}
}

// check compares a log, just opened after a crash, with the model, and settles
// what was under way.
func (m *txnModel) check(l *log.Embedded) error {
	ids := map[int64]bool{}
	for range 2 {
		id, err := l.NewProducerID()
		if err != nil || ids[id] || slices.Contains(m.pids[:], id) {
			return fmt.Errorf("producer id %d, %v, was given out before", id, err)
		}
		ids[id] = true
	}
	if _, err := l.Topic(context.Background(), "t"); err != nil {
		if len(m.base) > 0 {
			return fmt.Errorf("topic is gone: %w", err)
		}
		return m.forget(nil)
	}
	found := map[*send]log.Offset{}
	markers := map[int64][][]rawBatch{} // by producer id and partition
	for _, id := range m.pids {
		markers[id] = make([][]rawBatch, txnParts)
	}
	for part := range int32(txnParts) {
		raw, err := readRaw(l, txnPart(part))
		if err != nil {
			return err
		}
		if err := m.checkPartition(l, part, raw, found); err != nil {
			return fmt.Errorf("partition %d: %w", part, err)
		}
		for _, b := range raw {
			if b.info.IsControl() {
				markers[b.info.ProducerID][part] = append(markers[b.info.ProducerID][part], b)
			}
		}
	}
	if err := m.checkEnds(l, markers); err != nil {
		return err
	}
	if err := m.forget(found); err != nil {
		return err
	}
	return m.checkOffsets(l)
}

// checkPartition holds the batches of a partition against what was sent to it,
// and what a reader and the bounds say against the batches.
func (m *txnModel) checkPartition(l *log.Embedded, part int32, raw []rawBatch, found map[*send]log.Offset) error {
	byID := map[int64]*send{}
	for _, s := range m.sends {
		byID[s.ids[0]] = s
	}
	type state struct {
		epoch int16
		next  int32
	}
	producers := map[int64]*state{}
	open := map[int64]log.Offset{}
	aborted := []log.AbortedTxn{}
	type visible struct {
		at  log.Offset
		id  int64
		pid int64 // of the open transaction, or -1
	}
	var records []visible
	for _, b := range raw {
		pid := b.info.ProducerID
		if b.info.IsControl() {
			first, is := open[pid]
			delete(open, pid)
			if is && !b.commit {
				aborted = append(aborted, log.AbortedTxn{ProducerID: pid, FirstOffset: first, LastOffset: b.info.BaseOffset})
				records = slices.DeleteFunc(records, func(v visible) bool { return v.pid == pid })
			}
			for i := range records {
				if records[i].pid == pid {
					records[i].pid = -1
				}
			}
			continue
		}
		s := byID[b.ids[0]]
		if s == nil || !slices.Equal(s.ids, b.ids) || s.part != part || m.pids[s.pid] != pid || s.epoch != b.info.ProducerEpoch || s.sequence != b.info.BaseSequence {
			return fmt.Errorf("offset %d holds %+v, which nobody sent: %+v", b.info.BaseOffset, b, s)
		}
		if at, twice := found[s]; twice {
			return fmt.Errorf("%+v is there twice, at %d and %d", s, at, b.info.BaseOffset)
		}
		if want, acked := m.base[s]; acked && want != b.info.BaseOffset {
			return fmt.Errorf("%+v is at %d, want %d", s, b.info.BaseOffset, want)
		}
		found[s] = b.info.BaseOffset
		p := producers[pid]
		if p == nil || p.epoch != s.epoch {
			p = &state{epoch: s.epoch}
			producers[pid] = p
		}
		if s.sequence != p.next {
			return fmt.Errorf("%+v comes at sequence %d", s, p.next)
		}
		p.next += int32(len(s.ids))
		in := int64(-1)
		if b.info.IsTransactional() {
			in = pid
			if _, is := open[pid]; !is {
				open[pid] = b.info.BaseOffset
			}
		}
		for i, id := range s.ids {
			records = append(records, visible{b.info.BaseOffset + log.Offset(i), id, in})
		}
	}
	for s := range m.base {
		if _, ok := found[s]; !ok && s.part == part {
			return fmt.Errorf("%+v was acknowledged and is gone", s)
		}
	}

	b, err := l.Bounds(context.Background(), txnPart(part))
	if err != nil {
		return err
	}
	stable := b.End
	for _, first := range open {
		stable = min(stable, first)
	}
	if b.Stable != stable {
		return fmt.Errorf("last stable offset %d, want %d", b.Stable, stable)
	}
	slices.SortFunc(aborted, func(a, b log.AbortedTxn) int { return int(a.FirstOffset - b.FirstOffset) })
	if got, err := l.Aborted(txnPart(part), 0, b.End); err != nil || !slices.Equal(got, aborted) {
		return fmt.Errorf("aborted %v, %v, want %v", got, err, aborted)
	}
	r, err := l.OpenReader(txnPart(part), 0, log.ReaderOptions{MaxBytes: 1000})
	if err != nil {
		return err
	}
	defer r.Close()
	for r.Position() < stable {
		recs, err := r.Poll()
		if err != nil {
			return err
		}
		for _, rec := range recs {
			if len(records) == 0 || rec.Offset != records[0].at || idOf(rec) != records[0].id {
				return fmt.Errorf("a reader is given record %d at %d, want %+v", idOf(rec), rec.Offset, records[:min(1, len(records))])
			}
			records = records[1:]
		}
	}
	if len(records) > 0 && records[0].at < stable {
		return fmt.Errorf("a reader is not given %+v", records[0])
	}
	return nil
}

// checkEnds wants every transaction to have ended in all of its partitions, with
// the record of its coordinator, or in none.
func (m *txnModel) checkEnds(l *log.Embedded, markers map[int64][][]rawBatch) error {
	records := map[int64]bool{}
	if _, err := l.Topic(context.Background(), stateTopic); err == nil {
		raw, err := readRaw(l, log.TopicPartition{Topic: stateTopic})
		if err != nil {
			return err
		}
		for _, b := range raw {
			for _, id := range b.ids {
				records[id] = true
			}
		}
	}
	var ends []*txnEnd
	for _, e := range m.ends {
		if m.ended[e] && !records[e.id] {
			return fmt.Errorf("the record of %+v is gone", e)
		}
		there := 0
		for _, part := range e.parts {
			list := &markers[m.pids[e.pid]][part]
			if !records[e.id] {
				continue
			}
			if len(*list) == 0 || (*list)[0].commit != e.commit || (*list)[0].info.ProducerEpoch != e.epoch {
				return fmt.Errorf("%+v has no marker in partition %d: %+v", e, part, *list)
			}
			*list = (*list)[1:]
			there++
		}
		if records[e.id] {
			ends = append(ends, e)
			if !m.ended[e] {
				m.settle(e)
			}
		}
	}
	for pid, parts := range markers {
		for part, list := range parts {
			if len(list) > 0 {
				return fmt.Errorf("producer %d has markers in partition %d for which there is no record: %+v", pid, part, list)
			}
		}
	}
	m.ends = ends
	return nil
}

// forget gives up what was under way and is not there.
func (m *txnModel) forget(found map[*send]log.Offset) error {
	m.sends = slices.DeleteFunc(m.sends, func(s *send) bool { _, is := found[s]; return !is })
	clear(m.next)
	for _, s := range m.sends {
		m.base[s] = found[s]
		if s.epoch == m.epoch[s.pid] {
			m.next[[2]int{s.pid, int(s.part)}] = s.sequence + int32(len(s.ids))
		}
	}
	return nil
}

func (m *txnModel) checkOffsets(l *log.Embedded) error {
	for pid := range m.pids {
		got, err := l.Committed(context.Background(), m.group1(pid))
		if err != nil {
			return err
		}
		o, is := got[txnPart(0)]
		if is != (m.group[pid] >= 0) || is && o.Offset != m.group[pid] {
			return fmt.Errorf("group of producer %d is at %v (%t), want %d", pid, o.Offset, is, m.group[pid])
		}
		if pending := l.PendingOffsets(m.group1(pid), txnPart(0)); pending != (m.pending[pid] >= 0) && !m.unsure[pid] {
			return fmt.Errorf("group of producer %d: pending %t, want %d", pid, pending, m.pending[pid])
		}
	}
	return nil
}

// verifyTxns opens the log after a crash, checks it, goes on, crashes again, and
// checks it again.
func verifyTxns(d *logtest.Disk, m *txnModel, seed uint64, r *rand.Rand) error {
	l, err := log.Open("data", txnOptions(d, seed))
	if err != nil {
		return fmt.Errorf("open: %w", err)
	}
	defer func() { _ = l.Close() }()
	w := &txnWorkload{r: r, l: l, m: m}
	if err := w.resume(); err != nil {
		return err
	}
	if err := w.run(6); err != nil {
		return fmt.Errorf("go on: %w", err)
	}
	after := d.Crash(logtest.KeepNothing)
	again, err := log.Open("data", txnOptions(after, seed))
	if err != nil {
		return fmt.Errorf("open after a second crash: %w", err)
	}
	if err := m.check(again); err != nil {
		_ = again.Close()
		return fmt.Errorf("after a second crash: %w", err)
	}
	if err := again.Close(); err != nil {
		return err
	}
	if rep, err := log.Verify(context.Background(), after, "data", nil); err != nil || !rep.OK() {
		return fmt.Errorf("verify: %v, %w", rep.Problems, err)
	}
	return nil
}

// resume checks the log and does what clients do whose answers were lost: they
// send their last batches again.
func (w *txnWorkload) resume() error {
	if err := w.m.check(w.l); err != nil {
		return err
	}
	if err := w.begin(); err != nil {
		return err
	}
	for pid := range txnPids {
		if w.m.unsure[pid] { // the coordinator would do that
			if err := w.commitOffset(pid); err != nil {
				return err
			}
		}
		for part := range int32(txnParts) {
			for _, s := range w.m.window(pid, part) {
				pd, err := w.l.Produce(txnPart(part), s.bytes(w.m), log.ProduceOptions{})
				if err != nil {
					return fmt.Errorf("send %+v again: %w", s, err)
				}
				if r, err := pd.Wait(context.Background()); err != nil || r.Base != w.m.base[s] {
					return fmt.Errorf("send %+v again: offset %d, %v, want %d", s, r.Base, err, w.m.base[s])
				}
			}
		}
	}
	return nil
}

// txnOptions are tiny, but for every other seed with larger segments: then what
// is known of producers comes from a snapshot and many batches behind it.
func txnOptions(d *logtest.Disk, seed uint64) log.Options {
	o := tiny(d, log.SyncPolicy{})
	if seed%2 == 0 {
		o.SegmentBytes = 32 << 10
	}
	return o
}

// TestTxnCrashAtEverySync looks, on both sides of each sync of one workload, at
// what a power cut there would leave.
func TestTxnCrashAtEverySync(t *testing.T) {
	eachSeed(t, 1, func(t *testing.T, seed uint64) {
		d, m := newDisk(seed), newTxnModel()
		crashes := 0
		d.OnSync(func(p logtest.SyncPoint) {
			if t.Failed() {
				return
			}
			for _, policy := range policies(uint64(p.N), seed) {
				crashes++
				if err := verifyTxns(d.AfterCrash(policy), m.clone(), seed, rand.New(rand.NewPCG(policy.Seed, 3))); err != nil {
					t.Errorf("seed %d, %s, %s: %v", seed, p, policy, err)
					return
				}
			}
		})
		l, err := log.Open("data", txnOptions(d, seed))
		if err != nil {
			t.Fatal(err)
		}
		w := &txnWorkload{r: rand.New(rand.NewPCG(seed, 1)), l: l, m: m}
		if err := w.begin(); err != nil {
			t.Fatal(err)
		}
		for range 6 {
			if err := w.run(25); err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
			if err := l.Maintain(); err != nil {
				t.Fatalf("seed %d: maintain: %v", seed, err)
			}
			if t.Failed() {
				return
			}
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		t.Logf("seed %d: %d crashes, %d batches, %d transactions", seed, crashes, len(m.base), len(m.ends))
	})
}

// TestTxnCrashAgainAndAgain lives many lives on one directory: power cuts, kills
// and clean ends, at random moments, of recovery too.
func TestTxnCrashAgainAndAgain(t *testing.T) {
	eachSeed(t, 6, func(t *testing.T, seed uint64) {
		d, m := newDisk(seed), newTxnModel()
		open := func() (*log.Embedded, error) {
			o := txnOptions(d, seed)
			if seed%3 == 0 {
				o.MaintainEvery = time.Millisecond // in the background, which makes it hard to repeat
			}
			return log.Open("data", o)
		}
		r := rand.New(rand.NewPCG(seed, 4))
		for life := range 15 {
			where := fmt.Sprintf("seed %d, life %d", seed, life)
			if r.IntN(3) == 0 {
				d.CrashAtSync(1+r.IntN(10), logtest.When(r.IntN(2)))
			}
			l, err := open()
			d.CrashAtSync(0, logtest.Before)
			if d.Crashed() {
				if l != nil {
					_ = l.Close()
				}
				d = d.Restart()
				l, err = open()
			}
			if err != nil {
				t.Fatalf("%s: open: %v", where, err)
			}
			w := &txnWorkload{r: r, l: l, m: m}
			if err := w.resume(); err != nil {
				_ = l.Close()
				t.Fatalf("%s: %v", where, err)
			}
			if err := w.run(r.IntN(60)); err != nil {
				t.Fatalf("%s: %v", where, err)
			}
			switch r.IntN(4) {
			case 0:
				if err := l.Close(); err != nil {
					t.Fatalf("%s: close: %v", where, err)
				}
				d = d.Crash(logtest.KeepNothing)
			case 1:
				d = d.Kill()
				_ = l.Close()
			default:
				d.CrashAtSync(d.Stats().Syncs+1+r.IntN(12), logtest.When(r.IntN(2)))
				for err == nil {
					err = w.run(1)
				}
				if !d.Crashed() || errors.Is(err, errTxnModel) {
					t.Fatalf("%s: %v", where, err)
				}
				_ = l.Close()
				d = d.Crash([]logtest.Policy{logtest.KeepNothing, logtest.KeepAll, logtest.Random(r.Uint64())}[r.IntN(3)])
			}
		}
		if len(m.ends) < 10 {
			t.Fatalf("seed %d: %d transactions ended in all lives, want some", seed, len(m.ends))
		}
	})
}

// TestTxnCrashByKillWithoutSyncs kills the process under the lazy policies: the
// OS has all bytes, so nothing is lost.
func TestTxnCrashByKillWithoutSyncs(t *testing.T) {
	for _, sync := range lazy {
		t.Run(sync.String(), func(t *testing.T) {
			eachSeed(t, 4, func(t *testing.T, seed uint64) {
				d, m := newDisk(seed), newTxnModel()
				r := rand.New(rand.NewPCG(seed, 5))
				for life := range 8 {
					l, err := log.Open("data", tiny(d, sync))
					if err != nil {
						t.Fatalf("seed %d, life %d: open: %v", seed, life, err)
					}
					w := &txnWorkload{r: r, l: l, m: m}
					if err = w.resume(); err == nil {
						err = w.run(r.IntN(60))
					}
					if err != nil {
						_ = l.Close()
						t.Fatalf("seed %d, life %d: %v", seed, life, err)
					}
					d = d.Kill()
					_ = l.Close()
				}
			})
		})
	}
}
