package operators

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"strconv"

	"github.com/goccy/go-json"

	"github.com/gretestream/grete/state"
)

var errNoDB = errors.New("the task was given no database for its stores")

func errNoStore(name string) error { return fmt.Errorf("the task's database has no store %q", name) }

// keyedQuery reads a store of plain keys. prefix is what the store's keys begin
// with before the encoded key.
func keyedQuery[K, V any](store string, key Codec[K], value Codec[V], prefix []byte) *StoreQuery {
	return &StoreQuery{
		KeyType: reflect.TypeFor[K](), RowType: reflect.TypeFor[V](),
		ParseKey: func(text string) ([]byte, error) { return parseKey(key, text) },
		Scan: func(v *state.View, r Range, f func(Row) error) error {
			lo, hi := prefixRange(prefix)
			if r.Key != nil {
				lo = append(bytes.Clone(prefix), r.Key...)
				hi = append(bytes.Clone(lo), 0)
			}
			return scanRows(v, store, lo, hi, func(k, b []byte) (Row, error) {
				row := Row{RawKey: bytes.Clone(k[len(prefix):])}
				var kk K
				if err := key.Decode(&kk, row.RawKey, nil); err != nil {
					return row, fmt.Errorf("read store %q: decode key %x: %w", store, row.RawKey, err)
				}
				var vv V
				if err := value.Decode(&vv, b, nil); err != nil {
					return row, fmt.Errorf("read store %q: decode the value of key %v: %w", store, kk, err)
				}
				row.Key, row.Value = kk, vv
				return row, nil
			}, f)
		},
	}
}

// scanRows hands the entries of a range on as rows, and ends at the first error.
func scanRows(v *state.View, store string, lo, hi []byte, row func(key, value []byte) (Row, error), f func(Row) error) error {
	var failed error
	err := v.Scan(store, lo, hi, func(key, value []byte) bool {
		var r Row
		if r, failed = row(key, value); failed == nil {
			failed = f(r)
		}
		return failed == nil
	})
	if failed != nil {
		return failed
	}
	return err
}

// prefixRange returns the bounds of the keys that begin with prefix.
func prefixRange(prefix []byte) (lo, hi []byte) {
	hi = bytes.Clone(prefix)
	for i := len(hi) - 1; i >= 0; i-- {
		if hi[i]++; hi[i] != 0 {
			return prefix, hi[:i+1]
		}
	}
	return prefix, nil
}

// parseKey encodes a key from its text form: strings and bytes as they are,
// numbers and bools in Go's notation, everything else as JSON.
func parseKey[K any](c Codec[K], text string) ([]byte, error) {
	var k K
	v := reflect.ValueOf(&k).Elem()
	var err error
	switch v.Kind() {
	case reflect.String:
		v.SetString(text)
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		var n int64
		n, err = strconv.ParseInt(text, 10, v.Type().Bits())
		v.SetInt(n)
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		var n uint64
		n, err = strconv.ParseUint(text, 10, v.Type().Bits())
		v.SetUint(n)
	case reflect.Float32, reflect.Float64:
		var n float64
		n, err = strconv.ParseFloat(text, v.Type().Bits())
		v.SetFloat(n)
	case reflect.Bool:
		var is bool
		is, err = strconv.ParseBool(text)
		v.SetBool(is)
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			v.SetBytes([]byte(text))
			break
		}
		err = json.Unmarshal([]byte(text), &k)
	default:
		err = json.Unmarshal([]byte(text), &k)
	}
	if err != nil {
		return nil, fmt.Errorf("key %q: want a value of type %T: %w", text, k, err)
	}
	c, err = codecOf(c)
	if err != nil {
		return nil, err
	}
	return c.Append(nil, k)
}
