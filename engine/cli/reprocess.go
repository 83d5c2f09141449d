package cli

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/gretestream/grete/engine"
	"github.com/gretestream/grete/engine/query"
)

func (a *app) reprocessCommand() *cobra.Command {
	var f runFlags
	var drop bool
	from := "earliest"
	c := &cobra.Command{
		Use: "reprocess JOB", Short: "Run a job again from its first record",
		Long: `Run a job again from its first record, or from a time: its next generation
starts with empty state, and its results follow the old ones in the output
topics, or with --drop-output take their place.

If the job runs in another process, that process is asked to do it, and its
progress is shown.

` + a.jobList(),
		RunE: func(cmd *cobra.Command, args []string) error {
			job := a.jobArg(args)
			spec := &reprocessSpec{drop: drop}
			if from != "earliest" {
				ms, err := query.ParseTime(from, a.now())
				if err != nil {
					a.mistake("--from: %v, or earliest", err)
				}
				spec.from.Time = time.UnixMilli(ms)
			}
			a.checkKafka(cmd)
			return a.withData(cmd, func(ctx context.Context, d *dataDir) error {
				if d.held() {
					if !d.holder.runs(job.Name) {
						return fmt.Errorf("data directory %s is held by \"grete %s\" (pid %d), which does not run job %q: end that one first (kill %d)",
							d.path, d.holder.Command, d.holder.PID, job.Name, d.holder.PID)
					}
					if len(f.settings) > 0 {
						return fmt.Errorf("--set: job %q runs in another process (pid %d) and keeps its settings: end that one first (kill %d)", job.Name, d.holder.PID, d.holder.PID)
					}
					if err := d.wantNoKafka(); err != nil {
						return err
					}
					return a.askReprocess(ctx, d, job.Name, spec)
				}
				if err := d.serve("reprocess "+job.Name, job.Name); err != nil {
					return err
				}
				return a.runJob(ctx, d, &jobRun{job: *job, flags: f, reprocess: spec})
			})
		},
	}
	c.Flags().StringVar(&from, "from", from, "where to begin: `earliest` or a time")
	a.boolVar(c.Flags(), &drop, "drop-output", "drop the results of earlier generations from the output topics")
	f.add(a, c)
	return c
}

// reprocessSpec says where the next generation of a job begins, and whether the
// results of the earlier ones are dropped.
type reprocessSpec struct {
	from engine.From
	drop bool
}

// reprocessor takes the wish for a reprocess from an HTTP request to the loop
// that runs the job, and tells the request how that goes.
//
//	request ──wish──► run loop: stops the container, opens the next generation
//	   ▲                  │
//	   └──── container ◄──┘   whose progress the request then writes
type reprocessor struct {
	job string

	mu      sync.Mutex // guards the fields below
	wish    *reprocessSpec
	stop    context.CancelFunc // stops the container that runs
	current *engine.Container
	err     error         // why the next generation did not start
	changed chan struct{} // closed and replaced when current or err changes
	closed  bool
}

func newReprocessor(job string) *reprocessor {
	return &reprocessor{job: job, changed: make(chan struct{})}
}

func (r *reprocessor) notifyLocked() {
	close(r.changed)
	r.changed = make(chan struct{})
}

// started tells which container runs now, or why none does.
func (r *reprocessor) started(c *engine.Container, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.current, r.err = c, err
	r.notifyLocked()
}

// onRequest sets what ends the container that runs.
func (r *reprocessor) onRequest(stop context.CancelFunc) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stop = stop; r.wish != nil {
		stop()
	}
}

// take returns the wish, once.
func (r *reprocessor) take() *reprocessSpec {
	r.mu.Lock()
	defer r.mu.Unlock()
	wish := r.wish
	r.wish, r.stop = nil, nil
	return wish
}

// close ends waiting requests: the job ends.
func (r *reprocessor) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	r.notifyLocked()
}

// ask wishes for a reprocess and waits for the container of the next generation.
func (r *reprocessor) ask(ctx context.Context, spec *reprocessSpec) (*engine.Container, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.wish != nil {
		return nil, fmt.Errorf("a reprocess of job %q is starting already", r.job)
	}
	before := r.current
	r.wish = spec
	if r.stop != nil {
		r.stop()
	}
	for !r.closed && r.err == nil && (r.current == before || r.wish == spec) {
		changed := r.changed
		r.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
		}
		r.mu.Lock()
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
	}
	switch {
	case r.err != nil:
		return nil, r.err
	case r.closed:
		return nil, fmt.Errorf("job %q is ending", r.job)
	}
	return r.current, nil
}

// reprocessEvent is a line of the answer to a reprocess.
type reprocessEvent struct {
	Generation int64  `json:"generation,omitempty"`
	Done       int64  `json:"done"`
	Total      int64  `json:"total"`
	Finished   bool   `json:"finished,omitempty"`
	Error      string `json:"error,omitempty"`
}

const reprocessTick = 250 * time.Millisecond

// ServeHTTP starts a reprocess (from=earliest or ms, drop-output=true) and
// writes a line of JSON about its progress every quarter of a second until it
// has caught up with what was there when it started.
func (r *reprocessor) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	fail := func(status int, err error) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(reprocessEvent{Error: err.Error()}) // the client may have gone
	}
	q := req.URL.Query()
	spec := &reprocessSpec{drop: q.Get("drop-output") == "true"}
	if from := q.Get("from"); from != "" && from != "earliest" {
		ms, err := query.ParseTime(from, time.Now())
		if err != nil {
			fail(http.StatusBadRequest, fmt.Errorf("from: %w, or earliest", err))
			return
		}
		spec.from.Time = time.UnixMilli(ms)
	}
	c, err := r.ask(req.Context(), spec)
	if err != nil {
		fail(http.StatusConflict, err)
		return
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	control := http.NewResponseController(w)
	ticker := time.NewTicker(reprocessTick)
	defer ticker.Stop()
	for {
		s := c.Status()
		e := reprocessEvent{Generation: c.Generation(), Done: s.Progress.Done, Total: s.Progress.Total}
		e.Finished = s.State == engine.Stopped || s.State == engine.Running && s.Progress.Done >= s.Progress.Total
		if s.Err != nil {
			e.Error = s.Err.Error()
		}
		if json.NewEncoder(w).Encode(e) != nil || control.Flush() != nil || e.Finished || e.Error != "" || s.State == engine.Failed {
			return
		}
		select {
		case <-ticker.C:
		case <-req.Context().Done():
			return
		}
	}
}

// authorized lets only those through who can read running.json.
func (d *dataDir) authorized(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		if subtle.ConstantTimeCompare([]byte(token), []byte(d.token)) != 1 {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = io.WriteString(w, `{"error":"wrong token: want that of running.json in the data directory"}`+"\n")
			return
		}
		next.ServeHTTP(w, r)
	})
}

// askReprocess lets the process that runs the job do it, and shows how it goes.
func (a *app) askReprocess(ctx context.Context, d *dataDir, job string, spec *reprocessSpec) error {
	v := url.Values{"from": {"earliest"}}
	if t := spec.from.Time; !t.IsZero() {
		v.Set("from", strconv.FormatInt(t.UnixMilli(), 10))
	}
	if spec.drop {
		v.Set("drop-output", "true")
	}
	resp, err := d.holder.get(ctx, http.MethodPost, "/v1/jobs/"+url.PathEscape(job)+"/reprocess?"+v.Encode())
	if err != nil {
		return fmt.Errorf("reprocess job %q in the process that runs it (pid %d): %w", job, d.holder.PID, err)
	}
	defer resp.Body.Close()
	bar := a.progress(job+": reprocess", "records")
	defer bar.end()
	dec := json.NewDecoder(resp.Body)
	for {
		var e reprocessEvent
		if err := dec.Decode(&e); err != nil {
			if ctx.Err() != nil {
				return fmt.Errorf("no longer watching: the reprocess of job %q goes on in the process that runs it (pid %d)", job, d.holder.PID)
			}
			return fmt.Errorf("follow the reprocess of job %q: %w", job, err)
		}
		switch {
		case e.Error != "":
			return errors.New(e.Error)
		case e.Finished:
			bar.end()
			a.notef("Job %s, generation %d, has caught up: %s records.", job, e.Generation, groupDigits(e.Done))
			return nil
		}
		bar.update(e.Done, e.Total)
	}
}
