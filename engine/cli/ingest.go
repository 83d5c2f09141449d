package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/gretestream/grete/log/connect"
)

// ingestFlags say how files become records.
type ingestFlags struct {
	topic      string
	format     string
	delimiter  string
	keyField   string
	timeField  string
	timeUnit   string
	timeLayout string
	again      bool
	partitions int
}

func (a *app) ingestCommand() *cobra.Command {
	f := ingestFlags{format: "auto"}
	c := &cobra.Command{
		Use: "ingest FILE...", Short: "Bring files into a topic",
		Long: `Bring files into a topic, which is made if there is none. "-" is the standard
input. Files may be compressed by gzip or zstd.

Formats: access (access logs of Apache and nginx, common and combined), json
(one object per line), csv, tsv and delimited (columns named by a first line).
By default the format is chosen by the name and the first line.

Malformed lines go to the topic TOPIC.rejects with line number and reason, and
are counted at the end. How far a file has come is stored with its records: if
an ingest is stopped, or killed, the same command goes on exactly there. A file
that is through is refused without --again.`,
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			a.wantArgs(args, "FILE...")
			if f.topic == "" {
				a.mistake("--topic is missing: want the topic that gets the records")
			}
			format := a.ingestFormat(&f)
			if err := a.checkUsage(); err != nil {
				return err
			}
			sources, err := a.sources(args)
			if err != nil {
				return err
			}
			d, err := a.openData(cmd.Context())
			if err != nil {
				return err
			}
			defer d.closing(&err)
			if !d.held() {
				if err := d.serve("ingest --topic " + f.topic); err != nil {
					return err
				}
			}
			if _, err := ensureTopic(cmd.Context(), d, f.topic, f.partitions); err != nil {
				return err
			}
			return a.ingest(cmd.Context(), d, sources, connect.Options{
				Topic: f.topic, Partitions: f.partitions, Format: format, Again: f.again,
			})
		},
	}
	flags := c.Flags()
	flags.StringVar(&f.topic, "topic", "", "`topic` that gets the records")
	flags.Var(a.choice("format", &f.format, "auto", "access", "json", "csv", "tsv", "delimited"), "format", "`auto`, access, json, csv, tsv or delimited")
	flags.StringVar(&f.delimiter, "delimiter", "", "`character` between columns; \\t or tab for a tab")
	flags.StringVar(&f.keyField, "key-field", "", "`field` whose value becomes the key; default: no key")
	flags.StringVar(&f.timeField, "time-field", "", "`field` that holds the event time; default: the time of ingesting; access logs have their own")
	flags.Var(a.choice("time-unit", &f.timeUnit, "s", "ms", "us", "ns"), "time-unit", "`unit` of the time field, since 1970: s, ms, us or ns; default: chosen by its value")
	flags.StringVar(&f.timeLayout, "time-layout", "", "`layout` of the time field, as of Go (\"2006-01-02 15:04:05\") or strftime (\"%Y-%m-%d %H:%M:%S\")")
	a.boolVar(flags, &f.again, "again", "ingest files once more that were ingested to their end")
	a.intVar(flags, &f.partitions, "partitions", 1, "`number` of partitions if the topic is new; default 4")
	return c
}

// ingestFormat turns flags into a format, and notes what does not fit.
func (a *app) ingestFormat(f *ingestFlags) connect.Format {
	format := connect.Format{Delimiter: f.delimiter, KeyField: f.keyField, TimeField: f.timeField, TimeUnit: connect.TimeUnit(f.timeUnit)}
	switch f.format {
	case "access":
		format.Kind = connect.AccessLog
	case "json":
		format.Kind = connect.JSONLines
	case "csv", "tsv", "delimited":
		format.Kind = connect.Delimited
		if f.delimiter == "" && f.format == "csv" {
			format.Delimiter = ","
		}
		if f.delimiter == "" && f.format == "tsv" {
			format.Delimiter = "\t"
		}
	}
	if f.delimiter != "" && (f.format == "access" || f.format == "json") {
		a.mistake("--delimiter %q: --format %s has no columns, want csv, tsv or delimited", f.delimiter, f.format)
	}
	if f.timeLayout != "" {
		if f.timeUnit != "" {
			a.mistake("--time-unit and --time-layout say both how the time is written: want one of them")
		}
		format.TimeUnit = connect.TimeUnit(f.timeLayout)
	}
	if (f.timeUnit != "" || f.timeLayout != "") && f.timeField == "" {
		a.mistake("--time-unit and --time-layout want --time-field with them")
	}
	if f.timeLayout != "" {
		// The parser of one line is made to learn early what it would refuse.
		probe := format
		probe.Kind = connect.JSONLines
		if _, err := probe.Parser("", nil, 0); err != nil {
			a.mistake("--time-layout: %v", err)
		}
	}
	return format
}

// sources opens nothing yet, but tells early what cannot be read.
func (a *app) sources(args []string) ([]connect.Source, error) {
	var sources []connect.Source
	var errs []error
	for _, name := range args {
		if name == "-" {
			sources = append(sources, connect.Stream("standard input", a.in))
			continue
		}
		switch info, err := os.Stat(name); {
		case err != nil:
			errs = append(errs, fmt.Errorf("read %s: %w", name, errors.Unwrap(err)))
		case info.IsDir():
			errs = append(errs, fmt.Errorf("read %s: it is a directory, want files", name))
		}
		src, err := connect.File(name)
		errs = append(errs, err)
		sources = append(sources, src)
	}
	return sources, errors.Join(errs...)
}

// ingest reads all sources, one after the other, and tells what became of them.
// A file that was finished before does not keep the others from being read.
func (a *app) ingest(ctx context.Context, d *dataDir, sources []connect.Source, opts connect.Options) error {
	r := &rows{columns: []column{{title: "Source"}, {"Lines", true}, {"Records", true}, {"Rejected", true}, {"Resumed", true}}}
	var failed []error
	for _, src := range sources {
		bar := a.progress(shorten(src.Name(), 30), "B")
		opts.Progress = func(p connect.Progress) { bar.update(p.BytesRead, p.BytesTotal) }
		started := a.now()
		sum, err := connect.Ingest(ctx, d, src, opts)
		bar.end()
		if errors.Is(err, connect.ErrFinished) {
			err = fmt.Errorf("%w: use --again to have its records a second time", err)
		} else if err != nil && ctx.Err() != nil {
			err = fmt.Errorf("%s: interrupted after %s lines: the same command goes on there", src.Name(), groupDigits(sum.Resumed+sum.Lines))
		}
		if err != nil {
			failed = append(failed, err)
			if !errors.Is(err, connect.ErrFinished) {
				break
			}
			continue
		}
		r.add(src.Name(), sum.Lines, sum.Records, sum.Rejected, sum.Resumed)
		a.ingested(src.Name(), opts.Topic, sum, a.now().Sub(started))
	}
	if a.common.output != "table" {
		if err := a.print(r); err != nil {
			return err
		}
	}
	return errors.Join(failed...)
}

// ingested tells what became of one source.
func (a *app) ingested(name, topic string, sum connect.Summary, took time.Duration) {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s records into %s", name, groupDigits(sum.Records), topic)
	if sum.Rejected > 0 {
		fmt.Fprintf(&b, ", %s malformed lines into %s", groupDigits(sum.Rejected), connect.RejectsTopic(topic))
	}
	if sum.Resumed > 0 {
		fmt.Fprintf(&b, ", %s lines were there before", groupDigits(sum.Resumed))
	}
	if s := took.Seconds(); s > 0 {
		fmt.Fprintf(&b, " (%s records/s)", groupDigits(int64(float64(sum.Records)/s)))
	}
	a.notef("%s", b.String())
}
