package codec

import "encoding/binary"

// A shape remembers the keys of the latest record of one type, in order, since
// the records of one source list theirs in one order as a rule. A key that is
// the expected one is known, and passed, by comparing one or two words, where
// finding its end and then its field takes several times as long: the processor
// need not wait for the one before it begins with the other.
//
// It is a guess that is checked, so it never changes what is decoded. It lives
// in an Arena, which one goroutine owns.
type shape struct {
	of   *names
	keys []shapeKey
}

// shapeKey is one key as it stands in the text, from behind its opening quote to
// its value: closing quote, colon and white space included.
type shapeKey struct {
	size  int // bytes; maxShapeKey + 1: too long to be remembered
	field int // -1: none
	words [2]uint64
	masks [2]uint64
}

const (
	maxShapeKey = 16  // bytes
	maxShape    = 256 // keys that are remembered of a record
)

// expectedKeys returns the keys of the latest record of the type that n belongs
// to.
func (a *Arena) expectedKeys(n *names) []shapeKey {
	if a.shape.of != n {
		a.shape.of, a.shape.keys = n, a.shape.keys[:0]
	}
	return a.shape.keys
}

// match tells whether the key at i is this one: its field and where its value
// begins (or white space before it), or -1.
func (k *shapeKey) match(b []byte, i int) (field, end int) {
	const word = 8 // bytes
	if i+1+word > len(b) || b[i] != '"' || binary.LittleEndian.Uint64(b[i+1:])&k.masks[0] != k.words[0] {
		return -1, -1
	}
	if k.size > word && (k.size > maxShapeKey || i+1+2*word > len(b) ||
		binary.LittleEndian.Uint64(b[i+1+word:])&k.masks[1] != k.words[1]) {
		return -1, -1
	}
	return k.field, i + 1 + k.size
}

// learn remembers a key as the nth of a record.
func (s *shape) learn(key []byte, nth, field int) {
	if nth > len(s.keys) || nth >= maxShape {
		return
	}
	k := shapeKey{field: field, size: min(len(key), maxShapeKey+1)}
	var text, mask [maxShapeKey]byte
	copy(text[:], key)
	for i := range min(len(key), maxShapeKey) {
		mask[i] = 0xff
	}
	for i := range k.words {
		k.words[i] = binary.LittleEndian.Uint64(text[8*i:])
		k.masks[i] = binary.LittleEndian.Uint64(mask[8*i:])
	}
	if nth == len(s.keys) {
		s.keys = append(s.keys, k)
	} else {
		s.keys[nth] = k
	}
}
