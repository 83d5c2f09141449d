package cli

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/gretestream/grete/engine/query"
	"github.com/gretestream/grete/log"
)

const (
	maxLine    = 16 << 20  // bytes of one line of input
	flushBytes = 256 << 10 // of encoded records, per partition
)

// produceFlags say how lines become records.
type produceFlags struct {
	partitions int
	format     string
	delimiter  string
	key        string
	headers    []string
	partition  int
	tombstones bool
}

func (a *app) produceCommand() *cobra.Command {
	f := produceFlags{format: "lines", delimiter: "\t", partition: -1}
	c := &cobra.Command{
		Use: "produce TOPIC", Short: "Append lines of the standard input to a topic",
		Long: `Append lines of the standard input to a topic, which is made if there is none.

A line is KEY<tab>VALUE; without a tab it is a value without a key. With --key
all lines are values. With
--format json each line is an object as "grete consume --output json" prints
it: key, value (or key_base64, value_base64), timestamp, headers, and, if the
partition is not to be chosen by key, partition. A key or value that is missing
or null is null.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			a.wantArgs(args, "TOPIC")
			headers := f.parse(a)
			return a.withData(cmd, func(ctx context.Context, d *dataDir) error {
				t, err := ensureTopic(ctx, d, args[0], f.partitions)
				if err != nil {
					return err
				}
				p := &producer{app: a, log: d, topic: t, flags: &f, headers: headers, builders: make([]log.Builder, t.Partitions)}
				parse := p.parseLine
				if f.format == "json" {
					parse = p.parseJSON
				}
				err = p.run(ctx, a.in, parse)
				if err != nil {
					return fmt.Errorf("%w; %d records before it are in topic %s", err, p.acknowledged, t.Name)
				}
				a.notef("Produced %s records to %s.", groupDigits(p.acknowledged), t.Name)
				return nil
			})
		},
	}
	a.intVar(c.Flags(), &f.partitions, "partitions", 1, "`number` of partitions if the topic is new; default 4")
	c.Flags().Var(a.choice("format", &f.format, "lines", "json"), "format", "form of the input: `lines` or json")
	c.Flags().StringVar(&f.delimiter, "delimiter", f.delimiter, "`text` between key and value; empty: lines have no key")
	c.Flags().StringVar(&f.key, "key", "", "`key` of all records")
	a.listVar(c.Flags(), &f.headers, "header", "a header of all records, `NAME=VALUE`; may be repeated")
	a.intVar(c.Flags(), &f.partition, "partition", 0, "`number` of the partition for all records; default: by key")
	a.boolVar(c.Flags(), &f.tombstones, "tombstones", "make an empty value null, which deletes its key in a compacted topic")
	return c
}

// parse reads the flags and collects what is wrong with them.
func (f *produceFlags) parse(a *app) (headers []log.Header) {
	for _, h := range f.headers {
		name, value, ok := strings.Cut(h, "=")
		if !ok || name == "" {
			a.mistake("--header: got %q, want NAME=VALUE", h)
		}
		headers = append(headers, log.Header{Key: name, Value: []byte(value)})
	}
	if text, err := strconv.Unquote(`"` + f.delimiter + `"`); err == nil {
		f.delimiter = text // \t and the like
	}
	if f.format == "json" && (f.key != "" || f.tombstones) {
		a.mistake("--format json says keys and null values itself: want it without --key and --tombstones")
	}
	return headers
}

// producer appends lines to a topic. Records with a key go where Java clients
// put them; those without stay in one partition until it is flushed.
type producer struct {
	app          *app
	log          log.Log
	topic        log.Topic
	flags        *produceFlags
	headers      []log.Header  // of all records
	builders     []log.Builder // by partition
	sticky       int           // partition of records without a key
	pending      int64         // records in builders
	acknowledged int64
}

// produced is one record to be appended; partition -1: by key.
type produced struct {
	log.Record
	partition int
}

// run reads in to its end. What was read is appended whenever the next line has
// to be waited for, so that a slow input is seen at once.
func (p *producer) run(ctx context.Context, in io.Reader, parse func([]byte, *produced) error) error {
	r := bufio.NewReaderSize(in, 64<<10)
	for n := 1; ; n++ {
		if err := ctx.Err(); err != nil {
			return errors.Join(p.flush(context.WithoutCancel(ctx)), err)
		}
		line, err := readLine(r)
		if err == io.EOF {
			return p.flush(ctx)
		}
		if err == nil {
			var rec produced
			rec.Timestamp, rec.partition, rec.Headers = log.TimestampOf(p.app.now()), p.flags.partition, slices.Clip(p.headers)
			if err = parse(line, &rec); err == nil {
				err = p.add(&rec)
			}
		}
		if err != nil {
			err = fmt.Errorf("line %d: %w", n, err)
			return errors.Join(err, p.flush(ctx))
		}
		if r.Buffered() == 0 || p.builders[p.sticky].Size() > flushBytes || p.pending > 10_000 {
			if err := p.flush(ctx); err != nil {
				return err
			}
		}
	}
}

// readLine returns the next line without its end. It is valid until the next
// call, and bounded.
func readLine(r *bufio.Reader) ([]byte, error) {
	line, err := r.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		long := bytes.Clone(line)
		for errors.Is(err, bufio.ErrBufferFull) {
			line, err = r.ReadSlice('\n')
			if long = append(long, line...); len(long) > maxLine {
				return nil, fmt.Errorf("longer than %d bytes", maxLine)
			}
		}
		line = long
	}
	if err == io.EOF && len(line) > 0 {
		err = nil
	}
	if err != nil {
		return nil, err
	}
	line = bytes.TrimSuffix(line, []byte("\n"))
	return bytes.TrimSuffix(line, []byte("\r")), nil
}

func (p *producer) add(rec *produced) error {
	if rec.partition >= len(p.builders) {
		return fmt.Errorf("partition is %d, topic %s has 0 to %d", rec.partition, p.topic.Name, len(p.builders)-1)
	}
	if rec.partition < 0 {
		rec.partition = p.sticky
		if rec.Key != nil {
			rec.partition = int(log.PartitionFor(rec.Key, len(p.builders)))
		}
	}
	p.builders[rec.partition].Append(rec.Timestamp, rec.Key, rec.Value, rec.Headers...)
	p.pending++
	return nil
}

// flush appends what is pending.
func (p *producer) flush(ctx context.Context) error {
	for i := range p.builders {
		b := &p.builders[i]
		if b.Len() == 0 {
			continue
		}
		tp := log.TopicPartition{Topic: p.topic.Name, Partition: int32(i)}
		if _, err := p.log.Append(ctx, tp, b.Bytes()); err != nil {
			return fmt.Errorf("append %d records to %v: %w", b.Len(), tp, err)
		}
		p.acknowledged += int64(b.Len())
		b.Reset()
	}
	p.pending = 0
	p.sticky = (p.sticky + 1) % len(p.builders)
	return nil
}

func (p *producer) parseLine(line []byte, rec *produced) error {
	rec.Value = line
	if p.flags.key != "" {
		rec.Key = []byte(p.flags.key)
	} else if p.flags.delimiter != "" {
		if key, value, ok := bytes.Cut(line, []byte(p.flags.delimiter)); ok {
			rec.Key, rec.Value = key, value
		}
	}
	if p.flags.tombstones && len(rec.Value) == 0 {
		rec.Value = nil
	}
	return nil
}

// jsonRecord is a record as consume prints it and produce reads it.
type jsonRecord struct {
	Key         json.RawMessage `json:"key"`
	KeyBase64   *string         `json:"key_base64"`
	Value       json.RawMessage `json:"value"`
	ValueBase64 *string         `json:"value_base64"`
	Timestamp   json.RawMessage `json:"timestamp"`
	Headers     []jsonHeader    `json:"headers"`
	Partition   *int            `json:"partition"`
}

type jsonHeader struct {
	Key         string  `json:"key"`
	Value       *string `json:"value"`
	ValueBase64 *string `json:"value_base64,omitempty"`
}

func (p *producer) parseJSON(line []byte, rec *produced) error {
	var r jsonRecord
	dec := json.NewDecoder(bytes.NewReader(line))
	if err := dec.Decode(&r); err != nil {
		return fmt.Errorf("want a JSON object such as {\"key\":\"k\",\"value\":\"v\"}: %w", err)
	}
	if _, err := dec.Token(); err != io.EOF { // More takes a closing brace for the end
		return errors.New("want one JSON object, got more behind it")
	}
	var err error
	if rec.Key, err = jsonBytes("key", r.Key, r.KeyBase64); err != nil {
		return err
	}
	if rec.Value, err = jsonBytes("value", r.Value, r.ValueBase64); err != nil {
		return err
	}
	for _, h := range r.Headers {
		header := log.Header{Key: h.Key}
		switch {
		case h.ValueBase64 != nil:
			if header.Value, err = base64.StdEncoding.DecodeString(*h.ValueBase64); err != nil {
				return fmt.Errorf("header %q: value_base64: %w", h.Key, err)
			}
		case h.Value != nil:
			header.Value = []byte(*h.Value)
		}
		rec.Headers = append(rec.Headers, header)
	}
	if r.Partition != nil {
		if rec.partition = *r.Partition; rec.partition < 0 {
			return fmt.Errorf("partition is %d, want 0 or more", rec.partition)
		}
	}
	if len(r.Timestamp) > 0 && string(r.Timestamp) != "null" {
		text := string(bytes.Trim(r.Timestamp, `"`))
		ms, err := query.ParseTime(text, time.Time{})
		if err != nil {
			return fmt.Errorf("timestamp: %w", err)
		}
		rec.Timestamp = log.Timestamp(ms)
	}
	return nil
}

// jsonBytes is the bytes of a key or value: a string's text, base64, or any
// other JSON as it stands. A missing or null one is nil.
func jsonBytes(name string, plain json.RawMessage, encoded *string) ([]byte, error) {
	if encoded != nil {
		b, err := base64.StdEncoding.DecodeString(*encoded)
		if err != nil {
			return nil, fmt.Errorf("%s_base64: %w", name, err)
		}
		return b, nil
	}
	if len(plain) == 0 || string(plain) == "null" {
		return nil, nil
	}
	if plain[0] == '"' {
		var s string
		if err := json.Unmarshal(plain, &s); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		return []byte(s), nil
	}
	return plain, nil
}
