package cli

import (
	"context"
	"errors"
	"maps"
	"slices"

	"github.com/spf13/cobra"

	"github.com/gretestream/grete/log/cluster"
	"github.com/gretestream/grete/log/kafka"
)

// accessStore is where users and ACLs are kept: in the data directory, or by the
// Kafka cluster that keeps the log.
type accessStore interface {
	Users(ctx context.Context) ([]kafka.User, error)
	SetUser(ctx context.Context, name, password string) error
	RemoveUser(ctx context.Context, name string) (known bool, err error)
	ACLs(ctx context.Context) ([]kafka.ACL, error)
	AddACLs(ctx context.Context, acls ...kafka.ACL) error
	RemoveACLs(ctx context.Context, filters ...kafka.ACLFilter) ([][]kafka.ACL, error)
}

// withAccess runs f on the users and ACLs of the data directory, whether this
// process holds it or another one does, or on those of --log.
func (a *app) withAccess(cmd *cobra.Command, f func(ctx context.Context, access accessStore) error) error {
	return a.withData(cmd, func(ctx context.Context, d *dataDir) error {
		if d.elsewhere {
			return f(ctx, clusterAccess{d.Log.(*cluster.Log)})
		}
		access, err := kafka.OpenAccess(ctx, d.Log)
		if err != nil {
			return err
		}
		return errors.Join(f(ctx, ownAccess{access}), access.Close())
	})
}

// ownAccess are the users and ACLs of the data directory.
type ownAccess struct{ *kafka.Access }

func (o ownAccess) Users(context.Context) ([]kafka.User, error) { return o.Access.Users(), nil }

func (o ownAccess) ACLs(context.Context) ([]kafka.ACL, error) {
	return o.Access.ACLs(kafka.AnyACL()), nil
}

// clusterAccess are the users and ACLs of a Kafka cluster. What differs from
// package cluster are the types' names alone.
type clusterAccess struct{ *cluster.Log }

func (c clusterAccess) Users(ctx context.Context) ([]kafka.User, error) {
	users, err := c.Log.Users(ctx)
	var list []kafka.User
	for _, name := range slices.Sorted(maps.Keys(users)) {
		list = append(list, kafka.User{Name: name, Mechanisms: users[name]})
	}
	return list, err
}

func (c clusterAccess) ACLs(ctx context.Context) ([]kafka.ACL, error) {
	list, err := c.Log.ACLs(ctx, cluster.ACLFilter(kafka.AnyACL()))
	return kafkaACLs(list), err
}

func (c clusterAccess) AddACLs(ctx context.Context, acls ...kafka.ACL) error {
	var list []cluster.ACL
	for _, a := range acls {
		list = append(list, cluster.ACL(a))
	}
	return c.Log.AddACLs(ctx, list...)
}

func (c clusterAccess) RemoveACLs(ctx context.Context, filters ...kafka.ACLFilter) ([][]kafka.ACL, error) {
	var list []cluster.ACLFilter
	for _, f := range filters {
		list = append(list, cluster.ACLFilter(f))
	}
	removed, err := c.Log.RemoveACLs(ctx, list...)
	var all [][]kafka.ACL
	for _, r := range removed {
		all = append(all, kafkaACLs(r))
	}
	return all, err
}

func kafkaACLs(list []cluster.ACL) []kafka.ACL {
	var acls []kafka.ACL
	for _, a := range list {
		acls = append(acls, kafka.ACL(a))
	}
	return acls
}
