package connect

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/gretestream/grete/log"
)

// ErrFinished is what Ingest returns for a file that was ingested to its end
// before. Options.Again ingests it a second time.
var ErrFinished = errors.New("file was ingested before")

// Options tune Ingest. Topic is required; the zero value of the rest is useful.
type Options struct {
	// Topic receives the records. It is created if it does not exist; so is
	// Topic + ".rejects", for malformed lines, when there is one.
	Topic string
	// Partitions of a topic that is created. Default: the log's.
	Partitions int
	// Format says how lines become records.
	Format Format
	// MaxLine bounds a line, in bytes; longer ones are malformed.
	// Default: DefaultMaxLine.
	MaxLine int
	// BatchLines and BatchBytes bound what one commit holds: a commit is made at
	// whichever comes first. Defaults: 8192 lines, 4 MiB of text.
	BatchLines int
	BatchBytes int
	// Again ingests a finished file once more, from its start. A file that was
	// not finished is continued as without it.
	Again bool
	// Progress, if set, is called after each commit, by the goroutine that
	// called Ingest.
	Progress func(Progress)
	// Now tells the timestamp of records that have no time of their own, once
	// per Ingest. Default: time.Now.
	Now func() time.Time
}

func (o Options) withDefaults() (Options, error) {
	if o.Topic == "" {
		return o, errors.New("options: Topic is empty")
	}
	if o.BatchLines <= 0 {
		o.BatchLines = 8192
	}
	if o.BatchBytes <= 0 {
		o.BatchBytes = 4 << 20
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return o, nil
}

// Progress is how far an Ingest has come. What it counts is in the log.
type Progress struct {
	BytesRead  int64 // of the source as it is, before decompression; a little ahead of the records
	BytesTotal int64 // 0 if not known
	Summary
}

// Summary is what an Ingest did. The counts are of this run; Resumed is what an
// earlier one had done.
type Summary struct {
	Lines    int64 // lines read: Records + Rejected, and a header
	Records  int64 // records that are now in the topic
	Rejected int64 // lines that are now in the rejects topic
	Bytes    int64 // bytes of these lines, after decompression
	Resumed  int64 // lines that were passed over, since they were ingested before
}

// RejectsTopic is where the malformed lines of a topic go: the line is the
// value; the headers line, reason and source say where it comes from and what is
// wrong with it.
func RejectsTopic(topic string) string { return topic + ".rejects" }

// Ingest reads a text to its end and makes a record of each line. Each commit
// holds the records of some thousand lines, the rejects among them and, for a
// file, how far it has come: all are in the log or none is. So an Ingest of the
// same file into the same topic that follows one that was stopped, by an error,
// a kill -9 or a power cut, continues behind the last line that is in the log:
// nothing is lost and nothing is there twice.
//
// A file is the same if its absolute path and the SHA-256 of its first 64 KiB
// (as stored, compressed or not) are the same. One that has grown since it was
// finished is continued at its old end. A finished one gives ErrFinished. Of two
// Ingests of one file at a time the later one goes on and the earlier one ends
// with log.ErrFenced.
//
// After an error the Summary counts what is in the log all the same.
func Ingest(ctx context.Context, l log.Log, src Source, opts Options) (Summary, error) {
	opts, err := opts.withDefaults()
	if err != nil {
		return Summary{}, err
	}
	in := &ingest{log: l, src: src, opts: opts}
	if err := in.run(ctx); err != nil {
		return in.sum, fmt.Errorf("ingest %s into %s: %w", src.name, opts.Topic, err)
	}
	return in.sum, nil
}

// ingest is one Ingest under way. Its reading half (lines, parser) belongs to
// the goroutine of read, everything else to the caller of Ingest.
type ingest struct {
	log  log.Log
	src  Source
	opts Options

	in         *opened
	partitions int
	hasRejects bool // the rejects topic is known to exist
	producer   string
	epoch      log.Epoch
	at         progress // as of the last commit
	sum        Summary

	lines  *Lines
	parser Parser
	now    log.Timestamp // of records that have no time of their own, and of rejects
}

func (in *ingest) run(ctx context.Context) (err error) {
	if in.in, err = in.src.open(); err != nil {
		return err
	}
	defer in.in.close()
	if in.lines, err = NewLines(in.in, in.opts.MaxLine); err != nil {
		return err
	}
	// The parser before the topics: a mistake in the format leaves nothing behind.
	if err := in.start(); err != nil {
		return err
	}
	if in.partitions, err = in.createTopic(ctx, in.opts.Topic, in.opts.Partitions); err != nil {
		return err
	}
	if err := in.resume(ctx); err != nil {
		return err
	}
	in.sum.Resumed = in.at.Line
	if in.at.Line == 0 { // what start has read is news
		in.sum.Lines, in.sum.Bytes = in.lines.Position().Line, in.lines.Position().Byte
	}
	if err := in.lines.Skip(Position{Line: in.at.Line, Byte: in.at.Byte}); err != nil {
		return err
	}
	return in.copy(ctx)
}

// createTopic makes a topic if there is none and returns its partitions.
func (in *ingest) createTopic(ctx context.Context, name string, partitions int) (int, error) {
	topic, err := in.log.Topic(ctx, name)
	if errors.Is(err, log.ErrUnknownTopic) {
		topic, err = in.log.CreateTopic(ctx, log.TopicSpec{Name: name, Partitions: partitions})
		if errors.Is(err, log.ErrTopicExists) { // somebody was faster
			topic, err = in.log.Topic(ctx, name)
		}
	}
	if err != nil {
		return 0, fmt.Errorf("prepare topic %s: %w", name, err)
	}
	return topic.Partitions, nil
}

// resume finds out how far the file has come before.
func (in *ingest) resume(ctx context.Context) error {
	if in.in.id == "" {
		return nil
	}
	in.producer = progressGroup(in.opts.Topic, in.in.id)
	var err error
	// Fenced first: what is read after that, no other Ingest changes any more.
	if in.epoch, err = in.log.Fence(ctx, in.producer); err != nil {
		return fmt.Errorf("begin as producer %s: %w", in.producer, err)
	}
	if in.at, err = loadProgress(ctx, in.log, in.producer, in.opts.Topic); err != nil {
		return err
	}
	switch {
	case !in.at.Done:
	case in.opts.Again:
		in.at = progress{}
	case in.in.size <= in.at.Size:
		return fmt.Errorf("%d lines, %d records: %w", in.at.Line, in.at.Records, ErrFinished)
	case in.at.Partial:
		return fmt.Errorf("it has grown since, but its last line had no end then, so it cannot be continued: %w", ErrFinished)
	}
	in.at.Done, in.at.Path = false, in.src.name
	return nil
}

// start chooses the parser by the beginning of the text, and gives it its header.
func (in *ingest) start() error {
	in.now = log.TimestampOf(in.opts.Now())
	parser, err := in.opts.Format.Parser(in.src.name, in.lines.head(), in.now)
	if err != nil {
		return err
	}
	in.parser = parser
	if h, ok := parser.(HeaderParser); ok {
		line, err := in.lines.Next()
		if err == io.EOF {
			return nil // nothing at all: no records
		}
		if err != nil {
			return err
		}
		return h.Header(line.Text)
	}
	return nil
}

// batch is what one commit holds. It goes round: read fills it, commit empties
// it and gives it back.
type batch struct {
	builders []log.Builder // by partition
	rejects  log.Builder
	sum      Summary  // of the batch alone
	end      Position // behind its last line
	partial  bool     // its last line had no end
	err      error    // why it is the last; io.EOF at the end of the text
}

func (b *batch) reset() {
	for i := range b.builders {
		b.builders[i].Reset()
	}
	b.rejects.Reset()
	b.sum, b.err = Summary{}, nil
}

// copy reads and commits to the end of the text. While one batch commits, the
// next one is read and parsed.
func (in *ingest) copy(ctx context.Context) error {
	ctx, stop := context.WithCancel(ctx)
	free, full := make(chan *batch, 2), make(chan *batch)
	for range cap(free) {
		free <- &batch{builders: make([]log.Builder, in.partitions)}
	}
	go in.read(ctx, free, full)
	// The reader ends when it has sent its last batch, or soon after stop, and
	// then closes full; only after that may its file be closed. A stream may
	// block for ever, and nobody closes it here: its reader is left to end with
	// the Read it is in.
	defer func() {
		stop()
		for in.src.file {
			if _, ok := <-full; !ok {
				return
			}
		}
	}()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case b := <-full:
			if b == nil {
				return ctx.Err() // the reader saw it first
			}
			if err := in.commit(ctx, b); err != nil {
				return err
			}
			if b.err == io.EOF {
				return nil
			}
			if b.err != nil {
				return b.err
			}
			b.reset()
			free <- b
		}
	}
}

// read fills batches until the text ends, breaks, or ctx is done.
func (in *ingest) read(ctx context.Context, free <-chan *batch, full chan<- *batch) {
	defer close(full)
	// Records without a key all go to one partition per batch, in turn, so that
	// they lie together and the partitions fill evenly all the same.
	for keyless := 0; ; keyless++ {
		var b *batch
		select {
		case b = <-free:
		case <-ctx.Done():
			return
		}
		in.fill(b, &b.builders[keyless%in.partitions])
		last := b.err != nil
		select {
		case full <- b:
		case <-ctx.Done():
			return
		}
		if last {
			return
		}
	}
}

// fill reads and parses the lines of one batch.
func (in *ingest) fill(b *batch, keyless *log.Builder) {
	var rec log.Record
	begin := in.lines.Position()
	for {
		line, err := in.lines.Next()
		if err != nil {
			b.err = err
			break
		}
		if line.Length > int64(in.lines.max) {
			in.reject(b, line, fmt.Errorf("line of %d bytes, want at most %d", line.Length, in.lines.max))
		} else if err := in.parser.Parse(line.Text, &rec); err != nil {
			in.reject(b, line, err)
		} else if size := len(rec.Key) + len(rec.Value); size > maxRecord {
			in.reject(b, line, fmt.Errorf("record of %d bytes, want at most %d", size, maxRecord))
		} else {
			to := keyless
			if rec.Key != nil {
				to = &b.builders[log.PartitionFor(rec.Key, in.partitions)]
			}
			to.Append(rec.Timestamp, rec.Key, rec.Value)
			b.sum.Records++
		}
		b.sum.Lines++
		if !in.src.file && !in.lines.hasLine() {
			break // what a stream has said is not held back until it says more
		}
		if b.sum.Lines >= int64(in.opts.BatchLines) || in.lines.Position().Byte-begin.Byte >= int64(in.opts.BatchBytes) {
			break
		}
	}
	b.end = in.lines.Position()
	b.partial = in.lines.partial
	b.sum.Bytes = b.end.Byte - begin.Byte
}

// maxRecord bounds key and value of one record, so that its batch is below
// Kafka's default max.message.bytes: a commit that is refused for its size would
// be refused again after each restart.
const maxRecord = log.DefaultBatchBytes - 16<<10 // bytes; room for headers of rejects

// reject puts a malformed line among the rejects of its batch.
func (in *ingest) reject(b *batch, line Line, reason error) {
	b.sum.Rejected++
	b.rejects.Append(in.now, nil, line.Text[:min(len(line.Text), maxRecord)],
		log.Header{Key: "line", Value: strconv.AppendInt(nil, line.Number, 10)},
		log.Header{Key: "reason", Value: []byte(reason.Error())},
		log.Header{Key: "source", Value: []byte(in.src.name)})
}

// commit makes a batch durable: its records, its rejects and the progress.
func (in *ingest) commit(ctx context.Context, b *batch) error {
	c := &log.Commit{Producer: in.producer, Epoch: in.epoch}
	for i := range b.builders {
		if b.builders[i].Len() > 0 {
			c.Writes = append(c.Writes, b.builders[i].Write(log.TopicPartition{Topic: in.opts.Topic, Partition: int32(i)}))
		}
	}
	if b.rejects.Len() > 0 {
		rejects := RejectsTopic(in.opts.Topic)
		if !in.hasRejects {
			if _, err := in.createTopic(ctx, rejects, 1); err != nil {
				return err
			}
			in.hasRejects = true
		}
		c.Writes = append(c.Writes, b.rejects.Write(log.TopicPartition{Topic: rejects}))
	}
	at := in.at
	at.Line, at.Byte = b.end.Line, b.end.Byte
	at.Records += b.sum.Records
	at.Rejected += b.sum.Rejected
	if b.err == io.EOF {
		at.Done, at.Size, at.Partial = true, in.in.read.Load(), b.partial
	}
	if in.producer != "" {
		offset, err := at.offset(in.opts.Topic)
		if err != nil {
			return err
		}
		c.Group, c.Offsets = in.producer, []log.GroupOffset{offset}
	}
	if len(c.Writes) > 0 || len(c.Offsets) > 0 {
		if _, err := in.log.Commit(ctx, c); err != nil {
			return fmt.Errorf("commit lines %d to %d: %w", in.at.Line+1, at.Line, err)
		}
	}
	in.at = at
	in.sum.Lines += b.sum.Lines
	in.sum.Records += b.sum.Records
	in.sum.Rejected += b.sum.Rejected
	in.sum.Bytes += b.sum.Bytes
	if in.opts.Progress != nil {
		in.opts.Progress(Progress{BytesRead: in.in.read.Load(), BytesTotal: in.in.size, Summary: in.sum})
	}
	return nil
}
