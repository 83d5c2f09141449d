package kafka

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Heartbeat keeps a member's session, and is how it hears that it shall join
// again. Version 3 brings static members.
var heartbeatAPI = api{key: kmsg.Heartbeat, min: 0, max: 4, handle: (*Server).heartbeat}

func (s *Server) heartbeat(_ context.Context, r *request) (kmsg.Response, error) {
	req := r.body.(*kmsg.HeartbeatRequest)
	resp := kmsg.NewPtrHeartbeatResponse()
	if err := r.group(toRead, req.Group); err != nil {
		resp.ErrorCode = code(err)
		return resp, nil
	}
	if code := s.groups.heartbeat(req); code != nil {
		resp.ErrorCode = code.Code
	}
	return resp, nil
}

func (c *coordinator) heartbeat(req *kmsg.HeartbeatRequest) *kerr.Error {
	if !validGroup(req.Group) {
		return kerr.InvalidGroupID
	}
	g := c.lookup(req.Group)
	if g == nil {
		return kerr.UnknownMemberID
	}
	defer g.mu.Unlock()
	m, code := g.find(req.MemberID, instance(req.InstanceID))
	switch {
	case code != nil:
		return code
	case req.Generation != g.generation:
		return kerr.IllegalGeneration
	}
	g.hear(m, c.now())
	if g.state == groupPreparing {
		return kerr.RebalanceInProgress
	}
	return nil
}
