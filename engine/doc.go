// Package engine runs jobs in containers.
//
// A Container (Open, Run) runs tasks of one job on one log: all of them, or, when
// there are several containers in however many processes, those that their group
// assigns to it. A task is one stage of the job's graph over one partition, and
// one goroutine; nothing else touches what it owns. Your duties:
//
//  1. Open the log, and close it after Run has returned.
//  2. Call Run once. Cancel its context to stop: what was processed is committed
//     before Run returns nil. An error means that the job cannot go on, or, with
//     ErrSuperseded, that its next generation can.
//  3. Close the views that you take (Views), or Run cannot return.
//  4. Give containers a directory each, or have the next owner of a task wait
//     until the last one has closed its state.
//
// # Life of a record
//
//	     log                    task                                    log
//	┌────────────┐  Poll  ┌───────────────┐  interval  ┌────────┐  Commit  ┌───────────┐
//	│ partition  │───────►│ choose ► Flow │───────────►│ frozen │─────────►│ outputs   │
//	│ of input 0 │        │               │            │        │          │ changelog │
//	│ of input 1 │───────►│  hot state    │            │        │          │ checkpoint│
//	└────────────┘        └───────────────┘            └────────┘          └───────────┘
//	                             ▲                          │ durable
//	                             └── Applied ── Pebble ◄────┘ Apply
//
// The task polls the partitions that it reads, at most 256 KiB of each ahead.
// With several, choose picks whose turn it is: tables and bootstrap inputs up to
// the end they had when the generation began, then priorities, then the lowest
// log timestamp. A run of records of one input goes through the graph's closures
// at once (op.Flow.Process); the engine does nothing per record but look for
// watermark marks on repartition topics.
//
// # Life of a commit
//
// A commit is due when something was processed and the last one was cut
// CommitInterval ago, or when CommitBytes of results have come together.
//
//  1. cut: Flow.Drain puts changed state into the database's open interval,
//     DB.Freeze closes it. One log.Commit is built: changelog records, output
//     batches, watermark marks behind them, dead letters, the checkpoint, and the
//     group's offsets for Kafka's tools. It carries the task's producer and epoch.
//  2. commit: the task's second goroutine hands it to the log and waits for the
//     disk. The task goes on with the next interval, reading frozen state through.
//  3. committed: all of it is durable and visible, or none. DB.Apply moves the
//     frozen state into Pebble with the checkpoint, queries see it (Changed), and
//     Flow.Applied lets go of it.
//
// At most one commit is under way. When the next interval is full before it is
// answered, the task waits: the log sets the pace, and reads follow.
//
// A commit that fails or whose outcome is unknown throws the life of the task
// away: memory, open interval, readers. The next life fences the last one (no
// commit of it can come after), reads the checkpoint, and lets package state
// catch up with the changelogs. A fenced task does not come back until the group
// assigns it again: another container has it.
//
// # What can repeat
//
// After a crash of the process or a power cut, under the log's default sync
// policy, where "once" counts state and output topics alike:
//
//	crash point                         ExactlyOnce   AtLeastOnce, embedded   AtLeastOnce, Kafka
//	while records are processed         once          once                    once
//	after the cut, before the commit    once          once                    once
//	between the writes of a commit      once          once                    since the checkpoint again
//	commit durable, no answer           once          once                    once
//	answered, before Apply              once          once                    once
//	after Apply, before the next cut    once          once                    once
//	while state is restored             once          once                    once
//
// A commit on the embedded log is one journal entry, and with ExactlyOnce on
// Kafka one transaction: nobody sees what lies between its writes. AtLeastOnce
// gives up nothing on the embedded log and gains nothing. On Kafka it saves the
// transaction: outputs and changelogs are written first, and when they are
// durable the checkpoint. A sync policy other than sync: group can lose the last
// acknowledged commits in a power cut, whole ones from the end: state and output
// then go back together, and the records count again, once. TestGuarantees in
// engine/sim holds each cell, the last column by a log that makes commits in
// parts.
//
// The same holds when a task goes to another container: one that is handed over
// has committed, the commits of one that was killed are those of a crash. A
// container that is taken for dead and lives (a long pause, a cut line) is fenced:
// its commits fail. The exception is AtLeastOnce on Kafka, where nothing but a
// transaction can be fenced: until such a container hears of it, what it writes
// counts twice, and can put older values over those of the next owner in the
// changelogs. Who cannot have that takes ExactlyOnce, the default.
//
// # Watermarks across repartition topics
//
// A task tells the readers of its repartition output the earliest result time
// that is still possible there, in a mark: a record of its own in every
// partition, last in the commit, only when it says something new. A reader
// counts all tasks of the writing stage, one not yet heard from holding
// everything back, and leaves out only those that say they are idle (mark.go,
// upstream.go).
//
// A task that comes to a container takes back what it last said of being idle or
// caught up, and believes of others only what they have said since. Else the
// records that one has yet to read could be overtaken by the time of the others,
// and be late.
//
// A bounded run (Options.UntilEnd) ends by marks as well: a task that has read
// its inputs to the ends captured at the start closes its windows as if time had
// ended (Flow.Finish), commits, and its last marks say that it has ended. A reader
// that has that mark from every task has read all they wrote before it.
package engine
