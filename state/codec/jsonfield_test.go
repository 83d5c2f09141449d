package codec

import (
	"errors"
	"testing"
)

func TestJSONField(t *testing.T) {
	f := func(path, src, want string) {
		t.Helper()
		var got string
		if err := JSONField(path).Decode(&got, []byte(src), &Arena{}); err != nil || got != want {
			t.Errorf("field %q of %s: got %q, %v; want %q", path, src, got, err, want)
		}
	}
	f("tz", `{"tz":"Europe\/Rome"}`, "Europe/Rome")
	f("tz", ` {"a":[1,{"tz":2}],"tz":null} `, "")
	f("tz", `{"other":1}`, "")
	f("n", `{"n":-1.50}`, "-1.50")
	f("ok", `{"ok":true}`, "true")
	f("geo.city", `{"geo":{"city":"Bergen"}}`, "Bergen")
	f("S.Device.ID", `{"S.Device.ID":"dev_1","S":{"Device":{"ID":"no"}}}`, "dev_1")
	f("geo.city", `{"geo":"Bergen"}`, "")
	f("o", `{"o":{"a": 1}}`, `{"a": 1}`)
	f("", `{"o":1}`, "")
	f("é", `{"\u00e9":"\u00e9\n"}`, "é\n")
}

func TestJSONFieldRefuses(t *testing.T) {
	for _, src := range []string{``, `[1]`, `{"a":1`, `{"a":1}x`, `"a"`, `{a:1}`} {
		var got string
		if err := JSONField("a").Decode(&got, []byte(src), nil); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: got %q, %v; want ErrMalformed", src, got, err)
		}
	}
}

func FuzzJSONField(f *testing.F) {
	f.Add("a.b", []byte(`{"a":{"b":"\ud83d\ude00"}}`))
	f.Fuzz(func(t *testing.T, path string, src []byte) {
		var object map[string]any
		valid := JSON[map[string]any]().Decode(&object, src, nil) == nil && object != nil
		var got string
		if err := JSONField(path).Decode(&got, src, &Arena{}); (err == nil) != valid {
			t.Fatalf("field %q of %q: got %v, valid %v", path, src, err, valid)
		}
	})
}
