package state_test

import (
	"context"
	"fmt"

	"github.com/gretestream/grete/log"
	"github.com/gretestream/grete/log/logtest"
	"github.com/gretestream/grete/state"
	"github.com/gretestream/grete/state/codec"
)

// Counting views per page: change values through a Cache, commit them to the log
// and apply them; queries read a View.
func Example() {
	ctx := context.Background()
	disk := logtest.NewDisk(1)
	l, err := log.Open("data", log.Options{FS: disk, ReserveBytes: -1, BallastBytes: -1})
	if err != nil {
		panic(err)
	}
	defer l.Close()
	_, err = l.CreateTopic(ctx, log.TopicSpec{Name: "views.changelog", Partitions: 1, Configs: map[string]string{"cleanup.policy": "compact"}})
	if err != nil {
		panic(err)
	}

	db, err := state.Open(ctx, l, state.Spec{
		Dir:        "data/state/page-views/source-0",
		Generation: 1,
		Stores:     []state.StoreSpec{{Name: "views", ID: 1, Changelog: log.TopicPartition{Topic: "views.changelog"}}},
	}, state.Options{FS: disk})
	if err != nil {
		panic(err)
	}
	defer db.Close()

	views := state.NewCache(db.Store("views"), nil, codec.Int64, false)
	for _, page := range []string{"/", "/about", "/"} {
		n, _, err := views.RefString(page)
		if err != nil {
			panic(err)
		}
		*n++
	}

	if err := views.Drain(); err != nil {
		panic(err)
	}
	changes := db.Freeze()
	offsets, err := l.Commit(ctx, &log.Commit{Writes: changes.Writes()})
	if err != nil {
		panic(err)
	}
	if err := db.Apply(changes, offsets, []byte("checkpoint 1")); err != nil {
		panic(err)
	}

	v, err := db.View()
	if err != nil {
		panic(err)
	}
	defer v.Close()
	fmt.Printf("true up to %s\n", v.Meta())
	err = v.Scan("views", nil, nil, func(key, value []byte) bool {
		var n int64
		if err := codec.Int64.Decode(&n, value, nil); err != nil {
			panic(err)
		}
		fmt.Printf("%s %d\n", key, n)
		return true
	})
	if err != nil {
		panic(err)
	}
	// Output:
	// true up to checkpoint 1
	// / 2
	// /about 1
}

// All keys of a window are one range.
func ExampleWindowBounds() {
	lo, hi := state.WindowBounds(60_000)
	fmt.Printf("%x\n%x\n", lo, hi)
	key := state.AppendWindowKey(nil, 60_000, []byte("/about"))
	start, page, err := state.ParseWindowKey(key)
	fmt.Println(start, string(page), err)
	// Output:
	// 800000000000ea60
	// 800000000000ea61
	// 60000 /about <nil>
}
