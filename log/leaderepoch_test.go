package log

import (
	"slices"
	"testing"
)

func TestLeaderEpochs(t *testing.T) {
	fs := newMemFS()
	l := mustOpen(t, "data", testOptions(fs))
	mustCreate(t, l, "a", 1)
	tp := TopicPartition{"a", 0}
	mustAppend(t, l, tp, 0, 5)
	for n := range 3 { // crashes; the log of the second one is left as it is
		fs = fs.clone(t)
		l.abort()
		l = mustOpen(t, "data", testOptions(fs))
		if n != 1 {
			mustAppend(t, l, tp, int(l.mustPartition(t, tp).hw.Load()), 2)
		}
	}
	f := func(epoch, want int32, wantEnd Offset) {
		t.Helper()
		got, end, err := l.EpochEnd(tp, epoch)
		if err != nil || got != want || end != wantEnd {
			t.Errorf("epoch %d: got %d to %d, %v, want %d to %d", epoch, got, end, err, want, wantEnd)
		}
	}
	f(-1, -1, -1)
	f(0, 0, 5)
	f(1, 1, 7)
	f(2, 1, 7)
	f(3, 3, 9)
	f(9, 3, 9)
	if l.LeaderEpoch() != 3 {
		t.Errorf("got leader epoch %d", l.LeaderEpoch())
	}
}

func TestEpochFile(t *testing.T) {
	want := []epochStart{{0, 0}, {3, 17}}
	e := leaderEpochs{list: want}
	if got := decodeEpochs(e.encode()); !slices.Equal(got, want) {
		t.Errorf("got %v", got)
	}
	for _, bad := range []string{"", "1\n0\n", "0\n2\n0 0\n", "0\n2\n1 0\n1 5\n", "0\n2\n1 5\n2 4\n", "0\nx"} {
		if got := decodeEpochs([]byte(bad)); got != nil {
			t.Errorf("%q: got %v", bad, got)
		}
	}
}
