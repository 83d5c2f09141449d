package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gretestream/grete/log/kafka"
)

func (a *app) aclCommand() *cobra.Command {
	c := a.group("acl", "Say what users may do")
	c.AddCommand(a.aclAdd(), a.aclList(), a.aclRemove())
	return c
}

// aclFlags say what ACLs are about, in the words of Kafka's own tool. Each of
// principals, operations and resources may be given more than once: there is an
// ACL for each combination.
type aclFlags struct {
	allow, deny, principals, hosts, operations []string
	topics, groups, transactionalIDs           []string
	cluster                                    bool
}

func (a *app) aclFlags(f *pflag.FlagSet, add bool) *aclFlags {
	x := new(aclFlags)
	a.listVar(f, &x.allow, "allow", "`principal` that is allowed, such as User:alice, or User:* for everybody")
	a.listVar(f, &x.deny, "deny", "`principal` that is denied, whatever allows it")
	if !add {
		a.listVar(f, &x.principals, "principal", "`principal` that is allowed or denied")
	}
	a.listVar(f, &x.operations, "operation", "`operation`, such as read, write, create, delete, alter, describe, describe-configs, alter-configs, idempotent-write, cluster-action, all")
	a.listVar(f, &x.topics, "topic", "`topic`, or prefix:NAME for all that begin so, or *")
	a.listVar(f, &x.groups, "group", "consumer `group`, or prefix:NAME, or *")
	a.listVar(f, &x.transactionalIDs, "transactional-id", "transactional `id`, or prefix:NAME, or *")
	a.boolVar(f, &x.cluster, "cluster", "the cluster as a whole")
	a.listVar(f, &x.hosts, "host", "IP `address` that it is about; default: any")
	return x
}

// aclResource is one that flags name.
type aclResource struct {
	kind    kmsg.ACLResourceType
	pattern kmsg.ACLResourcePatternType
	name    string
}

func (x *aclFlags) resources() []aclResource {
	var list []aclResource
	add := func(kind kmsg.ACLResourceType, names []string) {
		for _, name := range names {
			r := aclResource{kind, kmsg.ACLResourcePatternTypeLiteral, name}
			if rest, ok := strings.CutPrefix(name, "prefix:"); ok {
				r.pattern, r.name = kmsg.ACLResourcePatternTypePrefixed, rest
			}
			list = append(list, r)
		}
	}
	add(kmsg.ACLResourceTypeTopic, x.topics)
	add(kmsg.ACLResourceTypeGroup, x.groups)
	add(kmsg.ACLResourceTypeTransactionalId, x.transactionalIDs)
	if x.cluster {
		list = append(list, aclResource{kmsg.ACLResourceTypeCluster, kmsg.ACLResourcePatternTypeLiteral, kafka.ClusterName})
	}
	return list
}

// parseOperations reads operations and notes those that are none.
func (x *aclFlags) parseOperations(a *app) []kmsg.ACLOperation {
	var list []kmsg.ACLOperation
	for _, text := range x.operations {
		op, err := kmsg.ParseACLOperation(strings.ReplaceAll(text, "-", "_"))
		if err != nil || op < kmsg.ACLOperationAll {
			a.mistake("--operation: got %q, want read, write, create, delete, alter, describe, describe-configs, alter-configs, idempotent-write, cluster-action or all", text)
		}
		list = append(list, op)
	}
	return list
}

// acls are all combinations.
func (x *aclFlags) acls(a *app) []kafka.ACL {
	if len(x.allow)+len(x.deny) == 0 {
		a.mistake("whom: want --allow PRINCIPAL or --deny PRINCIPAL")
	}
	if len(x.operations) == 0 {
		a.mistake("what: want --operation NAME")
	}
	resources := x.resources()
	if len(resources) == 0 {
		a.mistake("on what: want --topic, --group, --transactional-id or --cluster")
	}
	hosts := x.hosts
	if len(hosts) == 0 {
		hosts = []string{"*"}
	}
	var list []kafka.ACL
	add := func(permission kmsg.ACLPermissionType, principals []string, op kmsg.ACLOperation, r aclResource) {
		for _, p := range principals {
			for _, host := range hosts {
				acl := kafka.ACL{
					Resource: r.kind, Pattern: r.pattern, Name: r.name, Principal: principal(p),
					Host: host, Operation: op, Permission: permission,
				}
				if err := acl.Check(); err != nil {
					a.mistake("%v", err)
				}
				list = append(list, acl)
			}
		}
	}
	for _, op := range x.parseOperations(a) {
		for _, r := range resources {
			add(kmsg.ACLPermissionTypeAllow, x.allow, op, r)
			add(kmsg.ACLPermissionTypeDeny, x.deny, op, r)
		}
	}
	return list
}

// filters find ACLs by what is given; what is not given fits all.
func (x *aclFlags) filters(a *app) []kafka.ACLFilter {
	type who struct {
		permission kmsg.ACLPermissionType
		principal  *string
	}
	var whom []who
	for permission, list := range map[kmsg.ACLPermissionType][]string{
		kmsg.ACLPermissionTypeAllow: x.allow, kmsg.ACLPermissionTypeDeny: x.deny, kmsg.ACLPermissionTypeAny: x.principals,
	} {
		for _, p := range list {
			full := principal(p)
			whom = append(whom, who{permission, &full})
		}
	}
	if len(whom) == 0 {
		whom = []who{{kmsg.ACLPermissionTypeAny, nil}}
	}
	operations := x.parseOperations(a)
	if len(operations) == 0 {
		operations = []kmsg.ACLOperation{kmsg.ACLOperationAny}
	}
	resources := x.resources()
	if len(resources) == 0 {
		resources = []aclResource{{kmsg.ACLResourceTypeAny, kmsg.ACLResourcePatternTypeAny, ""}}
	}
	hosts := []*string{nil}
	if len(x.hosts) > 0 {
		hosts = nil
		for i := range x.hosts {
			hosts = append(hosts, &x.hosts[i])
		}
	}
	var list []kafka.ACLFilter
	for _, w := range whom {
		for _, op := range operations {
			for _, r := range resources {
				for _, host := range hosts {
					f := kafka.ACLFilter{Resource: r.kind, Pattern: r.pattern, Principal: w.principal, Host: host, Operation: op, Permission: w.permission}
					if r.name != "" {
						f.Name = &r.name
					}
					list = append(list, f)
				}
			}
		}
	}
	return list
}

func (a *app) aclAdd() *cobra.Command {
	c := &cobra.Command{
		Use: "add", Short: "Allow or deny users something",
		Long: `Allow or deny users something. A server that runs on the directory keeps to it
at once. What is denied stays so, whatever allows it; to read, write, delete or
alter something includes to describe it.`,
		Example: `  grete acl add --allow User:alice --operation read --topic orders --group billing
  grete acl add --allow User:shop --operation write --topic prefix:orders.
  grete acl add --allow User:ops --operation all --cluster`,
	}
	x := a.aclFlags(c.Flags(), true)
	c.RunE = func(cmd *cobra.Command, args []string) error {
		a.wantArgs(args)
		acls := x.acls(a)
		return a.withAccess(cmd, func(ctx context.Context, access accessStore) error {
			if err := access.AddACLs(ctx, acls...); err != nil {
				return err
			}
			for _, acl := range acls {
				a.notef("Added: %s.", acl)
			}
			return nil
		})
	}
	return c
}

func (a *app) aclList() *cobra.Command {
	c := &cobra.Command{Use: "list", Short: "List ACLs, all or those that fit"}
	x := a.aclFlags(c.Flags(), false)
	c.RunE = func(cmd *cobra.Command, args []string) error {
		a.wantArgs(args)
		filters := x.filters(a)
		return a.withAccess(cmd, func(ctx context.Context, access accessStore) error {
			acls, err := access.ACLs(ctx)
			if err != nil {
				return err
			}
			r := &rows{columns: left("Resource", "Pattern", "Name", "Principal", "Host", "Operation", "Permission")}
			for _, acl := range acls {
				for i := range filters {
					if filters[i].Fits(acl) {
						r.add(words(acl.Resource), words(acl.Pattern), acl.Name, acl.Principal, acl.Host, words(acl.Operation), words(acl.Permission))
						break
					}
				}
			}
			return a.print(r)
		})
	}
	return c
}

// words is one of Kafka's names as the flags have it.
func words(v fmt.Stringer) string { return strings.ToLower(strings.ReplaceAll(v.String(), "_", "-")) }

func (a *app) aclRemove() *cobra.Command {
	c := &cobra.Command{
		Use: "remove", Short: "Remove the ACLs that fit",
		Long: "Remove the ACLs that fit all that is given. Something must be given: --principal 'User:alice' removes all of hers.",
	}
	x := a.aclFlags(c.Flags(), false)
	c.RunE = func(cmd *cobra.Command, args []string) error {
		a.wantArgs(args)
		filters := x.filters(a)
		if len(x.allow)+len(x.deny)+len(x.principals)+len(x.operations)+len(x.hosts)+len(x.resources()) == 0 {
			a.mistake("which: want --principal, --allow, --deny, --operation, --host, --topic, --group, --transactional-id or --cluster")
		}
		return a.withAccess(cmd, func(ctx context.Context, access accessStore) error {
			removed, err := access.RemoveACLs(ctx, filters...)
			if err != nil {
				return err
			}
			gone := map[kafka.ACL]bool{}
			for _, list := range removed {
				for _, acl := range list {
					if !gone[acl] {
						gone[acl] = true
						a.notef("Removed: %s.", acl)
					}
				}
			}
			if len(gone) == 0 {
				return fmt.Errorf("no ACL fits: see grete acl list")
			}
			return nil
		})
	}
	return c
}
