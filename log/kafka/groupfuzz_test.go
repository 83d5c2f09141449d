package kafka

import (
	"bytes"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gretestream/grete/log"
)

// bareCoordinator has no log and no clients.
func bareCoordinator() *coordinator {
	opts := (&Options{}).EnsureDefaults()
	c := &coordinator{opts: opts, logger: hclog.NewNullLogger(), m: &counters{}, groups: map[string]*group{}}
	c.m.register(opts.Metrics)
	return c
}

// FuzzStoredGroup decodes any record; what is understood is a group whose parts
// agree.
func FuzzStoredGroup(f *testing.F) {
	v := kmsg.NewGroupMetadataValue()
	v.Version, v.ProtocolType, v.Generation, v.Protocol, v.Leader = 3, "consumer", 7, kmsg.StringPtr("range"), kmsg.StringPtr("a-1")
	m := kmsg.NewGroupMetadataValueMember()
	m.MemberID, m.InstanceID, m.SessionTimeoutMillis, m.Subscription, m.Assignment = "a-1", kmsg.StringPtr("one"), 10_000, []byte("s"), []byte("a")
	v.Members = append(v.Members, m)
	key := groupKey(groupKeyVersion, "g")
	f.Add(key, v.AppendTo(nil))
	for version := int16(0); version < 3; version++ {
		v.Version = version
		f.Add(key, v.AppendTo(nil))
	}
	f.Add(key, []byte{0, 3, 0, 0, 0, 0, 0, 1, 255, 255, 255, 255, 0, 0, 0, 0, 0, 0, 0, 0, 127, 255, 255, 255})
	f.Add([]byte{0, 2, 0}, []byte(nil))
	f.Fuzz(func(t *testing.T, key, value []byte) {
		c := bareCoordinator()
		r := log.Record{Key: key, Value: value}
		c.loadRecord(&r)
		name, ok := decodeGroupKey(key)
		g := c.groups[name]
		if g == nil || g.consumers != nil { // these are FuzzStoredConsumers'
			return
		}
		if !ok || !bytes.Equal(groupKey(groupKeyVersion, name), key) {
			t.Fatalf("group %q from key %x", name, key)
		}
		if (g.state == groupStable) != (len(g.members) > 0) || len(g.members) > 0 && g.members[g.leader] == nil {
			t.Fatalf("group is %s with %d members and leader %q", g.state, len(g.members), g.leader)
		}
		for inst, id := range g.statics {
			if m := g.members[id]; m == nil || m.instance != inst {
				t.Fatalf("instance %q is %q, which is %+v", inst, id, m)
			}
		}
		// Whatever it holds, its timer can run.
		for _, m := range g.members {
			m.touch(time.Unix(0, 0))
		}
		g.view()
		g.next()
	})
}
