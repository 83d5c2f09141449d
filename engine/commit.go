package engine

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/gretestream/grete/jobs"
	"github.com/gretestream/grete/log"
	op "github.com/gretestream/grete/operators"
	"github.com/gretestream/grete/state"
)

// interval is what a task has done between two commits, frozen: one log.Commit
// and what is to be done when it is durable. A task has one, used again and
// again: at most one commit is under way, and the next is built after its answer.
type interval struct {
	commit  log.Commit
	changes *state.Changes
	meta    []byte // the encoded checkpoint
	point   jobs.Checkpoint
	ends    []log.Offset // per input: end as last seen
	drops   []op.Drop
	out     int64 // records written to outputs
	dead    int64 // dead letters among the writes
	read    int64 // records read since the task began this life

	checkpointWrite int // index in commit.Writes
	checkpointBytes int64

	checkpoints log.Builder
	deadLetters log.Builder
	marks       markBuilders
	origin      []byte
}

// answer is how a commit went.
type answer struct {
	offsets []log.Offset
	err     error
	took    time.Duration
}

// markBuilders lends builders for partitions that get a mark and nothing else.
type markBuilders struct {
	list []*log.Builder
	used int
}

func (m *markBuilders) next() *log.Builder {
	if m.used == len(m.list) {
		m.list = append(m.list, new(log.Builder))
	}
	b := m.list[m.used]
	m.used++
	b.Reset()
	return b
}

// commitLoop makes the commits of one life, one at a time, until work is closed.
// It is the task's only other goroutine: it lets the next interval run while a
// commit syncs.
func (l *life) commitLoop(ctx context.Context) {
	defer close(l.committerDone)
	for iv := range l.work {
		start := time.Now()
		offsets, err := l.c.opts.Log.Commit(ctx, &iv.commit)
		l.answers <- answer{offsets, err, time.Since(start)}
	}
}

// cut freezes the interval and hands it to the commit goroutine. No commit is
// under way.
func (l *life) cut() error {
	if err := l.flow.Drain(); err != nil {
		return fmt.Errorf("drain state: %w", err)
	}
	iv := &l.interval
	iv.reset(l)
	iv.changes = l.db.Freeze()
	iv.commit.Writes = append(iv.commit.Writes, iv.changes.Writes()...)
	l.cutOutputs(iv)
	l.cutDeadLetters(iv)
	l.cutCheckpoint(iv)
	l.cutGroupOffsets(iv)
	iv.read, iv.drops = l.read, l.flow.Drops()
	l.inFlight, l.dirty, l.lastCut = true, false, time.Now()
	l.work <- iv
	return nil
}

func (iv *interval) reset(l *life) {
	iv.commit.Producer, iv.commit.Epoch = l.t.producer, l.epoch
	iv.commit.Group = l.c.group
	iv.commit.AtLeastOnce = l.c.opts.Job.Options.Guarantee == jobs.AtLeastOnce
	clear(iv.commit.Writes)
	iv.commit.Writes = iv.commit.Writes[:0]
	iv.out, iv.dead = 0, 0
	iv.marks.used = 0
}

// cutOutputs collects what the operators wrote and, where they say something
// new, the watermark marks: last in each partition, after the results that they
// speak of.
func (l *life) cutOutputs(iv *interval) {
	for i := range l.outputs {
		l.outputs[i].mark(l, i)
	}
	l.flow.Writes(func(output int, partition int32, b *log.Builder) {
		o := &l.outputs[output]
		iv.out += int64(b.Len())
		if o.news {
			b.Append(l.nowTimestamp(), nil, nil, o.header())
			o.marked[partition] = true
		}
		if b.Len() == 0 {
			return
		}
		iv.write(b.Write(log.TopicPartition{Topic: o.plan.Topic, Partition: partition}), o.shared)
	})
	for i := range l.outputs {
		o := &l.outputs[i]
		if !o.news {
			continue
		}
		for p := range o.marked {
			if !o.marked[p] {
				b := iv.marks.next()
				b.Append(l.nowTimestamp(), nil, nil, o.header())
				iv.write(b.Write(log.TopicPartition{Topic: o.plan.Topic, Partition: int32(p)}), false)
			}
			o.marked[p] = false
		}
	}
}

// write adds a write to the commit. shared: another output may have written to
// the same partition, and a Commit has one write per partition.
func (iv *interval) write(add log.Write, shared bool) {
	if shared {
		for i := range iv.commit.Writes {
			if w := &iv.commit.Writes[i]; w.TopicPartition == add.TopicPartition {
				w.Batches = append(append([]byte(nil), w.Batches...), add.Batches...)
				return
			}
		}
	}
	iv.commit.Writes = append(iv.commit.Writes, add)
}

func (l *life) cutDeadLetters(iv *interval) {
	dead := l.flow.DeadLetters()
	if len(dead) == 0 {
		return
	}
	b := &iv.deadLetters
	b.Reset()
	for i := range dead {
		d := &dead[i]
		iv.origin = iv.origin[:0] // a window's result has none
		if d.Input >= 0 {
			iv.origin = appendOrigin(iv.origin, l.inputs[d.Input].tp, d.Offset)
		}
		headers := append(d.Headers[:len(d.Headers):len(d.Headers)],
			log.Header{Key: "grete.origin", Value: iv.origin},
			log.Header{Key: "grete.operator", Value: []byte(d.Operator)},
			log.Header{Key: "grete.error", Value: []byte(d.Err.Error())})
		b.Append(d.Timestamp, d.Key, d.Value, headers...)
	}
	iv.dead = int64(len(dead))
	tp := log.TopicPartition{Topic: l.c.plan.DeadLetters, Partition: l.t.partition % int32(l.c.deadPartitions)}
	iv.write(b.Write(tp), true)
}

// appendOrigin writes "topic/partition/offset".
func appendOrigin(dst []byte, tp log.TopicPartition, o log.Offset) []byte {
	dst = append(append(dst, tp.Topic...), '/')
	dst = append(strconv.AppendInt(dst, int64(tp.Partition), 10), '/')
	return strconv.AppendInt(dst, int64(o), 10)
}

// cutCheckpoint writes down where the task restarts if this commit is its last.
// It is the last write: see log.Commit.AtLeastOnce.
func (l *life) cutCheckpoint(iv *interval) {
	c := &iv.point
	c.Epoch = l.t.term
	c.Watermark = jobs.NoWatermark
	if w, ok := l.flow.Watermark(); ok {
		c.Watermark = w
	}
	c.Inputs, iv.ends = c.Inputs[:0], iv.ends[:0]
	for i := range l.inputs {
		in := &l.inputs[i]
		c.Inputs = append(c.Inputs, jobs.InputCheckpoint{
			Topic: in.tp.Topic, Offset: in.offset, Captured: in.captured, Idle: in.idle, Upstream: in.up.tasks,
		})
		end := in.offset
		if in.reader != nil {
			end = max(end, in.reader.End())
		}
		iv.ends = append(iv.ends, end)
	}
	c.Changelogs = append(c.Changelogs[:0], l.changelogEnds...)
	c.Flow = l.flow.Save(c.Flow[:0])
	c.Marks = c.Marks[:0]
	for i := range l.outputs {
		c.Marks = append(c.Marks, l.outputs[i].encoded)
	}
	iv.meta = c.AppendTo(iv.meta[:0])

	b := &iv.checkpoints
	b.Reset()
	b.Append(l.nowTimestamp(), l.t.key, iv.meta)
	iv.checkpointWrite = len(iv.commit.Writes)
	iv.checkpointBytes = int64(len(b.Bytes()))
	iv.commit.Writes = append(iv.commit.Writes, b.Write(log.TopicPartition{Topic: l.c.checkpointTopic}))
}

func (l *life) cutGroupOffsets(iv *interval) {
	iv.commit.Offsets = iv.commit.Offsets[:0]
	for i := range l.inputs {
		if in := &l.inputs[i]; !in.absent() && in.offset != l.groupOffsets[i] {
			l.groupOffsets[i] = in.offset
			iv.commit.Offsets = append(iv.commit.Offsets, log.GroupOffset{TopicPartition: in.tp, Offset: in.offset, LeaderEpoch: -1})
		}
	}
}

// committed takes in the answer to the commit under way: what it holds is
// durable, and becomes visible in the state.
func (l *life) committed(a answer) error {
	l.inFlight = false
	iv := &l.interval
	if a.err != nil {
		return mayPass(fmt.Errorf("commit: %w", a.err))
	}
	l.c.metrics.commit(a.took)
	changelogs := a.offsets[:len(iv.changes.Writes())]
	l.trackChangelogs(iv, changelogs)
	if err := l.db.Apply(iv.changes, changelogs, iv.meta); err != nil {
		return &transient{err, stateTries}
	}
	l.flow.Applied()
	l.t.applied(l, iv, a.offsets[iv.checkpointWrite])
	return nil
}

// trackChangelogs moves the changelog ends behind what was written.
func (l *life) trackChangelogs(iv *interval, offsets []log.Offset) {
	for i, w := range iv.commit.Writes[:len(offsets)] {
		end := offsets[i]
		for rest := w.Batches; len(rest) > 0; {
			info, err := log.ParseBatch(rest)
			if err != nil {
				panic(fmt.Sprintf("engine: committed a bad batch to %s: %v", w.TopicPartition, err))
			}
			end += log.Offset(info.LastOffsetDelta) + 1
			rest = rest[info.Size:]
		}
		for s := range l.plan.Stores {
			if l.plan.Stores[s].Changelog == w.Topic {
				l.changelogEnds[s] = end
			}
		}
	}
}

// output is what a task remembers of one of its outputs.
type output struct {
	plan   *jobs.OutputPlan
	shared bool // another output or the dead letters go to the same topic

	// Of a repartition output: the last mark, and whether the commit being built
	// is the first to carry it.
	last    mark
	said    time.Time // when it was cut
	encoded []byte
	again   bool // it is to be repeated: see speakUp
	news    bool
	marked  []bool // per partition: the mark is in the commit being built
}

// mark settles what the commit being built tells the readers of the output.
func (o *output) mark(l *life, index int) {
	if !o.plan.Repartition {
		return
	}
	m := mark{
		Generation: l.c.plan.Generation, Task: int(l.t.partition), Tasks: l.plan.Tasks, Epoch: l.t.term,
		Watermark: jobs.NoWatermark, CaughtUp: l.announced && l.caughtUp(),
	}
	w, ok, idle := l.flow.Outgoing(index)
	if ok {
		m.Watermark = max(w, o.last.Watermark)
	} else {
		m.Watermark = o.last.Watermark
	}
	m.Idle = idle && l.announced
	if l.ended {
		m.Ended = l.c.run
	}
	o.news = o.again || !m.says(&o.last)
	if o.news {
		o.last, o.said, o.again = m, time.Now(), false
		o.encoded = m.appendTo(nil) // kept by checkpoints: not in place
	}
}

func (o *output) header() log.Header {
	return log.Header{Key: watermarkHeader, Value: o.encoded}
}
