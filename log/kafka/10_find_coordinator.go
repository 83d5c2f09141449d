package kafka

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// FindCoordinator tells which broker coordinates a group or a transactional id:
// this one. Version 1 brings the kind of key, 4 several keys at once, 5 and 6 no
// more than new errors and kinds.
var findCoordinatorAPI = api{key: kmsg.FindCoordinator, min: 0, max: 6, handle: (*Server).findCoordinator}

// Kinds of coordinators.
const (
	groupCoordinator       = 0
	transactionCoordinator = 1
)

func (s *Server) findCoordinator(_ context.Context, r *request) (kmsg.Response, error) {
	req := r.body.(*kmsg.FindCoordinatorRequest)
	resp := kmsg.NewPtrFindCoordinatorResponse()
	host, port, err := s.advertisedTo(r.conn)
	if err != nil {
		return nil, err
	}
	find := func(key string) kmsg.FindCoordinatorResponseCoordinator {
		c := kmsg.NewFindCoordinatorResponseCoordinator()
		c.Key = key
		if err := r.coordinates(req.CoordinatorType, key); err != nil {
			c.ErrorCode, c.ErrorMessage = answerError(err)
			c.NodeID, c.Port = -1, -1
			return c
		}
		code, why := findable(req.CoordinatorType, key)
		if code != nil {
			c.ErrorCode, c.ErrorMessage, c.NodeID, c.Port = code.Code, &why, -1, -1
			return c
		}
		c.NodeID, c.Host, c.Port = s.opts.NodeID, host, port
		return c
	}
	if r.version < 4 {
		c := find(req.CoordinatorKey)
		resp.ErrorCode, resp.ErrorMessage, resp.NodeID, resp.Host, resp.Port = c.ErrorCode, c.ErrorMessage, c.NodeID, c.Host, c.Port
		return resp, nil
	}
	for _, key := range req.CoordinatorKeys {
		resp.Coordinators = append(resp.Coordinators, find(key))
	}
	return resp, nil
}

// findable tells whether there is a coordinator for a key, and if not, why.
func findable(kind int8, key string) (*kerr.Error, string) {
	switch {
	case kind == groupCoordinator && !validGroup(key):
		return kerr.InvalidGroupID, "group id is empty or too long"
	case kind == transactionCoordinator && key == "":
		return kerr.InvalidRequest, "transactional id is empty"
	case kind != groupCoordinator && kind != transactionCoordinator:
		return kerr.InvalidRequest, "coordinators are of groups and of transactions"
	}
	return nil, ""
}

// coordinates asks whether the client may know who coordinates a group or a
// transactional id.
func (r *request) coordinates(kind int8, key string) error {
	if kind == 1 {
		return r.transactionalID(toDescribe, key)
	}
	return r.group(toDescribe, key)
}
