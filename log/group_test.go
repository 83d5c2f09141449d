package log

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// However members come and go: every partition has exactly one owner that wants
// it, shares are even, and nobody loses a partition without need.
func TestShare(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var all []TopicPartition
		for i := range rapid.IntRange(0, 40).Draw(t, "partitions") {
			all = append(all, TopicPartition{"t", int32(i)})
		}
		var owned [][]TopicPartition
		for range 5 {
			n := rapid.IntRange(1, 6).Draw(t, "members")
			wants := make([][]string, n)
			for i := range wants {
				wants[i] = []string{"t"}
			}
			for len(owned) < n {
				owned = append(owned, nil)
			}
			owned = owned[:n]
			given := share(slices.Clone(all), wants, owned)
			seen := map[TopicPartition]bool{}
			for i, tps := range given {
				if len(tps) > (len(all)+n-1)/n || len(tps) < len(all)/n-n {
					t.Fatalf("member %d of %d got %d of %d", i, n, len(tps), len(all))
				}
				kept := 0
				for _, tp := range tps {
					if seen[tp] {
						t.Fatalf("%v twice", tp)
					}
					seen[tp] = true
					if slices.Contains(owned[i], tp) {
						kept++
					}
				}
				if want := min(len(owned[i]), (len(all)+n-1)/n); kept < want {
					t.Fatalf("member %d kept %d, want %d", i, kept, want)
				}
			}
			if len(seen) != len(all) {
				t.Fatalf("%d of %d have an owner", len(seen), len(all))
			}
			owned = given
		}
	})
}

func TestJoin(t *testing.T) {
	ctx := context.Background()
	l := mustOpen(t, "data", testOptions(newMemFS()))
	mustCreate(t, l, "a", 4)
	spec := GroupSpec{Group: "g", Topics: []string{"a"}}
	m1, err := l.Join(ctx, spec)
	if err != nil {
		t.Fatal(err)
	}
	all, changed := m1.Assignment()
	if len(all) != 4 {
		t.Errorf("got %v", all)
	}
	m2, err := l.Join(ctx, spec)
	if err != nil {
		t.Fatal(err)
	}
	<-changed
	t1, changed := m1.Assignment()
	t2, changed2 := m2.Assignment()
	if len(t1) != 2 || len(t2) != 0 {
		t.Errorf("got %v and %v, want nobody to have what was not released", t1, t2)
	}
	m1.Release(all[:3]...) // one is left to be released, if it was given up at all
	m1.Release(all[3])
	<-changed2
	t2, _ = m2.Assignment()
	if len(t2) != 2 || slices.Contains(t1, t2[0]) || slices.Contains(t1, t2[1]) {
		t.Errorf("got %v and %v", t1, t2)
	}
	if err := m2.Close(); err != nil {
		t.Fatal(err)
	}
	<-changed
	if t1, _ = m1.Assignment(); len(t1) != 4 {
		t.Errorf("got %v", t1)
	}
	if _, err := l.Join(ctx, GroupSpec{Group: "g", Topics: []string{"b"}}); err == nil {
		t.Error("joined for a topic that is not there")
	}
	if got := fmt.Sprint(t1[0]); got != "a-0" {
		t.Errorf("got %s", got)
	}
}

// What a member works on is nobody else's until it is released, and comes back
// to it if the other one leaves before; a member that is gone owes nothing.
func TestJoinHandsOver(t *testing.T) {
	ctx := context.Background()
	l := mustOpen(t, "data", testOptions(newMemFS()))
	mustCreate(t, l, "a", 2)
	join := func() Member {
		m, err := l.Join(ctx, GroupSpec{Group: "g", Topics: []string{"a"}})
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	count := func(m Member) int { tps, _ := m.Assignment(); return len(tps) }
	m1 := join()
	m2 := join()
	if count(m1) != 1 || count(m2) != 0 {
		t.Errorf("got %d and %d, want 1 and 0: the other one is still worked on", count(m1), count(m2))
	}
	if err := m2.Close(); err != nil {
		t.Fatal(err)
	}
	if count(m1) != 2 {
		t.Errorf("got %d, want both back", count(m1))
	}
	m1.Release(TopicPartition{"a", 0}, TopicPartition{"a", 1}) // too late, or of what it has
	if count(m1) != 2 {
		t.Errorf("got %d, want both still", count(m1))
	}
	m3 := join()
	if err := m1.Close(); err != nil { // without a word about what it owed
		t.Fatal(err)
	}
	if count(m3) != 2 {
		t.Errorf("got %d, want both", count(m3))
	}
}
