package codec

import (
	"reflect"
	"unsafe"
)

// All unsafe code of the package is in this file, each piece with the reason
// why it is safe.

// stringOf makes a string of b without a copy. Safe if nobody writes to b
// as long as the string lives: an Arena hands each byte out once and never
// touches it again; a number being parsed lives no longer than the call.
func stringOf(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// retyped is a codec of the plain type U serving a type T whose underlying type
// is U, such as type Page string.
type retyped[T, U any] struct{ Codec[U] }

func (c retyped[T, U]) Append(dst []byte, v T) ([]byte, error) {
	return c.Codec.Append(dst, *(*U)(unsafe.Pointer(&v)))
}

// Safe because T and U have one underlying type (For checked the reflect kind),
// hence one memory layout, and because the garbage collector sees the same
// pointers in both.
func (c retyped[T, U]) Decode(dst *T, src []byte, a *Arena) error {
	return c.Codec.Decode((*U)(unsafe.Pointer(dst)), src, a)
}

// place is where a value of a compiled type lies: the start of a T, or a field
// or element within. Its type is known from the node that goes with it: nodes
// are made from reflect.Type alone, and at (the only way from one place to
// another inside a value) is only called with offsets that reflect gave for
// that very type, so a place never leaves its allocation and never sees memory
// as anything but what it was allocated as. Pointers are stored through typed
// pointers, so the garbage collector's write barriers are kept. A place lives
// no longer than the call that was given the *T, and *T keeps the memory alive.
type place = unsafe.Pointer

func placeOf[T any](v *T) place { return place(v) }

// placeOfLocal is placeOf that does not move *v to the heap. For encoding only:
// it reads, and what it hands to encoding/json is a copy, so nothing remembers
// the place. The pointer passes through an integer, which hides it from escape
// analysis only: no call and no safe point at which a stack moves lies between
// the two lines.
func placeOfLocal[T any](v *T) place {
	x := uintptr(place(v))
	return *(*place)(place(&x))
}

// at returns the place offset bytes into the value at p.
func at(p place, offset uintptr) place { return unsafe.Add(p, offset) }

// as returns the value at p, whose kind is that of T.
func as[T any](p place) *T { return (*T)(p) }

// valueAt returns the value of type t at p, settable.
func valueAt(t reflect.Type, p place) reflect.Value { return reflect.NewAt(t, p).Elem() }

// pointerAt returns the place that the pointer at p points to, nil if none.
func pointerAt(p place) place { return *(*place)(p) }

// setPointer makes the pointer at p, of type *t, point to a new zero t.
func setPointer(p place, t reflect.Type) place {
	q := place(reflect.New(t).UnsafePointer())
	*(*place)(p) = q
	return q
}

// sliceHeader is the layout of a slice of any type; its first word is a pointer
// to the garbage collector as well.
type sliceHeader struct {
	data     place
	len, cap int
}

// sliceAt returns the slice at p, of whatever type. The elements are reached by
// at(data, i*size) for i < cap.
func sliceAt(p place) *sliceHeader { return (*sliceHeader)(p) }
