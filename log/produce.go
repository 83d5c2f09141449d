package log

import (
	"context"
	"fmt"
)

// ProduceOptions tune a Produce. The zero value is useful.
type ProduceOptions struct {
	// Internal allows writes to the log's own topics.
	Internal bool
	// TopicID, if set, is the topic that is meant: one that was made again under
	// the name is ErrUnknownTopic.
	TopicID TopicID
}

// ProduceResult is what became of a Produce.
type ProduceResult struct {
	Base       Offset    // of the first record; of the original if it was a duplicate
	AppendTime Timestamp // of all records, if the topic stamps them (LogAppendTime); else NoTimestamp
	Start      Offset    // first offset of the partition that is kept
}

// Produced is a Produce that was admitted. Owned by the caller; not for
// concurrent use.
type Produced struct {
	l  *Embedded
	p  *partition
	g  *group
	en entry
	// result.Base is set on admission. last is the last offset of the original,
	// if this is a duplicate; else -1.
	result ProduceResult
	last   Offset
	bytes  int
}

// Produce admits the batches of an outside producer to one partition and
// returns at once. Offsets are given in the order of the calls; Wait waits
// until the batches are durable under the sync policy and visible. Every
// Produced must be waited for: who waits also does the work. Many waiting
// callers, or many Produced of one caller, share a sync.
//
// batches holds whole record batches, as the client sent them. The slice is the
// log's until Wait returns; offsets and leader epochs are set in it.
//
// Nothing is admitted if it returns an error: ErrUnknownTopic,
// ErrUnknownPartition, ErrInvalidTopic (an internal one), ErrInvalidBatch (with
// ErrCorrupt if it is the checksum), ErrTooLarge, ErrInvalidTimestamp,
// ErrInvalidRecord, ErrOutOfOrderSequence (also for a copy of a batch that is not
// one of the producer's last five any more, as in Kafka), ErrProducerFenced,
// ErrInvalidTxnState, ErrNoSpace, ErrReadOnly, ErrClosed.
//
// Whether a producer may be in a transaction at all is for the transaction
// coordinator to say: it keeps the end of the transaction away while it has
// its answer and Produce has not returned.
func (l *Embedded) Produce(tp TopicPartition, batches []byte, opts ProduceOptions) (*Produced, error) {
	pd, err := l.produce(tp, batches, opts)
	if err != nil {
		return nil, fmt.Errorf("produce to %s: %w", tp, err)
	}
	return pd, nil
}

func (l *Embedded) produce(tp TopicPartition, batches []byte, opts ProduceOptions) (*Produced, error) {
	p, err := l.partition(tp)
	if err != nil {
		return nil, err
	}
	// Looked at once: a partition stays with its topic, and admission refuses it
	// when that was deleted.
	if !p.topic.is(opts.TopicID) {
		return nil, fmt.Errorf("%w %q: it was deleted and made again", ErrUnknownTopic, tp.Topic)
	}
	if p.topic.internal && !opts.Internal {
		return nil, fmt.Errorf("%w: the log keeps its own state in it", ErrInvalidTopic)
	}
	if len(batches) == 0 {
		return nil, fmt.Errorf("%w: no batch", ErrInvalidBatch)
	}
	if err := l.checkSize(int64(len(batches))); err != nil {
		return nil, err
	}
	pd := &Produced{l: l, p: p, last: -1, bytes: len(batches)}
	en := &pd.en
	en.time = l.now()
	en.parts = en.one[:]
	if err := l.checkWrite(&en.one[0], p, batches, false, en.time); err != nil {
		return nil, err
	}
	cfg := p.topic.config()
	if err := checkProduced(batches, cfg, en.time); err != nil {
		return nil, err
	}
	if cfg.recompress {
		packed, err := recompress(cfg.compression, batches)
		if err != nil {
			return nil, err
		}
		if err := l.checkWrite(&en.one[0], p, packed, true, en.time); err != nil {
			return nil, err
		}
	}
	pd.result = ProduceResult{AppendTime: NoTimestamp}
	if cfg.appendTime {
		pd.result.AppendTime = en.time
	}
	en.one[0].origin = fromClient
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.admissibleLocked(en, "", 0); err != nil {
		return nil, err
	}
	if pd.duplicateLocked() {
		return pd, nil
	}
	if err := l.assignLocked(en); err != nil {
		return nil, err
	}
	pd.result.Base = en.one[0].base
	pd.g = l.enqueueLocked(en)
	return pd, nil
}

// duplicateLocked tells whether all batches are second copies of such as were
// admitted before. Then the result is that of the originals, once they are
// durable: at the latest with the last group made.
func (pd *Produced) duplicateLocked() bool {
	var first, last *producedBatch
	for b := pd.en.one[0].batches; len(b) > 0; {
		info := parseHeader(b)
		if info.ProducerID < 0 {
			return false
		}
		if last = pd.p.producers.get(info.ProducerID).duplicate(&info); last == nil {
			return false
		}
		if first == nil {
			first = last
		}
		b = b[info.Size:]
	}
	pd.last, pd.result.Base = last.lastOffset, first.base()
	if pd.result.AppendTime != NoTimestamp {
		pd.result.AppendTime = first.maxTime
	}
	pd.g = pd.l.tail
	pd.l.m.duplicates.Inc(1)
	return true
}

// checkProduced judges what the client may say of its batches, whose headers
// and checksums are good.
func checkProduced(batches []byte, cfg *topicConfig, now Timestamp) error {
	for pos := 0; pos < len(batches); {
		info := parseHeader(batches[pos:])
		if err := checkProducedBatch(&info, batches[pos:pos+info.Size], cfg, now); err != nil {
			return fmt.Errorf("batch at byte %d: %w", pos, err)
		}
		pos += info.Size
	}
	return nil
}

func checkProducedBatch(info *BatchInfo, batch []byte, cfg *topicConfig, now Timestamp) error {
	if err := checkProducedHeader(info); err != nil {
		return err
	}
	facts, err := checkRecords(info, batch)
	if err != nil {
		return err
	}
	if cfg.compact && facts.keyless >= 0 {
		return keylessError(batch)
	}
	if cfg.appendTime {
		return nil // stamped with the log's own time
	}
	if info.IsAppendTime() {
		return fmt.Errorf("%w: only the log says that it was the time of the append", ErrInvalidTimestamp)
	}
	if err := cfg.checkTime(&facts, now); err != nil {
		return err
	}
	correctMaxTime(info, batch, facts.maxTime)
	return nil
}

func checkProducedHeader(info *BatchInfo) error {
	switch {
	case info.IsControl():
		return fmt.Errorf("%w: control batches are written by the log alone", ErrInvalidRecord)
	case info.Count == 0 || info.Count != int(info.LastOffsetDelta)+1:
		return fmt.Errorf("%w: %d records with last offset delta %d", ErrInvalidRecord, info.Count, info.LastOffsetDelta)
	case info.ProducerID >= 0 && (info.BaseSequence < 0 || info.ProducerEpoch < 0):
		return fmt.Errorf("%w: producer %d with epoch %d and sequence %d", ErrInvalidRecord, info.ProducerID, info.ProducerEpoch, info.BaseSequence)
	case info.ProducerID < 0 && info.IsTransactional():
		return fmt.Errorf("%w: transactional without a producer id", ErrInvalidRecord)
	case info.Attributes&attrDeleteHorizon != 0:
		return fmt.Errorf("%w: only compaction sets a delete horizon", ErrInvalidRecord)
	}
	return nil
}

// checkTime holds the timestamps of a batch's records against the topic's bounds.
func (c *topicConfig) checkTime(f *recordFacts, now Timestamp) error {
	if ahead := int64(f.maxTime - now); f.maxTime > now && ahead > c.afterMaxMs {
		return fmt.Errorf("%w: %d ms ahead of the clock, want at most message.timestamp.after.max.ms, which is %d", ErrInvalidTimestamp, ahead, c.afterMaxMs)
	}
	if behind := int64(now - f.minTime); f.minTime < now && (behind > c.beforeMaxMs || behind < 0) {
		return fmt.Errorf("%w: %d ms behind the clock, want at most message.timestamp.before.max.ms, which is %d", ErrInvalidTimestamp, behind, c.beforeMaxMs)
	}
	return nil
}

// Wait waits until what was admitted is durable and visible, or has failed. As
// with Append it cannot be interrupted: the batches are the caller's memory.
// A second call returns the same.
func (pd *Produced) Wait(ctx context.Context) (ProduceResult, error) {
	if err := pd.wait(); err != nil {
		return ProduceResult{}, fmt.Errorf("produce to %s: %w", pd.p.tp, err)
	}
	r := pd.result
	r.Start = pd.p.bounds().Start
	if pd.last < 0 {
		pd.l.m.records.Inc(int64(pd.en.one[0].count))
		pd.l.m.bytesIn.Inc(int64(pd.bytes))
	}
	return r, nil
}

// Done tells whether Wait returns at once.
func (pd *Produced) Done() bool {
	if pd.last >= 0 && pd.visible() {
		return true
	}
	select {
	case <-pd.g.done:
		return true
	default:
		return false
	}
}

func (pd *Produced) wait() error {
	if pd.last < 0 {
		return pd.l.await(pd.g)
	}
	if pd.visible() {
		return nil
	}
	// The group may fail and the original, which was in one before it, not.
	if err := pd.l.await(pd.g); !pd.visible() {
		return err
	}
	return nil
}

// visible tells of a duplicate whether its original is durable.
func (pd *Produced) visible() bool { return Offset(pd.p.hw.Load()) > pd.last }
