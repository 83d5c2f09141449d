package cli

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/gretestream/grete/engine"
	"github.com/gretestream/grete/engine/query"
	"github.com/gretestream/grete/jobs"
)

// queryFlags say what is asked.
type queryFlags struct {
	store            string
	key              string
	from, to, window string
	top, limit       int
}

func (a *app) queryCommand() *cobra.Command {
	var f queryFlags
	c := &cobra.Command{
		Use: "query JOB", Short: "Ask a job's store",
		Long: `Ask a job's store, whether the job runs or not.

With --output csv the answer is window_start_ms,window_start,key,value: a header
line, then rows in order of window start, then key bytes; with json one object a
line; with arrow an Arrow IPC stream. Times are RFC 3339, milliseconds since 1970, or
a time span before now such as -5m.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			a.wantArgs(args, "JOB")
			q := a.parseQuery(cmd, &f)
			return a.withData(cmd, func(ctx context.Context, d *dataDir) error {
				ask, err := a.asker(ctx, d, args[0], q)
				if err != nil {
					return err
				}
				if a.common.output == "table" {
					return a.printAnswer(ask)
				}
				return ask(a.out, answerFormat(a.common.output))
			})
		},
	}
	flags := c.Flags()
	flags.StringVar(&f.store, "store", "", "`store` to ask; needed if the job keeps more than one")
	flags.StringVar(&f.key, "key", "", "one `key`")
	flags.StringVar(&f.from, "from", "", "windows that start at this `time` or later")
	flags.StringVar(&f.to, "to", "", "windows that start before this `time`")
	flags.StringVar(&f.window, "window", "", "the window that starts at this `time`")
	a.intVar(flags, &f.top, "top", 1, "of each window only the so `many` largest values")
	a.intVar(flags, &f.limit, "limit", 1, "at most so `many` rows")
	return c
}

// answerFormat is the format of an answer for --output.
func answerFormat(output string) query.Format {
	switch output {
	case "csv":
		return query.CSV
	case "arrow":
		return query.Arrow
	}
	return query.NDJSON
}

func (a *app) parseQuery(cmd *cobra.Command, f *queryFlags) query.Query {
	q := query.Query{Store: f.store, Top: f.top, Limit: f.limit}
	if cmd.Flags().Changed("key") {
		q.Key = &f.key
	}
	instant := func(name, text string) *int64 {
		if text == "" {
			return nil
		}
		ms, err := query.ParseTime(text, a.now())
		if err != nil {
			a.mistake("--%s: %v", name, err)
		}
		return &ms
	}
	q.From, q.To = instant("from", f.from), instant("to", f.to)
	if w := instant("window", f.window); w != nil {
		if q.From != nil || q.To != nil {
			a.mistake("--window stands for --from and --to: want one or the other")
		}
		after := *w + 1
		q.From, q.To = w, &after
	}
	return q
}

// asker writes the answer in a format.
type asker func(w io.Writer, f query.Format) error

// asker finds who can answer: the process that runs the job, or a look into the
// state of a job that does not run.
func (a *app) asker(ctx context.Context, d *dataDir, job string, q query.Query) (asker, error) {
	r, err := d.runner(job)
	if err != nil {
		return nil, err
	}
	if r != nil {
		if q.Store == "" {
			stores, err := r.stores(ctx, job)
			if err == nil {
				q.Store, err = onlyStore(job, stores)
			}
			if err != nil {
				return nil, err
			}
		}
		return func(w io.Writer, f query.Format) error {
			elsewhere, err := r.ask(ctx, w, job, q, f)
			if elsewhere != "" {
				a.notef("This is not all: other containers of job %s have %s.", job, elsewhere)
			}
			return err
		}, nil
	}
	return func(w io.Writer, f query.Format) error { return a.askInspection(ctx, d, job, q, w, f) }, nil
}

// askInspection answers from the state of a job that does not run.
func (a *app) askInspection(ctx context.Context, d *dataDir, job string, q query.Query, w io.Writer, f query.Format) (err error) {
	src, err := a.inspect(ctx, d, job)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, src.Close()) }()
	if q.Store == "" {
		var names []string
		for _, s := range src.Stores() {
			if s.Query != nil {
				names = append(names, s.Name)
			}
		}
		if q.Store, err = onlyStore(job, names); err != nil {
			return err
		}
	}
	answer, err := query.Open(ctx, src, d, q)
	if err != nil {
		return err
	}
	defer answer.Close()
	return answer.Write(ctx, w, f)
}

// inspect opens the state of a job that does not run.
func (a *app) inspect(ctx context.Context, d *dataDir, name string) (*engine.Inspection, error) {
	job, ok := a.findJob(name)
	deployment, err := jobs.LoadDeployment(ctx, d, name)
	if err != nil {
		return nil, err
	}
	switch {
	case deployment == nil && !ok:
		return nil, fmt.Errorf("unknown job %q: this binary has %s", name, orNone(a.jobNames()))
	case deployment == nil:
		return nil, fmt.Errorf("job %q has not run in %s yet: start it with \"grete run %s\"", name, d.path, name)
	case !ok:
		return nil, fmt.Errorf("job %q is not linked into this binary, which has %s: ask with the binary that ran it", name, orNone(a.jobNames()))
	}
	return engine.Inspect(ctx, engine.Options{Job: *job, Log: d, Dir: d.statePath(), Memory: a.common.memory, Logger: a.logger})
}

// onlyStore is the store that is meant where none is named.
func onlyStore(job string, stores []string) (string, error) {
	if len(stores) == 1 {
		return stores[0], nil
	}
	return "", fmt.Errorf("--store is missing: job %q keeps %s", job, orNone(stores))
}

// runs tells whether the process runs a job.
func (r *running) runs(job string) bool {
	for _, j := range r.Jobs {
		if j == job {
			return true
		}
	}
	return false
}

// get asks the process over HTTP. The caller closes the body. An answer that is
// an error is returned as one, in its own words.
func (r *running) get(ctx context.Context, method, path string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://"+r.Addresses[0]+path, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+r.Token)
	// A client of its own: nothing is kept open after the answer.
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DisableCompression: true}}
	resp, err := client.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, fmt.Errorf("ask \"grete %s\" (pid %d): %w", r.Command, r.PID, err)
	}
	if resp.StatusCode == http.StatusOK {
		return resp, nil
	}
	defer resp.Body.Close()
	var answer struct{ Error string }
	if err := json.NewDecoder(io.LimitReader(resp.Body, 1<<20)).Decode(&answer); err != nil || answer.Error == "" {
		return nil, fmt.Errorf("ask \"grete %s\" (pid %d): got status %s", r.Command, r.PID, resp.Status)
	}
	if resp.StatusCode == http.StatusServiceUnavailable {
		return nil, unavailable(answer.Error)
	}
	return nil, errors.New(answer.Error)
}

// errUnavailable marks refusals of a process that will answer soon.
var errUnavailable = errors.New("unavailable")

// unavailable is such a refusal in the process's own words.
type unavailable string

func (e unavailable) Error() string        { return string(e) }
func (e unavailable) Is(target error) bool { return target == errUnavailable }

// stores lists what a running job keeps.
func (r *running) stores(ctx context.Context, job string) ([]string, error) {
	resp, err := r.get(ctx, http.MethodGet, "/v1/jobs/"+url.PathEscape(job)+"/stores")
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	var answer struct{ Stores []struct{ Store string } }
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		return nil, fmt.Errorf("read the list of stores: %w", err)
	}
	var names []string
	for _, s := range answer.Stores {
		names = append(names, s.Store)
	}
	return names, nil
}

// readyWait is how long a query waits for a job that is just starting.
const readyWait = 30 * time.Second

// getReady is get that asks again while the job restores its state.
func (r *running) getReady(ctx context.Context, path string) (*http.Response, error) {
	deadline := time.Now().Add(readyWait)
	for {
		resp, err := r.get(ctx, http.MethodGet, path)
		if !errors.Is(err, errUnavailable) || time.Now().After(deadline) {
			return resp, err
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// ask copies the answer of a running job to w. elsewhere names the tasks that it
// lacks.
func (r *running) ask(ctx context.Context, w io.Writer, job string, q query.Query, f query.Format) (elsewhere string, err error) {
	v := url.Values{"format": {f.String()}}
	if q.Key != nil {
		v.Set("key", *q.Key)
	}
	if q.From != nil {
		v.Set("from", strconv.FormatInt(*q.From, 10))
	}
	if q.To != nil {
		v.Set("to", strconv.FormatInt(*q.To, 10))
	}
	if q.Top > 0 {
		v.Set("top", strconv.Itoa(q.Top))
	}
	if q.Limit > 0 {
		v.Set("limit", strconv.Itoa(q.Limit))
	}
	resp, err := r.getReady(ctx, "/v1/jobs/"+url.PathEscape(job)+"/stores/"+url.PathEscape(q.Store)+"?"+v.Encode())
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(w, resp.Body); err != nil {
		return "", fmt.Errorf("read the answer: %w", err)
	}
	return resp.Header.Get(query.ElsewhereHeader), nil
}

// tableChunk is how many rows of an answer are aligned together, so that an
// answer of any size is printed in bounded memory.
const tableChunk = 5_000

// printAnswer prints an answer as a table.
func (a *app) printAnswer(ask asker) error {
	in, out := io.Pipe()
	go func() { out.CloseWithError(ask(out, query.NDJSON)) }()
	defer in.Close() // ends ask, if it has not ended

	lines := bufio.NewReaderSize(in, 64<<10)
	r := &rows{}
	printed := 0
	for {
		line, err := readLine(lines)
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		var row answerRow
		if err := json.Unmarshal(line, &row); err != nil {
			return fmt.Errorf("read the answer: %w", err)
		}
		if r.columns == nil {
			r.columns = row.columns()
		}
		r.add(row.cells()...)
		if len(r.cells) == tableChunk {
			printed += len(r.cells)
			if err := a.print(r); err != nil {
				return err
			}
			r.cells = nil
		}
	}
	if len(r.cells) > 0 {
		return a.print(r)
	}
	if printed == 0 {
		a.notef("No rows.")
	}
	return nil
}

// answerRow is one row of an NDJSON answer.
type answerRow struct {
	WindowStart *string         `json:"window_start"`
	Closed      bool            `json:"closed"`
	Key         json.RawMessage `json:"key"`
	KeyBase64   string          `json:"key_base64"`
	Value       json.RawMessage `json:"value"`
	ValueBase64 string          `json:"value_base64"`
}

func (r *answerRow) columns() []column {
	var c []column
	if r.WindowStart != nil {
		c = append(c, column{title: "Window start"})
	}
	number := len(r.Value) > 0 && strings.IndexByte("-0123456789", r.Value[0]) >= 0
	c = append(c, column{title: "Key"}, column{title: "Value", right: number})
	if r.WindowStart != nil {
		c = append(c, column{title: "State"})
	}
	return c
}

func (r *answerRow) cells() []any {
	show := func(plain json.RawMessage, encoded string) string {
		var s string
		switch {
		case encoded != "":
			return "base64:" + encoded
		case json.Unmarshal(plain, &s) == nil:
			return s
		}
		return string(plain)
	}
	cells := []any{show(r.Key, r.KeyBase64), show(r.Value, r.ValueBase64)}
	if r.WindowStart == nil {
		return cells
	}
	state := "open"
	if r.Closed {
		state = "closed"
	}
	return append(append([]any{*r.WindowStart}, cells...), state)
}
