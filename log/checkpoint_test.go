package log

import "testing"

// A large append does not wait for the meta to be stored: that takes as long as
// the disk needs for everything that is on its way to it.
func TestLargeAppendDuringCheckpoint(t *testing.T) {
	l := mustOpen(t, "data", testOptions(newMemFS()))
	mustCreate(t, l, "a", 1)
	l.metaMu.Lock() // as who stores it
	_, err := l.Append(t.Context(), TopicPartition{"a", 0}, bigRun(0))
	l.metaMu.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	if l.journal.referred == 0 {
		t.Error("the append was not large enough to be referred to")
	}
}
