package jobs

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// TestAssignProperties holds Assign to its promises for any tasks, members and
// history: every task has one owner, loads differ by one at most, nothing moves
// that need not, and the order of the arguments does not matter.
func TestAssignProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tasks := names("task", rapid.IntRange(0, 40).Draw(t, "tasks"))
		before := names("member", rapid.IntRange(0, 8).Draw(t, "before"))
		current := Assign(tasks, before, nil)
		members := rapid.SliceOfDistinct(rapid.SampledFrom(names("member", 10)), rapid.ID[string]).Draw(t, "members")
		tasks = append(tasks, names("late", rapid.IntRange(0, 5).Draw(t, "late"))...)

		got := Assign(tasks, members, current)
		checkAssignment(t, got, tasks, members)
		if again := Assign(tasks, members, got); !equalAssignments(again, got) {
			t.Fatalf("not stable: got %v, want %v", again, got)
		}
		slices.Reverse(tasks)
		slices.Reverse(members)
		if turned := Assign(tasks, members, current); !equalAssignments(turned, got) {
			t.Fatalf("depends on order: got %v, want %v", turned, got)
		}
		for m, held := range current {
			if !slices.Contains(members, m) {
				continue
			}
			// A member loses tasks only down to what everyone has at least.
			kept := 0
			for _, task := range held {
				if slices.Contains(got[m], task) {
					kept++
				}
			}
			if most := min(len(held), len(tasks)/len(members)); kept < most {
				t.Fatalf("%s kept %d of %d tasks, want at least %d", m, kept, len(held), most)
			}
		}
	})
}

func checkAssignment(t *rapid.T, got map[string][]string, tasks, members []string) {
	if len(members) == 0 {
		if len(got) != 0 {
			t.Fatalf("got %v for no members", got)
		}
		return
	}
	owners, least, most := map[string]string{}, len(tasks), 0
	for _, m := range members {
		least, most = min(least, len(got[m])), max(most, len(got[m]))
	}
	for m, held := range got {
		for _, task := range held {
			if other, ok := owners[task]; ok {
				t.Fatalf("%s is owned by %s and %s", task, other, m)
			}
			owners[task] = m
		}
	}
	if len(owners) != len(tasks) {
		t.Fatalf("got %d tasks, want %d", len(owners), len(tasks))
	}
	if most-least > 1 {
		t.Fatalf("uneven: between %d and %d tasks", least, most)
	}
}

func equalAssignments(a, b map[string][]string) bool {
	a, b = maps.Clone(a), maps.Clone(b)
	empty := func(_ string, v []string) bool { return len(v) == 0 }
	maps.DeleteFunc(a, empty)
	maps.DeleteFunc(b, empty)
	return maps.EqualFunc(a, b, slices.Equal[[]string])
}

func names(prefix string, n int) []string {
	s := make([]string, n)
	for i := range s {
		s[i] = fmt.Sprintf("%s-%d", prefix, i)
	}
	return s
}
