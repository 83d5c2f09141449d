// Package codec turns values into bytes and back: keys and values of topics,
// and of what state keeps. The type to start from is Codec; For chooses one by
// type, and JSON reads structs.
package codec
