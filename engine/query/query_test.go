package query

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/ipc"

	"github.com/gretestream/grete/engine"
	"github.com/gretestream/grete/jobs"
	"github.com/gretestream/grete/log"
	op "github.com/gretestream/grete/operators"
	"github.com/gretestream/grete/state"
)

// fakeSource is a job whose rows are made up: one slice per task.
type fakeSource struct {
	mu      sync.Mutex
	info    engine.StoreInfo
	tasks   [][]op.Row
	offset  log.Offset // of every input
	views   map[*state.View]int
	changed chan struct{}
	status  engine.Status
	fresh   bool // nothing was committed yet
	failAt  int  // rows of task 0 before a scan fails; 0: never
	gone    int  // of tasks, from the last: other containers have them
}

const minute = 60_000

func counts(tasks ...[]op.Row) *fakeSource {
	s := &fakeSource{tasks: tasks, offset: 7, views: map[*state.View]int{}, changed: make(chan struct{})}
	s.info = engine.StoreInfo{Stage: "by-page", Partitions: len(tasks), StoreDecl: op.StoreDecl{
		Name: "views", Kind: "window", Window: "tumbling 1m", Retain: time.Hour,
		Query: &op.StoreQuery{
			Windowed: true, KeyType: reflect.TypeFor[string](), RowType: reflect.TypeFor[int64](),
			ParseKey: func(s string) ([]byte, error) {
				if s == "" {
					return nil, errors.New("empty")
				}
				return []byte(s), nil
			},
			Scan: s.scan,
		},
	}}
	s.status = engine.Status{Job: "pageviews", Generation: 3, State: engine.Running}
	for p := range tasks {
		s.status.Tasks = append(s.status.Tasks, engine.TaskStatus{
			Task: fmt.Sprintf("by-page-%d", p), Stage: "by-page", Partition: int32(p), State: engine.TaskRunning, Watermark: 5 * minute,
			Inputs: []engine.InputStatus{{TopicPartition: log.TopicPartition{Topic: "in", Partition: int32(p)}, Offset: 7, End: 9}},
			Drops:  []op.Drop{{Operator: "views", Reason: "late", Count: 2}},
		})
	}
	return s
}

func (s *fakeSource) scan(v *state.View, r op.Range, f func(op.Row) error) error {
	s.mu.Lock()
	task := s.views[v]
	s.mu.Unlock()
	for i, row := range s.tasks[task] {
		if s.failAt > 0 && task == 0 && i == s.failAt {
			return errors.New("block 17: checksum mismatch")
		}
		in := row.Start >= r.From && (r.To == 0 || row.Start < r.To) && (r.Key == nil || bytes.Equal(r.Key, row.RawKey))
		if row.End != 0 && row.End <= r.HideBefore {
			in = false
		}
		if in {
			if err := f(row); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *fakeSource) Job() string                { return "pageviews" }
func (s *fakeSource) Generation() int64          { return 3 }
func (s *fakeSource) Stores() []engine.StoreInfo { return []engine.StoreInfo{s.info} }

func (s *fakeSource) Changed() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changed
}

func (s *fakeSource) Status() engine.Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.status
}

func (s *fakeSource) Views(string) ([]engine.TaskView, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.status.Ready() {
		return nil, fmt.Errorf("task by-page-0: %w", engine.ErrNotReady)
	}
	var views []engine.TaskView
	if s.gone == len(s.tasks) {
		return nil, fmt.Errorf("tasks: %w", engine.ErrElsewhere)
	}
	for p := range len(s.tasks) - s.gone {
		v := new(state.View)
		s.views[v] = p
		views = append(views, engine.TaskView{
			Task: fmt.Sprintf("by-page-%d", p), Partition: int32(p), View: v,
			Checkpoint: jobs.Checkpoint{Epoch: 1, Watermark: int64(5+p) * minute, Inputs: []jobs.InputCheckpoint{{Offset: s.offset}}},
			Inputs:     []log.TopicPartition{{Topic: "in", Partition: int32(p)}},
		})
	}
	if s.fresh {
		for i := range views {
			views[i].Checkpoint = jobs.Checkpoint{Watermark: jobs.NoWatermark}
		}
	}
	return views, nil
}

// move lets the job come to an offset, with more rows in its first task.
func (s *fakeSource) move(to log.Offset, rows ...op.Row) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.offset, s.fresh = to, false
	s.tasks[0] = append(slices.Clone(s.tasks[0]), rows...)
	close(s.changed)
	s.changed = make(chan struct{})
}

// setState gives the first task a state.
func (s *fakeSource) setState(state engine.TaskState) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.status.Tasks[0].State = state
	close(s.changed)
	s.changed = make(chan struct{})
}

func row(window int64, key string, count int64) op.Row {
	return op.Row{Start: window * minute, End: (window + 1) * minute, RawKey: []byte(key), Key: key, Value: count}
}

func answer(t *testing.T, s *fakeSource, q Query, f Format) (string, error) {
	t.Helper()
	q.Store = "views"
	a, err := Open(context.Background(), s, nil, q)
	if err != nil {
		return "", err
	}
	defer a.Close()
	var b bytes.Buffer
	err = a.Write(context.Background(), &b, f)
	return b.String(), err
}

func wantAnswer(t *testing.T, s *fakeSource, q Query, f Format, want string) {
	t.Helper()
	got, err := answer(t, s, q, f)
	if err != nil {
		t.Fatal(err)
	}
	if got != want {
		t.Errorf("%+v as %v:\n%s\nwant\n%s", q, f, got, want)
	}
}

func three() *fakeSource {
	return counts(
		[]op.Row{row(0, "/a", 3), row(0, "/d", 1), row(2, "/a", 1)},
		[]op.Row{row(0, "/b,\"x\"", 3), row(1, "/b", 2)},
		nil,
		[]op.Row{row(0, "/c", 9), row(1, "/\xff", 1)},
	)
}

func TestCSV(t *testing.T) {
	wantAnswer(t, three(), Query{}, CSV, `window_start_ms,window_start,key,value
0,1970-01-01T00:00:00Z,/a,3
0,1970-01-01T00:00:00Z,"/b,""x""",3
0,1970-01-01T00:00:00Z,/c,9
0,1970-01-01T00:00:00Z,/d,1
60000,1970-01-01T00:01:00Z,/b,2
60000,1970-01-01T00:01:00Z,/`+"\xff"+`,1
120000,1970-01-01T00:02:00Z,/a,1
`)
}

func TestParts(t *testing.T) {
	key, from, to, half := "/a", int64(minute), int64(2*minute), int64(500)
	header := "window_start_ms,window_start,key,value\n"
	wantAnswer(t, three(), Query{Key: &key}, CSV, header+"0,1970-01-01T00:00:00Z,/a,3\n120000,1970-01-01T00:02:00Z,/a,1\n")
	wantAnswer(t, three(), Query{Key: &key, From: &from}, CSV, header+"120000,1970-01-01T00:02:00Z,/a,1\n")
	wantAnswer(t, three(), Query{From: &from, To: &to, Limit: 1}, CSV, header+"60000,1970-01-01T00:01:00Z,/b,2\n")
	wantAnswer(t, three(), Query{Top: 2}, CSV, header+
		"0,1970-01-01T00:00:00Z,/c,9\n0,1970-01-01T00:00:00Z,/a,3\n"+
		"60000,1970-01-01T00:01:00Z,/b,2\n60000,1970-01-01T00:01:00Z,/\xff,1\n120000,1970-01-01T00:02:00Z,/a,1\n")
	wantAnswer(t, three(), Query{From: &half, To: &half}, CSV, header)

	s := three()
	s.info.Retain = 4 * time.Minute // task p hides what ends at or before (5+p)-4 minutes
	wantAnswer(t, s, Query{}, CSV, header+"120000,1970-01-01T00:02:00Z,/a,1\n")
}

func TestJSON(t *testing.T) {
	s := counts([]op.Row{row(1, "/<a>", 2), row(1, "/\xff", 1)}, nil)
	wantAnswer(t, s, Query{}, NDJSON, `{"window_start_ms":60000,"window_start":"1970-01-01T00:01:00Z","window_end":"1970-01-01T00:02:00Z","closed":false,"key":"/<a>","value":2}
{"window_start_ms":60000,"window_start":"1970-01-01T00:01:00Z","window_end":"1970-01-01T00:02:00Z","closed":false,"key_base64":"L/8=","value":1}
`)
	got, err := answer(t, s, Query{}, JSON)
	if err != nil {
		t.Fatal(err)
	}
	var o struct {
		Job, Store string
		Generation int64
		TrueUpTo   struct {
			Inputs    []map[string]any
			Watermark string
		} `json:"true_up_to"`
		Rows []map[string]any
	}
	if err := json.Unmarshal([]byte(got), &o); err != nil {
		t.Fatalf("%v in %s", err, got)
	}
	if o.Job != "pageviews" || o.Store != "views" || o.Generation != 3 || len(o.Rows) != 2 ||
		o.TrueUpTo.Watermark != "1970-01-01T00:05:00Z" || fmt.Sprint(o.TrueUpTo.Inputs) != "[map[offset:7 partition:0 topic:in] map[offset:7 partition:1 topic:in]]" {
		t.Errorf("got %+v", o)
	}
}

func TestArrow(t *testing.T) {
	var rows []op.Row
	for i := range int64(arrowRows + 5) {
		rows = append(rows, row(i, "/p", i))
	}
	rows[1].Key, rows[1].RawKey = "/\xff", []byte("/\xff")
	s := counts(rows)
	s.info.Retain = 0
	text, err := answer(t, s, Query{}, Arrow)
	if err != nil {
		t.Fatal(err)
	}
	r, err := ipc.NewReader(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Release()
	const want = "window_start: timestamp[ms, tz=UTC] window_end: timestamp[ms, tz=UTC] key: utf8 key_bytes: binary value: int64"
	var names []string
	for _, f := range r.Schema().Fields() {
		names = append(names, f.Name+": "+f.Type.String())
	}
	if got := strings.Join(names, " "); got != want {
		t.Errorf("schema: got %s, want %s", got, want)
	}
	n := int64(0)
	for r.Next() {
		rec := r.Record()
		keys, bad := rec.Column(2).(*array.String), rec.Column(3).(*array.Binary)
		for i := range int(rec.NumRows()) {
			if got := rec.Column(4).(*array.Int64).Value(i); got != n {
				t.Fatalf("row %d: got value %d", n, got)
			}
			if n == 1 {
				if !keys.IsNull(i) || string(bad.Value(i)) != "/\xff" {
					t.Errorf("row 1: got key %v and bytes %q", keys.ValueStr(i), bad.ValueStr(i))
				}
			} else if keys.Value(i) != "/p" || !bad.IsNull(i) {
				t.Fatalf("row %d: got key %q", n, keys.Value(i))
			}
			n++
		}
	}
	if r.Err() != nil || n != arrowRows+5 {
		t.Errorf("got %d rows and %v, want %d", n, r.Err(), arrowRows+5)
	}
}

func TestArrowOfNothingHasASchema(t *testing.T) {
	text, err := answer(t, counts(nil, nil), Query{}, Arrow)
	if err != nil {
		t.Fatal(err)
	}
	r, err := ipc.NewReader(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Release()
	if r.Next() || r.Err() != nil || len(r.Schema().Fields()) != 5 {
		t.Errorf("got a row or %v, schema %v", r.Err(), r.Schema())
	}
}

func TestUnwindowed(t *testing.T) {
	type profile struct{ Country string }
	s := counts([]op.Row{{RawKey: []byte{1}, Key: int64(1), Value: profile{"de"}}}, []op.Row{{RawKey: []byte{0}, Key: int64(0), Value: profile{"fr"}}})
	s.info.Query.Windowed = false
	s.info.Query.KeyType, s.info.Query.RowType = reflect.TypeFor[int64](), reflect.TypeFor[profile]()
	wantAnswer(t, s, Query{}, CSV, "key,value\n0,\"{\"\"Country\"\":\"\"fr\"\"}\"\n1,\"{\"\"Country\"\":\"\"de\"\"}\"\n")
	wantAnswer(t, s, Query{}, NDJSON, `{"key":0,"value":{"Country":"fr"}}`+"\n"+`{"key":1,"value":{"Country":"de"}}`+"\n")
}

func TestBadQueries(t *testing.T) {
	empty, one, two := "", int64(1), int64(2)
	f := func(q Query, want string) {
		t.Helper()
		_, err := answer(t, three(), q, CSV)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: got error %v, want one with %q", q, err, want)
		}
	}
	f(Query{Key: &empty}, `key "" of store "views": empty`)
	f(Query{From: &two, To: &one}, "lies behind")
	f(Query{Top: MaxTop + 1}, "want 1 to 100000")
	f(Query{AtLeast: []log.GroupOffset{{TopicPartition: log.TopicPartition{Topic: "out"}}}}, `job "pageviews" does not read partition out-0`)

	_, err := Open(context.Background(), three(), nil, Query{Store: "clicks"})
	if !errors.Is(err, engine.ErrUnknownStore) || !strings.Contains(err.Error(), "keeps views") {
		t.Errorf("got %v, want ErrUnknownStore that lists views", err)
	}
	s := three()
	s.info.Query.RowType = reflect.TypeFor[string]()
	if _, err := answer(t, s, Query{Top: 1}, CSV); err == nil || !strings.Contains(err.Error(), "holds string") {
		t.Errorf("top of text: got %v", err)
	}
	s = three()
	s.failAt = 1
	if _, err := answer(t, s, Query{}, CSV); err == nil || !strings.Contains(err.Error(), "scan task by-page-0: block 17") {
		t.Errorf("damage: got %v", err)
	}
}

func TestAtLeast(t *testing.T) {
	s := three()
	q := Query{AtLeast: []log.GroupOffset{{TopicPartition: log.TopicPartition{Topic: "in", Partition: 1}, Offset: 9}}, Wait: 10 * time.Millisecond}
	if _, err := answer(t, s, q, CSV); !errors.Is(err, ErrBehind) || !strings.Contains(err.Error(), "in-1:9") {
		t.Errorf("got %v, want ErrBehind that names in-1:9", err)
	}
	q.Wait = time.Minute
	go func() {
		s.move(8)
		s.move(9, row(3, "/new", 1))
	}()
	got, err := answer(t, s, q, CSV)
	if err != nil || !strings.Contains(got, "/new,1\n") {
		t.Errorf("got %v and %s", err, got)
	}
	// A task that still restores when the question comes.
	s = three()
	s.offset = 9
	s.setState(engine.TaskRestoring)
	go s.setState(engine.TaskRunning)
	if _, err := answer(t, s, q, CSV); err != nil {
		t.Errorf("restoring: got %v", err)
	}
	s.setState(engine.TaskRestoring)
	q.Wait = 10 * time.Millisecond
	if _, err := answer(t, s, q, CSV); !errors.Is(err, ErrBehind) {
		t.Errorf("restoring for long: got %v, want ErrBehind", err)
	}
	s.setState(engine.TaskRunning)
	s.fresh = true
	if _, err := answer(t, s, q, CSV); !errors.Is(err, ErrBehind) {
		t.Errorf("nothing committed: got %v, want ErrBehind", err)
	}
}

func TestTimes(t *testing.T) {
	now := time.Date(2015, 5, 17, 10, 5, 0, 0, time.UTC)
	f := func(s string, want int64) {
		t.Helper()
		if got, err := ParseTime(s, now); err != nil || got != want {
			t.Errorf("%q: got %d, %v, want %d", s, got, err, want)
		}
	}
	f("1431857100000", now.UnixMilli())
	f("-5", -5)
	f("2015-05-17T10:05:00Z", now.UnixMilli())
	f("2015-05-17T12:05:00.250+02:00", now.UnixMilli()+250)
	f("2015-05-17", now.Truncate(24*time.Hour).UnixMilli())
	f("-5m", now.UnixMilli()-5*minute)
	if _, err := ParseTime("yesterday", now); err == nil || !strings.Contains(err.Error(), "RFC 3339") {
		t.Errorf("got %v", err)
	}
	g := func(ms int64, want string) {
		t.Helper()
		if got := FormatTime(ms); got != want {
			t.Errorf("%d: got %s, want %s", ms, got, want)
		}
	}
	g(now.UnixMilli(), "2015-05-17T10:05:00Z")
	g(now.UnixMilli()+5, "2015-05-17T10:05:00.005Z")
	g(-1, "1969-12-31T23:59:59.999Z")
}

func TestFloats(t *testing.T) {
	f := func(v float64, want string) {
		t.Helper()
		if got := string(AppendText(nil, v)); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	f(0, "0")
	f(0.1, "0.1")
	f(1e6, "1000000")
	f(1e21, "1e+21")
	f(-1e-7, "-1e-07")
	f(math.Inf(1), "+Inf")
	if got := string(appendMember(nil, "value", math.NaN())); got != `"value":"NaN"` {
		t.Errorf("got %s", got)
	}
}
