package operators_test

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gretestream/grete/log"
	op "github.com/gretestream/grete/operators"
)

// The examples run a job in memory. For tests of your own jobs there is package
// engine/jobtest.

// exampleT stands in for a test, since examples have none.
type exampleT struct{ testing.TB }

func (exampleT) Helper()                   {}
func (exampleT) Cleanup(func())            {}
func (exampleT) Fatal(args ...any)         { panic(fmt.Sprint(args...)) }
func (exampleT) Fatalf(f string, a ...any) { panic(fmt.Sprintf(f, a...)) }
func (exampleT) Errorf(f string, a ...any) { panic(fmt.Sprintf(f, a...)) }

// run builds a job, sends the records to a topic, and ends as a bounded run does.
func run(build func(*op.Graph), topic string, records ...log.Record) *runner {
	r := start(exampleT{}, build)
	r.send(topic, records...)
	r.finish()
	return r
}

// print prints what the job wrote to a topic: key and value.
func print[K, V any](r *runner, t op.Topic[K, V]) {
	for _, rec := range r.out[t.Name] {
		var k K
		var v V
		r.must(t.Key.Decode(&k, rec.Key, nil))
		r.must(t.Value.Decode(&v, rec.Value, nil))
		fmt.Printf("%v: %v\n", k, v)
	}
}

var (
	names   = op.NewTopic("names", op.String, op.String)
	lengths = op.NewTopic("lengths", op.String, op.Int64)
	perMin  = op.NewTopic("per-minute", op.WindowKey(op.String, time.Minute), op.Int64)
)

func ExampleMap() {
	r := run(func(g *op.Graph) {
		op.To(op.Map(op.From(g, names), strings.ToUpper), result)
	}, "names", rec(1, "a", "ann"), rec(2, "b", "bob"))
	print(r, result)
	// Output:
	// a: ANN
	// b: BOB
}

func ExampleMapRecord() {
	r := run(func(g *op.Graph) {
		swap := func(r op.Record[string, string]) op.Record[string, string] {
			return op.Record[string, string]{Key: r.Value, Value: r.Key, Time: r.Time}
		}
		op.To(op.MapRecord(op.From(g, names), swap), result)
	}, "names", rec(1, "a", "ann"))
	print(r, result)
	// Output: ann: a
}

func ExampleTryMap() {
	parse := func(s string) (int64, error) {
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil {
			return 0, errors.New("not a number")
		}
		return n, nil
	}
	r := run(func(g *op.Graph) {
		numbers, rejected := op.TryMap(op.From(g, names), parse)
		op.To(numbers, lengths)
		op.To(op.Map(rejected, func(r op.Rejected[string]) string { return r.Value + ": " + r.Reason }), others)
	}, "names", rec(1, "a", "17"), rec(2, "b", "bob"))
	print(r, lengths)
	print(r, others)
	// Output:
	// a: 17
	// b: bob: not a number
}

func ExampleFilter() {
	r := run(func(g *op.Graph) {
		op.To(op.Filter(op.From(g, names), func(s string) bool { return strings.HasPrefix(s, "a") }), result)
	}, "names", rec(1, "a", "ann"), rec(2, "b", "bob"))
	print(r, result)
	// Output: a: ann
}

func ExampleFlatMap() {
	r := run(func(g *op.Graph) {
		words := op.FlatMap(op.From(g, names), func(line string, emit func(string)) {
			for _, w := range strings.Fields(line) {
				emit(w)
			}
		})
		op.To(words, result)
	}, "names", rec(1, "k", "to be or"))
	print(r, result)
	// Output:
	// k: to
	// k: be
	// k: or
}

func ExampleSplit() {
	r := run(func(g *op.Graph) {
		long, short := op.Split(op.From(g, names), func(s string) bool { return len(s) > 3 })
		op.To(long, result)
		op.To(short, others)
	}, "names", rec(1, "a", "ann"), rec(2, "j", "josephine"))
	print(r, result)
	print(r, others)
	// Output:
	// j: josephine
	// a: ann
}

func ExampleMerge() {
	r := run(func(g *op.Graph) {
		more := op.From(g, op.NewTopic("more-names", op.String, op.String))
		op.To(op.Merge(op.From(g, names), more), result)
	}, "more-names", rec(1, "c", "cid"))
	print(r, result)
	// Output: c: cid
}

func ExampleEventTime() {
	r := run(func(g *op.Graph) {
		at := func(s string) time.Time {
			t, _ := time.Parse(time.RFC3339, s)
			return t
		}
		op.To(op.EventTime(op.From(g, names), at), result)
	}, "names", rec(1, "a", "1999-12-31T23:59:59Z"))
	fmt.Println(r.out["result"][0].Timestamp)
	// Output: 1999-12-31T23:59:59Z
}

func ExampleKeyBy() {
	r := run(func(g *op.Graph) {
		byInitial := op.KeyBy(op.From(g, names), "by-initial", func(s string) string { return s[:1] })
		op.To(byInitial, result)
	}, "names", rec(1, "x", "ann"), rec(2, "y", "bob"))
	print(r, result)
	// Output:
	// a: ann
	// b: bob
}

func ExampleEncoded() {
	r := run(func(g *op.Graph) {
		byLength := op.KeyBy(op.From(g, names), "by-length", func(s string) int { return len(s) })
		text := op.Map(byLength, strings.ToUpper)
		op.To(op.MapRecord(op.Encoded(text, nil, op.String), func(r op.Record[int, string]) op.Record[string, string] {
			return op.Record[string, string]{Key: strconv.Itoa(r.Key), Value: r.Value, Time: r.Time}
		}), result)
	}, "names", rec(1, "x", "ann"))
	print(r, result)
	// Output: 3: ANN
}

func ExampleCount() {
	r := run(func(g *op.Graph) {
		perMinute := op.Window(op.From(g, names), op.Tumbling{Size: time.Minute})
		op.To(op.Count(perMinute, "per-minute").Final(), perMin)
	}, "names", rec(1_000, "a", "x"), rec(59_000, "a", "x"), rec(61_000, "b", "x"))
	print(r, perMin)
	// Output:
	// a@[1970-01-01T00:00:00Z, 1970-01-01T00:01:00Z): 2
	// b@[1970-01-01T00:01:00Z, 1970-01-01T00:02:00Z): 1
}

func ExampleSum() {
	r := run(func(g *op.Graph) {
		lastTwo := op.Window(op.From(g, names), op.Hopping{Size: 2 * time.Minute, Every: time.Minute})
		letters := op.Sum(lastTwo, "letters", func(s string) int64 { return int64(len(s)) })
		op.To(op.DropWindow(letters.Final()), lengths)
	}, "names", rec(30_000, "a", "ann"), rec(90_000, "a", "anna"))
	print(r, lengths)
	// Output:
	// a: 3
	// a: 7
	// a: 4
}

func ExampleReduce() {
	r := run(func(g *op.Graph) {
		longest := func(a, b string) string {
			if len(b) > len(a) {
				return b
			}
			return a
		}
		perMinute := op.Window(op.From(g, names), op.Tumbling{Size: time.Minute})
		op.To(op.DropWindow(op.Reduce(perMinute, "longest", longest).Final()), result)
	}, "names", rec(1, "k", "ann"), rec(2, "k", "josephine"), rec(3, "k", "bob"))
	print(r, result)
	// Output: k: josephine
}

type span struct{ Min, Max string }

func (s span) Add(name string) span {
	if s.Min == "" || name < s.Min {
		s.Min = name
	}
	s.Max = max(s.Max, name)
	return s
}

func (s span) Merge(o span) span { return s.Add(o.Min).Add(o.Max) }

func ExampleAggregate() {
	spans := op.NewTopic("spans", op.String, op.JSON[span]())
	r := run(func(g *op.Graph) {
		perMinute := op.Window(op.From(g, names), op.Tumbling{Size: time.Minute})
		op.To(op.DropWindow(op.Aggregate(perMinute, "spans", span.Add, span.Merge).Final()), spans)
	}, "names", rec(1, "k", "bob"), rec(2, "k", "ann"), rec(3, "k", "cid"))
	print(r, spans)
	// Output: k: {ann cid}
}

func ExampleWindowTable_Updates() {
	r := run(func(g *op.Graph) {
		counts := op.Count(op.Window(op.From(g, names), op.Forever{}), "totals")
		op.To(op.DropWindow(counts.Updates()), lengths)
	}, "names", rec(1, "a", "x"), rec(2, "b", "x"), rec(3, "a", "x"))
	print(r, lengths)
	// Output:
	// a: 1
	// b: 1
	// a: 2
}

func ExampleGrouped_Late() {
	r := run(func(g *op.Graph) {
		perMinute := op.Window(op.From(g, names), op.Tumbling{Size: time.Minute})
		op.Count(perMinute, "per-minute")
		op.To(op.DropWindow(perMinute.Late()), result)
	}, "names", rec(1_000, "a", "in time"), rec(60_000, "a", "closes the minute"), rec(2_000, "a", "late"))
	print(r, result)
	// Output: a: late
}

func ExampleTop() {
	best := op.NewTopic("best", op.SpanKey, op.JSON[[]op.Ranked[string, int64]]())
	r := run(func(g *op.Graph) {
		perMinute := op.Window(op.From(g, names), op.Tumbling{Size: time.Minute})
		op.To(op.Top(op.Count(perMinute, "per-minute").Final(), "top-names", 2), best)
	}, "names", rec(1, "ann", "x"), rec(2, "bob", "x"), rec(3, "bob", "x"), rec(4, "cid", "x"))
	print(r, best)
	// Output:
	// [1970-01-01T00:00:00Z, 1970-01-01T00:01:00Z): [{bob 2} {ann 1}]
}

func ExampleLeftJoin() {
	countries := op.NewTopic("countries", op.String, op.String)
	r := start(exampleT{}, func(g *op.Graph) {
		home := op.TableFrom(g, countries, "countries")
		op.To(op.LeftJoin(op.From(g, names), home, func(name, country string, known bool) string {
			if !known {
				return name + " of nowhere"
			}
			return name + " of " + country
		}), result)
	})
	r.send("countries", rec(1, "a", "Denmark"))
	r.send("names", rec(2, "a", "ann"), rec(3, "b", "bob"))
	print(r, result)
	// Output:
	// a: ann of Denmark
	// b: bob of nowhere
}

func ExampleJoin() {
	countries := op.NewTopic("countries", op.String, op.String)
	r := start(exampleT{}, func(g *op.Graph) {
		home := op.TableFrom(g, countries, "countries")
		op.To(op.Join(op.From(g, names), home, func(name, country string) string { return name + " of " + country }), result)
	})
	r.send("countries", rec(1, "a", "Denmark"))
	r.send("names", rec(2, "a", "ann"), rec(3, "b", "bob"))
	print(r, result)
	// Output: a: ann of Denmark
}

// firsts lets only the first record of each key pass.
type firsts struct{}

func (firsts) Process(c *op.Context[string, bool, string, string], r op.Record[string, string]) error {
	if seen := c.State(); !*seen {
		*seen = true
		c.Emit(r.Key, r.Value)
	}
	return nil
}

func ExampleProcess() {
	r := run(func(g *op.Graph) {
		op.To(op.Process(op.From(g, names), "seen", firsts{}), result)
	}, "names", rec(1, "a", "ann"), rec(2, "a", "anna"), rec(3, "b", "bob"))
	print(r, result)
	// Output:
	// a: ann
	// b: bob
}

func ExampleCompile() {
	_, err := op.Compile(func(g *op.Graph) {
		s := op.From(g, names)
		op.Count(op.Window(s, op.Hopping{Size: time.Minute, Every: time.Hour}), "Counts!")
		op.KeyBy[string, string, string](s, "by-name", nil)
	})
	fmt.Println(regexp.MustCompile(`example_test.go:\d+`).ReplaceAllString(err.Error(), "job.go:7"))
	// Output:
	// the job's graph has 3 mistakes:
	//   job.go:7: window hopping: got Every 1h0m0s above Size 1m0s; records between windows would count nowhere; if you want that, set AllowGaps
	//   job.go:7: count: got name "Counts!", want lower-case letters, digits and dashes, not beginning with a dash
	//   job.go:7: key-by "by-name": the function is nil
}

func ExampleGraph_Describe() {
	g, err := op.Build(CountPageViews)
	if err != nil {
		panic(err)
	}
	fmt.Print(g.Describe())
	// Output:
	// stage source
	//    1  from page-views (string → json(PageView))
	//    2  event-time  ← 1
	//    3  key-by views-by-page  ← 2
	//
	// stage views-by-page
	//    4  from-key views-by-page (string → json(PageView))
	//    5  window tumbling 1m grace 10s  ← 4
	//    6  count views-per-page  ← 5
	//    7  final  ← 6
	//    8  to page-view-counts  ← 7
}
