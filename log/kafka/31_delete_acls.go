package kafka

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// DeleteAcls removes the ACLs that filters find, and tells which.
var deleteACLsAPI = api{key: kmsg.DeleteACLs, min: 0, max: 3, handle: (*Server).deleteACLs}

func (s *Server) deleteACLs(ctx context.Context, r *request) (kmsg.Response, error) {
	req := r.body.(*kmsg.DeleteACLsRequest)
	resp := req.ResponseKind().(*kmsg.DeleteACLsResponse)
	refused := r.cluster(toAlter)
	var filters []ACLFilter
	errs := make([]error, len(req.Filters))
	for i := range req.Filters {
		rf := &req.Filters[i]
		f := ACLFilter{
			Resource: rf.ResourceType, Pattern: rf.ResourcePatternType, Name: rf.ResourceName, Principal: rf.Principal,
			Host: rf.Host, Operation: rf.Operation, Permission: rf.PermissionType,
		}
		if errs[i] = refused; refused == nil {
			errs[i] = checkFilter(&f)
		}
		if errs[i] == nil {
			filters = append(filters, f)
		}
	}
	removed, failed := s.access.RemoveACLs(ctx, filters...)
	for _, err := range errs {
		out := kmsg.NewDeleteACLsResponseResult()
		if err == nil && failed == nil {
			for _, a := range removed[0] {
				m := kmsg.NewDeleteACLsResponseResultMatchingACL()
				m.ResourceType, m.ResourceName, m.ResourcePatternType = a.Resource, a.Name, a.Pattern
				m.Principal, m.Host, m.Operation, m.PermissionType = a.Principal, a.Host, a.Operation, a.Permission
				out.MatchingACLs = append(out.MatchingACLs, m)
			}
			if len(removed[0]) > 0 {
				s.logger.Info("ACLs removed", "by", r.conn.who.Load().principal, "acls", removed[0])
			}
			removed = removed[1:]
		} else if err == nil {
			err = failed
		}
		out.ErrorCode, out.ErrorMessage = answerError(err)
		resp.Results = append(resp.Results, out)
	}
	return resp, nil
}
