package query

import (
	"cmp"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gretestream/grete/engine"
	"github.com/gretestream/grete/log"
	op "github.com/gretestream/grete/operators"
)

const (
	// MaxTop bounds Query.Top: so many rows of a window are held in memory.
	MaxTop = 100_000

	// DefaultWait is how long an answer is waited for that AtLeast asks for.
	DefaultWait = 10 * time.Second
	// MaxWait bounds it.
	MaxWait = time.Minute
)

// Query says which rows of a store are wanted. The zero value of all fields but
// Store is the whole store.
type Query struct {
	Store string
	Key   *string // text form of one key; nil: all keys

	// From and To bound the starts of windows: [From, To), ms since 1970 UTC. A
	// nil one is no bound.
	From, To *int64

	Top   int // of each window the so many largest values; 0: all
	Limit int // at most so many rows; 0: all

	// AtLeast are positions that the answer must have passed: for each, the
	// record before it has had its effect. Open waits for them up to Wait.
	AtLeast []log.GroupOffset
	Wait    time.Duration // default DefaultWait
}

// BadQuery is an error in what was asked: it says what was wanted and got.
type BadQuery struct{ Reason string }

func (e *BadQuery) Error() string { return e.Reason }

func badf(format string, args ...any) error { return &BadQuery{fmt.Sprintf(format, args...)} }

// check holds the query against the store it asks.
func (q *Query) check(info *engine.StoreInfo) error {
	windowed := info.Query.Windowed
	switch {
	case !windowed && (q.From != nil || q.To != nil):
		return badf("store %q has no windows (it is a %s store): leave out from, to and window", q.Store, info.Kind)
	case q.Top < 0 || q.Top > MaxTop:
		return badf("top is %d, want 1 to %d", q.Top, MaxTop)
	case q.Limit < 0:
		return badf("limit is %d, want 1 or more", q.Limit)
	case q.From != nil && q.To != nil && *q.From > *q.To:
		return badf("from (%s) lies behind to (%s)", FormatTime(*q.From), FormatTime(*q.To))
	case q.Top > 0 && rank(info.Query.RowType) == nil:
		return badf("top wants values that are numbers, store %q holds %v", q.Store, info.Query.RowType)
	}
	return nil
}

// bounds is the range of the store that holds the wanted rows.
func (q *Query) bounds(info *engine.StoreInfo) (op.Range, error) {
	r := op.Range{From: math.MinInt64, HideBefore: math.MinInt64}
	if q.From != nil {
		r.From = *q.From
	}
	if q.To != nil {
		r.To = *q.To
		if r.To == 0 {
			r.To = -1 // 0 stands for no end; no window starts between -1 and 0 ms
		}
	}
	if !info.Query.Windowed {
		r.From = 0
	}
	if q.Key == nil {
		return r, nil
	}
	key, err := info.Query.ParseKey(*q.Key)
	if err != nil {
		return r, badf("key %q of store %q: %v", *q.Key, q.Store, err)
	}
	r.Key = key
	return r, nil
}

// ParseTime reads a point in time as users write it: RFC 3339, milliseconds
// since 1970 UTC, or a negative duration ("-5m"): so long before now.
func ParseTime(s string, now time.Time) (int64, error) {
	if ms, err := strconv.ParseInt(s, 10, 64); err == nil {
		return ms, nil
	}
	if strings.HasPrefix(s, "-") {
		if d, err := time.ParseDuration(s); err == nil {
			return now.Add(d).UnixMilli(), nil
		}
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04", "2006-01-02"} {
		if t, err := time.Parse(layout, s); err == nil {
			return t.UnixMilli(), nil
		}
	}
	return 0, badf("time %q: want RFC 3339 (2015-05-17T10:05:00Z), milliseconds since 1970, or a duration before now (-5m)", s)
}

// FormatTime writes ms since 1970 UTC as RFC 3339: with seconds, and with
// milliseconds only where they are not 0.
func FormatTime(ms int64) string { return string(appendTime(nil, ms)) }

func appendTime(dst []byte, ms int64) []byte {
	t := time.UnixMilli(ms).UTC()
	if ms%1000 == 0 {
		return t.AppendFormat(dst, "2006-01-02T15:04:05Z")
	}
	return t.AppendFormat(dst, "2006-01-02T15:04:05.000Z")
}

// ParseOffset reads "topic-partition:offset", as in at-least.
func ParseOffset(s string) (log.GroupOffset, error) {
	var o log.GroupOffset
	err := badf("position %q: want TOPIC-PARTITION:OFFSET, such as page-views-0:1500", s)
	colon := strings.LastIndexByte(s, ':')
	if colon < 0 {
		return o, err
	}
	dash := strings.LastIndexByte(s[:colon], '-')
	if dash <= 0 {
		return o, err
	}
	p, errP := strconv.ParseInt(s[dash+1:colon], 10, 32)
	off, errO := strconv.ParseInt(s[colon+1:], 10, 64)
	if errP != nil || errO != nil || p < 0 || off < 0 {
		return o, err
	}
	o.TopicPartition = log.TopicPartition{Topic: s[:dash], Partition: int32(p)}
	o.Offset = log.Offset(off)
	return o, nil
}

// CanRank tells whether values of a type have a largest one: whether Top can be
// asked.
func CanRank(t reflect.Type) bool { return rank(t) != nil }

// rank returns how values of a type are compared, larger first, or nil if they
// are not numbers.
func rank(t reflect.Type) func(a, b any) int {
	if t == nil {
		return nil
	}
	switch t.Kind() {
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return func(a, b any) int { return cmp.Compare(reflect.ValueOf(b).Int(), reflect.ValueOf(a).Int()) }
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return func(a, b any) int { return cmp.Compare(reflect.ValueOf(b).Uint(), reflect.ValueOf(a).Uint()) }
	case reflect.Float32, reflect.Float64:
		return func(a, b any) int { return cmp.Compare(reflect.ValueOf(b).Float(), reflect.ValueOf(a).Float()) }
	}
	return nil
}

// topRows keeps the n largest rows of one window.
type topRows struct {
	n    int
	less func(a, b any) int // by value, larger first
	rows []op.Row           // a heap: the row to go first is at 0
}

// after tells whether a comes after b in the result.
func (t *topRows) after(a, b *op.Row) bool {
	if c := t.less(a.Value, b.Value); c != 0 {
		return c > 0
	}
	return slices.Compare(a.RawKey, b.RawKey) > 0
}

// add offers a row. The row is copied if it is kept.
func (t *topRows) add(r op.Row) {
	if len(t.rows) < t.n {
		t.rows = append(t.rows, cloneRow(r))
		for i := len(t.rows) - 1; i > 0 && t.after(&t.rows[i], &t.rows[(i-1)/2]); i = (i - 1) / 2 {
			t.rows[i], t.rows[(i-1)/2] = t.rows[(i-1)/2], t.rows[i]
		}
		return
	}
	if t.after(&r, &t.rows[0]) {
		return
	}
	t.rows[0] = cloneRow(r)
	for i := 0; ; {
		last := i
		for _, c := range [2]int{2*i + 1, 2*i + 2} {
			if c < len(t.rows) && t.after(&t.rows[c], &t.rows[last]) {
				last = c
			}
		}
		if last == i {
			return
		}
		t.rows[i], t.rows[last] = t.rows[last], t.rows[i]
		i = last
	}
}

// take returns the rows in order of the result and forgets them.
func (t *topRows) take() []op.Row {
	rows := t.rows
	t.rows = nil
	slices.SortFunc(rows, func(a, b op.Row) int {
		if t.after(&a, &b) {
			return 1
		}
		return -1
	})
	return rows
}

// cloneRow makes a row outlive the scan that it came from.
func cloneRow(r op.Row) op.Row {
	r.RawKey = slices.Clone(r.RawKey)
	r.Key = cloneValue(r.Key)
	r.Value = cloneValue(r.Value)
	return r
}

// cloneValue copies what may alias a snapshot: text and bytes.
func cloneValue(v any) any {
	switch v := v.(type) {
	case string:
		return strings.Clone(v)
	case []byte:
		return slices.Clone(v)
	}
	return v
}
