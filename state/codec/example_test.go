package codec_test

import (
	"fmt"
	"time"

	"github.com/gretestream/grete/state/codec"
)

// A struct declares what it needs of a record; the rest is passed over.
func ExampleJSON() {
	type PageView struct {
		Time int64  `json:"time"`
		Path string `json:"path"`
	}
	c := codec.JSON[PageView]()
	var arena codec.Arena // one for all records of a batch, and the next one
	var v PageView
	err := c.Decode(&v, []byte(`{"host":"::1","time":1431857103000,"path":"\/home","status":200}`), &arena)
	fmt.Println(c.Name(), v, err)

	out, err := c.Append(nil, v)
	fmt.Println(string(out), err)

	err = c.Decode(&v, []byte(`{"time":"yesterday"}`), &arena)
	fmt.Println(err)
	// Output:
	// json(PageView) {1431857103000 /home} <nil>
	// {"time":1431857103000,"path":"/home"} <nil>
	// decode json(PageView) at byte 8, field "time": got '"', want an integer: malformed
}

// A named type is stored as its kind is.
func ExampleFor() {
	type Page string
	c, err := codec.For[codec.Windowed[Page]]()
	if err != nil {
		fmt.Println(err)
		return
	}
	b, err := c.Append(nil, codec.Windowed[Page]{Key: "home", Window: codec.Window{Start: 60_000, End: 120_000}})
	fmt.Printf("%s: % x %v\n", c.Name(), b, err)
	// Output:
	// span-key(string): 68 6f 6d 65 00 00 00 00 00 01 d4 c0 00 00 00 00 00 00 ea 60 <nil>
}

// Kafka Streams' layout: the reader knows the size of the windows.
func ExampleWindowKey() {
	c := codec.WindowKey(codec.String, time.Minute)
	var w codec.Windowed[string]
	err := c.Decode(&w, []byte("home\x00\x00\x00\x00\x00\x00\xea\x60"), nil)
	fmt.Println(w, w.Size(), err)
	// Output:
	// home@[1970-01-01T00:01:00Z, 1970-01-01T00:02:00Z) 1m0s <nil>
}

// Keys of state keep the order of what they stand for.
func ExampleAppendEscaped() {
	key := codec.AppendEscaped(nil, []byte("a\x00b"))
	key = codec.AppendOrderedInt64(key, -1)
	fmt.Printf("% x\n", key)

	name, rest, err := codec.Unescape(nil, key)
	n, _, _ := codec.OrderedInt64(rest)
	fmt.Printf("%q %d %v\n", name, n, err)
	// Output:
	// 61 00 ff 62 00 01 7f ff ff ff ff ff ff ff
	// "a\x00b" -1 <nil>
}
