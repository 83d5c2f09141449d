package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gretestream/grete/log"
)

// Group is a consumer group as the cluster describes it.
type Group struct {
	Name         string
	Kind         string // "classic" or "consumer"; empty if the brokers are too old to say
	State        string // such as "Empty" or "Stable"
	ProtocolType string // "consumer" for consumers
	Protocol     string // how partitions are assigned
	Members      []GroupMember
}

// GroupMember is one member of a Group.
type GroupMember struct {
	ID, Instance, ClientID, Host string
	// Partitions are what the member was assigned, if it is a consumer; sorted.
	Partitions []log.TopicPartition
}

// ErrUnknownGroup is returned for a group that has neither members nor offsets.
var ErrUnknownGroup = errors.New("unknown group")

// ErrGroupInUse is returned for what cannot be done while a group has members.
var ErrGroupInUse = errors.New("group has members")

// Groups lists all groups, by name, without their members.
func (l *Log) Groups(ctx context.Context) (groups []Group, err error) {
	err = l.again(ctx, func(ctx context.Context) error {
		resp, err := kmsg.NewPtrListGroupsRequest().RequestWith(ctx, l.admin)
		if err == nil {
			err = kerr.ErrorForCode(resp.ErrorCode)
		}
		if err != nil {
			return err
		}
		groups = nil
		for i := range resp.Groups {
			g := &resp.Groups[i]
			groups = append(groups, Group{Name: g.Group, Kind: g.GroupType, State: g.GroupState, ProtocolType: g.ProtocolType})
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list groups: %w", explain(err))
	}
	slices.SortFunc(groups, func(a, b Group) int { return strings.Compare(a.Name, b.Name) })
	return groups, nil
}

// Group describes one group. It returns ErrUnknownGroup if there is none.
func (l *Log) Group(ctx context.Context, name string) (Group, error) {
	g, err := l.classicGroup(ctx, name)
	if errors.Is(err, ErrUnknownGroup) {
		next, nerr := l.nextGroup(ctx, name)
		switch {
		case nerr == nil:
			return next, nil
		case kerr.IsRetriable(nerr), errors.Is(nerr, kerr.GroupAuthorizationFailed), errors.Is(nerr, kerr.TopicAuthorizationFailed):
			err = nerr // or else there is none, or the brokers are too old to have one
		}
	}
	if err != nil {
		return g, fmt.Errorf("describe group %q: %w", name, explain(err))
	}
	return g, nil
}

// only is the description in an answer to a request for one.
func only[D any](descriptions []D) (*D, error) {
	if len(descriptions) != 1 {
		return nil, fmt.Errorf("%d groups in the answer, want 1", len(descriptions))
	}
	return &descriptions[0], nil
}

// nextGroup describes a group of the consumer protocol (KIP-848).
func (l *Log) nextGroup(ctx context.Context, name string) (Group, error) {
	g := Group{Name: name, Kind: "consumer", ProtocolType: "consumer"}
	err := l.again(ctx, func(ctx context.Context) error {
		req := kmsg.NewPtrConsumerGroupDescribeRequest()
		req.Groups = []string{name}
		resp, err := req.RequestWith(ctx, l.admin)
		if err != nil {
			return err
		}
		d, err := only(resp.Groups)
		if err != nil {
			return err
		}
		if err := kerr.ErrorForCode(d.ErrorCode); err != nil {
			return err
		}
		g.State, g.Protocol, g.Members = d.State, d.AssignorName, nil
		for i := range d.Members {
			g.Members = append(g.Members, nextMember(&d.Members[i]))
		}
		return nil
	})
	return g, err
}

// newGroupMember is what both kinds of description say alike.
func newGroupMember(id, clientID, host string, instance *string) GroupMember {
	m := GroupMember{ID: id, ClientID: clientID, Host: strings.TrimPrefix(host, "/")}
	if instance != nil {
		m.Instance = *instance
	}
	return m
}

func nextMember(d *kmsg.ConsumerGroupDescribeResponseGroupMember) GroupMember {
	m := newGroupMember(d.MemberID, d.ClientID, d.ClientHost, d.InstanceID)
	for _, t := range d.Assignment.TopicPartitions {
		for _, p := range t.Partitions {
			m.Partitions = append(m.Partitions, log.TopicPartition{Topic: t.Topic, Partition: p})
		}
	}
	slices.SortFunc(m.Partitions, comparePartitions)
	return m
}

// classicGroup describes a group of the classic protocol, or one without members.
func (l *Log) classicGroup(ctx context.Context, name string) (Group, error) {
	g := Group{Name: name}
	err := l.again(ctx, func(ctx context.Context) error {
		req := kmsg.NewPtrDescribeGroupsRequest()
		req.Groups = []string{name}
		resp, err := req.RequestWith(ctx, l.admin)
		if err != nil {
			return err
		}
		d, err := only(resp.Groups)
		if err != nil {
			return err
		}
		if err := kerr.ErrorForCode(d.ErrorCode); errors.Is(err, kerr.GroupIDNotFound) || err == nil && d.State == "Dead" {
			return ErrUnknownGroup
		} else if err != nil {
			return err
		}
		g.State, g.ProtocolType, g.Protocol, g.Members = d.State, d.ProtocolType, d.Protocol, nil
		for i := range d.Members {
			g.Members = append(g.Members, memberOf(d.ProtocolType, &d.Members[i]))
		}
		return nil
	})
	return g, err
}

// memberOf reads what the cluster says of a member. An assignment that is not a
// consumer's is its own client's business.
func memberOf(protocolType string, d *kmsg.DescribeGroupsResponseGroupMember) GroupMember {
	m := newGroupMember(d.MemberID, d.ClientID, d.ClientHost, d.InstanceID)
	var a kmsg.ConsumerMemberAssignment
	if protocolType != "consumer" || a.ReadFrom(d.MemberAssignment) != nil {
		return m
	}
	for _, t := range a.Topics {
		for _, p := range t.Partitions {
			m.Partitions = append(m.Partitions, log.TopicPartition{Topic: t.Topic, Partition: p})
		}
	}
	slices.SortFunc(m.Partitions, comparePartitions)
	return m
}

// ResetGroup commits offsets for a group from outside. It returns ErrGroupInUse
// if the group has members: they would not notice, and commit over it.
func (l *Log) ResetGroup(ctx context.Context, name string, offsets []log.GroupOffset) error {
	err := l.again(ctx, func(ctx context.Context) error {
		req := kmsg.NewPtrOffsetCommitRequest()
		req.Group, req.Generation = name, -1
		req.Topics = committed(offsets)
		resp, err := req.RequestWith(ctx, l.admin)
		if err != nil {
			return err
		}
		for _, t := range resp.Topics {
			for _, p := range t.Partitions {
				switch err := kerr.ErrorForCode(p.ErrorCode); {
				case errors.Is(err, kerr.UnknownMemberID), errors.Is(err, kerr.RebalanceInProgress):
					return ErrGroupInUse
				case err != nil:
					return fmt.Errorf("partition %s/%d: %w", t.Topic, p.Partition, err)
				}
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("reset group %q: %w", name, explain(err))
	}
	return nil
}

// DeleteGroup removes a group with its offsets. It returns ErrGroupInUse if the
// group has members, and ErrUnknownGroup if there is none.
func (l *Log) DeleteGroup(ctx context.Context, name string) error {
	err := l.again(ctx, func(ctx context.Context) error {
		req := kmsg.NewPtrDeleteGroupsRequest()
		req.Groups = []string{name}
		resp, err := req.RequestWith(ctx, l.admin)
		if err != nil {
			return err
		}
		for i := range resp.Groups {
			switch err := kerr.ErrorForCode(resp.Groups[i].ErrorCode); {
			case errors.Is(err, kerr.NonEmptyGroup):
				return ErrGroupInUse
			case errors.Is(err, kerr.GroupIDNotFound):
				return ErrUnknownGroup
			case err != nil:
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("delete group %q: %w", name, explain(err))
	}
	return nil
}

// RemoveMembers takes all members out of a group, as if they had left: for
// members that are known to be no more.
func (l *Log) RemoveMembers(ctx context.Context, g *Group) error {
	if len(g.Members) == 0 {
		return nil
	}
	req := kmsg.NewPtrLeaveGroupRequest()
	req.Group = g.Name
	for i := range g.Members {
		m := kmsg.NewLeaveGroupRequestMember()
		m.MemberID = g.Members[i].ID
		if g.Members[i].Instance != "" {
			m.InstanceID = &g.Members[i].Instance
		}
		req.Members = append(req.Members, m)
	}
	err := l.again(ctx, func(ctx context.Context) error {
		resp, err := req.RequestWith(ctx, l.admin)
		if err == nil {
			err = kerr.ErrorForCode(resp.ErrorCode)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("remove members of group %q: %w", g.Name, explain(err))
	}
	return nil
}
