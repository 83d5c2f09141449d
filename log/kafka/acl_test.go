package kafka

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
	"pgregory.net/rapid"
)

// drawACL draws an ACL of few possible ones, so that they meet.
func drawACL(t *rapid.T) ACL {
	a := ACL{
		Resource:   rapid.SampledFrom([]kmsg.ACLResourceType{kmsg.ACLResourceTypeTopic, kmsg.ACLResourceTypeGroup}).Draw(t, "resource"),
		Pattern:    rapid.SampledFrom([]kmsg.ACLResourcePatternType{kmsg.ACLResourcePatternTypeLiteral, kmsg.ACLResourcePatternTypePrefixed}).Draw(t, "pattern"),
		Name:       rapid.SampledFrom([]string{"a", "ab", "abc", "b", "*"}).Draw(t, "name"),
		Principal:  rapid.SampledFrom([]string{"User:x", "User:y", "User:*"}).Draw(t, "principal"),
		Host:       rapid.SampledFrom([]string{"*", "10.0.0.1", "10.0.0.2"}).Draw(t, "host"),
		Permission: rapid.SampledFrom([]kmsg.ACLPermissionType{kmsg.ACLPermissionTypeAllow, kmsg.ACLPermissionTypeDeny}).Draw(t, "permission"),
	}
	a.Operation = rapid.SampledFrom(append(slices.Clone(operationsOf[a.Resource]), kmsg.ACLOperationAll)).Draw(t, "operation")
	return a
}

// judgeSlowly is the rule, said as Kafka's page says it.
func judgeSlowly(acls []ACL, principal, host string, op kmsg.ACLOperation, kind kmsg.ACLResourceType, name string) verdict {
	implies := map[kmsg.ACLOperation][]kmsg.ACLOperation{
		kmsg.ACLOperationDescribe:        {kmsg.ACLOperationRead, kmsg.ACLOperationWrite, kmsg.ACLOperationDelete, kmsg.ACLOperationAlter},
		kmsg.ACLOperationDescribeConfigs: {kmsg.ACLOperationAlterConfigs},
	}
	v := noACL
	for _, a := range acls {
		if a.Resource != kind {
			continue
		}
		if a.Pattern == kmsg.ACLResourcePatternTypePrefixed && !strings.HasPrefix(name, a.Name) {
			continue
		}
		if a.Pattern == kmsg.ACLResourcePatternTypeLiteral && a.Name != "*" && a.Name != name {
			continue
		}
		v = max(v, refused)
		if a.Principal != "User:*" && a.Principal != principal || a.Host != "*" && a.Host != host {
			continue
		}
		exact := a.Operation == op || a.Operation == kmsg.ACLOperationAll
		if a.Permission == kmsg.ACLPermissionTypeDeny && exact {
			return refused
		}
		if a.Permission == kmsg.ACLPermissionTypeAllow && (exact || slices.Contains(implies[op], a.Operation)) {
			v = allowed
		}
	}
	if v == allowed { // unless a later one denies
		for _, a := range acls {
			deny := a
			if deny.Permission == kmsg.ACLPermissionTypeDeny && judgeSlowly([]ACL{deny}, principal, host, op, kind, name) == refused &&
				(deny.Operation == op || deny.Operation == kmsg.ACLOperationAll) && deny.isAbout(principal, host) {
				return refused
			}
		}
	}
	return v
}

func TestACLModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		acls := rapid.SliceOfN(rapid.Custom(drawACL), 0, 12).Draw(t, "acls")
		all := map[ACL]bool{}
		for _, a := range acls {
			if err := a.Check(); err != nil {
				t.Fatal(err)
			}
			all[a] = true
		}
		set := newACLSet(all)
		for _, kind := range []kmsg.ACLResourceType{kmsg.ACLResourceTypeTopic, kmsg.ACLResourceTypeGroup} {
			for _, principal := range []string{"User:x", "User:y", "User:z"} {
				for _, host := range []string{"10.0.0.1", "10.0.0.3"} {
					for _, op := range operationsOf[kind] {
						somewhere := false
						for _, name := range []string{"a", "ab", "abc", "abcd", "b", "c", "*"} {
							got, want := set.judge(principal, host, op, kind, name), judgeSlowly(acls, principal, host, op, kind, name)
							if got != want {
								t.Fatalf("%s at %s to %v %v %s: %d, want %d", principal, host, op, kind, name, got, want)
							}
							somewhere = somewhere || got == allowed && name != "*"
						}
						if got := set.judgeAny(principal, host, op, kind); got != allowed && somewhere {
							t.Fatalf("%s at %s to %v any %v: %d, want allowed", principal, host, op, kind, got)
						}
					}
				}
			}
		}
	})
}

// What is written into the topic comes back, in any order of changes.
func TestAccessStateModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := &accessState{users: map[string]map[string]*verifier{}, quotas: map[quotaKey]float64{}}
		acls, want := map[ACL]bool{}, map[ACL]bool{}
		for range rapid.IntRange(0, 20).Draw(t, "changes") {
			a := drawACL(t)
			value := []byte("{}")
			if want[a] = true; rapid.Bool().Draw(t, "remove") {
				value = nil
				delete(want, a)
			}
			if err := s.take(acls, mustJSON(aclKey(a)), value); err != nil {
				t.Fatal(err)
			}
		}
		if len(acls) != len(want) {
			t.Fatalf("%d ACLs, want %d", len(acls), len(want))
		}
		for a := range want {
			if !acls[a] {
				t.Fatalf("%v is missing", a)
			}
		}
	})
}

func TestACLFilter(t *testing.T) {
	str := func(s string) *string { return &s }
	literal := ACL{kmsg.ACLResourceTypeTopic, kmsg.ACLResourcePatternTypeLiteral, "orders", "User:a", "*", kmsg.ACLOperationRead, kmsg.ACLPermissionTypeAllow}
	prefixed, all := literal, literal
	prefixed.Pattern, prefixed.Name = kmsg.ACLResourcePatternTypePrefixed, "ord"
	all.Name = "*"
	f := func(change func(*ACLFilter), want ...ACL) {
		t.Helper()
		filter := AnyACL()
		change(&filter)
		for _, a := range []ACL{literal, prefixed, all} {
			if got := filter.Fits(a); got != slices.Contains(want, a) {
				t.Errorf("%v: %t", a, got)
			}
		}
	}
	f(func(*ACLFilter) {}, literal, prefixed, all)
	f(func(f *ACLFilter) { f.Name = str("orders") }, literal)
	f(func(f *ACLFilter) { f.Name, f.Pattern = str("orders"), kmsg.ACLResourcePatternTypeMatch }, literal, prefixed, all)
	f(func(f *ACLFilter) { f.Name, f.Pattern = str("others"), kmsg.ACLResourcePatternTypeMatch }, all)
	f(func(f *ACLFilter) { f.Pattern = kmsg.ACLResourcePatternTypePrefixed }, prefixed)
	f(func(f *ACLFilter) { f.Name, f.Pattern = str("*"), kmsg.ACLResourcePatternTypeLiteral }, all)
	f(func(f *ACLFilter) { f.Principal = str("User:b") })
	f(func(f *ACLFilter) { f.Operation = kmsg.ACLOperationWrite })
	f(func(f *ACLFilter) { f.Permission = kmsg.ACLPermissionTypeDeny })
	f(func(f *ACLFilter) { f.Resource = kmsg.ACLResourceTypeGroup })
	f(func(f *ACLFilter) { f.Host = str("10.0.0.1") })
}

func TestACLCheck(t *testing.T) {
	good := ACL{kmsg.ACLResourceTypeTopic, kmsg.ACLResourcePatternTypeLiteral, "t", "User:a", "*", kmsg.ACLOperationRead, kmsg.ACLPermissionTypeAllow}
	f := func(change func(*ACL), ok bool) {
		t.Helper()
		a := good
		change(&a)
		if err := a.Check(); (err == nil) != ok {
			t.Errorf("%v: %v", a, err)
		}
	}
	f(func(*ACL) {}, true)
	f(func(a *ACL) { a.Operation = kmsg.ACLOperationAll }, true)
	f(func(a *ACL) { a.Host = "::1" }, true)
	f(func(a *ACL) {
		a.Resource, a.Name, a.Operation = kmsg.ACLResourceTypeCluster, ClusterName, kmsg.ACLOperationAlter
	}, true)
	f(func(a *ACL) { a.Resource, a.Operation = kmsg.ACLResourceTypeCluster, kmsg.ACLOperationAlter }, false)
	f(func(a *ACL) { a.Resource = kmsg.ACLResourceTypeAny }, false)
	f(func(a *ACL) { a.Resource = kmsg.ACLResourceTypeDelegationToken }, false)
	f(func(a *ACL) { a.Pattern = kmsg.ACLResourcePatternTypeMatch }, false)
	f(func(a *ACL) { a.Name = "" }, false)
	f(func(a *ACL) { a.Principal = "alice" }, false)
	f(func(a *ACL) { a.Principal = "User:" }, false)
	f(func(a *ACL) { a.Host = "example.org" }, false)
	f(func(a *ACL) { a.Host = "" }, false)
	f(func(a *ACL) { a.Operation = kmsg.ACLOperationAny }, false)
	f(func(a *ACL) { a.Operation = kmsg.ACLOperationClusterAction }, false)
	f(func(a *ACL) { a.Permission = kmsg.ACLPermissionTypeAny }, false)
}

func TestQuotaOrder(t *testing.T) {
	s := &accessState{quotas: map[quotaKey]float64{}}
	f := func(want float64, has bool) {
		t.Helper()
		if got, _, ok := s.quota(producerByteRate, "alice", "app"); got != want || ok != has {
			t.Errorf("%g, %t, want %g, %t", got, ok, want, has)
		}
	}
	set := func(value float64, entities ...string) {
		slices.Sort(entities)
		s.quotas[quotaKey{producerByteRate, strings.Join(entities, "\x00")}] = value
	}
	f(0, false)
	set(99, "user=bob")
	f(0, false)
	for i, entities := range [][]string{
		{"client-id"}, {"client-id=app"}, {"user"}, {"user", "client-id"}, {"user", "client-id=app"}, {"user=alice"}, {"user=alice", "client-id"}, {"user=alice", "client-id=app"},
	} {
		set(float64(i+1), entities...)
		f(float64(i+1), true)
	}
}

func TestThrottles(t *testing.T) {
	var th throttles
	now := time.Unix(1000, 0)
	f := func(user string, n int, after, want time.Duration) {
		t.Helper()
		now = now.Add(after)
		if got := th.take(quotaShare{user: user}, n, 1000, now); got != want {
			t.Errorf("%d bytes: throttled for %v, want %v", n, got, want)
		}
	}
	f("a", 1000, 0, 0)                      // what comes in a second may be taken at once
	f("a", 500, 0, 500*time.Millisecond)    // and then not
	f("b", 1000, 0, 0)                      // by others it may
	f("a", 0, 500*time.Millisecond, 0)      // paid back
	f("a", 100, time.Hour, 0)               // no more is saved up than a second's
	f("a", 1000, 0, 100*time.Millisecond)   //
	f("a", 1<<30, time.Second, maxThrottle) // a debt is bounded
	f("a", 0, time.Second, maxThrottle-time.Second)
}
