package log

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"sort"
	"sync/atomic"
)

// AbortedTxn is a transaction of one partition that was aborted.
type AbortedTxn struct {
	ProducerID  int64
	FirstOffset Offset // of its first record
	LastOffset  Offset // of the marker that ended it
}

// txns are the transactions of a partition as its readers see them. Owned by the
// applier; what is atomic anybody may read.
//
// Invariant: a transaction is taken in before readers are shown its first
// batch, and what it came to is known before the last stable offset passes it.
// So all below the last stable offset is decided, for who looks it up first and
// aborted second.
type txns struct {
	open      []openTxn    // ordered by first
	firstOpen atomic.Int64 // first of open, or math.MaxInt64
	used      atomic.Bool  // there was ever a transaction

	// aborted is ordered by LastOffset; a new slice is stored on every change.
	aborted atomic.Pointer[[]abortedTxn]
	saved   Offset // the transaction indexes have what was aborted below it
}

type openTxn struct {
	id    int64
	first Offset
}

// abortedTxn is an AbortedTxn with the last stable offset after its end: no
// transaction that ended later began before it.
type abortedTxn struct {
	AbortedTxn
	stable Offset
}

func (t *txns) init() {
	t.firstOpen.Store(math.MaxInt64)
	t.aborted.Store(new([]abortedTxn))
}

// noteBatch takes in a transactional batch, which is not a control batch.
func (t *txns) noteBatch(info *BatchInfo) {
	if slices.ContainsFunc(t.open, func(o openTxn) bool { return o.id == info.ProducerID }) {
		return
	}
	t.used.Store(true)
	t.open = append(t.open, openTxn{info.ProducerID, info.BaseOffset})
	t.firstOpen.Store(int64(t.open[0].first))
}

// noteMarker takes in the end of a producer's transaction, at an offset.
func (t *txns) noteMarker(id int64, at Offset, commit bool) {
	i := slices.IndexFunc(t.open, func(o openTxn) bool { return o.id == id })
	if i < 0 {
		return // it had written nothing here
	}
	first := t.open[i].first
	t.open = slices.Delete(t.open, i, i+1)
	next, stable := int64(math.MaxInt64), at+1
	if len(t.open) > 0 {
		next, stable = int64(t.open[0].first), t.open[0].first
	}
	if !commit {
		// Readers hold on to the old slice; appending does not touch what they see.
		list := append(*t.aborted.Load(), abortedTxn{AbortedTxn{id, first, at}, stable})
		t.aborted.Store(&list)
	}
	t.firstOpen.Store(next)
}

// resume begins with the transactions that a partition's producers have open.
func (t *txns) resume(ps producers) {
	for id, s := range ps {
		if s.txnStart >= 0 {
			t.open = append(t.open, openTxn{id, s.txnStart})
		}
	}
	slices.SortFunc(t.open, func(a, b openTxn) int { return cmp.Compare(a.first, b.first) })
	if len(t.open) > 0 {
		t.used.Store(true)
		t.firstOpen.Store(int64(t.open[0].first))
	}
}

// noteTxns takes in what a part does to transactions. The applier calls it,
// before readers are shown the part.
func (p *partition) noteTxns(pt *part) {
	if pt.marker != nil {
		p.txns.noteMarker(pt.marker.ProducerID, pt.base, pt.marker.Commit)
		return
	}
	for b := pt.batches; len(b) > 0; {
		info := parseHeader(b)
		if info.IsTransactional() {
			p.txns.noteBatch(&info)
		}
		b = b[info.Size:]
	}
}

// between returns the part of a list with markers in [from, to).
func between(list []abortedTxn, from, to Offset) []abortedTxn {
	at := func(o Offset) int { return sort.Search(len(list), func(i int) bool { return list[i].LastOffset >= o }) }
	return list[at(from):at(to)]
}

// overlapping calls fn for the transactions in a list that have offsets in
// [from, to), until fn returns false.
func overlapping(list []abortedTxn, from, to Offset, fn func(a *abortedTxn) bool) {
	i := sort.Search(len(list), func(i int) bool { return list[i].LastOffset >= from })
	for ; i < len(list); i++ {
		a := &list[i]
		if a.FirstOffset < to && !fn(a) || a.stable >= to {
			return // those that follow begin at stable or later
		}
	}
}

// isAborted tells whether a transactional batch below the last stable offset is
// of a transaction that was aborted.
func isAborted(list []abortedTxn, info *BatchInfo) (aborted bool) {
	overlapping(list, info.BaseOffset, info.BaseOffset+1, func(a *abortedTxn) bool {
		aborted = aborted || a.ProducerID == info.ProducerID
		return !aborted
	})
	return aborted
}

// Aborted returns the transactions that were aborted and have records in
// [from, to) of a partition, ordered by their first offset.
func (l *Embedded) Aborted(tp TopicPartition, from, to Offset) ([]AbortedTxn, error) {
	p, err := l.partition(tp)
	if err != nil {
		return nil, err
	}
	return p.abortedIn(from, to), nil
}

func (p *partition) abortedIn(from, to Offset) []AbortedTxn {
	var found []AbortedTxn
	overlapping(*p.txns.aborted.Load(), from, to, func(a *abortedTxn) bool {
		found = append(found, a.AbortedTxn)
		return true
	})
	slices.SortFunc(found, func(a, b AbortedTxn) int { return cmp.Compare(a.FirstOffset, b.FirstOffset) })
	return found
}

// markerParts adds the control batches of markers to an entry.
func (l *Embedded) markerParts(en *entry, markers []Marker) error {
	for i := range markers {
		m := &markers[i]
		if m.ProducerID < 0 || m.ProducerEpoch < 0 {
			return fmt.Errorf("%w: marker of producer %d with epoch %d", ErrInvalidRecord, m.ProducerID, m.ProducerEpoch)
		}
		p, err := l.partition(m.TopicPartition)
		if err != nil {
			continue // there is nothing left to mark
		}
		en.parts = append(en.parts, part{
			p: p, marker: m, origin: fromCoordinator, count: 1,
			entryPart: entryPart{id: p.topic.id, partition: p.tp.Partition, batches: appendMarker(nil, m, en.time)},
		})
	}
	return nil
}

// CommitTxnOffsets writes offsets of a group as part of a producer's
// transaction. They become the group's when the transaction is committed by a
// Marker in partition 0 of the internal topic of committed offsets, and vanish
// when it is aborted. As with Produce, whether the producer may be in a
// transaction is for the coordinator to say. It returns ErrProducerFenced if
// the topic has seen a newer epoch.
func (l *Embedded) CommitTxnOffsets(ctx context.Context, group string, pid int64, epoch int16, offsets []GroupOffset) error {
	if err := l.commitTxnOffsets(ctx, group, pid, epoch, offsets); err != nil {
		return fmt.Errorf("commit offsets of group %q in a transaction of producer %d: %w", group, pid, err)
	}
	return nil
}

func (l *Embedded) commitTxnOffsets(ctx context.Context, group string, pid int64, epoch int16, offsets []GroupOffset) error {
	if err := ctx.Err(); err != nil || len(offsets) == 0 {
		return err
	}
	if pid < 0 || epoch < 0 {
		return fmt.Errorf("%w: epoch %d", ErrInvalidRecord, epoch)
	}
	for i := range offsets {
		if offsets[i].Offset < 0 {
			return fmt.Errorf("%w: offset %d of %s", ErrInvalidRecord, offsets[i].Offset, offsets[i].TopicPartition)
		}
	}
	en := &entry{time: l.now()}
	en.parts = en.one[:0]
	b := builders.Get().(*Builder)
	defer builders.Put(b)
	if err := l.offsetsPart(en, b, group, offsets); err != nil {
		return err
	}
	pt := &en.parts[0]
	pt.origin = fromCoordinator
	for run := pt.batches; len(run) > 0; {
		n := parseHeader(run).Size
		setBatchProducer(run[:n], pid, epoch)
		run = run[n:]
	}
	return l.submit(en, "", 0)
}

// PendingOffsets tells whether an open transaction has offsets of a group: for
// any of these partitions, or for any at all if none is named.
func (l *Embedded) PendingOffsets(group string, tps ...TopicPartition) bool {
	return l.offsets.isPending(group, tps)
}
