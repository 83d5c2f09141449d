// Package sim crashes a whole node again and again and holds what it computed
// against a model.
//
// A node is an embedded log, the state of a job and the job itself, all on one
// simulated disk (logtest.Disk). Run starts it, writes page views to it, and
// takes its power at some sync, or kills the process, by seed; what the disk had
// not synced is kept, lost or torn. It opens the node on what is left, as often
// as it is told to. After the last round the job processes what there is, and
// then
//
//   - every acknowledged view is in the log, at the offset it was given;
//   - the copy that the job made of its input holds each view exactly once;
//   - the running counts of each page and minute, which come after a
//     repartition and out of a window store, read 1, 2, 3 … without a gap or a
//     repetition;
//   - the final counts and the store say how many there were.
//
// With Config.Containers the job is shared by several containers, which come and
// end, are killed without a goodbye, or are taken for dead and go on, all by seed
// and while views are written.
//
// So a record that counted twice or not at all, in state or in output, at
// whatever point the power went, shows.
package sim
