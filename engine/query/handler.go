package query

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/gretestream/grete/engine"
	"github.com/gretestream/grete/jobs"
	"github.com/gretestream/grete/log"
)

// jobObject is the status of a job in JSON.
type jobObject struct {
	Job         string         `json:"job"`
	Generation  int64          `json:"generation"`
	State       string         `json:"state"`
	Ready       bool           `json:"ready"`
	Error       string         `json:"error,omitempty"`
	Started     *time.Time     `json:"started,omitempty"`
	Lag         int64          `json:"lag"` // records
	WatermarkMs *int64         `json:"watermark_ms"`
	Progress    progressObject `json:"progress"`
	Tasks       []taskObject   `json:"tasks,omitempty"`
}

type progressObject struct {
	Phase string `json:"phase"`
	Done  int64  `json:"done"`
	Total int64  `json:"total"`
}

type taskObject struct {
	Task      string       `json:"task"`
	State     string       `json:"state"`
	Error     string       `json:"error,omitempty"`
	Restarts  int          `json:"restarts"`
	Epoch     int64        `json:"epoch"`
	Watermark *string      `json:"watermark"`
	Commits   int64        `json:"commits"`
	Records   int64        `json:"records"`
	Inputs    []taskInput  `json:"inputs"`
	Drops     []dropObject `json:"drops,omitempty"`
}

type taskInput struct {
	inputObject
	End  int64 `json:"end"`
	Lag  int64 `json:"lag"`
	Idle bool  `json:"idle,omitempty"`
}

type dropObject struct {
	Operator string `json:"operator"`
	Reason   string `json:"reason"`
	Count    int64  `json:"count"`
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// encodeStatus returns a status for JSON, with or without its tasks.
func encodeStatus(s *engine.Status, tasks bool) jobObject {
	o := jobObject{
		Job: s.Job, Generation: s.Generation, State: s.State.String(), Ready: s.Ready(), Error: text(s.Err), Lag: s.Lag(),
		Progress: progressObject{Phase: s.Progress.Phase, Done: s.Progress.Done, Total: s.Progress.Total},
	}
	if !s.Started.IsZero() {
		o.Started = &s.Started
	}
	known := len(s.Tasks) > 0
	var lowest int64
	for i := range s.Tasks {
		t := &s.Tasks[i]
		known = known && t.Watermark != jobs.NoWatermark
		if i == 0 || t.Watermark < lowest {
			lowest = t.Watermark
		}
		if !tasks {
			continue
		}
		to := taskObject{
			Task: t.Task, State: t.State.String(), Error: text(t.Err), Restarts: t.Restarts, Epoch: int64(t.Epoch),
			Commits: t.Commits, Records: t.Records, Inputs: []taskInput{},
		}
		if t.Watermark != jobs.NoWatermark {
			w := FormatTime(t.Watermark)
			to.Watermark = &w
		}
		for j := range t.Inputs {
			in := &t.Inputs[j]
			to.Inputs = append(to.Inputs, taskInput{
				inputObject: inputObject{in.Topic, in.Partition, int64(in.Offset)},
				End:         int64(in.End), Lag: in.Lag(), Idle: in.Idle,
			})
		}
		for _, d := range t.Drops {
			to.Drops = append(to.Drops, dropObject{d.Operator, d.Reason, d.Count})
		}
		o.Tasks = append(o.Tasks, to)
	}
	if known {
		o.WatermarkMs = &lowest
	}
	return o
}

// storeObject is a store in JSON.
type storeObject struct {
	Store      string `json:"store"`
	Kind       string `json:"kind"`
	Windowed   bool   `json:"windowed"`
	Window     string `json:"window,omitempty"`
	Key        string `json:"key"`
	Value      string `json:"value"`
	Retain     string `json:"retain,omitempty"`
	Stage      string `json:"stage"`
	Partitions int    `json:"partitions"`
}

func encodeStore(s *engine.StoreInfo) storeObject {
	o := storeObject{
		Store: s.Name, Kind: s.Kind, Windowed: s.Query.Windowed, Window: s.Window,
		Key: fmt.Sprint(s.Query.KeyType), Value: fmt.Sprint(s.Query.RowType), Stage: s.Stage, Partitions: s.Partitions,
	}
	if s.Retain > 0 {
		o.Retain = s.Retain.String()
	}
	return o
}

// ElsewhereHeader names the tasks whose part of the store is not in an answer.
const ElsewhereHeader = "Grete-Elsewhere"

// errUnknownJob is the job's ErrUnknownStore.
var errUnknownJob = errors.New("unknown job")

// statusOf is the HTTP status that suits an error.
func statusOf(err error) int {
	var bad *BadQuery
	switch {
	case errors.As(err, &bad):
		return http.StatusBadRequest
	case errors.Is(err, errUnknownJob), errors.Is(err, engine.ErrUnknownStore):
		return http.StatusNotFound
	case errors.Is(err, engine.ErrElsewhere):
		return http.StatusMisdirectedRequest
	case errors.Is(err, engine.ErrNotReady), errors.Is(err, log.ErrClosed):
		return http.StatusServiceUnavailable
	case errors.Is(err, ErrBehind):
		return http.StatusGatewayTimeout
	}
	return http.StatusInternalServerError
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	// An error here means that the client has gone: nobody is left to tell.
	_ = enc.Encode(v)
}

func writeError(w http.ResponseWriter, err error) {
	if errors.Is(err, engine.ErrNotReady) {
		w.Header().Set("Retry-After", "1")
	}
	writeJSON(w, statusOf(err), map[string]string{"error": err.Error()})
}

// job answers /v1/jobs/{job}.
func (s *Server) job(w http.ResponseWriter, r *http.Request) {
	src, err := s.source(r.PathValue("job"))
	if err != nil {
		writeError(w, err)
		return
	}
	status := src.Status()
	writeJSON(w, http.StatusOK, encodeStatus(&status, true))
}

func (s *Server) jobList(w http.ResponseWriter, r *http.Request) {
	list := []jobObject{}
	for _, src := range s.sources() {
		status := src.Status()
		list = append(list, encodeStatus(&status, false))
	}
	writeJSON(w, http.StatusOK, map[string]any{"jobs": list})
}

func (s *Server) stores(w http.ResponseWriter, r *http.Request) {
	src, err := s.source(r.PathValue("job"))
	if err != nil {
		writeError(w, err)
		return
	}
	list := []storeObject{}
	for _, info := range src.Stores() {
		if info.Query != nil {
			list = append(list, encodeStore(&info))
		}
	}
	writeJSON(w, http.StatusOK, map[string]any{"job": src.Job(), "generation": src.Generation(), "stores": list})
}

// store answers a query.
func (s *Server) store(w http.ResponseWriter, r *http.Request) {
	src, err := s.source(r.PathValue("job"))
	if err != nil {
		writeError(w, err)
		return
	}
	q, opts, err := parseRequest(r, time.Now())
	if err != nil {
		writeError(w, err)
		return
	}
	if opts.watch {
		s.watch(w, r, src, q)
		return
	}
	a, err := Open(r.Context(), src, s.opts.Log, q)
	if err != nil {
		writeError(w, err)
		return
	}
	defer a.Close()
	h := w.Header()
	h.Set("Content-Type", opts.format.ContentType())
	h.Set("Grete-Generation", strconv.FormatInt(a.Generation, 10))
	h.Set("Grete-Offsets", a.TrueUpTo.Offsets())
	if text := a.TrueUpTo.WatermarkText(); text != "" {
		h.Set("Grete-Watermark", text)
	}
	if len(a.Elsewhere) > 0 {
		h.Set(ElsewhereHeader, strings.Join(a.Elsewhere, ", "))
	}
	// A long answer to a slow reader may take as long as it makes progress.
	out := &steadyWriter{w: w, c: http.NewResponseController(w)}
	if err := a.Write(r.Context(), out, opts.format); err != nil {
		if out.n == 0 && r.Context().Err() == nil {
			h.Del("Grete-Offsets")
			h.Del("Grete-Watermark")
			h.Del(ElsewhereHeader)
			writeError(w, err)
			return
		}
		s.logger.Warn("query cut short", "store", q.Store, "written", out.n, "err", err)
		panic(http.ErrAbortHandler) // net/http's way to cut the connection
	}
}

// steadyWriter gives each write of an answer writeTimeout.
type steadyWriter struct {
	w http.ResponseWriter
	c *http.ResponseController
	n int64 // bytes written
}

func (s *steadyWriter) Write(b []byte) (int, error) {
	// Connections without deadlines (in tests) need none.
	_ = s.c.SetWriteDeadline(time.Now().Add(writeTimeout))
	n, err := s.w.Write(b)
	s.n += int64(n)
	return n, err
}

type requestOptions struct {
	format Format
	watch  bool
}

// parameters are the names that a query may have; others are mistakes.
var parameters = map[string]bool{
	"key": true, "from": true, "to": true, "window": true, "top": true, "limit": true,
	"at-least": true, "wait": true, "watch": true, "format": true,
}

// parseRequest reads a query from a URL. All that is wrong is reported at once.
func parseRequest(r *http.Request, now time.Time) (Query, requestOptions, error) {
	q := Query{Store: r.PathValue("store")}
	var opts requestOptions
	var mistakes []error
	note := func(err error) {
		if err != nil {
			mistakes = append(mistakes, err)
		}
	}
	v, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		note(badf("query string: %v", err))
	}
	for name := range v {
		if !parameters[name] {
			note(badf("unknown parameter %q: want key, from, to, window, top, limit, at-least, wait, watch or format", name))
		}
	}
	instant := func(name string) *int64 {
		if !v.Has(name) {
			return nil
		}
		ms, err := ParseTime(v.Get(name), now)
		if err != nil {
			note(badf("%s: %v", name, err))
		}
		return &ms
	}
	number := func(name string) int {
		if !v.Has(name) {
			return 0
		}
		n, err := strconv.Atoi(v.Get(name))
		if err != nil || n < 1 {
			note(badf("%s is %q, want a number from 1 on", name, v.Get(name)))
		}
		return n
	}
	if v.Has("key") {
		key := v.Get("key")
		q.Key = &key
	}
	q.From, q.To = instant("from"), instant("to")
	if w := instant("window"); w != nil {
		if q.From != nil || q.To != nil {
			note(badf("window stands for from and to: give either"))
		}
		after := *w + 1
		q.From, q.To = w, &after
	}
	q.Top, q.Limit = number("top"), number("limit")
	for _, s := range v["at-least"] {
		o, err := ParseOffset(s)
		note(err)
		q.AtLeast = append(q.AtLeast, o)
	}
	if s := v.Get("wait"); s != "" {
		d, err := time.ParseDuration(s)
		if err != nil || d <= 0 || d > MaxWait {
			note(badf("wait is %q, want a duration up to %v, such as 5s", s, MaxWait))
		}
		q.Wait = d
	}
	switch s := v.Get("watch"); s {
	case "", "0", "false":
	case "1", "true":
		opts.watch = true
	default:
		note(badf("watch is %q, want 1", s))
	}
	switch accept := r.Header.Get("Accept"); {
	case v.Has("format"):
		opts.format, err = ParseFormat(v.Get("format"))
		note(err)
	case accept == eventStream:
		opts.watch = true
	default:
		opts.format, err = negotiate(accept)
		note(err)
	}
	if len(mistakes) > 0 {
		return q, opts, &BadQuery{errors.Join(mistakes...).Error()}
	}
	return q, opts, nil
}

const (
	eventStream = "text/event-stream"

	// watchEvery is the shortest time between two events of a watch.
	watchEvery = 500 * time.Millisecond
	// maxEvent bounds one event, in bytes: a watch is for what people look at.
	maxEvent = 4 << 20
	// heartbeat is how often a quiet watch says that it is alive.
	heartbeat = 15 * time.Second
)

// limitedBuffer refuses to hold more than maxEvent bytes.
type limitedBuffer struct{ bytes.Buffer }

var errEventSize = fmt.Errorf("more than %d bytes for one event of a watch: ask for less, with key, from, top or limit", maxEvent)

func (b *limitedBuffer) Write(p []byte) (int, error) {
	if b.Len()+len(p) > maxEvent {
		return 0, errEventSize
	}
	return b.Buffer.Write(p)
}

// watch sends the answer, and again whenever it has changed, as server-sent
// events: "event: rows" with the JSON answer on one line of data, and "event:
// error" before it gives up. Relative times are taken anew each time.
func (s *Server) watch(w http.ResponseWriter, r *http.Request, src engine.Source, q Query) {
	ctx := r.Context()
	c := http.NewResponseController(w)
	started := false
	send := func(event string, data []byte) error {
		if !started {
			started = true
			w.Header().Set("Content-Type", eventStream)
			w.Header().Set("Cache-Control", "no-store")
		}
		_ = c.SetWriteDeadline(time.Now().Add(writeTimeout))
		var b bytes.Buffer
		if event == "" {
			b.WriteString(": alive\n\n")
		} else {
			fmt.Fprintf(&b, "event: %s\n", event)
			for _, line := range bytes.Split(bytes.TrimRight(data, "\n"), []byte("\n")) {
				fmt.Fprintf(&b, "data: %s\n", line)
			}
			b.WriteByte('\n')
		}
		if _, err := w.Write(b.Bytes()); err != nil {
			return err
		}
		return c.Flush()
	}

	var last []byte
	ticker := time.NewTicker(heartbeat)
	defer ticker.Stop()
	for {
		changed := src.Changed()
		event, err := s.event(ctx, src, q)
		if err != nil {
			switch {
			case ctx.Err() != nil:
			case !started:
				writeError(w, err)
			default:
				message, _ := json.Marshal(map[string]string{"error": err.Error()})
				_ = send("error", message)
			}
			return
		}
		if rows := rowsOf(event); last == nil || !bytes.Equal(rows, last) {
			last = bytes.Clone(rows)
			if send("rows", event) != nil {
				return
			}
		}
		q.AtLeast = nil // holds for ever once it did
		pause := time.NewTimer(watchEvery)
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			return
		}
		for waiting := true; waiting; {
			select {
			case <-changed:
				waiting = false
			case <-ticker.C:
				if send("", nil) != nil {
					return
				}
			case <-ctx.Done():
				return
			}
		}
		if again, _, err := parseRequest(r, time.Now()); err == nil {
			q.From, q.To = again.From, again.To
		}
	}
}

// event is one answer of a watch.
func (s *Server) event(ctx context.Context, src engine.Source, q Query) ([]byte, error) {
	a, err := Open(ctx, src, s.opts.Log, q)
	if err != nil {
		return nil, err
	}
	defer a.Close()
	var b limitedBuffer
	if err := a.Write(ctx, &b, JSON); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// rowsOf is the part of a JSON answer that a watch compares: offsets move on
// without the rows.
func rowsOf(answer []byte) []byte {
	_, rows, _ := bytes.Cut(answer, []byte(`,"rows":[`))
	return rows
}
