// Package logtest lets tests take the disk away from a log, a store or a whole
// node: it has a simulated disk that loses its power, and helpers that give a
// test a log in one line.
//
// Most tests only want a log:
//
//	l := logtest.Open(t)                      // in memory, closed with the test
//	tps := logtest.Create(t, l, "clicks", 4)  // its four partitions
//	logtest.Fill(t, l, tps[0], 1000, nil)     // k0=v0, k1=v1, …
//	recs := logtest.ReadAll(t, l, tps[0])     // copies, safe to keep
//
// For those that ask what survives, the type to start from is Disk, a file system in memory (a log.FS, so also
// Pebble's) that knows which bytes and which names are synced.
//
//	d := logtest.NewDisk(seed)
//	… write, sync, write …
//	d = d.Crash(logtest.Random(seed)) // power cut; d is what is found after it
//	… open again, check that everything acknowledged is there …
//
// # What is durable
//
// The disk promises as little as POSIX does, so that code which works on it
// works anywhere:
//
//   - Sync of a file makes its bytes and size durable, but not its name. A new
//     file is there after a crash for certain only if its directory was synced
//     too, and the directory's own name in its parent, and so on up to the root.
//   - Sync of a directory makes all creates, removes, renames and links in it
//     durable, but no byte of any file. A file that was renamed without having
//     been synced can come back under its new name and be empty.
//   - A rename is one step: both or none of its sides survive. Operations on
//     one file survive in order; those on different files in any order.
//   - Of what was written and not synced, each page of 4 KiB survives, is lost,
//     comes back in a state it had in between, or is torn at a boundary of 512
//     bytes. The size of a file that grew survives, is lost or ends up between;
//     where a size survived and a page did not, zeros are read.
//   - A truncation survives or is undone as a whole.
//   - A direct write (log.DirectFS) is refused unless position, length and memory
//     are aligned; it promises no more than any other.
//
// # Ways to crash
//
//	Crash(policy)       power cut now: the old Disk and all its files are dead
//	AfterCrash(policy)  what a power cut would leave now; the Disk goes on
//	CrashAtSync(n, …)   power cut at the n-th sync; Crash or Restart then gives the disk
//	OnSync(f)           f is called on both sides of every sync, to use AfterCrash there
//	Kill()              the process dies and the OS lives: nothing is lost, nothing is synced
//
// A policy says how much survives: KeepNothing, KeepAll, Random(seed), or a
// Policy of your own. One crash can be tried with many policies.
//
// # Faults
//
//	FailSync(match, nth)          as on Linux: the pages are lost, the next sync succeeds
//	FailWrite(match, nth, short)  writes short bytes, then EIO
//	Fail(kind, match, nth)        any other call
//	SetSpace(bytes)               ENOSPC beyond it, after a short write
//	FlipBit(name, pos)            silent damage
//
// # Processes
//
// Mortal is a log as one process of several sees it, to kill that one, or to let
// the others take it for dead.
package logtest
