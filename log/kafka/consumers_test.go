package kafka

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
	"pgregory.net/rapid"

	"github.com/gretestream/grete/log"
	"github.com/gretestream/grete/log/logtest"
)

// some is a group of members, each with the topics it wants, and the sizes of
// topics: for tests of who gets what.
func some(sizes map[string]int32, wants map[string][]string) *consumers {
	c := newConsumers()
	for i, name := range slices.Sorted(maps.Keys(sizes)) {
		c.topics[name] = topicSize{log.TopicID{15: byte(i + 1)}, sizes[name]}
	}
	for id, names := range wants {
		c.put(&consumer{id: id, names: names})
	}
	return c
}

// show is a target in words: "m: a0 a1 b0; n: …".
func show(c *consumers) string {
	name := map[log.TopicID]string{}
	for n, t := range c.topics {
		name[t.id] = n
	}
	text := ""
	for _, id := range slices.Sorted(maps.Keys(c.target)) {
		text += id + ":"
		for _, p := range c.target[id].sorted() {
			text += fmt.Sprint(" ", name[p.topic], p.partition)
		}
		text += "; "
	}
	return text
}

func TestAssignors(t *testing.T) {
	for _, tt := range []struct {
		assignor string
		sizes    map[string]int32
		wants    map[string][]string
		want     string
	}{
		{"uniform", map[string]int32{"a": 3}, map[string][]string{"m": {"a"}}, "m: a0 a1 a2; "},
		{"uniform", map[string]int32{"a": 3}, map[string][]string{"m": {"a"}, "n": {"a"}}, "m: a0 a2; n: a1; "},
		{"uniform", map[string]int32{"a": 1, "b": 1}, map[string][]string{"m": {"a", "b"}, "n": {"a", "b"}}, "m: a0; n: b0; "},
		{"uniform", map[string]int32{"a": 2, "b": 2}, map[string][]string{"m": {"a", "b"}, "n": {"b"}}, "m: a0 a1; n: b0 b1; "},
		{"uniform", map[string]int32{"a": 2}, map[string][]string{"m": {"a"}, "n": {"none"}}, "m: a0 a1; n:; "},
		{"uniform", map[string]int32{"a": 1}, map[string][]string{"m": {"a"}, "n": {"a"}, "o": {"a"}}, "m: a0; n:; o:; "},
		{"range", map[string]int32{"a": 3, "b": 3}, map[string][]string{"m": {"a", "b"}, "n": {"a", "b"}}, "m: a0 a1 b0 b1; n: a2 b2; "},
		{"range", map[string]int32{"a": 1}, map[string][]string{"m": {"a"}, "n": {"a"}}, "m: a0; n:; "},
	} {
		c := some(tt.sizes, tt.wants)
		c.target = assignors[tt.assignor](c)
		if got := show(c); got != tt.want {
			t.Errorf("%s of %v among %v: got %q, want %q", tt.assignor, tt.sizes, tt.wants, got, tt.want)
		}
	}
}

// A static member has the same range under whatever id it comes back.
func TestRangeKeepsStaticMembers(t *testing.T) {
	c := some(map[string]int32{"a": 4}, nil)
	for i, id := range []string{"z", "y"} {
		c.put(&consumer{id: id, instance: fmt.Sprint(i), names: []string{"a"}})
	}
	c.target = assignRange(c)
	if got, want := show(c), "y: a2 a3; z: a0 a1; "; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// Whatever members want, each partition that somebody wants goes to one of those;
// nobody has two more than another who could have them; and nothing moves when
// nothing has changed.
func TestUniformShares(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		sizes, names := map[string]int32{}, []string{"a", "b", "c"}
		for _, name := range names {
			sizes[name] = rapid.Int32Range(0, 8).Draw(t, name)
		}
		wants := map[string][]string{}
		member := func(i int) {
			wants[fmt.Sprint("m", i)] = slices.Sorted(maps.Keys(rapid.MapOf(rapid.SampledFrom(names), rapid.Just(true)).Draw(t, "wants")))
		}
		for i := range rapid.IntRange(1, 6).Draw(t, "members") {
			member(i)
		}
		c := some(sizes, wants)
		check := func() {
			held := map[idPartition]bool{}
			for id, share := range c.target {
				for p := range share {
					if held[p] {
						t.Fatalf("%v twice: %s", p, show(c))
					}
					held[p] = true
					if !slices.ContainsFunc(c.members[id].wants(), func(n string) bool { return c.topics[n].id == p.topic && p.partition < c.topics[n].partitions }) {
						t.Fatalf("%s has %v, which it does not want or there is not: %s", id, p, show(c))
					}
				}
			}
			members, wanted := c.subscribers()
			for name, who := range wanted {
				for n := range c.topics[name].partitions {
					p := idPartition{c.topics[name].id, n}
					if !held[p] {
						t.Fatalf("nobody has %s%d: %s", name, n, show(c))
					}
					for _, i := range who {
						m := members[i]
						for id, share := range c.target {
							if share.has(p) && len(share) > len(c.target[m.id])+1 {
								t.Fatalf("%s has %d, %s could have %s%d and has %d: %s", id, len(share), m.id, name, n, len(c.target[m.id]), show(c))
							}
						}
					}
				}
			}
		}
		c.aim()
		check()
		before := c.target
		c.aim()
		if show(c) != show(&consumers{topics: c.topics, target: before}) {
			t.Fatalf("partitions moved for nothing: %s", show(c))
		}
		wants = map[string][]string{}
		member(99)
		c.put(&consumer{id: "m99", names: wants["m99"]})
		c.aim()
		check()
		for id := range before {
			if !slices.Equal(c.members[id].names, wants["m99"]) {
				return // to be fair may take a chain of moves
			}
		}
		for id := range before {
			if kept, _ := before[id].split(c.target[id]); len(kept) < min(len(before[id]), len(c.target[id])) {
				t.Fatalf("%s has given up more than it had to: %s", id, show(c))
			}
		}
	})
}

// A pattern has to be all of a name, and may not be more than it looks.
func TestPatterns(t *testing.T) {
	for _, tt := range []struct {
		pattern, name string
		bad, matches  bool
	}{
		{pattern: "orders", name: "orders", matches: true},
		{pattern: "orders", name: "orders-2"},
		{pattern: "a|b.*", name: "bc", matches: true},
		{pattern: "a|b", name: "bc"},
		{pattern: "x{2,1000}", name: "xx", matches: true},
		{pattern: "\\Qa.b", name: "a.b", matches: true},
		{pattern: "(", bad: true},
		{pattern: ")|(", bad: true},
		{pattern: "((x{100}){100}){100}", bad: true},
		{pattern: "(x{1000}){9}y{1000,}", bad: true},
		{pattern: strings.Repeat("x", maxPattern+1), bad: true},
	} {
		re, err := compilePattern(tt.pattern)
		if (err != nil) != tt.bad {
			t.Errorf("%.40q: %v", tt.pattern, err)
		}
		if err == nil && re.regexp.MatchString(tt.name) != tt.matches {
			t.Errorf("%q matches %q: %v", tt.pattern, tt.name, !tt.matches)
		}
	}
}

// Ten thousand partitions go to one member, then to a thousand; then one more
// comes, and some of them want half of it only.
func BenchmarkAssignUniform(b *testing.B) {
	const members = 1000
	both, half := []string{"a", "b"}, []string{"b"}
	for b.Loop() {
		c := some(map[string]int32{"a": 5000, "b": 5000}, map[string][]string{"m0": both})
		c.aim()
		for i := range members {
			c.put(&consumer{id: fmt.Sprint("m", i), names: both})
		}
		c.aim()
		c.put(&consumer{id: "late", names: both})
		c.aim()
		for i := range members / 2 {
			c.put(&consumer{id: fmt.Sprint("m", i), names: half})
		}
		c.aim()
	}
}

// FuzzStoredConsumers decodes any two records of the internal topic. Whatever they
// say, the group that comes of it can be shown, written and worked with.
func FuzzStoredConsumers(f *testing.F) {
	set := partitionSet{{log.TopicID{1}, 0}: {}, {log.TopicID{1}, 2}: {}, {log.TopicID{2}, 0}: {}}
	m := &consumer{id: "m", instance: "one", clientID: "c", host: "/h", names: []string{"a", "b"}, pattern: pattern{text: "x.*"}, assignor: "range", rebalanceTimeout: time.Second,
		epoch: 3, before: 2, state: consumerRevoking, assigned: set, revoked: set}
	f.Add(memberKey(keyConsumer, "g", "m"), m.value(), memberKey(keyConsumerNow, "g", "m"), m.nowValue())
	f.Add(groupKey(keyConsumers, "g"), epochValue(7), groupKey(keyTarget, "g"), epochValue(7))
	f.Add(memberKey(keyConsumerTarget, "g", "m"), noTags(appendPartitions(newValue(), set)), memberKey(keyConsumerTarget, "g", "m"), []byte(nil))
	f.Add(memberKey(keyConsumer, "g", "m"), append(newValue(), 255, 255, 255, 255, 15), groupKey(keyConsumers, "g"), []byte{0, 1})
	v := kmsg.NewGroupMetadataValue()
	v.Version, v.ProtocolType = 3, "consumer"
	f.Add(memberKey(keyConsumer, "g", "m"), m.value(), groupKey(groupKeyVersion, "g"), v.AppendTo(nil))
	f.Fuzz(func(t *testing.T, key1, value1, key2, value2 []byte) {
		c := bareCoordinator()
		c.loadRecord(&log.Record{Key: key1, Value: value1})
		c.loadRecord(&log.Record{Key: key2, Value: value2})
		for name, g := range c.groups {
			if g.name != name {
				t.Fatalf("group %q under %q", g.name, name)
			}
			if g.consumers == nil {
				continue
			}
			for _, m := range g.consumers.members {
				again := newGroup(c, name)
				again.consumers = newConsumers()
				if err := again.takeStored(keyConsumerNow, m.id, m.nowValue()); err != nil {
					t.Fatalf("what was read cannot be read again: %v", err)
				}
			}
			_ = g.consumers.bytes()
			g.consumers.aim()
		}
	})
}

// What is stored of a member is read back.
func TestStoredConsumer(t *testing.T) {
	set := partitionSet{{log.TopicID{1}, 0}: {}, {log.TopicID{1}, 2}: {}, {log.TopicID{2}, 0}: {}}
	for _, m := range []*consumer{
		{id: "m", assigned: partitionSet{}, revoked: partitionSet{}},
		{id: "m", instance: "one", rack: "r", clientID: "c", host: "/h", names: []string{"a", "b"}, pattern: pattern{text: "x.*"}, assignor: "range", rebalanceTimeout: 5 * time.Second,
			epoch: -2, before: 7, state: consumerWaiting, assigned: set, revoked: partitionSet{}},
	} {
		stored := newGroup(bareCoordinator(), "g").difference(newConsumers(), &consumers{members: map[string]*consumer{"m": m}, target: map[string]partitionSet{"m": set}, epoch: 9, targetEpoch: 8})
		// Compaction may leave them in another order.
		backwards := slices.Clone(stored)
		slices.Reverse(backwards)
		for _, recs := range [][]kafkaRecord{stored, backwards} {
			checkStored(t, recs, m, set)
		}
	}
}

func checkStored(t *testing.T, recs []kafkaRecord, m *consumer, set partitionSet) {
	t.Helper()
	c := bareCoordinator()
	for _, r := range recs {
		if ok, err := c.loadConsumers(&log.Record{Key: r.key, Value: r.value}); !ok || err != nil {
			t.Fatalf("record with key %x: %v, %v", r.key, ok, err)
		}
	}
	got := c.groups["g"].consumers
	if a, b := fmt.Sprintf("%+v", *got.members["m"]), fmt.Sprintf("%+v", *m); a != b {
		t.Errorf("read   %s\nstored %s", a, b)
	}
	if got.epoch != 9 || got.targetEpoch != 8 || !maps.Equal(got.target["m"], set) {
		t.Errorf("epochs %d and %d, target %v", got.epoch, got.targetEpoch, got.target)
	}
}

// A pattern is held against topics again when there are others, or when its client
// may see others; otherwise what was found is what there is.
func TestPatternIsLookedForOnce(t *testing.T) {
	l := logtest.Open(t).(*log.Embedded)
	s, err := Listen(Options{Log: l})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	logtest.Create(t, l, "a", 1)
	r := &request{conn: &conn{s: s}}
	r.conn.who.Store(&identity{})
	p, err := compilePattern("[a-z]")
	if err != nil {
		t.Fatal(err)
	}
	g := s.groups.ensure("g")
	defer g.mu.Unlock()
	var last []string
	look := func() (again bool) {
		names, at := g.look(r, "m", nil)
		again = last == nil || &names[0] != &last[0]
		last = names
		g.consumers.members["m"].matched = names
		g.looked("m", at)
		return again
	}
	g.consumers = newConsumers()
	g.consumers.put(&consumer{id: "m", pattern: p})
	for _, step := range []struct {
		what   string
		change func()
		again  bool
		want   []string
	}{
		{"the first time", func() {}, true, []string{"a"}},
		{"nothing is new", func() {}, false, []string{"a"}},
		{"a topic is new", func() { logtest.Create(t, l, "b", 1) }, true, []string{"a", "b"}},
		{"nothing is new", func() {}, false, []string{"a", "b"}},
		{"users are others", func() { state := *s.access.state.Load(); s.access.state.Store(&state) }, true, []string{"a", "b"}},
		{"it is another client", func() { r.conn.who.Store(&identity{}) }, true, []string{"a", "b"}},
		{"nothing is new", func() {}, false, []string{"a", "b"}},
	} {
		step.change()
		if again := look(); again != step.again || !slices.Equal(last, step.want) {
			t.Errorf("%s: looked again %v, found %v, want %v, %v", step.what, again, last, step.again, step.want)
		}
	}
}
