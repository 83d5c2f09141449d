package log

import (
	"math"
	"testing"
	"time"
)

// Who leaves it to the system when to write syncs seldom: not for each file of
// the journal that is full, but before there are many.
func TestLazyCheckpoints(t *testing.T) {
	for _, tt := range []struct {
		sync        SyncMode
		full        int
		asked, made bool // a checkpoint: of the background, by who appends
	}{
		{SyncGroup, 1, true, false},
		{SyncGroup, maxJournals, true, false},
		{SyncGroup, maxJournals + 1, false, true},
		{SyncNone, 1, false, false},
		{SyncNone, maxJournals + 1, false, false},
		{SyncNone, lazyJournals - 1, false, false},
		{SyncNone, lazyJournals, true, false},
		{SyncNone, 4 * lazyJournals, true, false},
		{SyncNone, 4*lazyJournals + 1, false, true},
	} {
		o := testOptions(newMemFS())
		o.Sync.Mode = tt.sync
		l := mustOpen(t, "data", o)
		l.opts.MaintainEvery = time.Hour // but there is no background that takes what is asked for
		for range tt.full {
			l.journal.full = append(l.journal.full, journalFile{last: math.MaxUint64}) // not to be released
		}
		l.journalRolled()
		asked, made := len(l.kick) > 0, l.m.stalls.Count() > 0
		l.journal.full = nil
		if asked != tt.asked || made != tt.made {
			t.Errorf("%v, %d full files: a checkpoint was asked for: %v, made: %v; want %v and %v", tt.sync, tt.full, asked, made, tt.asked, tt.made)
		}
	}
}

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
