package connect

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/gretestream/grete/log"
)

// parsed shows what a parser makes of a line: "time key value" or "error: reason".
func parsed(t *testing.T, p Parser, line string) string {
	t.Helper()
	var rec log.Record
	if err := p.Parse([]byte(line), &rec); err != nil {
		return "error: " + err.Error()
	}
	if !json.Valid(rec.Value) {
		t.Errorf("value of %q is not JSON: %s", line, rec.Value)
	}
	key := "-"
	if rec.Key != nil {
		key = fmt.Sprintf("%q", rec.Key)
	}
	return fmt.Sprintf("%d %s %s", rec.Timestamp, key, rec.Value)
}

func newParser(t *testing.T, f Format, name, head string) Parser {
	t.Helper()
	p, err := f.Parser(name, []byte(head), 7)
	if err != nil {
		t.Fatal(err)
	}
	if h, ok := p.(HeaderParser); ok {
		if err := h.Header([]byte(head)); err != nil {
			t.Fatal(err)
		}
	}
	return p
}

func TestAccessLog(t *testing.T) {
	p := newParser(t, Format{Kind: AccessLog, KeyField: "path"}, "", "")
	f := func(line, want string) {
		t.Helper()
		if got := parsed(t, p, line); got != want {
			t.Errorf("%s\n got %s\nwant %s", line, got, want)
		}
	}
	f(`83.149.9.216 - - [17/May/2015:10:05:03 +0000] "GET /a?b=c HTTP/1.1" 200 203023 "http://x/" "Mozilla/5.0"`,
		`1431857103000 "/a" {"host":"83.149.9.216","user":"","time":1431857103000,"method":"GET","target":"/a?b=c","path":"/a","protocol":"HTTP/1.1","status":200,"bytes":203023,"referrer":"http://x/","agent":"Mozilla/5.0"}`)
	// Common, a user with a space, a zone, no bytes.
	f(`::1 - john doe [01/Jan/1970:02:00:00 +0200] "HEAD / HTTP/1.0" 304 -`,
		`0 "/" {"host":"::1","user":"john doe","time":0,"method":"HEAD","target":"/","path":"/","protocol":"HTTP/1.0","status":304,"bytes":0,"referrer":"","agent":""}`)
	// Escapes stay as the log holds them; what is not a request line counts whole.
	f(`h - - [29/Feb/2016:23:59:60 -0130] "\x16\x03\"?\\" 400 0 "-" "a \"b\" c\\"`,
		`1456795800000 "\\x16\\x03\\\"?\\\\" {"host":"h","user":"","time":1456795800000,"method":"","target":"\\x16\\x03\\\"?\\\\","path":"\\x16\\x03\\\"?\\\\","protocol":"","status":400,"bytes":0,"referrer":"","agent":"a \\\"b\\\" c\\\\"}`)
	f(`h - - [17/May/2015:10:05:03 +0000] "-" 408 - "-" "-"`,
		`1431857103000 "-" {"host":"h","user":"","time":1431857103000,"method":"","target":"-","path":"-","protocol":"","status":408,"bytes":0,"referrer":"","agent":""}`)
	f(`h - - [17/May/2015:10:05:03 +0000] "GET /a b HTTP/1.1" 200 1`,
		`1431857103000 "GET /a b HTTP/1.1" {"host":"h","user":"","time":1431857103000,"method":"","target":"GET /a b HTTP/1.1","path":"GET /a b HTTP/1.1","protocol":"","status":200,"bytes":1,"referrer":"","agent":""}`)
	f(`h - - [17/May/2015:10:05:03 +0000] "" 400 1`,
		`1431857103000 "" {"host":"h","user":"","time":1431857103000,"method":"","target":"","path":"","protocol":"","status":400,"bytes":1,"referrer":"","agent":""}`)
	// A line cut off in the agent, and one with fields of its own behind it.
	f(`h - - [17/May/2015:10:05:03 +0000] "GET / HTTP/1.1" 200 1 "-" "Mozi`,
		`1431857103000 "/" {"host":"h","user":"","time":1431857103000,"method":"GET","target":"/","path":"/","protocol":"HTTP/1.1","status":200,"bytes":1,"referrer":"","agent":"Mozi"}`)
	f(`h - - [17/May/2015:10:05:03 +0000] "GET / HTTP/1.1" 200 1 "-" "M" 0.003 "x"`,
		`1431857103000 "/" {"host":"h","user":"","time":1431857103000,"method":"GET","target":"/","path":"/","protocol":"HTTP/1.1","status":200,"bytes":1,"referrer":"","agent":"M","extra":"0.003 \"x\""}`)
	f("h - - [17/May/2015:10:05:03 +0000] \"GET /\xff\xc3\xa9\t HTTP/1.1\" 200 1",
		"1431857103000 \"/\\xff\u00e9\\t\" {\"host\":\"h\",\"user\":\"\",\"time\":1431857103000,\"method\":\"GET\",\"target\":\"/\ufffd\u00e9\\t\",\"path\":\"/\ufffd\u00e9\\t\",\"protocol\":\"HTTP/1.1\",\"status\":200,\"bytes\":1,\"referrer\":\"\",\"agent\":\"\"}")

	f(``, `error: empty line`)
	f(`Error line 1`, `error: want host ident user [time] at the start`)
	f(`h - - [17/May/2015:10:05 +0000] "GET / HTTP/1.1" 200 1`, `error: want a time in brackets, as [17/May/2015:10:05:03 +0000]`)
	for _, bad := range []string{"31/Apr/2015:10:05:03 +0000", "00/May/2015:10:05:03 +0000", "17/may/2015:10:05:03 +0000", "17/May/2015:24:05:03 +0000", "17/May/2015:10:05:61 +0000", "17/May/2015:10:05:03 *0000", "1:/May/2015:10:05:03 +0000"} {
		f(`h - - [`+bad+`] "GET / HTTP/1.1" 200 1`, `error: want a time in brackets, as [17/May/2015:10:05:03 +0000]`)
	}
	f(`h - - [17/May/2015:10:05:03 +0000] GET / HTTP/1.1 200 1`, `error: want a request in quotes behind the time`)
	f(`h - - [17/May/2015:10:05:03 +0000] "GET / HTTP/1.1 200 1`, `error: want a request in quotes behind the time`)
	f(`h - - [17/May/2015:10:05:03 +0000] "GET / HTTP/1.1" 20 1`, `error: want a status of three digits behind the request`)
	f(`h - - [17/May/2015:10:05:03 +0000] "GET / HTTP/1.1" 200`, `error: want a number of bytes or - behind the status`)
	f(`h - - [17/May/2015:10:05:03 +0000] "GET / HTTP/1.1" 200 x`, `error: want a number of bytes or - behind the status`)
	f(`h - - [17/May/2015:10:05:03 +0000] "GET / HTTP/1.1" 200 1x`, `error: want a space behind the number of bytes`)

	if _, err := (Format{Kind: AccessLog, KeyField: "page"}).Parser("", nil, 0); err == nil {
		t.Error("an unknown key field was accepted")
	}
}

func TestJSONLines(t *testing.T) {
	p := newParser(t, Format{Kind: JSONLines, KeyField: "user.id", TimeField: "t"}, "", "")
	f := func(line, want string) {
		t.Helper()
		if got := parsed(t, p, line); got != want {
			t.Errorf("%s\n got %s\nwant %s", line, got, want)
		}
	}
	f(`{"t":1331923247,"user":{"id":"a\u0062c"}}`, `1331923247000 "abc" {"t":1331923247,"user":{"id":"a\u0062c"}}`)
	f(`{"t":1331923247123,"user":{"id":5}}`, `1331923247123 "5" {"t":1331923247123,"user":{"id":5}}`)
	f(`{"t":"2012-03-16T18:40:47.5Z","user":{"id":null}}`, `1331923247500 - {"t":"2012-03-16T18:40:47.5Z","user":{"id":null}}`)
	f(`{"t":"2012-03-16 18:40:47","user":3}`, `1331923247000 - {"t":"2012-03-16 18:40:47","user":3}`)
	f(`{"t":1331923247.25}`, `1331923247250 - {"t":1331923247.25}`)
	f(`{"x":1}`, `error: no time: field "t" is missing or null`)
	f(`{"t":null}`, `error: no time: field "t" is missing or null`)
	f(`{"t":"soon"}`, `error: time "soon" is neither a number nor RFC 3339`)
	f(`{"t":1}x`, `error: not JSON at byte 7: got 'x'`)
	f(`{"t":1`, `error: JSON ends early, at byte 6`)
	f(`[1]`, `error: want a JSON object, got "[1]"`)
	f(``, `error: empty line`)

	f(`{"t":1,"user":{"id":""}}`, `1000 "" {"t":1,"user":{"id":""}}`)
	f(`{"t":1,"user.id":"whole","user":{"id":"nested"}}`, `1000 "whole" {"t":1,"user.id":"whole","user":{"id":"nested"}}`)

	p = newParser(t, Format{}, "clicks.gz", `{"a":1}`)
	f(`{"a":1}`, `7 - {"a":1}`) // the time of ingesting
}

func TestDelimited(t *testing.T) {
	var p Parser
	f := func(line, want string) {
		t.Helper()
		if got := parsed(t, p, line); got != want {
			t.Errorf("%s\n got %s\nwant %s", line, got, want)
		}
	}
	p = newParser(t, Format{KeyField: "who", TimeField: "at", TimeUnit: "%Y-%m-%d %H:%M:%S"}, "x.csv.gz", `who,at,"what ""now""",who,,`)
	f(`a,1970-01-01 00:00:01,"x,""y""",b`, `1000 "a" {"who":"a","at":"1970-01-01 00:00:01","what \"now\"":"x,\"y\"","who-2":"b"}`)
	f(`a,1970-01-01 00:00:01,"",b,,,`, `1000 "a" {"who":"a","at":"1970-01-01 00:00:01","what \"now\"":"","who-2":"b"}`)
	f(`"""","1970-01-01 00:00:01","""a""","b"`, `1000 "\"" {"who":"\"","at":"1970-01-01 00:00:01","what \"now\"":"\"a\"","who-2":"b"}`)
	f(`a,1970-01-01 00:00:01,x,b,y`, `error: got "y" in field 5, want nothing behind the 4 columns of the header`)
	f(`a,b`, `error: got 2 fields, want 4`)
	f(`a,"b`, `error: quote is not closed, or text follows a closed one`)
	f(`a,"b"c,d`, `error: quote is not closed, or text follows a closed one`)
	f(`a,yesterday,c,d`, `error: time "yesterday" is not written as "2006-01-02 15:04:05"`)
	f(``, `error: empty line`)

	// Quotes in columns of tabs are text, unless the header has them.
	p = newParser(t, Format{}, "x.tsv", "a\tb")
	f("\"x\t\xff", "7 - {\"a\":\"\\\"x\",\"b\":\"\ufffd\"}")
	p = newParser(t, Format{Delimiter: "tab"}, "x", "\"a\"\t\"b\"")
	f("\"x\t\"\ty", "7 - {\"a\":\"x\\t\",\"b\":\"y\"}")

	for _, format := range []Format{{KeyField: "z"}, {TimeField: "z"}} {
		d, err := format.Parser("x.csv", nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		if err := d.(HeaderParser).Header([]byte("a,b")); err == nil {
			t.Errorf("%+v: a column that is not there was accepted", format)
		}
	}
	if _, err := (Format{Delimiter: "::"}).Parser("x", nil, 0); err == nil {
		t.Error("a delimiter of two characters was accepted")
	}
}

func TestTimeUnits(t *testing.T) {
	f := func(u TimeUnit, text string, want log.Timestamp) {
		t.Helper()
		p, err := newTimeParser(u)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := p.parse([]byte(text)); got != want || err != nil {
			t.Errorf("%q as %q: got %d, %v, want %d", text, u, got, err, want)
		}
	}
	f("s", "804571201", 804571201000)
	f("s", "1.0019999999", 1001)
	f("s", "-1.5", -1500)
	f("s", "-0.0001", -1)
	f("ms", "1415624019862", 1415624019862)
	f("ms", "-1.5", -2)
	f("us", "1999", 1)
	f("us", "-1", -1)
	f("ns", "1415624019862000000", 1415624019862)
	f("", "1415624019862000", 1415624019862)
	f("", "1415624019862000000", 1415624019862)
	f("", "17/May/2015:10:05:03 +0000", 1431857103000)
	f("", "2014-11-10T13:53:41.690+0100", 1415624021690)
	f("", "2015-05-17", 1431820800000)
	f("2006-01-02", "2015-05-17", 1431820800000)
	f("%d/%b/%Y:%H:%M:%S %z", "17/May/2015:10:05:03 +0000", 1431857103000)

	bad := func(u TimeUnit, text string) {
		t.Helper()
		p, err := newTimeParser(u)
		if err == nil {
			_, err = p.parse([]byte(text))
		}
		if err == nil {
			t.Errorf("%q as %q was accepted", text, u)
		}
	}
	bad("s", "9223372036854775807")
	bad("s", "12x")
	bad("s", "")
	bad("s", "2015-05-17")
	bad("", "99999999999999999999")
	bad("%Q", "1")
	bad("%", "1")
	bad("hours", "1")
}

func FuzzAccessLog(f *testing.F) {
	f.Add([]byte(`83.149.9.216 - - [17/May/2015:10:05:03 +0000] "GET /a?b=c HTTP/1.1" 200 203023 "http://x/" "Mozilla/5.0"`))
	f.Add([]byte(`::1 - a b [17/May/2015:10:05:03 +0000] "-" 408 - "-" "\"x\\" extra`))
	f.Add([]byte(`h - - [17/May/2015:10:05:03 +0000] "GET / HTTP/1.1" 200 1 "-" "Mozi`))
	f.Fuzz(func(t *testing.T, line []byte) {
		p, err := newAccessParser("target")
		if err != nil {
			t.Fatal(err)
		}
		var rec log.Record
		if p.Parse(line, &rec) != nil {
			return
		}
		var v struct {
			Host, Target, Path, Method, Protocol string
			Time                                 int64
			Status                               int
		}
		if err := json.Unmarshal(rec.Value, &v); err != nil || !utf8.Valid(rec.Value) {
			t.Fatalf("%q: value %q: %v", line, rec.Value, err)
		}
		if log.Timestamp(v.Time) != rec.Timestamp || !strings.HasPrefix(v.Target, v.Path) || v.Status < 100 || !strings.Contains(strings.ToValidUTF8(string(line), ""), strings.ReplaceAll(v.Host, "\ufffd", "")) && !strings.Contains(v.Host, "\ufffd") {
			t.Fatalf("%q: value %s", line, rec.Value)
		}
		// The time is one that the standard library reads the same, or a leap second.
		// Host and ident may begin with a bracket, too.
		_, at, _ := strings.Cut(strings.SplitN(string(line), " ", 3)[2], " [")
		if want, err := time.Parse("02/Jan/2006:15:04:05 -0700", at[:len(clfTime)]); err == nil && want.UnixMilli() != int64(rec.Timestamp) {
			t.Fatalf("%q: got time %d, want %d", line, rec.Timestamp, want.UnixMilli())
		}
	})
}

func FuzzDelimited(f *testing.F) {
	f.Add([]byte("a,b"), []byte(`1,"x""y"`), byte(','))
	f.Add([]byte("\"a\"\tb"), []byte("\"\"\"\"\t\"\""), byte('\t'))
	f.Fuzz(func(t *testing.T, header, line []byte, delimiter byte) {
		p := &delimitedParser{delimiter: delimiter}
		if delimiter == '"' || delimiter == '\n' || delimiter == '\r' || delimiter >= utf8.RuneSelf || delimiter == 0 {
			return
		}
		var rec log.Record
		if p.Header(header) != nil || p.Parse(line, &rec) != nil {
			return
		}
		if !json.Valid(rec.Value) || !utf8.Valid(rec.Value) {
			t.Fatalf("%q: value %q is not JSON", line, rec.Value)
		}
		// Where the standard library reads the line, it reads the same.
		if strings.ContainsAny(string(line), "\r\n") || !p.quotes {
			return
		}
		r := csv.NewReader(strings.NewReader(string(line)))
		r.Comma = rune(delimiter)
		want, err := r.Read()
		if err != nil {
			return
		}
		var got []string
		for _, field := range p.fields {
			got = append(got, string(field))
		}
		if strings.Join(got, "\x00") != strings.Join(want, "\x00") {
			t.Fatalf("%q: got %q, encoding/csv says %q", line, got, want)
		}
	})
}

// FuzzJSONLines: what is taken is an object, with the key and the time that
// encoding/json finds.
func FuzzJSONLines(f *testing.F) {
	f.Add([]byte(`{"id":"a","time":1431857103,"geo":{"city":"Bergen"}}`), "id", "time")
	f.Add([]byte(` { "id" : [1, 2], "time" : "2015-05-17T10:05:03Z" } `), "id", "time")
	f.Add([]byte(`{"geo":{"city":"Berg\u0065n"},"id":null}`), "geo.city", "")
	f.Add([]byte(`{"id":"a"`), "id", "")
	f.Fuzz(func(t *testing.T, line []byte, key, time string) {
		var rec log.Record
		if newJSONParser(key, time, timeParser{}, 7).Parse(line, &rec) != nil {
			return
		}
		var object map[string]json.RawMessage
		if err := json.Unmarshal(line, &object); err != nil || object == nil || !bytes.Equal(rec.Value, line) {
			t.Fatalf("%q: value %q: %v", line, rec.Value, err)
		}
		if time == "" && rec.Timestamp != 7 {
			t.Fatalf("%q: got time %d, want now", line, rec.Timestamp)
		}
		raw, ok := object[key]
		if !ok || key == "" || !utf8.ValidString(key) {
			return
		}
		want, text := []byte(raw), ""
		if string(raw) == "null" {
			want = nil
		} else if json.Unmarshal(raw, &text) == nil {
			want = []byte(text)
		}
		if !bytes.Equal(rec.Key, want) || (rec.Key == nil) != (want == nil) {
			t.Fatalf("%q: got key %q of field %q, want %q", line, rec.Key, key, want)
		}
	})
}

// FuzzTime: no unit and no text makes a parser of times panic, and numbers of
// whole milliseconds come back.
func FuzzTime(f *testing.F) {
	for _, u := range []string{"", "s", "ms", "us", "ns", "%Y-%m-%d %H:%M:%S", "2006-01-02", "%%", "%Q"} {
		f.Add(u, "1431857103", int64(1431857103000))
		f.Add(u, "2015-05-17 10:05:03", int64(-1))
		f.Add(u, "-1.5", int64(0))
	}
	f.Fuzz(func(t *testing.T, unit, text string, ms int64) {
		p, err := newTimeParser(TimeUnit(unit))
		if err != nil {
			return
		}
		first, err := p.parse([]byte(text))
		if again, errAgain := p.parse([]byte(text)); again != first || (err == nil) != (errAgain == nil) {
			t.Fatalf("%q as %q: got %d, %v, then %d, %v", text, unit, first, err, again, errAgain)
		}
		p, _ = newTimeParser("ms")
		if got, err := p.parse(strconv.AppendInt(nil, ms, 10)); err == nil && got != log.Timestamp(ms) {
			t.Fatalf("%d ms: got %d", ms, got)
		}
	})
}

func BenchmarkAccessLog(b *testing.B) {
	p, _ := newAccessParser("path")
	line := []byte(`83.149.9.216 - - [17/May/2015:10:05:03 +0000] "GET /presentations/logstash-monitorama-2013/images/kibana-search.png HTTP/1.1" 200 203023 "http://semicomplete.com/presentations/logstash-monitorama-2013/" "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_9_1) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/32.0.1700.77 Safari/537.36"`)
	var rec log.Record
	b.SetBytes(int64(len(line)))
	b.ReportAllocs()
	for b.Loop() {
		if err := p.Parse(line, &rec); err != nil {
			b.Fatal(err)
		}
	}
}
