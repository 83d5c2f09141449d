//lint:file-ignore SA5008 odd tags are what is tested
//lint:file-ignore U1000 fields that nobody may see are what is tested

package codec

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/big"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	gojson "github.com/goccy/go-json"
)

// PageView is what a job declares of an access log's record of 100 bytes.
type PageView struct {
	Time   int64  `json:"time"`
	Path   string `json:"path"`
	Status int    `json:"status"`
}

type plainFields struct {
	S    string
	B    bool
	I    int
	I8   int8
	I16  int16
	I32  int32
	I64  int64
	U    uint
	U8   uint8
	U16  uint16
	U32  uint32
	U64  uint64
	F32  float32
	F64  float64
	Name string `json:"name,omitempty"`
	Skip string `json:"-"`
	Dash string `json:"-,"`
	HTML string `json:"<a&b>"`
	low  string
}

type Inner struct {
	X int
	Y string `json:"y"`
}

type base struct {
	ID    int64
	Y     string
	Label string `json:"label"`
}

type nested struct {
	base
	Inner
	A  Inner            `json:"a"`
	P  *Inner           `json:"p"`
	L  []Inner          `json:"l"`
	SS []string         `json:"ss"`
	FF []float64        `json:"ff,omitempty"`
	PP **int            `json:"pp"`
	R  [2]Inner         `json:"r"`
	M  map[string]Inner `json:"m"`
	MI map[int]string   `json:"mi"`
	E  any              `json:"e"`
	T  time.Time        `json:"t"`
	TP *time.Time       `json:"tp"`
	BB []byte           `json:"bb"`
	AB [3]byte          `json:"ab"`
	N  json.Number      `json:"n,omitempty"`
	W  json.RawMessage  `json:"w,omitempty"`
	IP netip.Addr       `json:"ip"`
}

type quotedFields struct {
	I  int64   `json:"i,string"`
	U  uint8   `json:"u,string"`
	F  float64 `json:"f,string"`
	B  bool    `json:"b,string"`
	S  string  `json:"s,string"`
	PI *int32  `json:"pi,string"`
	SL []int   `json:"sl,string"`
	I8 int8    `json:"i8,string,omitempty"`
}

type special struct {
	Z   time.Time     `json:"z,omitzero"`
	Big *big.Int      `json:"big"`
	Val big.Int       `json:"val"`
	K   keyed         `json:"k"`
	KP  *keyed        `json:"kp"`
	D   time.Duration `json:"d"`
	*Inner
}

// keyed has methods on its pointer only.
type keyed struct{ v string }

func (k *keyed) MarshalJSON() ([]byte, error) { return json.Marshal("k:" + k.v) }

func (k *keyed) UnmarshalJSON(b []byte) error {
	if bytes.HasPrefix(b, []byte(`"!`)) {
		return errors.New("refused")
	}
	k.v = string(b)
	return nil
}

type tree struct {
	Value    int     `json:"value"`
	Children []*tree `json:"children"`
	Left     *tree   `json:"left,omitempty"`
}

type folded struct {
	Kelvin string `json:"kelvin"`
	Ünder  int    `json:"ÜNDER"`
	AbC    int
	ABC    int
	S1     int `json:"s1"`
	S2     int `json:"s2"`
	S3     int `json:"s3"`
	S4     int `json:"s4"`
	S5     int `json:"s5"`
	S6     int `json:"s6"`
	S7     int `json:"s7"`
	S8     int `json:"s8"`
	S9     int `json:"s9"`
	S10    int `json:"s10"`
}

type twins struct {
	TwinA
	TwinB
	C int
}
type TwinA struct {
	Same   int
	Tagged int `json:"won"`
}
type TwinB struct {
	Same int
	Won  int `json:"Won"`
	won  int
}

// sameAsStandard holds one type's codec to encoding/json on one text: both accept
// it with equal values, or both refuse it; and what is written is the same.
//
// The record before it, of the same type and arena, is prior: what is remembered
// of that must not matter.
func sameAsStandard[T any](t *testing.T, prior, text []byte) {
	t.Helper()
	c := JSON[T]().(*jsonCodec[T])
	var want, got, again T
	wantErr := json.Unmarshal(text, &want)
	src := bytes.Clone(text)
	a := &Arena{BlockBytes: 256}
	_ = c.Decode(&got, prior, a)
	gotErr := c.Decode(&got, src, a)
	if (gotErr == nil) != (wantErr == nil) {
		t.Fatalf("%s: decode %q: got error %v, encoding/json says %v", c.name, text, gotErr, wantErr)
	}
	if gotErr != nil {
		if !errors.Is(gotErr, ErrMalformed) {
			t.Fatalf("%s: decode %q: %v is not ErrMalformed", c.name, text, gotErr)
		}
		return
	}
	for i := range src {
		src[i] = 'X' // nothing decoded may point into the record
	}
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("%s: decode %q:\n got %s\nwant %s", c.name, text, show(got), show(want))
	}
	if err := c.Decode(&again, text, a); err != nil || !reflect.DeepEqual(again, want) {
		t.Fatalf("%s: decode %q once more:\n got %s, %v\nwant %s", c.name, text, show(again), err, show(want))
	}
	if err := c.Decode(&again, text, nil); err != nil || !reflect.DeepEqual(again, want) {
		t.Fatalf("%s: decode %q without an arena:\n got %s, %v\nwant %s", c.name, text, show(again), err, show(want))
	}
	sameEncoding(t, c, want)
}

func sameEncoding[T any](t *testing.T, c *jsonCodec[T], v T) {
	t.Helper()
	want, wantErr := json.Marshal(v)
	got, err := c.Append([]byte("x"), v)
	if (err == nil) != (wantErr == nil) {
		t.Fatalf("%s: encode %s: got error %v, encoding/json says %v", c.name, show(v), err, wantErr)
	}
	if string(got) != "x"+string(want) {
		t.Fatalf("%s: encode:\n got %s\nwant x%s", c.name, got, want)
	}
}

func show(v any) string { return fmt.Sprintf("%#v", v) }

func allTypes(t *testing.T, prior, text []byte) {
	t.Helper()
	sameAsStandard[PageView](t, prior, text)
	sameAsStandard[plainFields](t, prior, text)
	sameAsStandard[nested](t, prior, text)
	sameAsStandard[quotedFields](t, prior, text)
	sameAsStandard[special](t, prior, text)
	sameAsStandard[tree](t, prior, text)
	sameAsStandard[folded](t, prior, text)
	sameAsStandard[twins](t, prior, text)
	sameAsStandard[map[string]any](t, prior, text)
	sameAsStandard[[]PageView](t, prior, text)
	sameAsStandard[[2]*int](t, prior, text)
	sameAsStandard[*PageView](t, prior, text)
	sameAsStandard[string](t, prior, text)
	sameAsStandard[float64](t, prior, text)
	sameAsStandard[float32](t, prior, text)
	sameAsStandard[int64](t, prior, text)
	sameAsStandard[uint64](t, prior, text)
	sameAsStandard[any](t, prior, text)
	sameAsStandard[time.Time](t, prior, text)
}

const sample = `{"host":"83.149.9.216","time":1431857103000,"method":"GET","path":"/images/kibana.png","status":200,"bytes":203023}`

var texts = []string{
	sample, ``, ` `, `null`, ` {} `, `{`, `{}x`, `[]`, `[{}]`, `[{"time":1},{"path":"a"},null]`, `"a"`, `true`, `1`, `-1.5e3`, `{"":1}`,
	`{"time":1,"time":2}`, `{"time":1,"time":null}`, `{"TIME":1,"Path":"x","sTaTuS":3}`, `{"ſtatus":3,"\u017ftatus":4,"\u0073tatus":5}`,
	`{"time":1.0}`, `{"time":1e3}`, `{"time":"1"}`, `{"time":9223372036854775807}`, `{"time":9223372036854775808}`, `{"time":-9223372036854775808}`,
	`{"time":-9223372036854775809}`, `{"time":18446744073709551616}`, `{"time":01}`, `{"time":-}`, `{"time":-0}`, `{"time":9007199254740993}`, `{"time":1x}`,
	`{"status":true}`, `{"path":null}`, `{"path":{}}`, `{"path":[1,2]}`, `{"path":"\ud83d\ude00 \ud83d x \ude00 \ud83d\u0041"}`, "{\"path\":\"\xff\xed\xa0\x80é\"}", `{"path":"\u00"}`, "{\"path\":\"a\nb\"}",
	`{"path":"` + strings.Repeat("long ", 100) + `"}`, `{"path":"tab\t quote\" slash\/ \\ \b\f\n\r"}`, `{"x":{"y":[1,{"z":"\""}],"w":-0.5e-3},"time":3}`, `{"x":nul}`, `{"x":[1,]}`,
	`{"S":"a","B":true,"I":-1,"I8":-128,"I16":32767,"I32":-2147483648,"I64":1,"U":1,"U8":255,"U16":65535,"U32":4294967295,"U64":18446744073709551615,"F32":3.4e38,"F64":1.7e308,"name":"n","-":"dash","<a&b>":"h"}`,
	`{"I8":128}`, `{"I8":-129}`, `{"U8":256}`, `{"U8":-1}`, `{"U8":-0}`, `{"U64":18446744073709551616}`, `{"F32":3.5e38}`, `{"F64":1e309}`, `{"F64":1e-400}`, `{"F64":-0}`, `{"F64":0.1,"F32":0.1}`, `{"F64":123456789012345678901234567890}`, `{"F64":nan}`,
	`{"F32":1e-7,"F64":1e-7}`, `{"F32":1e21,"F64":1e21}`, `{"F32":1e-6,"F64":123456789e-10}`, `{"low":"x","Skip":"y","skip":"z"}`,
	`{"a":{"X":1,"y":"q"},"a":{"X":2},"p":{"X":1},"p":{"y":"z"},"l":[{"X":1,"y":"a"},{"X":2,"y":"b"}],"l":[{"X":3}],"l":[{},{},{}]}`, `{"p":{"X":1},"p":null}`,
	`{"ID":7,"y":"inner","Y":"base","label":"l","X":9}`, `{"ss":["a",null,"b"],"ff":[1,2.5,-3],"pp":5}`, `{"pp":null,"ss":[],"ff":null,"l":null}`, `{"r":[{"X":1},{"X":2},{"X":3}]}`, `{"r":[{"X":1}],"r":[]}`, `{"r":{}}`,
	`{"m":{"a":{"X":1},"b":null},"mi":{"1":"a","-2":"b"}}`, `{"mi":{"x":"a"}}`, `{"e":{"a":[1,"b",null,true]}}`, `{"t":"2015-05-17T10:05:03Z","tp":"2015-05-17T10:05:03.123+02:00"}`, `{"t":"2015"}`, `{"t":null,"tp":null}`, `{"t":5}`,
	`{"bb":"aGVsbG8=","ab":[1,2,3,4]}`, `{"bb":"aGVs\nbG8="}`, `{"bb":"!"}`, `{"bb":[1,2,255]}`, `{"bb":[256]}`, `{"bb":""}`, `{"bb":null}`, `{"bb":{}}`, `{"n":12.50,"w":{"a": [1, 2]},"ip":"::1"}`, `{"n":"12","w":null}`, `{"n":"x"}`, `{"ip":"x"}`, `{"ip":5}`,
	`{"i":"12","u":"255","f":"1.5","b":"true","s":"\"x\"","pi":"-3","sl":[1]}`, `{"i":12}`, `{"i":"1.5"}`, `{"i":"007"}`, `{"i":"-0"}`, `{"i":""}`, `{"i":null}`, `{"i":"null"}`, `{"i":" 1"}`, `{"i":"1234567890123456789012"}`, `{"i8":"128"}`, `{"i8":"-5"}`, `{"u":"256"}`, `{"s":"x"}`, `{"s":null}`, `{"pi":null}`, `{"pi":"null"}`, `{"i":"1\u0032"}`, `{"i":[1]}`, `{"b":"truex"}`, `{"i":"-"}`, `{"i":"+1"}`,
	`{"z":"2015-05-17T10:05:03Z","big":123456789012345678901234567890,"val":5,"k":"a","kp":[1],"d":5,"X":1,"y":"e"}`, `{"k":"!a"}`, `{"k":null,"kp":null,"big":null}`,
	`{"value":1,"children":[{"value":2,"children":[null,{"value":3}]}],"left":{"left":{}}}`,
	`{"` + "\u212a" + `elvin":"k","ünder":1,"ÜNDER":2,"abc":3,"ABC":4,"aBc":5,"s10":6,"S9":7,"AbC":8}`,
	`{"Same":1,"won":2,"Won":3,"C":4}`, "\ufeff{}", "{\"a\":\"\x7f\"}", `{"time" : 1 , "path":"x"` + "\t\r\n}", "{\"time\":1}\v", `{"e":"\u2028<>&"}`, `{"S":"\u2028<>&\u0000\u001f\u007f"}`, `{"path":"unended`, `{"path":"unended\`, `{"path`, `{"path"`, `{"path":`, `{"path":"x",`,
}

func TestJSONEqualsEncodingJSON(t *testing.T) {
	for _, text := range texts {
		allTypes(t, []byte(sample), []byte(text))
	}
	// The same keys with other white space, a key more, a key less.
	for _, prior := range []string{`{"time":1,"path":"a","status":2}`, `{"time": 1, "path": "a", "status": 2}`, `{"ti\u006de":1}`, `{"a_very_long_key_indeed":1,"time":2}`} {
		for _, text := range []string{`{"time":1,"path":"b","status":3}`, `{"time"  :  4, "path": "c"}`, `{"path":"d","time":5}`, `{"time":6`, `{"time":7,"path`, `{"ti\u006de":8}`, `{"a_very_long_key_indeex":1,"time":9}`} {
			allTypes(t, []byte(prior), []byte(text))
		}
	}
	for _, depth := range []int{5_000, 9_998, 9_999, 10_000, 10_001} {
		open, end := strings.Repeat("[", depth-1), strings.Repeat("]", depth-1)
		allTypes(t, nil, []byte(`{"x":`+open+end+`}`))
		allTypes(t, nil, []byte(`{"e":`+open+end+`}`))
		open, end = strings.Repeat(`{"left":`, depth-1), strings.Repeat("}", depth-1)
		sameAcceptance[tree](t, []byte(open+`{}`+end))
	}
}

// sameAcceptance is sameAsStandard for what is too deep to compare or to write.
func sameAcceptance[T any](t *testing.T, text []byte) {
	t.Helper()
	var got, want T
	gotErr, wantErr := JSON[T]().Decode(&got, text, nil), json.Unmarshal(text, &want)
	if (gotErr == nil) != (wantErr == nil) {
		t.Errorf("decode %.40q… of %d bytes: got error %v, encoding/json says %v", text, len(text), gotErr, wantErr)
	}
}

func FuzzJSON(f *testing.F) {
	for _, text := range texts {
		f.Add([]byte(sample), []byte(text))
	}
	f.Add([]byte(`{"time": 1, "path":"a"}`), []byte(`{"time":1,"path" :"a"}`))
	f.Fuzz(func(t *testing.T, prior, text []byte) { allTypes(t, prior, text) })
}

func FuzzJSONEncode(f *testing.F) {
	f.Add("a<b>&\u2028\xff\x00\"\\", int64(-1), uint64(math.MaxUint64), 1e21, float32(1e-7), true, []byte("x"))
	f.Fuzz(func(t *testing.T, s string, i int64, u uint64, d float64, e float32, b bool, raw []byte) {
		sameEncoding(t, JSON[plainFields]().(*jsonCodec[plainFields]),
			plainFields{S: s, B: b, I: int(i), I8: int8(i), I16: int16(i), I32: int32(i), I64: i, U: uint(u), U8: uint8(u), U16: uint16(u), U32: uint32(u), U64: u, F32: e, F64: d, Name: s})
		i32 := int32(i)
		sameEncoding(t, JSON[quotedFields]().(*jsonCodec[quotedFields]), quotedFields{I: i, U: uint8(u), F: d, B: b, S: s, PI: &i32, SL: []int{int(i)}, I8: int8(i)})
		p := &Inner{X: int(i), Y: s}
		sameEncoding(t, JSON[nested]().(*jsonCodec[nested]), nested{base: base{ID: i, Y: s}, Inner: *p, A: *p, P: p, L: []Inner{*p, {}}, SS: []string{s, s}, FF: []float64{d},
			M: map[string]Inner{s: *p}, E: s, T: time.UnixMilli(i >> 20), BB: raw, AB: [3]byte{1, byte(i)}})
		k := &keyed{s}
		sameEncoding(t, JSON[special]().(*jsonCodec[special]), special{K: *k, KP: k, D: time.Duration(i)})
		sameEncoding(t, JSON[folded]().(*jsonCodec[folded]), folded{Kelvin: s, AbC: int(i)})
	})
}

func TestJSONErrorsSayWhere(t *testing.T) {
	f := func(text, want string) {
		t.Helper()
		var v PageView
		err := JSON[PageView]().Decode(&v, []byte(text), nil)
		if err == nil || err.Error() != want {
			t.Errorf("got  %v\nwant %s", err, want)
		}
	}
	f(`{"time":"x"}`, `decode json(PageView) at byte 8, field "time": got '"', want an integer: malformed`)
	f(`{"time":1`, `decode json(PageView) at byte 9: got the end, want JSON: malformed`)
	f(`{"x":tru}`, `decode json(PageView) at byte 8: got '}', want JSON: malformed`)
	f(`[]`, `decode json(PageView) at byte 0: got '[', want an object: malformed`)
}

func TestJSONDecodeDoesNotAllocate(t *testing.T) {
	c := JSON[PageView]()
	a := &Arena{BlockBytes: 1 << 20} // at most one block per 10,000 records
	text := []byte(sample)
	escaped := []byte(`{"time":1,"path":"\/a\/b\u0020é","status":200}`)
	v := new(PageView)
	n := testing.AllocsPerRun(10_000, func() {
		if c.Decode(v, text, a) != nil || c.Decode(v, escaped, a) != nil {
			t.Fatal("malformed")
		}
	})
	if n != 0 {
		t.Errorf("got %v allocations per two records, want 0", n)
	}
}

func TestJSONEncodeDoesNotAllocate(t *testing.T) {
	c := JSON[PageView]()
	v := PageView{Time: 1431857103000, Path: "/images/kibana.png", Status: 200}
	buf := make([]byte, 0, 256)
	if n := testing.AllocsPerRun(1000, func() { buf, _ = c.Append(buf[:0], v) }); n != 0 {
		t.Errorf("got %v allocations per record, want 0", n)
	}
}

func BenchmarkJSONDecode(b *testing.B) {
	text := []byte(sample)
	run := func(name string, decode func(v *PageView) error) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(text)))
			v := new(PageView)
			for b.Loop() {
				if err := decode(v); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	c, a := JSON[PageView](), new(Arena)
	run("codec", func(v *PageView) error { return c.Decode(v, text, a) })
	run("goccy", func(v *PageView) error { return gojson.Unmarshal(text, v) })
	run("encoding-json", func(v *PageView) error { return json.Unmarshal(text, v) })
}

func BenchmarkJSONEncode(b *testing.B) {
	v := PageView{Time: 1431857103000, Path: "/images/kibana.png", Status: 200}
	run := func(name string, encode func() error) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := encode(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	c := JSON[PageView]()
	var buf []byte
	run("codec", func() (err error) { buf, err = c.Append(buf[:0], v); return err })
	run("goccy", func() (err error) { buf, err = gojson.Marshal(v); return err })
	run("encoding-json", func() (err error) { buf, err = json.Marshal(v); return err })
}
