package cluster

import (
	"context"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"errors"
	"fmt"
	"hash"
	"maps"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Users returns the users that the cluster keeps SCRAM credentials of, with the
// iterations of each mechanism.
func (l *Log) Users(ctx context.Context) (users map[string]map[string]int, err error) {
	err = l.again(ctx, func(ctx context.Context) error {
		req := kmsg.NewPtrDescribeUserSCRAMCredentialsRequest() // all, if none is named
		resp, err := req.RequestWith(ctx, l.admin)
		if err == nil {
			err = coded(resp.ErrorCode, resp.ErrorMessage)
		}
		if err != nil {
			return err
		}
		users = map[string]map[string]int{}
		for i := range resp.Results {
			r := &resp.Results[i]
			if err := coded(r.ErrorCode, r.ErrorMessage); err != nil {
				return fmt.Errorf("user %q: %w", r.User, err)
			}
			users[r.User] = map[string]int{}
			for _, c := range r.CredentialInfos {
				users[r.User][scramName(c.Mechanism)] = int(c.Iterations)
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list users: %w", explain(err))
	}
	return users, nil
}

// Mechanisms of SCRAM by their numbers in the protocol.
var scramNumbers = map[string]int8{ScramSHA256: 1, ScramSHA512: 2}

func scramName(number int8) string {
	for name, n := range scramNumbers {
		if n == number {
			return name
		}
	}
	return fmt.Sprintf("mechanism %d", number)
}

// What a password is salted with.
const (
	saltBytes      = 24
	saltIterations = 8192 // of PBKDF2; Kafka takes 4096 to 16384
)

// SetUser lets a user log in with a password by SCRAM. The cluster is told the
// salted password, never the password itself.
func (l *Log) SetUser(ctx context.Context, name, password string) error {
	req := kmsg.NewPtrAlterUserSCRAMCredentialsRequest()
	for mechanism, h := range map[string]func() hash.Hash{ScramSHA256: sha256.New, ScramSHA512: sha512.New} {
		u := kmsg.NewAlterUserSCRAMCredentialsRequestUpsertion()
		u.Name, u.Mechanism, u.Iterations, u.Salt = name, scramNumbers[mechanism], saltIterations, make([]byte, saltBytes)
		_, _ = rand.Read(u.Salt) // never fails
		var err error
		if u.SaltedPassword, err = pbkdf2.Key(h, password, u.Salt, saltIterations, h().Size()); err != nil {
			return fmt.Errorf("salt a password: %w", err)
		}
		req.Upsertions = append(req.Upsertions, u)
	}
	if err := l.alterUsers(ctx, req); err != nil {
		return fmt.Errorf("store user %q: %w", name, explain(err))
	}
	return nil
}

// RemoveUser removes all credentials of a user; known tells whether there were
// any.
func (l *Log) RemoveUser(ctx context.Context, name string) (known bool, err error) {
	users, err := l.Users(ctx)
	if err != nil {
		return false, err
	}
	req := kmsg.NewPtrAlterUserSCRAMCredentialsRequest()
	for _, mechanism := range slices.Sorted(maps.Keys(users[name])) {
		d := kmsg.NewAlterUserSCRAMCredentialsRequestDeletion()
		d.Name, d.Mechanism = name, scramNumbers[mechanism]
		req.Deletions = append(req.Deletions, d)
	}
	if len(req.Deletions) == 0 {
		return false, nil
	}
	if err := l.alterUsers(ctx, req); err != nil {
		return true, fmt.Errorf("remove user %q: %w", name, explain(err))
	}
	return true, nil
}

func (l *Log) alterUsers(ctx context.Context, req *kmsg.AlterUserSCRAMCredentialsRequest) error {
	return l.again(ctx, func(ctx context.Context) error {
		resp, err := req.RequestWith(ctx, l.admin)
		if err != nil {
			return err
		}
		for i := range resp.Results {
			if err := coded(resp.Results[i].ErrorCode, resp.Results[i].ErrorMessage); err != nil {
				return err
			}
		}
		return nil
	})
}

// ACL is one as the protocol has it.
type ACL struct {
	Resource   kmsg.ACLResourceType
	Pattern    kmsg.ACLResourcePatternType
	Name       string
	Principal  string
	Host       string
	Operation  kmsg.ACLOperation
	Permission kmsg.ACLPermissionType
}

// ACLFilter finds ACLs: nil names, and the kinds "any", fit all.
type ACLFilter struct {
	Resource              kmsg.ACLResourceType
	Pattern               kmsg.ACLResourcePatternType
	Name, Principal, Host *string
	Operation             kmsg.ACLOperation
	Permission            kmsg.ACLPermissionType
}

// ACLs returns those that fit.
func (l *Log) ACLs(ctx context.Context, f ACLFilter) (list []ACL, err error) {
	err = l.again(ctx, func(ctx context.Context) error {
		req := kmsg.NewPtrDescribeACLsRequest()
		req.ResourceType, req.ResourcePatternType, req.ResourceName = f.Resource, f.Pattern, f.Name
		req.Principal, req.Host, req.Operation, req.PermissionType = f.Principal, f.Host, f.Operation, f.Permission
		resp, err := req.RequestWith(ctx, l.admin)
		if err == nil {
			err = coded(resp.ErrorCode, resp.ErrorMessage)
		}
		if err != nil {
			return err
		}
		list = nil
		for i := range resp.Resources {
			r := &resp.Resources[i]
			for _, a := range r.ACLs {
				list = append(list, ACL{r.ResourceType, r.ResourcePatternType, r.ResourceName, a.Principal, a.Host, a.Operation, a.PermissionType})
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list ACLs: %w", explain(err))
	}
	return list, nil
}

// AddACLs adds ACLs; those that there are stay.
func (l *Log) AddACLs(ctx context.Context, list ...ACL) error {
	req := kmsg.NewPtrCreateACLsRequest()
	for _, a := range list {
		c := kmsg.NewCreateACLsRequestCreation()
		c.ResourceType, c.ResourcePatternType, c.ResourceName = a.Resource, a.Pattern, a.Name
		c.Principal, c.Host, c.Operation, c.PermissionType = a.Principal, a.Host, a.Operation, a.Permission
		req.Creations = append(req.Creations, c)
	}
	err := l.again(ctx, func(ctx context.Context) error {
		resp, err := req.RequestWith(ctx, l.admin)
		if err != nil {
			return err
		}
		var errs []error
		for i := range resp.Results {
			errs = append(errs, coded(resp.Results[i].ErrorCode, resp.Results[i].ErrorMessage))
		}
		return errors.Join(errs...)
	})
	if err != nil {
		return fmt.Errorf("add ACLs: %w", explain(err))
	}
	return nil
}

// RemoveACLs removes the ACLs that fit each filter, and returns them.
func (l *Log) RemoveACLs(ctx context.Context, filters ...ACLFilter) (removed [][]ACL, err error) {
	req := kmsg.NewPtrDeleteACLsRequest()
	for _, f := range filters {
		d := kmsg.NewDeleteACLsRequestFilter()
		d.ResourceType, d.ResourcePatternType, d.ResourceName = f.Resource, f.Pattern, f.Name
		d.Principal, d.Host, d.Operation, d.PermissionType = f.Principal, f.Host, f.Operation, f.Permission
		req.Filters = append(req.Filters, d)
	}
	err = l.again(ctx, func(ctx context.Context) error {
		resp, err := req.RequestWith(ctx, l.admin)
		if err != nil {
			return err
		}
		removed = nil
		for i := range resp.Results {
			r := &resp.Results[i]
			if err := coded(r.ErrorCode, r.ErrorMessage); err != nil {
				return err
			}
			var list []ACL
			for j := range r.MatchingACLs {
				a := &r.MatchingACLs[j]
				if err := coded(a.ErrorCode, a.ErrorMessage); err != nil {
					return err
				}
				list = append(list, ACL{a.ResourceType, a.ResourcePatternType, a.ResourceName, a.Principal, a.Host, a.Operation, a.PermissionType})
			}
			removed = append(removed, list)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("remove ACLs: %w", explain(err))
	}
	return removed, nil
}
