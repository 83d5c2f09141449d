// Package jsonscan walks JSON text without building anything: it finds where a
// value ends, checking it on the way as strictly as encoding/json does, and
// unquotes strings. Package state/codec decodes records on top of it, and
// log/connect finds fields of JSON lines.
//
// All functions take the whole text b and a position i in it, and return the
// position behind what they have read, or, if the text is not JSON, the
// complement ^at (a negative number) of the position of the first wrong byte,
// len(b) standing for an early end. Nothing is allocated or kept.
package jsonscan

import (
	"encoding/binary"
	"math/bits"
	"unicode/utf16"
	"unicode/utf8"
)

// MaxDepth bounds how deep objects and arrays nest, as in encoding/json: a
// hostile text shall not exhaust the stack.
const MaxDepth = 10_000

const spaces = 1<<' ' | 1<<'\t' | 1<<'\n' | 1<<'\r'

// Space skips white space. It never fails.
func Space(b []byte, i int) int {
	for i < len(b) && b[i] <= ' ' && spaces>>b[i]&1 != 0 {
		i++
	}
	return i
}

// Value skips the value that begins at i, within depth enclosing objects and
// arrays.
func Value(b []byte, i, depth int) int {
	if i >= len(b) {
		return ^i
	}
	switch b[i] {
	case '"':
		return String(b, i)
	case '{':
		return object(b, i, depth+1)
	case '[':
		return array(b, i, depth+1)
	case 't':
		return Literal(b, i, "true")
	case 'f':
		return Literal(b, i, "false")
	case 'n':
		return Literal(b, i, "null")
	}
	return Number(b, i)
}

// Valid checks that b is one value and white space around it.
func Valid(b []byte) int {
	i := Value(b, Space(b, 0), 0)
	if i < 0 {
		return i
	}
	if i = Space(b, i); i < len(b) {
		return ^i
	}
	return i
}

func object(b []byte, i, depth int) int {
	if depth > MaxDepth {
		return ^i
	}
	i = Space(b, i+1)
	if i < len(b) && b[i] == '}' {
		return i + 1
	}
	for {
		if i = Key(b, i); i < 0 {
			return i
		}
		if i = Value(b, i, depth); i < 0 {
			return i
		}
		i = Space(b, i)
		if i >= len(b) {
			return ^i
		}
		switch b[i] {
		case ',':
			i = Space(b, i+1)
		case '}':
			return i + 1
		default:
			return ^i
		}
	}
}

func array(b []byte, i, depth int) int {
	if depth > MaxDepth {
		return ^i
	}
	i = Space(b, i+1)
	if i < len(b) && b[i] == ']' {
		return i + 1
	}
	for {
		if i = Value(b, i, depth); i < 0 {
			return i
		}
		i = Space(b, i)
		if i >= len(b) {
			return ^i
		}
		switch b[i] {
		case ',':
			i = Space(b, i+1)
		case ']':
			return i + 1
		default:
			return ^i
		}
	}
}

// Key skips a key of an object and its colon, to the first byte of the value.
func Key(b []byte, i int) int {
	if i >= len(b) || b[i] != '"' {
		return ^i
	}
	if i = String(b, i); i < 0 {
		return i
	}
	return Colon(b, i)
}

// Colon skips a colon and the white space around it.
func Colon(b []byte, i int) int {
	i = Space(b, i)
	if i >= len(b) || b[i] != ':' {
		return ^i
	}
	return Space(b, i+1)
}

// Literal skips one of true, false and null.
func Literal(b []byte, i int, word string) int {
	for j := range len(word) {
		if i+j >= len(b) || b[i+j] != word[j] {
			return ^(i + j)
		}
	}
	return i + len(word)
}

// Number skips a number.
func Number(b []byte, i int) int {
	if i < len(b) && b[i] == '-' {
		i++
	}
	switch {
	case i >= len(b):
		return ^i
	case b[i] == '0':
		i++
	case '1' <= b[i] && b[i] <= '9':
		i = digits(b, i)
	default:
		return ^i
	}
	if i < len(b) && b[i] == '.' {
		at := i + 1
		if i = digits(b, at); i == at {
			return ^i
		}
	}
	if i < len(b) && b[i]|0x20 == 'e' {
		i++
		if i < len(b) && (b[i] == '+' || b[i] == '-') {
			i++
		}
		at := i
		if i = digits(b, at); i == at {
			return ^i
		}
	}
	return i
}

func digits(b []byte, i int) int {
	for i < len(b) && b[i]-'0' <= 9 {
		i++
	}
	return i
}

// Eight bytes are looked at in one word. For a word x, (x - k*ones) &^ x & tops
// has the top bit of each byte below k set (for k up to 128); bits above the
// lowest one set may be wrong, since the subtraction borrows, so only the lowest
// counts. A byte equal to c is one of x ^ c*ones that is below 1.
const (
	ones  = 0x0101010101010101
	tops  = 0x8080808080808080
	lows  = ones * 0x20
	quote = ones * '"'
	slash = ones * '\\'
)

// Plain returns the position of the first byte from i on that is not plain text
// of a string: a quote, a backslash, a control character or a byte of a
// character beyond ASCII; len(b) if there is none.
func Plain(b []byte, i int) int {
	for i+8 <= len(b) {
		x := binary.LittleEndian.Uint64(b[i:])
		q, s := x^quote, x^slash
		if stop := ((x-lows)&^x | (q-ones)&^q | (s-ones)&^s | x) & tops; stop != 0 {
			return i + bits.TrailingZeros64(stop)>>3
		}
		i += 8
	}
	for i < len(b) && b[i] >= ' ' && b[i] != '"' && b[i] != '\\' && b[i] < utf8.RuneSelf {
		i++
	}
	return i
}

// String skips the string whose opening quote is at i. Invalid UTF-8 is let
// pass, as encoding/json does; Unquote replaces it.
func String(b []byte, i int) int {
	i++
	for i+8 <= len(b) {
		x := binary.LittleEndian.Uint64(b[i:])
		q, s := x^quote, x^slash
		if stop := ((x-lows)&^x | (q-ones)&^q | (s-ones)&^s) & tops; stop != 0 {
			i += bits.TrailingZeros64(stop) >> 3
			if b[i] == '"' {
				return i + 1
			}
			break
		}
		i += 8
	}
	return stringTail(b, i)
}

// stringTail is String from within the string.
func stringTail(b []byte, i int) int {
	for {
		i = stringEnd(b, i)
		if i >= len(b) {
			return ^i
		}
		switch b[i] {
		case '"':
			return i + 1
		case '\\':
			if i = escapeSequence(b, i); i < 0 {
				return i
			}
		default:
			return ^i // a control character
		}
	}
}

// stringEnd is Plain that passes over characters beyond ASCII.
func stringEnd(b []byte, i int) int {
	for i+8 <= len(b) {
		x := binary.LittleEndian.Uint64(b[i:])
		q, s := x^quote, x^slash
		if stop := ((x-lows)&^x | (q-ones)&^q | (s-ones)&^s) & tops; stop != 0 {
			return i + bits.TrailingZeros64(stop)>>3
		}
		i += 8
	}
	for i < len(b) && b[i] >= ' ' && b[i] != '"' && b[i] != '\\' {
		i++
	}
	return i
}

// escapeSequence skips the escape sequence whose backslash is at i.
func escapeSequence(b []byte, i int) int {
	i++
	if i >= len(b) {
		return ^i
	}
	switch b[i] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return i + 1
	case 'u':
		for range 4 {
			i++
			if i >= len(b) || hexDigit(b[i]) < 0 {
				return ^i
			}
		}
		return i + 1
	}
	return ^i
}

// hexDigit returns the value of a hexadecimal digit, or -1.
func hexDigit(c byte) rune {
	switch {
	case '0' <= c && c <= '9':
		return rune(c - '0')
	case 'a' <= c|0x20 && c|0x20 <= 'f':
		return rune(c|0x20-'a') + 10
	}
	return -1
}

// Unquote appends to dst what the text of a string means. raw is what stands
// between the quotes of a string that String or Value has passed. A lone
// surrogate and each byte of invalid UTF-8 become U+FFFD, as in encoding/json.
func Unquote(dst, raw []byte) []byte {
	for i := 0; i < len(raw); {
		switch c := raw[i]; {
		case c == '\\':
			dst, i = unescape(dst, raw, i)
		case c < utf8.RuneSelf:
			at := i
			for i < len(raw) && raw[i] < utf8.RuneSelf && raw[i] != '\\' {
				i++
			}
			dst = append(dst, raw[at:i]...)
		default:
			r, size := utf8.DecodeRune(raw[i:])
			dst = utf8.AppendRune(dst, r)
			i += size
		}
	}
	return dst
}

func unescape(dst, raw []byte, i int) ([]byte, int) {
	c := raw[i+1]
	switch c {
	case 'b':
		c = '\b'
	case 'f':
		c = '\f'
	case 'n':
		c = '\n'
	case 'r':
		c = '\r'
	case 't':
		c = '\t'
	case 'u':
		r := codeUnit(raw, i)
		i += 6
		if utf16.IsSurrogate(r) {
			// The unit after it is consumed only if both make a character.
			if pair := utf16.DecodeRune(r, codeUnit(raw, i)); pair != utf8.RuneError {
				return utf8.AppendRune(dst, pair), i + 6
			}
			r = utf8.RuneError
		}
		return utf8.AppendRune(dst, r), i
	}
	return append(dst, c), i + 2
}

// codeUnit returns the UTF-16 code unit of the \uXXXX at i, or -1 if there is
// none.
func codeUnit(raw []byte, i int) rune {
	if i+6 > len(raw) || raw[i] != '\\' || raw[i+1] != 'u' {
		return -1
	}
	var r rune
	for _, c := range raw[i+2 : i+6] {
		r = r<<4 | hexDigit(c)
	}
	return r
}

// Lookup finds the value of a field of the object b by its path, one key for
// each level of nesting; of keys that occur twice, the last counts, at each
// level. It checks all of b, once. It returns the positions of the value, start
// and end, or start < 0: ^at of the first wrong byte if b is not JSON, and
// NotFound if there is no such field or b is no object.
func Lookup(b []byte, path ...string) (start, end int) {
	first := ""
	if len(path) > 0 {
		first = path[0]
	}
	at := Space(b, 0)
	start, end, after := member(b, at, first)
	if after < 0 {
		return after, 0
	}
	if i := Space(b, after); i < len(b) {
		return ^i, 0
	}
	if len(path) == 0 {
		return at, after
	}
	for _, name := range path[1:] {
		if start < 0 {
			break
		}
		start, end, _ = member(b, start, name)
	}
	return start, end
}

// NotFound is what Lookup returns for a field that is not there. It is the
// complement of no position.
const NotFound = -1 << 62

// member finds the value of the last key that equals name in the object at i: it
// lies from start to end, start being NotFound if there is none or the value at i
// is no object. after is behind the value at i, all of which is checked, or ^at
// of the first wrong byte.
func member(b []byte, i int, name string) (start, end, after int) {
	start = NotFound
	if i >= len(b) || b[i] != '{' {
		return start, 0, Value(b, i, 0)
	}
	i = Space(b, i+1)
	if i < len(b) && b[i] == '}' {
		return start, 0, i + 1
	}
	for {
		if i >= len(b) || b[i] != '"' {
			return start, 0, ^i
		}
		behind := String(b, i)
		if behind < 0 {
			return start, 0, behind
		}
		raw := b[i+1 : behind-1]
		if i = Colon(b, behind); i < 0 {
			return start, 0, i
		}
		value := i
		if i = Value(b, i, 1); i < 0 {
			return start, 0, i
		}
		if string(raw) == name || !isPlain(raw) && string(Unquote(nil, raw)) == name {
			start, end = value, i
		}
		i = Space(b, i)
		if i >= len(b) {
			return start, 0, ^i
		}
		switch b[i] {
		case ',':
			i = Space(b, i+1)
		case '}':
			return start, end, i + 1
		default:
			return start, 0, ^i
		}
	}
}

func isPlain(raw []byte) bool { return Plain(raw, 0) == len(raw) }
