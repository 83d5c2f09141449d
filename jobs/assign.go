package jobs

import (
	"maps"
	"slices"
)

// Assign shares tasks out among members (containers), as evenly as can be: no
// member has more than one task more than another. It is sticky: a task stays
// with the member that has it in current unless that one is gone or has too
// many. The result depends on its arguments alone, not on their order, so every
// member computes the same. Without members nobody gets anything.
func Assign(tasks, members []string, current map[string][]string) map[string][]string {
	members = sortedSet(members)
	tasks = sortedSet(tasks)
	result := make(map[string][]string, len(members))
	if len(members) == 0 {
		return result
	}
	owner := owners(members, current)

	// Every member may keep up to the floor; the first few that would have kept
	// one more may keep that too, until the remainder is used up.
	floor, extra := len(tasks)/len(members), len(tasks)%len(members)
	var homeless, surplus []string
	for _, t := range tasks {
		m, ok := owner[t]
		switch {
		case !ok:
			homeless = append(homeless, t)
		case len(result[m]) < floor:
			result[m] = append(result[m], t)
		default:
			surplus = append(surplus, t)
		}
	}
	for _, t := range surplus {
		if m := owner[t]; extra > 0 && len(result[m]) == floor {
			result[m] = append(result[m], t)
			extra--
			continue
		}
		homeless = append(homeless, t)
	}
	slices.Sort(homeless)
	for _, t := range homeless {
		m := slices.MinFunc(members, func(a, b string) int { return len(result[a]) - len(result[b]) })
		result[m] = append(result[m], t)
	}
	for _, m := range members {
		slices.Sort(result[m])
	}
	return result
}

// owners turns current around, without members that are gone. A task claimed by
// two stays with the first.
func owners(members []string, current map[string][]string) map[string]string {
	owner := map[string]string{}
	for _, m := range slices.Sorted(maps.Keys(current)) {
		if _, ok := slices.BinarySearch(members, m); !ok {
			continue
		}
		for _, t := range current[m] {
			if _, taken := owner[t]; !taken {
				owner[t] = m
			}
		}
	}
	return owner
}

func sortedSet(s []string) []string {
	s = slices.Clone(s)
	slices.Sort(s)
	return slices.Compact(s)
}
