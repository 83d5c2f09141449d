package log

// passTxns is what a compaction pass knows of transactions and producers.
//
// A marker stays while a batch of its transaction is there, for who reads that
// needs it; then for delete.retention.ms, like a tombstone, for who has read
// the batch before it went.
//
// The last batch of a producer that is remembered stays too, if need be without
// records: it holds the producer's sequence, and Kafka knows that from nowhere
// else.
type passTxns struct {
	aborted []abortedTxn
	met     map[int64]bool // producers with a batch since their last marker
	last    map[int64]lastBatch
}

// lastBatch says which batch of a producer is its last: the one that ends at
// offset, or if that is -1 a marker of the epoch.
type lastBatch struct {
	offset Offset
	epoch  int16
}

func (t *passTxns) begin(l *Embedded, p *partition) {
	t.aborted = *p.txns.aborted.Load()
	l.mu.Lock()
	defer l.mu.Unlock()
	t.last = make(map[int64]lastBatch, len(p.producers))
	for id, s := range p.producers {
		b := lastBatch{-1, s.epoch}
		if s.n > 0 {
			b.offset = s.last[s.n-1].lastOffset
		}
		t.last[id] = b
	}
	t.met = map[int64]bool{}
}

// isAborted tells whether a batch, which is not a marker, was aborted. All
// there is to be compacted is decided.
func (t *passTxns) isAborted(info *BatchInfo) bool {
	return info.IsTransactional() && isAborted(t.aborted, info)
}

// meet is isAborted in the order of the log, for the marker that follows.
func (t *passTxns) meet(info *BatchInfo) bool {
	if info.IsTransactional() {
		t.met[info.ProducerID] = true
	}
	return t.isAborted(info)
}

// isLast tells whether a batch has to stay for the sake of its producer.
func (t *passTxns) isLast(info *BatchInfo) bool {
	b, ok := t.last[info.ProducerID]
	if !ok {
		return false
	}
	if b.offset >= 0 {
		return info.LastOffset() == b.offset
	}
	return info.IsControl() && info.ProducerEpoch == b.epoch
}

// filterMarker is filter for control batches.
func (ps *pass) filterMarker(info *BatchInfo, batch []byte) (changed bool) {
	keep := info.Count > 0 && ps.txns.met[info.ProducerID]
	delete(ps.txns.met, info.ProducerID)
	marked := info.Attributes&attrDeleteHorizon != 0
	switch {
	case !keep && (marked && info.BaseTimestamp <= ps.now || info.Count == 0):
		return ps.empty(info, batch)
	case keep || marked:
		ps.out = append(ps.out, batch...)
		return false
	}
	plain := *info
	plain.Attributes &^= attrControl
	recs, err := ps.d.decodeBatch(ps.recs[:0], &plain, batch)
	if err != nil {
		ps.out = append(ps.out, batch...) // of a kind that is not known here
		return false
	}
	out := *info
	out.Attributes |= attrDeleteHorizon
	ps.out = appendBatch(ps.out, out, ps.now+Timestamp(ps.cfg.tombstoneMs), recs)
	return true
}

// empty drops a batch that has no records left, or all of it but the header.
func (ps *pass) empty(info *BatchInfo, batch []byte) (changed bool) {
	switch {
	case !ps.txns.isLast(info):
		return true
	case info.Count == 0:
		ps.out = append(ps.out, batch...)
		return false
	}
	out := *info
	out.Size, out.Count = BatchHeaderSize, 0
	out.BaseTimestamp = NoTimestamp
	out.Attributes &^= attrCompression | attrDeleteHorizon
	n := len(ps.out)
	ps.out = append(ps.out, make([]byte, BatchHeaderSize)...)
	putBatchHeader(ps.out[n:], &out)
	sealBatch(ps.out[n:])
	return true
}
