package kafka

import (
	"fmt"
	"net"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// ACL allows or denies principals an operation on resources, with Kafka's
// meaning of every field.
type ACL struct {
	Resource   kmsg.ACLResourceType        // topic, group, transactional id or cluster
	Pattern    kmsg.ACLResourcePatternType // literal or prefixed
	Name       string                      // of the resource; "*" in a literal pattern: any
	Principal  string                      // such as User:alice; User:* is anybody
	Host       string                      // an IP address, or "*"
	Operation  kmsg.ACLOperation           // or all
	Permission kmsg.ACLPermissionType      // allow or deny
}

const (
	// ClusterName is the name that the resource cluster has.
	ClusterName = "kafka-cluster"
	// Anonymous is the principal of whoever has not been asked.
	Anonymous = "User:ANONYMOUS"

	anyName      = "*"
	anyPrincipal = "User:*"
)

// String is an ACL in one line: "allow User:alice from * to read topic prefix:orders.".
func (a ACL) String() string {
	name := a.Name
	if a.Pattern == kmsg.ACLResourcePatternTypePrefixed {
		name = "prefix:" + name
	}
	return fmt.Sprintf("%s %s from %s to %s %s %s", lower(a.Permission), a.Principal, a.Host, lower(a.Operation), lower(a.Resource), name)
}

// lower is one of Kafka's names as people write it.
func lower(v fmt.Stringer) string { return strings.ToLower(strings.ReplaceAll(v.String(), "_", "-")) }

// Check tells what is wrong with an ACL that shall be added.
func (a ACL) Check() error {
	switch a.Resource {
	case kmsg.ACLResourceTypeTopic, kmsg.ACLResourceTypeGroup, kmsg.ACLResourceTypeTransactionalId:
	case kmsg.ACLResourceTypeCluster:
		if a.Name != ClusterName || a.Pattern != kmsg.ACLResourcePatternTypeLiteral {
			return fmt.Errorf("acl on cluster %q, want %q, literally", a.Name, ClusterName)
		}
	default:
		return fmt.Errorf("acl on a resource of type %s, want topic, group, transactional-id or cluster", lower(a.Resource))
	}
	if a.Name == "" {
		return fmt.Errorf("acl without the name of a %s", lower(a.Resource))
	}
	if a.Pattern != kmsg.ACLResourcePatternTypeLiteral && a.Pattern != kmsg.ACLResourcePatternTypePrefixed {
		return fmt.Errorf("acl with pattern %s, want literal or prefixed", lower(a.Pattern))
	}
	if kind, name, ok := strings.Cut(a.Principal, ":"); !ok || kind == "" || name == "" {
		return fmt.Errorf("acl for principal %q, want one such as User:alice", a.Principal)
	}
	if a.Host != anyName && net.ParseIP(a.Host) == nil {
		return fmt.Errorf("acl for host %q, want an IP address, or *", a.Host)
	}
	if a.Operation != kmsg.ACLOperationAll && !slices.Contains(operationsOf[a.Resource], a.Operation) {
		return fmt.Errorf("acl for operation %s on a %s, want all or one of %s", lower(a.Operation), lower(a.Resource), operationList(a.Resource))
	}
	if a.Permission != kmsg.ACLPermissionTypeAllow && a.Permission != kmsg.ACLPermissionTypeDeny {
		return fmt.Errorf("acl with permission %s, want allow or deny", lower(a.Permission))
	}
	return nil
}

// operationsOf are the operations that there are on a resource.
var operationsOf = map[kmsg.ACLResourceType][]kmsg.ACLOperation{
	kmsg.ACLResourceTypeTopic: {
		kmsg.ACLOperationRead, kmsg.ACLOperationWrite, kmsg.ACLOperationCreate, kmsg.ACLOperationDelete, kmsg.ACLOperationAlter,
		kmsg.ACLOperationDescribe, kmsg.ACLOperationDescribeConfigs, kmsg.ACLOperationAlterConfigs,
	},
	kmsg.ACLResourceTypeGroup: {kmsg.ACLOperationRead, kmsg.ACLOperationDelete, kmsg.ACLOperationDescribe, kmsg.ACLOperationDescribeConfigs, kmsg.ACLOperationAlterConfigs},
	kmsg.ACLResourceTypeCluster: {
		kmsg.ACLOperationCreate, kmsg.ACLOperationAlter, kmsg.ACLOperationDescribe, kmsg.ACLOperationClusterAction,
		kmsg.ACLOperationDescribeConfigs, kmsg.ACLOperationAlterConfigs, kmsg.ACLOperationIdempotentWrite,
	},
	kmsg.ACLResourceTypeTransactionalId: {kmsg.ACLOperationWrite, kmsg.ACLOperationDescribe},
}

func operationList(kind kmsg.ACLResourceType) string {
	var names []string
	for _, op := range operationsOf[kind] {
		names = append(names, lower(op))
	}
	return strings.Join(names, ", ")
}

// appliesTo tells whether the ACL is about this resource.
func (a *ACL) appliesTo(kind kmsg.ACLResourceType, name string) bool {
	if a.Resource != kind {
		return false
	}
	if a.Pattern == kmsg.ACLResourcePatternTypePrefixed {
		return strings.HasPrefix(name, a.Name)
	}
	return a.Name == name || a.Name == anyName
}

// isAbout tells whether the ACL is about this principal at this host.
func (a *ACL) isAbout(principal, host string) bool {
	return (a.Principal == principal || a.Principal == anyPrincipal) && (a.Host == host || a.Host == anyName)
}

// allows tells whether an ACL that allows its operation allows op as well.
func (a *ACL) allows(op kmsg.ACLOperation) bool {
	switch a.Operation {
	case op, kmsg.ACLOperationAll:
		return true
	case kmsg.ACLOperationRead, kmsg.ACLOperationWrite, kmsg.ACLOperationDelete, kmsg.ACLOperationAlter:
		return op == kmsg.ACLOperationDescribe
	case kmsg.ACLOperationAlterConfigs:
		return op == kmsg.ACLOperationDescribeConfigs
	}
	return false
}

// verdict is what the ACLs say.
type verdict uint8

const (
	noACL   verdict = iota // none is about the resource
	refused                // one denies it, or none allows it
	allowed
)

// aclSet is a set of ACLs that answers fast. It does not change.
type aclSet struct {
	all      map[ACL]bool
	literal  map[aclResource][]*ACL
	prefixed map[kmsg.ACLResourceType][]*ACL
}

type aclResource struct {
	kind kmsg.ACLResourceType
	name string
}

func newACLSet(all map[ACL]bool) *aclSet {
	s := &aclSet{all: all, literal: map[aclResource][]*ACL{}, prefixed: map[kmsg.ACLResourceType][]*ACL{}}
	for a := range all {
		if a.Pattern == kmsg.ACLResourcePatternTypePrefixed {
			s.prefixed[a.Resource] = append(s.prefixed[a.Resource], &a)
		} else {
			r := aclResource{a.Resource, a.Name}
			s.literal[r] = append(s.literal[r], &a)
		}
	}
	return s
}

// judge is Kafka's rule: what is denied is refused, whatever is allowed besides.
func (s *aclSet) judge(principal, host string, op kmsg.ACLOperation, kind kmsg.ACLResourceType, name string) verdict {
	v := noACL
	denied := false
	look := func(list []*ACL) {
		for _, a := range list {
			if a.Pattern == kmsg.ACLResourcePatternTypePrefixed && !strings.HasPrefix(name, a.Name) {
				continue
			}
			v = max(v, refused)
			if !a.isAbout(principal, host) {
				continue
			}
			if a.Permission == kmsg.ACLPermissionTypeDeny {
				denied = denied || a.Operation == op || a.Operation == kmsg.ACLOperationAll
			} else if a.allows(op) {
				v = allowed
			}
		}
	}
	look(s.literal[aclResource{kind, name}])
	if name != anyName {
		look(s.literal[aclResource{kind, anyName}])
	}
	look(s.prefixed[kind])
	if denied {
		return refused
	}
	return v
}

// judgeAny tells whether op is allowed on at least one resource of a kind, which
// is all that some requests need.
func (s *aclSet) judgeAny(principal, host string, op kmsg.ACLOperation, kind kmsg.ACLResourceType) verdict {
	v := noACL
	var denies []*ACL // on everything or on what begins in some way
	for a := range s.all {
		if a.Resource == kind && a.isAbout(principal, host) && a.Permission == kmsg.ACLPermissionTypeDeny &&
			(a.Operation == op || a.Operation == kmsg.ACLOperationAll) {
			denies = append(denies, &a)
		}
	}
	covered := func(a *ACL) bool {
		return slices.ContainsFunc(denies, func(d *ACL) bool {
			switch {
			case d.Pattern == kmsg.ACLResourcePatternTypePrefixed:
				return a.Name != anyName && strings.HasPrefix(a.Name, d.Name)
			case d.Name == anyName:
				return true
			}
			return a.Pattern == kmsg.ACLResourcePatternTypeLiteral && d.Name == a.Name
		})
	}
	for a := range s.all {
		if a.Resource != kind {
			continue
		}
		v = max(v, refused)
		if a.Permission == kmsg.ACLPermissionTypeAllow && a.isAbout(principal, host) && a.allows(op) && !covered(&a) {
			return allowed
		}
	}
	if v == noACL && len(denies) > 0 {
		return refused
	}
	return v
}

// sorted is all ACLs in a fixed order.
func (s *aclSet) sorted() []ACL {
	list := make([]ACL, 0, len(s.all))
	for a := range s.all {
		list = append(list, a)
	}
	slices.SortFunc(list, func(a, b ACL) int { return strings.Compare(a.sortKey(), b.sortKey()) })
	return list
}

func (a ACL) sortKey() string {
	return fmt.Sprintf("%d %s %d %s %d %d %s", a.Resource, a.Name, a.Pattern, a.Principal, a.Operation, a.Permission, a.Host)
}

// ACLFilter finds ACLs, with Kafka's meaning: a field that is Any, or nil, fits
// all.
type ACLFilter struct {
	Resource   kmsg.ACLResourceType
	Pattern    kmsg.ACLResourcePatternType // or Match: whatever is about Name
	Name       *string
	Principal  *string
	Host       *string
	Operation  kmsg.ACLOperation
	Permission kmsg.ACLPermissionType
}

// AnyACL fits all ACLs.
func AnyACL() ACLFilter {
	return ACLFilter{
		Resource: kmsg.ACLResourceTypeAny, Pattern: kmsg.ACLResourcePatternTypeAny,
		Operation: kmsg.ACLOperationAny, Permission: kmsg.ACLPermissionTypeAny,
	}
}

// Check tells what is wrong with a filter.
func (f *ACLFilter) Check() error {
	switch {
	case f.Resource < kmsg.ACLResourceTypeAny || f.Resource > kmsg.ACLResourceTypeUser:
		return fmt.Errorf("filter for resource type %d, want a known one", f.Resource)
	case f.Pattern < kmsg.ACLResourcePatternTypeAny || f.Pattern > kmsg.ACLResourcePatternTypePrefixed:
		return fmt.Errorf("filter for pattern %d, want a known one", f.Pattern)
	case f.Operation < kmsg.ACLOperationAny || f.Operation > kmsg.ACLOperationDescribeTokens:
		return fmt.Errorf("filter for operation %d, want a known one", f.Operation)
	case f.Permission < kmsg.ACLPermissionTypeAny || f.Permission > kmsg.ACLPermissionTypeAllow:
		return fmt.Errorf("filter for permission %d, want a known one", f.Permission)
	}
	return nil
}

// Fits tells whether an ACL is one that the filter looks for.
func (f *ACLFilter) Fits(a ACL) bool {
	if f.Resource != kmsg.ACLResourceTypeAny && f.Resource != a.Resource ||
		f.Operation != kmsg.ACLOperationAny && f.Operation != a.Operation ||
		f.Permission != kmsg.ACLPermissionTypeAny && f.Permission != a.Permission ||
		f.Principal != nil && *f.Principal != a.Principal ||
		f.Host != nil && *f.Host != a.Host {
		return false
	}
	switch f.Pattern {
	case kmsg.ACLResourcePatternTypeMatch:
		return f.Name == nil || a.appliesTo(a.Resource, *f.Name)
	case kmsg.ACLResourcePatternTypeAny:
		return f.Name == nil || a.Name == *f.Name
	}
	return f.Pattern == a.Pattern && (f.Name == nil || a.Name == *f.Name)
}
