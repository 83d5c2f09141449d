// Package jobtest tests jobs: a job, a log in memory and a clock that is moved by
// hand.
//
//	func TestCountPageViews(t *testing.T) {
//		jt := jobtest.New(t, Job)
//		at := jt.Now()
//		jobtest.Send(jt, PageViews, "", PageView{Path: "/"}, at)
//		jobtest.Send(jt, PageViews, "", PageView{Path: "/"}, at.Add(time.Second))
//		jobtest.Send(jt, PageViews, "", PageView{Path: "/"}, at.Add(2*time.Minute)) // closes the first minute
//		for _, r := range jobtest.Read(jt, PageViewCounts) {
//			…
//		}
//	}
//
// The job runs as it does in production: the real planner, the real container
// and its tasks, a real log and real state, on a simulated disk. Only the disk
// and the clock are made up, so what a test shows is what happens.
//
// # Time
//
// Nothing waits: a test never sleeps, and its result does not depend on how fast
// the machine is. Whatever looks at results (Read, Rows, Drops …) first lets the
// job process and commit all that was sent and do what the clock tells it to.
//
// The clock stands still unless it is moved. It begins at Options.Start, moves
// by Advance, and moves up to the time of a record that is sent (Send), since a
// record of the future would be set aside. What the clock governs: idle inputs
// (SkipAfter, FollowClock), timers in wall-clock time, FutureBound. Windows do
// not follow the clock but the watermark, that is, the records: to close a
// window, send a later record or let its input go idle.
//
// # Crashes
//
// Restart takes the power away: memory is lost and so is all that was not
// synced. The job goes on from its log and state, as after a crash.
//
// # Partitions
//
// Topics have one partition unless Options.Partitions says otherwise, so there
// is one order of records. With more, an input partition without records holds
// the watermark back until it is idle: Advance past 30 s, or send to all.
package jobtest
