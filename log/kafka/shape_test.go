package kafka

import (
	"errors"
	"fmt"
	"reflect"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
	"pgregory.net/rapid"
)

// fill sets everything in a struct at random.
func fill(t *rapid.T, v reflect.Value) {
	for i := range v.NumField() {
		f := v.Field(i)
		if name := v.Type().Field(i).Name; name == "UnknownTags" || name == "Version" {
			continue
		}
		fillField(t, f)
	}
}

func fillField(t *rapid.T, f reflect.Value) {
	switch f.Kind() {
	case reflect.Bool:
		f.SetBool(rapid.Bool().Draw(t, "bool"))
	case reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		f.SetInt(int64(rapid.Int8().Draw(t, "int")))
	case reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		f.SetUint(uint64(rapid.Uint8().Draw(t, "uint")))
	case reflect.Float64:
		f.SetFloat(rapid.Float64().Draw(t, "float"))
	case reflect.String:
		f.SetString(rapid.String().Draw(t, "string"))
	case reflect.Array:
		f.Index(0).SetUint(uint64(rapid.Uint8().Draw(t, "uuid")))
	case reflect.Pointer:
		if rapid.Bool().Draw(t, "null") {
			return
		}
		f.Set(reflect.New(f.Type().Elem()))
		if f.Elem().Kind() == reflect.Struct {
			fill(t, f.Elem())
		} else {
			fillField(t, f.Elem())
		}
	case reflect.Slice:
		if rapid.Bool().Draw(t, "null") {
			return
		}
		n := rapid.IntRange(0, 3).Draw(t, "n")
		f.Set(reflect.MakeSlice(f.Type(), n, n))
		for i := range n {
			e := f.Index(i)
			if e.Kind() != reflect.Struct {
				fillField(t, e)
				continue
			}
			e.Addr().Interface().(interface{ Default() }).Default()
			fill(t, e)
		}
	}
}

// Every request of every version that is served fits its shape to the byte, and
// nothing that is cut does.
func TestShapes(t *testing.T) {
	for _, a := range newAPIs() {
		for version := a.min; version <= a.max; version++ {
			s := a.shapes[version-a.min]
			t.Run(fmt.Sprint(a.key.Name(), " ", version), rapid.MakeCheck(func(t *rapid.T) {
				req := kmsg.RequestForKey(int16(a.key))
				req.SetVersion(version)
				fill(t, reflect.ValueOf(req).Elem())
				b := req.AppendTo(nil)
				extra, _, err := s.check(a.key, req.IsFlexible(), b)
				if errors.Is(err, errNested) {
					return
				}
				if err != nil || extra != 0 {
					t.Errorf("%d bytes too many, %v: %x", extra, err, b)
				}
				if len(b) == 0 {
					return
				}
				cut := rapid.IntRange(0, len(b)-1).Draw(t, "cut")
				if _, _, err := s.check(a.key, req.IsFlexible(), b[:cut]); err == nil {
					t.Errorf("%d of %d bytes are taken for whole: %x", cut, len(b), b)
				}
				if extra, _, err := s.check(a.key, req.IsFlexible(), append(b, 1, 0, 0)); err != nil || extra != 3 {
					t.Errorf("three bytes more: %d, %v: %x", extra, err, b)
				}
			}))
		}
	}
}

// Counts that lie cost nothing.
func TestShapesHostile(t *testing.T) {
	huge := []byte{0xff, 0xff, 0xff, 0xff, 0x0f} // as a varint
	s := shapeOf(kmsg.InitProducerID, 4)
	body := append([]byte{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, huge...)
	if _, _, err := s.check(kmsg.InitProducerID, true, body); !errors.Is(err, errTooMany) {
		t.Errorf("4 billion tags: %v", err)
	}
	s = shapeOf(kmsg.DescribeTransactions, 0)
	if _, _, err := s.check(kmsg.DescribeTransactions, true, huge); !errors.Is(err, errShort) {
		t.Errorf("4 billion elements: %v", err)
	}
	n := 8 << 20
	many := append([]byte{0x81, 0x80, 0x80, 0x04}, make([]byte, n)...) // n empty strings
	for i := range n {
		many[4+i] = 1
	}
	if _, _, err := s.check(kmsg.DescribeTransactions, true, append(many, 0)); !errors.Is(err, errTooMany) {
		t.Errorf("%d elements: %v", n, err)
	}
}

func BenchmarkShapes(b *testing.B) {
	for range b.N {
		newAPIs()
	}
}
