package operators_test

import (
	"strings"
	"testing"

	"github.com/gretestream/grete/log"
	op "github.com/gretestream/grete/operators"
)

var (
	clicks   = op.NewTopic("clicks", op.String, op.String)
	profiles = op.NewTopic("profiles", op.String, op.String)
	visits   = op.NewTopic("visits", op.String, op.String)
)

func TestJoin(t *testing.T) {
	r := start(t, func(g *op.Graph) {
		people := op.TableFrom(g, profiles, "people")
		op.To(op.Join(op.From(g, clicks), people, func(page, country string) string { return page + " from " + country }), visits)
	})
	r.send("profiles", rec(1, "ann", "NO"), rec(2, "bob", "IT"), rec(3, "", "XX"))
	r.send("clicks", rec(10, "ann", "/a"), rec(11, "eve", "/b"), rec(12, "", "/c"), rec(13, "bob", ""))
	r.send("profiles", rec(4, "ann", "DK"), rec(2, "bob", ""))
	r.send("clicks", rec(14, "ann", "/d"), rec(15, "bob", "/e"))
	r.wrote("visits", "10 ann /a from NO", "14 ann /d from DK")
	r.dropped("join: no match 2", "join: null key 1", "join: null value 1", `table "people": null key 1`)
	r.rows("people", "0 0 ann DK")
}

func TestLeftJoinKnowsMissingFromEmpty(t *testing.T) {
	r := start(t, func(g *op.Graph) {
		people := op.TableFrom(g, profiles, "people")
		op.To(op.LeftJoin(op.From(g, clicks), people, func(page, country string, found bool) string {
			if !found {
				return page + " from nowhere"
			}
			return page + " from [" + country + "]"
		}), visits)
	})
	r.send("profiles", log.Record{Timestamp: 1, Key: []byte("ann"), Value: []byte{}})
	r.send("clicks", rec(10, "ann", "/a"), rec(11, "eve", "/b"))
	r.wrote("visits", "10 ann /a from []", "11 eve /b from nowhere")
}

func TestJoinMistakes(t *testing.T) {
	_, err := op.Compile(func(g *op.Graph) {
		people := op.TableFrom(g, profiles, "people")
		views := op.From(g, op.NewTopic("views", op.Bytes, op.String))
		byText := op.Encoded(op.KeyBy(views, "by-text", func(v string) string { return v }), op.JSON[string](), nil)
		op.To(op.Join(byText, people, func(a, b string) string { return a + b }), visits)
		op.Join(op.From(g, clicks), op.Table[string, string]{}, func(a, b string) string { return a })
		op.Join(op.From(g, clicks), people, (func(a, b string) string)(nil))
	})
	if err == nil {
		t.Fatal("no mistakes found")
	}
	for _, want := range []string{"the table is the zero op.Table", "the function is nil"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want it to say %q", err, want)
		}
	}
}

// TestJoinNeedsEqualKeyCodecs: a key's bytes are its place in the table.
func TestJoinNeedsEqualKeyCodecs(t *testing.T) {
	_, err := op.Compile(func(g *op.Graph) {
		people := op.TableFrom(g, profiles, "people")
		views := op.From(g, op.NewTopic("views", op.JSON[string](), op.String))
		op.To(op.Join(views, people, func(a, b string) string { return a + b }), visits)
	})
	if err == nil || !strings.Contains(err.Error(), "want string as in the table") {
		t.Errorf("got %v, want a mistake about codecs", err)
	}
}
