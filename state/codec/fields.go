package codec

import (
	"bytes"
	"cmp"
	"reflect"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// field is one member of a JSON object and its place in a struct.
type field struct {
	name      string
	offset    uintptr // bytes, from the start of the struct that the fields were made from
	typ       reflect.Type
	omitEmpty bool
	omitZero  bool
	quoted    bool // tag option "string" on a kind that has it

	tagged  bool
	index   []int // as of reflect.Value.FieldByIndex
	pointer bool  // reached through an embedded pointer: no fixed offset

	decode *decodeNode
	encode *encodeNode
	prefix string // `"name":`
}

// fieldsOf lists the members that encoding/json sees in the struct type t, in
// its order: exported fields by tag or name, those of embedded structs promoted
// by Go's rules, a tagged name winning over an untagged one.
func fieldsOf(t reflect.Type) []field {
	type level struct {
		typ     reflect.Type
		index   []int
		offset  uintptr
		pointer bool
		twice   bool // embedded more than once at this depth: its names cancel out
	}
	var found []field
	seen := map[reflect.Type]bool{}
	for now := []level{{typ: t}}; len(now) > 0; {
		var next []level
		for _, l := range now {
			if seen[l.typ] {
				continue
			}
			seen[l.typ] = true
			for i := range l.typ.NumField() {
				sf := l.typ.Field(i)
				f, inner := fieldOf(sf)
				switch {
				case f != nil:
					f.index = append(slices.Clone(l.index), i)
					f.offset, f.pointer = l.offset+sf.Offset, l.pointer
					found = append(found, *f)
					if l.twice {
						found = append(found, *f)
					}
				case inner != nil:
					if k := slices.IndexFunc(next, func(n level) bool { return n.typ == inner }); k >= 0 {
						next[k].twice = true
						continue
					}
					next = append(next, level{typ: inner, index: append(slices.Clone(l.index), i),
						offset: l.offset + sf.Offset, pointer: l.pointer || sf.Type.Kind() == reflect.Pointer})
				}
			}
		}
		now = next
	}
	return dominant(found)
}

// fieldOf returns the member that sf is, or the embedded struct whose members it
// promotes, or neither.
func fieldOf(sf reflect.StructField) (f *field, inner reflect.Type) {
	ft := sf.Type
	if ft.Name() == "" && ft.Kind() == reflect.Pointer {
		ft = ft.Elem()
	}
	isStruct := ft.Kind() == reflect.Struct
	if !sf.IsExported() && !(sf.Anonymous && isStruct) {
		return nil, nil
	}
	tag := sf.Tag.Get("json")
	if tag == "-" {
		return nil, nil
	}
	name, rest, _ := strings.Cut(tag, ",")
	if !validName(name) {
		name = ""
	}
	if name == "" && sf.Anonymous && isStruct {
		return nil, ft
	}
	options := strings.Split(rest, ",")
	f = &field{
		name:      cmp.Or(name, sf.Name),
		typ:       sf.Type,
		tagged:    name != "",
		omitEmpty: slices.Contains(options, "omitempty"),
		omitZero:  slices.Contains(options, "omitzero"),
	}
	switch ft.Kind() {
	case reflect.Bool, reflect.String, reflect.Float32, reflect.Float64,
		reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		f.quoted = slices.Contains(options, "string")
	}
	return f, nil
}

// validName tells whether encoding/json takes the name of a tag.
func validName(name string) bool {
	for _, r := range name {
		if !strings.ContainsRune("!#$%&()*+-./:;<=>?@[]^_{|}~ ", r) && !unicode.IsLetter(r) && !unicode.IsDigit(r) {
			return false
		}
	}
	return name != ""
}

// dominant keeps of each name the one field that wins: the least deep, then the
// tagged; none if two are equal in both. It returns them in order of index.
func dominant(found []field) []field {
	slices.SortStableFunc(found, func(a, b field) int {
		return cmp.Or(strings.Compare(a.name, b.name), cmp.Compare(len(a.index), len(b.index)), -compareBool(a.tagged, b.tagged))
	})
	var kept []field
	for i := 0; i < len(found); {
		end := i + 1
		for end < len(found) && found[end].name == found[i].name {
			end++
		}
		if end == i+1 || len(found[i+1].index) > len(found[i].index) || found[i+1].tagged != found[i].tagged {
			kept = append(kept, found[i])
		}
		i = end
	}
	slices.SortFunc(kept, func(a, b field) int { return slices.Compare(a.index, b.index) })
	return kept
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}

// names finds fields by the keys of an object: by the exact name first, then by
// a name that is equal under Unicode case folding, the earliest field first, as
// encoding/json does.
type names struct {
	fields []field
	// filter holds, for each length of a name (63 for all above), a set of the
	// low five bits of its first bytes: most keys that a type does not declare
	// are turned away by it. The bits of upper and lower case are the same.
	filter [64]uint32
	// foreign is set if a name is not ASCII, or begins with a letter that a
	// character beyond ASCII folds to: then keys are never turned away early.
	foreign bool
	exact   map[string]int // only if there are many fields
}

// manyFields is the number of fields above which a map finds a name faster than
// comparing with each.
const manyFields = 12

func namesOf(fields []field) *names {
	n := &names{fields: fields}
	for i, f := range fields {
		if f.name[0] >= utf8.RuneSelf || !isASCII(f.name) {
			n.foreign = true
		}
		n.filter[min(len(f.name), 63)] |= 1 << (f.name[0] & 31)
		if len(fields) > manyFields {
			if n.exact == nil {
				n.exact = make(map[string]int, len(fields))
			}
			n.exact[f.name] = i
		}
	}
	return n
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// plain finds the field of a key of plain ASCII, or returns -1.
func (n *names) plain(key []byte) int {
	if len(key) == 0 || n.filter[min(len(key), 63)]>>(key[0]&31)&1 == 0 && !n.foreign {
		return -1
	}
	return n.any(key)
}

// any finds the field of any key, or returns -1.
func (n *names) any(key []byte) int {
	if n.exact != nil {
		if i, ok := n.exact[string(key)]; ok {
			return i
		}
	} else {
		for i := range n.fields {
			if n.fields[i].name == string(key) {
				return i
			}
		}
	}
	for i := range n.fields {
		if bytes.EqualFold(key, []byte(n.fields[i].name)) {
			return i
		}
	}
	return -1
}
