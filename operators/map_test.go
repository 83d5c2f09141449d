package operators_test

import (
	"errors"
	"strconv"
	"strings"
	"testing"
	"time"

	op "github.com/gretestream/grete/operators"
)

var (
	words  = op.NewTopic("words", op.String, op.String)
	result = op.NewTopic("result", op.String, op.String)
	others = op.NewTopic("others", op.String, op.String)
)

func TestMapKeepsKeysAndNulls(t *testing.T) {
	r := start(t, func(g *op.Graph) { op.To(op.Map(op.From(g, words), strings.ToUpper), result) })
	r.send("words", rec(1, "a", "x"), rec(2, "", "y"), rec(3, "b", ""))
	r.wrote("result", "1 a X", "2 null Y", "3 b null")
}

func TestFilterSplitMergeFlatMap(t *testing.T) {
	r := start(t, func(g *op.Graph) {
		long, short := op.Split(op.From(g, words), func(s string) bool { return len(s) > 3 })
		spaced := op.FlatMap(short, func(s string, emit func(string)) {
			for _, c := range s {
				emit(string(c))
			}
		})
		op.To(op.Filter(op.Merge(long, spaced), func(s string) bool { return s != "b" }), result)
	})
	r.send("words", rec(1, "k", "long one"), rec(2, "k", "abc"), rec(3, "k", "another"))
	r.wrote("result", "1 k long one", "2 k a", "2 k c", "3 k another")
}

func TestTryMapSendsFailuresOn(t *testing.T) {
	parse := func(s string) (int64, error) {
		if s == "boom" {
			panic("bad luck")
		}
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil {
			return 0, errors.New("not a number")
		}
		return n, nil
	}
	show := func(n int64) string { return strconv.FormatInt(n+1, 10) }
	records := func() []string { return []string{"1", "x", "boom", "3"} }

	r := start(t, func(g *op.Graph) {
		good, bad := op.TryMap(op.From(g, words), parse)
		op.To(op.Map(good, show), result)
		op.To(op.Map(bad, func(r op.Rejected[string]) string { return r.Value + ": " + r.Reason }), others)
	})
	for i, v := range records() {
		r.send("words", rec(int64(i), "k", v))
	}
	r.wrote("result", "0 k 2", "3 k 4")
	r.wrote("others", "1 k x: not a number")
	r.buried("try-map 2: the function panicked: bad luck")
	r.dropped("try-map: failed 1", "try-map: rejected 1")

	r = start(t, func(g *op.Graph) {
		good, _ := op.TryMap(op.From(g, words), parse)
		op.To(op.Map(good, show), result)
	})
	for i, v := range records() {
		r.send("words", rec(int64(i), "k", v))
	}
	r.buried("try-map 1: not a number", "try-map 2: the function panicked: bad luck")
}

func TestPanicsLoseOnlyTheirRecord(t *testing.T) {
	r := start(t, func(g *op.Graph) {
		op.To(op.FlatMap(op.Map(op.From(g, words), func(s string) string {
			if s == "b" {
				panic("no b")
			}
			return s
		}), func(s string, emit func(string)) {
			emit(s + "1")
			if s == "c" {
				panic("no c")
			}
			emit(s + "2")
		}), result)
	})
	r.send("words", rec(1, "k", "a"), rec(2, "k", "b"), rec(3, "k", "c"), rec(4, "k", "d"))
	r.wrote("result", "1 k a1", "1 k a2", "4 k d1", "4 k d2")
	r.buried("map 1: the function panicked: no b", "flat-map 2: the function panicked: no c")
}

func TestMapRecordChangesAll(t *testing.T) {
	r := start(t, func(g *op.Graph) {
		op.To(op.MapRecord(op.From(g, words), func(r op.Record[string, string]) op.Record[string, string] {
			return op.Record[string, string]{Key: r.Value, Value: r.Key + "!", Time: r.Time.Add(time.Second)}
		}), result)
	})
	r.send("words", rec(1, "a", "x"), rec(2, "", "y"), rec(3, "b", ""))
	r.wrote("result", "1001 x a!", "1002 y !")
	r.dropped("map-record: null value 1")
}

func TestFutureRecordsAreDeadLetters(t *testing.T) {
	r := start(t, func(g *op.Graph) {
		s := op.EventTime(op.From(g, words), func(v string) time.Time {
			n, _ := strconv.ParseInt(v, 10, 64)
			if n == 0 {
				return time.Time{}
			}
			return time.UnixMilli(n)
		})
		op.To(s, result)
	})
	now := r.now.UnixMilli()
	r.send("words", rec(now+3_700_000, "a", "1"), rec(now, "b", strconv.FormatInt(now+7_200_000, 10)), rec(now, "c", "0"), rec(now, "d", "5"))
	r.wrote("result", "5 d 5")
	r.buried(
		"from \"words\" 0: time 2001-09-09T02:48:20Z is 1h1m40s ahead of the clock, want at most 1h0m0s",
		"event-time 1: time 2001-09-09T03:46:40Z is 2h0m0s ahead of the clock, want at most 1h0m0s",
		"event-time 2: the value has no time: got the zero time.Time",
	)
	r.dropped("event-time: failed 1", "event-time: future 1", "from \"words\": future 1")
}

func TestKeyByShipsTheBytesThatCame(t *testing.T) {
	type page struct{ URL string }
	pages := op.NewTopic("pages", op.String, op.JSON[page]())
	r := start(t, func(g *op.Graph) {
		byURL := op.KeyBy(op.From(g, pages), "by-url", func(p page) string { return p.URL })
		op.To(byURL, op.NewTopic("keyed", op.String, op.JSON[page]()))
	})
	r.send("pages", rec(5, "k", `{"extra":1,  "URL":"/a"}`), rec(6, "k", ""), rec(7, "k", "{"))
	r.wrote("keyed", `5 /a {"extra":1,  "URL":"/a"}`)
	if len(r.dead) != 1 || r.dead[0].Offset != 2 || string(r.dead[0].Value) != "{" {
		t.Errorf("got dead letters %+v, want the one at offset 2", r.dead)
	}
	r.dropped("from \"pages\": undecodable 1", "key-by \"by-url\": null value 1")
}

func TestUnreadColumnsAreNotDecoded(t *testing.T) {
	counts := op.NewTopic("counts", op.Int64, op.Int64)
	copied := op.NewTopic("copied", op.Int64, op.Int64)
	r := start(t, func(g *op.Graph) { op.To(op.From(g, counts), copied) })
	r.send("counts", rec(1, "not 8 bytes", "neither"))
	r.wrote("copied", "1 not 8 bytes neither")
}

func TestMistakesComeTogether(t *testing.T) {
	_, err := op.Compile(func(g *op.Graph) {
		s := op.From(g, words, op.Input{OutOfOrder: -1})
		op.KeyBy(s, "", func(s string) string { return s })
		op.KeyBy(s, "Twice", func(s string) string { return s })
		op.KeyBy(s, "once", func(s string) string { return s })
		op.KeyBy(s, "once", func(s string) string { return s })
		op.Map[string, string, string](s, nil)
		op.To(s, op.NewTopic("a/b", op.String, op.String))
	})
	if err == nil {
		t.Fatal("got no error")
	}
	for _, want := range []string{
		"6 mistakes", "OutOfOrder -1ns", "key-by has no name", `got name "Twice"`,
		`the name "once" is used twice, first by key-by at map_test.go:`, "map: the function is nil", `got topic "a/b"`,
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not contain %q: %v", want, err)
		}
	}
}
