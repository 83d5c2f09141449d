package cli

import (
	"bytes"
	"encoding/json"
	"testing"
)

// Whatever a line of "grete produce --format json" says: no panic, and what is
// taken is JSON with a partition that can be.
func FuzzProduceJSON(f *testing.F) {
	f.Add([]byte(`{"key":"k","value":{"a":1},"timestamp":"2015-05-17T10:05:00Z","headers":[{"key":"h","value":"v"},{"key":"n"}],"partition":3}`))
	f.Add([]byte(`{"key_base64":"AP8=","value_base64":"","timestamp":1431857100000}`))
	f.Add([]byte(`{"key":null,"value":"\ud83d"} {}`))
	f.Add([]byte(`{"timestamp":"-5m","headers":[{"value_base64":"x"}],"partition":-1}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		rec := produced{partition: -1}
		if (&producer{}).parseJSON(line, &rec) != nil {
			return
		}
		if !json.Valid(line) || rec.partition < -1 {
			t.Fatalf("%q was taken: %+v", line, rec)
		}
		if bytes.Equal(line, []byte("null")) && (rec.Key != nil || rec.Value != nil) {
			t.Fatalf("%q: %+v", line, rec)
		}
	})
}
