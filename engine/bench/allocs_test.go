package bench

import "testing"

// TestCountAllocatesNothingPerRecord holds the whole windowed count, from the
// reader over JSON, windows, state, finals and commits, to 0.00 allocations a
// record: what a run of many records allocates beyond one of few.
func TestCountAllocatesNothingPerRecord(t *testing.T) {
	if testing.Short() {
		t.Skip("short: takes seconds; make test runs it")
	}
	allocs := func(records int64) float64 {
		t.Helper()
		opts := small(t)
		opts.Which, opts.InProcess, opts.Records = []string{"count"}, true, records
		results, err := Run(t.Context(), opts)
		if err != nil {
			t.Fatal(err)
		}
		return results[0].AllocsPerRecord * float64(records)
	}
	const few, many = 1_200_000, 2_200_000
	if per := (allocs(many) - allocs(few)) / (many - few); per >= 0.005 {
		t.Errorf("%.4f allocations a record, want 0.00", per)
	}
}
