package kafka

import (
	"context"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// SyncGroup takes what the leader assigns, and answers every member with what it
// is given, once that is stored. Version 3 brings static members, 5 the protocol
// type and name that the member believes in (KIP-559).
var syncGroupAPI = api{key: kmsg.SyncGroup, min: 0, max: 5, handle: (*Server).syncGroup}

func refuseSync(code *kerr.Error) *kmsg.SyncGroupResponse {
	resp := kmsg.NewPtrSyncGroupResponse()
	resp.ErrorCode, resp.MemberAssignment = code.Code, []byte{}
	return resp
}

func (s *Server) syncGroup(ctx context.Context, r *request) (kmsg.Response, error) {
	req := r.body.(*kmsg.SyncGroupRequest)
	if r.group(toRead, req.Group) != nil {
		return refuseSync(kerr.GroupAuthorizationFailed), nil
	}
	resp, wait := s.groups.sync(req)
	if resp != nil {
		return resp, nil
	}
	r.forget() // of what it says the group has a copy
	select {
	case resp := <-wait:
		return resp, nil
	case <-s.stopping:
		return refuseSync(kerr.NotCoordinator), nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// sync answers, or returns what the answer will come by.
func (c *coordinator) sync(req *kmsg.SyncGroupRequest) (*kmsg.SyncGroupResponse, <-chan *kmsg.SyncGroupResponse) {
	if !validGroup(req.Group) {
		return refuseSync(kerr.InvalidGroupID), nil
	}
	g := c.lookup(req.Group)
	if g == nil {
		return refuseSync(kerr.UnknownMemberID), nil
	}
	defer g.mu.Unlock()
	m, code := g.find(req.MemberID, instance(req.InstanceID))
	switch {
	case code != nil:
		return refuseSync(code), nil
	case req.Generation != g.generation:
		return refuseSync(kerr.IllegalGeneration), nil
	case req.ProtocolType != nil && *req.ProtocolType != g.protocolType, req.Protocol != nil && *req.Protocol != g.protocol:
		return refuseSync(kerr.InconsistentGroupProtocol), nil
	}
	now := c.now()
	switch g.state {
	case groupPreparing:
		return refuseSync(kerr.RebalanceInProgress), nil
	case groupStable:
		g.synced(m)
		g.hear(m, now)
		return g.assigned(m), nil
	}
	g.answerSync(m, refuseSync(kerr.RebalanceInProgress)) // of a connection that is not its last
	wait := make(chan *kmsg.SyncGroupResponse, 1)
	m.syncing = wait
	g.synced(m)
	if m.id == g.leader {
		given := make(map[string][]byte, len(req.GroupAssignment))
		for i := range req.GroupAssignment {
			a := &req.GroupAssignment[i]
			if g.members[a.MemberID] != nil {
				given[a.MemberID] = slices.Clone(a.MemberAssignment)
			}
		}
		g.assign(now, given)
	}
	return nil, wait
}
