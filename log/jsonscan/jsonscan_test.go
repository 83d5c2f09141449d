package jsonscan

import (
	"encoding/json"
	"strings"
	"testing"
)

var seeds = []string{
	``, ` `, `null`, ` true `, `false`, `nul`, `0`, `-0`, `01`, `1.`, `1.5e+3`, `1e`, `-`, `.5`, `"a"`, `"a`, `"\u12"`,
	`"\ud83d\ude00 \ud83d \ude00\ud83d"`, `"\'"`, "\"\x01\"", "\"\xff\xc0\"", `"\"\\\/\b\f\n\r\t"`, `{}`, `{"a":1}`, `{"a":1,}`,
	`{"a" : [1, 2 ,{"b":null}] , "c":"d"}`, `[1,]`, `[]`, `[[[]]]`, `{"a"}`, `{a:1}`, `1 2`, `"0123456789 quote \" after a word"`,
}

func FuzzValid(f *testing.F) {
	for _, s := range seeds {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		got := Valid(b)
		if want := json.Valid(b); got >= 0 != want {
			t.Fatalf("%q: got %d, encoding/json says %v", b, got, want)
		}
		if got < 0 && (^got > len(b) || ^got < 0) {
			t.Fatalf("%q: wrong byte at %d of %d", b, ^got, len(b))
		}
		if start, end := Lookup(b, "a"); (start >= 0 || start == NotFound) != json.Valid(b) || start >= 0 && !json.Valid(b[start:end]) {
			t.Fatalf("%q: looked up %d to %d, encoding/json says %v", b, start, end, json.Valid(b))
		}
		var want string
		if json.Unmarshal(b, &want) == nil && b[Space(b, 0)] == '"' {
			at := Space(b, 0)
			if got := string(Unquote(nil, b[at+1:String(b, at)-1])); got != want {
				t.Fatalf("%q: unquoted %q, encoding/json says %q", b, got, want)
			}
		}
	})
}

func TestDepth(t *testing.T) {
	for n, want := range map[int]bool{MaxDepth: true, MaxDepth + 1: false} {
		text := []byte(strings.Repeat("[", n) + strings.Repeat("]", n))
		if got := Valid(text) >= 0; got != want || json.Valid(text) != want {
			t.Errorf("%d arrays: got %v, encoding/json %v, want %v", n, got, json.Valid(text), want)
		}
	}
}

func TestLookup(t *testing.T) {
	f := func(text, path, want string) {
		t.Helper()
		start, end := Lookup([]byte(text), strings.Split(path, ".")...)
		got := "none"
		switch {
		case start >= 0:
			got = text[start:end]
		case start != NotFound:
			got = "malformed"
		}
		if got != want {
			t.Errorf("%s of %s: got %s, want %s", path, text, got, want)
		}
	}
	f(`{"a":1,"b":2}`, "b", "2")
	f(` { "a" : { "b" : [1, 2] } } `, "a.b", "[1, 2]")
	f(`{"a":1,"a":2}`, "a", "2")
	f(`{"\u0061":1}`, "a", "1")
	f(`{"a":1}`, "b", "none")
	f(`{"a":1}`, "a.b", "none")
	f(`{}`, "a", "none")
	f(`[1]`, "a", "none")
	f(`{"a":1`, "a", "malformed")
}
