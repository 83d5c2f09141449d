package connect_test

import (
	"fmt"

	"github.com/gretestream/grete/log"
	"github.com/gretestream/grete/log/connect"
)

// An access log: each request becomes a JSON object, its path the key.
func ExampleFormat_Parser() {
	line := []byte(`83.149.9.216 - - [17/May/2015:10:05:03 +0000] "GET /search?q=go HTTP/1.1" 200 5123`)
	parser, err := connect.Format{KeyField: "path"}.Parser("access.log", line, log.NoTimestamp)
	if err != nil {
		fmt.Println(err)
		return
	}
	var rec log.Record
	if err := parser.Parse(line, &rec); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(rec.Timestamp)
	fmt.Printf("%s\n%s\n", rec.Key, rec.Value)
	// Output:
	// 2015-05-17T10:05:03Z
	// /search
	// {"host":"83.149.9.216","user":"","time":1431857103000,"method":"GET","target":"/search?q=go","path":"/search","protocol":"HTTP/1.1","status":200,"bytes":5123,"referrer":"","agent":""}
}

// Columns: the first line names them, and a time in seconds becomes the
// record's timestamp.
func ExampleHeaderParser() {
	format := connect.Format{Delimiter: ";", TimeField: "at", TimeUnit: "s"}
	parser, err := format.Parser("events", nil, log.NoTimestamp)
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := parser.(connect.HeaderParser).Header([]byte(`device;at;"note"`)); err != nil {
		fmt.Println(err)
		return
	}
	var rec log.Record
	for _, line := range []string{`dev_15;1415624019;"so; ""quoted"""`, `dev_7;soon;x`} {
		if err := parser.Parse([]byte(line), &rec); err != nil {
			fmt.Println("malformed:", err)
			continue
		}
		fmt.Printf("%v %s\n", rec.Timestamp, rec.Value)
	}
	// Output:
	// 2014-11-10T12:53:39Z {"device":"dev_15","at":"1415624019","note":"so; \"quoted\""}
	// malformed: time "soon" is not a number in range
}
