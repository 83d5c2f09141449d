package bench

import (
	"encoding/json"
	"testing"
)

func TestViewsAreHundredBytesOfJSON(t *testing.T) {
	var e viewEncoder
	for i := range uint64(1_000) {
		key, value := e.encode(i*9_973%manyPageCount, i, firstView+int64(i))
		if len(value) != valueBytes {
			t.Fatalf("%s has %d bytes, want %d", value, len(value), valueBytes)
		}
		var v pageView
		if err := json.Unmarshal(value, &v); err != nil {
			t.Fatalf("%s: %v", value, err)
		}
		if v.Page != string(key) || v.Time != firstView+int64(i) || v.User == "" {
			t.Fatalf("%s has key %s and reads as %+v", value, key, v)
		}
	}
}

func TestSharesAddUp(t *testing.T) {
	for _, n := range []int64{0, 1, 3, 4, 10_007} {
		sum := int64(0)
		for p := range int64(partitions) {
			sum += share(n, p)
		}
		if sum != n {
			t.Errorf("shares of %d add up to %d", n, sum)
		}
	}
}
