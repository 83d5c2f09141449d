package cli

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/gretestream/grete/engine/query"
	"github.com/gretestream/grete/log"
)

// consumeFlags say what consume reads.
type consumeFlags struct {
	from       string
	offset     int
	partitions []string
	limit      int
	follow     bool
	raw        bool
	last       int
	until      string
	layout     string
	group      string
}

func (a *app) consumeCommand() *cobra.Command {
	f := consumeFlags{from: "earliest", offset: -1, last: -1}
	c := &cobra.Command{
		Use: "consume TOPIC", Short: "Print the records of a topic",
		Long: `Print the records of a topic, partition by partition, from the earliest to the
end as it is when the command starts, or with --follow from then on as well.

With --output json each line is an object: topic, partition, offset, timestamp,
key, value, headers. Keys and values are text; what is not UTF-8 stands as
base64 in key_base64 or value_base64. The results of jobs are decoded by the
codecs of the job, unless --raw is given: numbers as numbers, windowed keys as
{"key","window_start_ms","window_start"}, JSON as JSON.

With --print the layout of a record is yours: %t topic, %p partition, %o offset,
%T timestamp in ms, %k key, %K its length, %s value, %S its length, %h headers,
%% a percent sign, \n a new line.

With --group it shares the partitions with the other members of the group, goes
on where the group has stopped, and commits what it has printed.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			a.wantArgs(args, "TOPIC")
			var start log.Timestamp
			switch f.from {
			case "earliest", "latest":
			default:
				ms, err := query.ParseTime(f.from, a.now())
				if err != nil {
					a.mistake("--from: %v, earliest or latest", err)
				}
				start = log.Timestamp(ms)
			}
			until := log.Timestamp(math.MaxInt64)
			if f.until != "" {
				ms, err := query.ParseTime(f.until, a.now())
				if err != nil {
					a.mistake("--until: %v", err)
				}
				until = log.Timestamp(ms)
			}
			print, err := parseLayout(f.layout, strings.Join(args, ""))
			if err != nil {
				a.mistake("--print: %v", err)
			}
			if f.last >= 0 && (f.offset >= 0 || f.from != "earliest") {
				a.mistake("--last: want it without --offset and --from")
			}
			if f.group != "" && (f.offset >= 0 || f.last >= 0 || len(f.partitions) > 0) {
				a.mistake("--group: want it without --offset, --last and --partition: the group says what to read")
			}
			return a.withData(cmd, func(ctx context.Context, d *dataDir) (err error) {
				if f.group != "" && d.held() && d.holder.Kafka != "" {
					if d, err = a.joinServer(ctx, d.holder); err != nil {
						return err
					}
					defer d.closing(&err)
				}
				p := &recordPrinter{app: a, out: bufio.NewWriterSize(a.out, 64<<10), topic: args[0], left: f.limit, until: until, layout: print}
				err = a.consume(ctx, d, p, &f, start)
				if f.follow && ctx.Err() != nil {
					return nil // the usual end of it
				}
				return err
			})
		},
	}
	c.Flags().StringVar(&f.from, "from", f.from, "where to begin: `earliest`, latest or a time")
	a.intVar(c.Flags(), &f.offset, "offset", 0, "`offset` to begin at, instead of --from; with one --partition")
	a.listVar(c.Flags(), &f.partitions, "partition", "`number` of a partition to read; may be repeated; default all")
	a.intVar(c.Flags(), &f.last, "last", 0, "begin so `many` records before the end of each partition")
	c.Flags().StringVar(&f.until, "until", "", "leave out records from this `time` on")
	a.intVar(c.Flags(), &f.limit, "max", 1, "stop after so `many` records")
	a.boolVar(c.Flags(), &f.follow, "follow", "go on with records as they come, until interrupted")
	a.boolVar(c.Flags(), &f.raw, "raw", "do not decode the results of jobs")
	c.Flags().StringVar(&f.layout, "print", "", "`layout` of a record, such as '%p %o: %k = %s\\n', instead of --output")
	c.Flags().StringVar(&f.group, "group", "", "`name` of the group to read as a member of")
	return c
}

// consume prints the records of a topic.
func (a *app) consume(ctx context.Context, d *dataDir, p *recordPrinter, f *consumeFlags, start log.Timestamp) error {
	topic := p.topic
	t, err := d.Topic(ctx, topic)
	if err != nil {
		return unknownTopic(ctx, d, topic, err)
	}
	parts, err := choosePartitions(&t, f)
	if err != nil {
		return err
	}
	if !f.raw {
		if p.key, p.value, err = codecsOf(ctx, d, topic); err != nil {
			return err
		}
	}
	p.header()
	if f.group != "" {
		return a.consumeGroup(ctx, d, p, f, start)
	}
	wake := make(chan struct{}, 1)
	var readers []log.Reader
	defer func() {
		for _, r := range readers {
			r.Close()
		}
	}()
	for _, part := range parts {
		tp := log.TopicPartition{Topic: topic, Partition: part}
		bounds, err := d.Bounds(ctx, tp)
		if err != nil {
			return err
		}
		from, err := beginAt(ctx, d, tp, bounds, f, start)
		if err != nil {
			return err
		}
		r, err := d.OpenReader(tp, from, log.ReaderOptions{Wake: wake})
		if err != nil {
			return err
		}
		readers = append(readers, r)
		if done, err := p.copy(ctx, r, part, bounds.Stable); done || err != nil {
			return errors.Join(err, p.out.Flush())
		}
	}
	for f.follow {
		idle := true
		for i, r := range readers {
			records, err := r.Poll()
			if err != nil {
				return err
			}
			idle = idle && len(records) == 0
			if done, err := p.print(records, parts[i], -1); done || err != nil {
				return errors.Join(err, p.out.Flush())
			}
		}
		if err := p.out.Flush(); err != nil {
			return err
		}
		if idle {
			select {
			case <-wake:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}
	return p.out.Flush()
}

// unknownTopic adds what there is instead.
func unknownTopic(ctx context.Context, l log.Log, name string, err error) error {
	if !errors.Is(err, log.ErrUnknownTopic) {
		return err
	}
	topics, errList := l.Topics(ctx)
	if errList != nil {
		return err
	}
	var names []string
	for i := range topics {
		if !isInternal(&topics[i]) {
			names = append(names, topics[i].Name)
		}
	}
	return fmt.Errorf("%w: there are %s; \"grete topic create %s\" or an ingest makes one", err, orNone(names), name)
}

func choosePartitions(t *log.Topic, f *consumeFlags) ([]int32, error) {
	var parts []int32
	for _, s := range f.partitions {
		n, err := strconv.Atoi(s)
		if err != nil || n < 0 || n >= t.Partitions {
			return nil, fmt.Errorf("--partition %s: topic %q has partitions 0 to %d", s, t.Name, t.Partitions-1)
		}
		parts = append(parts, int32(n))
	}
	if len(parts) == 0 {
		for p := range t.Partitions {
			parts = append(parts, int32(p))
		}
	}
	if f.offset >= 0 && len(parts) != 1 {
		return nil, fmt.Errorf("--offset %d: want one --partition with it, topic %q has %d", f.offset, t.Name, t.Partitions)
	}
	return parts, nil
}

// beginAt is the first offset to print.
func beginAt(ctx context.Context, l log.Log, tp log.TopicPartition, b log.Bounds, f *consumeFlags, start log.Timestamp) (log.Offset, error) {
	switch {
	case f.offset >= 0:
		off := log.Offset(f.offset)
		if off < b.Start || off > b.End {
			return 0, fmt.Errorf("--offset %d: %v holds %d to %d: %w", off, tp, b.Start, b.End, log.ErrOffsetOutOfRange)
		}
		return off, nil
	case f.last >= 0:
		return max(b.Start, b.End-log.Offset(f.last)), nil
	case f.from == "earliest":
		return b.Start, nil
	case f.from == "latest":
		return b.End, nil
	}
	off, _, err := l.OffsetFor(ctx, tp, start)
	return off, err
}

// recordPrinter writes records in the form of --output.
type recordPrinter struct {
	app        *app
	out        *bufio.Writer
	topic      string
	key, value decodeFunc // nil: text
	left       int        // records that may still be printed; 0 or less: no limit
	until      log.Timestamp
	layout     layout     // nil: the form of --output
	last       log.Offset // of the record printed last
	line       []byte
}

// copy prints what r holds before end.
func (p *recordPrinter) copy(ctx context.Context, r log.Reader, part int32, end log.Offset) (done bool, err error) {
	for r.Position() < end {
		records, err := r.Next(ctx)
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return true, err
		}
		if done, err := p.print(records, part, end); done || err != nil {
			return done, err
		}
		if r.Position() > end {
			return false, r.Seek(end) // what has come meanwhile is for who follows
		}
	}
	return false, nil
}

// print writes records, those at end and behind it left out (-1: none are).
func (p *recordPrinter) print(records []log.Record, part int32, end log.Offset) (done bool, err error) {
	for i := range records {
		r := &records[i]
		if end >= 0 && r.Offset >= end {
			break
		}
		if r.Timestamp >= p.until {
			continue
		}
		p.last = r.Offset
		switch {
		case p.layout != nil:
			p.line = p.layout.append(p.line[:0], r, part)
		case p.app.common.output == "json":
			p.line = p.appendJSON(p.line[:0], r, part)
		case p.app.common.output == "csv":
			p.line = p.appendCSV(p.line[:0], r, part)
		default:
			p.line = p.appendPlain(p.line[:0], r, part)
		}
		if _, err := p.out.Write(p.line); err != nil {
			return true, err
		}
		if p.left--; p.left == 0 {
			return true, nil
		}
	}
	return false, nil
}

func (p *recordPrinter) header() {
	if p.app.common.output == "csv" && p.layout == nil {
		_, _ = p.out.WriteString("topic,partition,offset,timestamp,key,value,headers\n") // a failure comes back from Flush
	}
}

func (p *recordPrinter) appendJSON(b []byte, r *log.Record, part int32) []byte {
	b = append(b, `{"topic":`...)
	b = appendJSONValue(b, p.topic)
	b = fmt.Appendf(b, `,"partition":%d,"offset":%d,"timestamp":"%s",`, part, r.Offset, query.FormatTime(int64(r.Timestamp)))
	b = append(appendField(b, "key", r.Key, p.key), ',')
	b = append(appendField(b, "value", r.Value, p.value), ',')
	return append(appendHeaders(append(b, `"headers":`...), r.Headers), "}\n"...)
}

func appendHeaders(b []byte, headers []log.Header) []byte {
	b = append(b, '[')
	for i, h := range headers {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendJSONValue(append(b, `{"key":`...), h.Key)
		b = append(appendField(append(b, ','), "value", h.Value, nil), '}')
	}
	return append(b, ']')
}

// appendField appends a key or value: decoded, as text, or as base64 under
// another name.
func appendField(b []byte, name string, raw []byte, decode decodeFunc) []byte {
	b = append(b, '"')
	b = append(b, name...)
	if raw == nil {
		return append(b, `":null`...)
	}
	if decode != nil {
		if v, err := decode(raw); err == nil {
			return appendJSONValue(append(b, '"', ':'), v)
		}
	}
	if utf8.Valid(raw) {
		return appendJSONValue(append(b, '"', ':'), string(raw))
	}
	b = append(b, `_base64":"`...)
	b = base64.StdEncoding.AppendEncode(b, raw)
	return append(b, '"')
}

// appendJSONValue appends v as JSON, without escapes that only HTML needs.
func appendJSONValue(b []byte, v any) []byte {
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		out.Reset()
		_ = enc.Encode(err.Error()) // a string can be encoded
	}
	return append(b, bytes.TrimSuffix(out.Bytes(), []byte("\n"))...)
}

// plainText is a key or value in one line of text.
func plainText(raw []byte, decode decodeFunc) []byte {
	if raw != nil && decode != nil {
		if v, err := decode(raw); err == nil {
			return query.AppendText(nil, v)
		}
	}
	return raw
}

func (p *recordPrinter) appendCSV(b []byte, r *log.Record, part int32) []byte {
	b = append(query.AppendCSV(b, []byte(p.topic)), ',')
	b = fmt.Appendf(b, "%d,%d,%s,", part, r.Offset, query.FormatTime(int64(r.Timestamp)))
	b = append(query.AppendCSV(b, plainText(r.Key, p.key)), ',')
	b = append(query.AppendCSV(b, plainText(r.Value, p.value)), ',')
	if len(r.Headers) > 0 {
		b = query.AppendCSV(b, appendHeaders(nil, r.Headers))
	}
	return append(b, '\n')
}

// appendPlain appends a line for people: a stream has no table to align, so the
// columns before the key are of fixed width.
func (p *recordPrinter) appendPlain(b []byte, r *log.Record, part int32) []byte {
	show := func(raw []byte, decode decodeFunc) string {
		if raw == nil {
			return "-"
		}
		return printable(string(plainText(raw, decode)))
	}
	line := fmt.Sprintf("%3d %9d  %-24s  %s  %s", part, r.Offset, query.FormatTime(int64(r.Timestamp)), show(r.Key, p.key), show(r.Value, p.value))
	if width := p.app.terminal.out; width > 0 {
		line = shorten(line, width)
	}
	return append(append(b, strings.TrimRight(line, " ")...), '\n')
}
