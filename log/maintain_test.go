package log

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

// Without being told to, a log compacts what max.compaction.lag.ms says within
// the time that Kafka's cleaner takes to look again, which is 15 s: its users'
// tests wait for it.
func TestCompactsInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := testOptions(newMemFS())
		o.MaintainEvery = 0
		l := mustOpen(t, "data", o)
		mustCreate(t, l, "a", 1, "cleanup.policy", "compact", "segment.ms", "500", "max.compaction.lag.ms", "100")
		tp := TopicPartition{"a", 0}
		for i := range 10 {
			var b Builder
			b.Append(TimestampOf(time.Now()), []byte("key"), fmt.Append(nil, i))
			if _, err := l.Append(context.Background(), tp, b.Bytes()); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second) // of the bubble's clock: the next is in another segment
		}
		before := l.m.compacted.Count()
		time.Sleep(15 * time.Second)
		synctest.Wait()
		if l.m.compacted.Count() == before {
			t.Error("nothing was compacted in 15 s")
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	})
}
