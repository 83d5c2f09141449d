package kafka

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// LeaveGroup takes members out of a group at once. From version 3 on it can be
// several, and static ones by their instance alone, which is how an
// administrator removes them, also those of the consumer protocol. Version 5 brings
// the reason.
var leaveGroupAPI = api{key: kmsg.LeaveGroup, min: 0, max: 5, handle: (*Server).leaveGroup}

func (s *Server) leaveGroup(_ context.Context, r *request) (kmsg.Response, error) {
	req := r.body.(*kmsg.LeaveGroupRequest)
	resp := kmsg.NewPtrLeaveGroupResponse()
	if err := r.group(toRead, req.Group); err != nil {
		resp.ErrorCode = code(err)
		return resp, nil
	}
	if !validGroup(req.Group) {
		resp.ErrorCode = kerr.InvalidGroupID.Code
		return resp, nil
	}
	members := req.Members
	if r.version < 3 {
		m := kmsg.NewLeaveGroupRequestMember()
		m.MemberID = req.MemberID
		members = []kmsg.LeaveGroupRequestMember{m}
	}
	for i, code := range s.groups.leave(req.Group, members) {
		m := kmsg.NewLeaveGroupResponseMember()
		m.MemberID, m.InstanceID = members[i].MemberID, members[i].InstanceID
		if code != nil {
			m.ErrorCode = code.Code
		}
		resp.Members = append(resp.Members, m)
	}
	if r.version < 3 {
		resp.ErrorCode = resp.Members[0].ErrorCode
	}
	return resp, nil
}

// leave takes members out and returns an error for each, in order.
func (c *coordinator) leave(name string, members []kmsg.LeaveGroupRequestMember) []*kerr.Error {
	codes := make([]*kerr.Error, len(members))
	g := c.lookup(name)
	if g == nil {
		for i := range codes {
			codes[i] = kerr.UnknownMemberID
		}
		return codes
	}
	defer g.mu.Unlock()
	if g.ofConsumers() {
		for i := range members {
			codes[i] = g.removeConsumer(members[i].MemberID, instance(members[i].InstanceID))
		}
		return codes
	}
	now := c.now()
	var gone []*member
	left := map[string]bool{}
	for i := range members {
		id, inst := members[i].MemberID, instance(members[i].InstanceID)
		if inst == "" && g.dropPending(id) {
			continue
		}
		if id == "" && inst != "" {
			id = g.statics[inst]
		}
		m, code := g.find(id, inst)
		if code == nil && left[m.id] {
			code = kerr.UnknownMemberID
		}
		if codes[i] = code; code == nil {
			left[m.id] = true
			gone = append(gone, m)
		}
	}
	g.leave(now, "left", gone...)
	g.joinIfAll(now)
	c.dropIfUnused(g)
	return codes
}
