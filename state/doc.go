// Package state keeps the named key-value stores of a task: in Pebble, mirrored
// record by record to compacted changelog topics of the log.
//
// The type to start from is DB, the stores of one task. Code that changes values
// in place uses a Cache over a Store; queries use a View, from any goroutine.
//
// # Your duties
//
//  1. Own the DB, its Stores and Caches with one goroutine. Only View may be
//     called from others, and each View belongs to one goroutine in turn.
//  2. Drain every Cache before Freeze. Commit the Writes of what Freeze returns
//     in the same log.Commit as the task's outputs and checkpoint.
//  3. Apply what was committed, before the next Freeze.
//  4. After a Commit that failed, was fenced or whose outcome is unknown, close
//     the DB without Apply and open it again: what the log has is then there,
//     and nothing else.
//  5. Close Views soon: DB.Close waits for them.
//
// The loop of a task:
//
//	for {
//		… change values by Cache.Ref, Store.Put …
//		cache.Drain()
//		changes := db.Freeze()
//		go commit: offsets, err := log.Commit(outputs + changes.Writes() + checkpoint)
//		… the next interval, which reads through the frozen one …
//		db.Apply(changes, offsets, checkpoint)
//	}
//
// # Keys and values in Pebble
//
// One database per task. Integers are big-endian.
//
//	key                                            value
//	store id 4 · key                               value as in the changelog
//	  tables:  store id 4 · key
//	  windows: store id 4 · start 8 · key          start in ms, sign flipped
//	ff ff ff ff · 00                               identity: version 1 · generation 8 · cluster id
//	ff ff ff ff · 01 · store id 4                  position: version 1 · topic id 16 · offset 8 · time 8 · partition 4
//	ff ff ff ff · 02                               meta: the task's checkpoint, as given to Apply
//
// The window [1431857100000, …) of store 7, key "/a":
//
//	00 00 00 07 · 80 00 01 4d 61 55 74 e0 · 2f 61
//
// Flipping the sign bit makes the order of bytes the order of times, before 1970
// too. Windows are ranges of keys: closing, expiring and listing one are range
// operations (WindowBounds, WindowRange, Store.ExpireWindows).
//
// The offset of a position is exclusive: the first changelog offset that is not
// in the store. Its time (ms) is when the store was last known to stand at the
// end of its changelog. The version of each own record is 1; a record of another
// version, like any that does not make sense, makes the database be restored.
//
// A changelog record has the key without the store id, and the value, or null
// for a deletion.
//
// # Why store, changelog and position agree after a crash
//
// The log is the truth, Pebble a copy that may be behind. Pebble's own
// write-ahead log is off.
//
//   - Changes reach Pebble only in Apply and in a restore: after they are
//     durable in the log, so Pebble is never ahead of it.
//   - Changes and positions of an interval, of all stores of the task, are one
//     Pebble batch. A memtable is flushed whole and in order, so after a crash
//     Pebble is as it was after some Apply: values, positions and identity of
//     one moment.
//   - Open reads each changelog from the store's own position to its end. Every
//     record sets or deletes one key, so reading a tail twice is harmless, and
//     afterwards the store equals the changelog. Since a Commit writes changelog
//     and checkpoint together, it equals the checkpoint.
//   - The tail may have been compacted meanwhile: then it lacks overwritten
//     values only, and deletions older than delete.retention.ms. A position
//     older than half of that is not built upon.
//   - If the log is not the one that the database was built from (cluster id,
//     topic id, generation), or ends before the position, the log has lost or
//     replaced records that the database still shows. It is wiped. So is one
//     that Pebble cannot read.
package state
