package codec

import "unsafe"

// All unsafe code of the package is in this file, each piece with the reason
// why it is safe.

// stringOf makes a string of b without a copy. Safe if nobody writes to b
// afterwards: an Arena hands each byte out once and never touches it again.
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
