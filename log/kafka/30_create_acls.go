package kafka

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// CreateAcls adds ACLs. Those that are as they should be are added together;
// those that are not are told.
var createACLsAPI = api{key: kmsg.CreateACLs, min: 0, max: 3, handle: (*Server).createACLs}

func (s *Server) createACLs(ctx context.Context, r *request) (kmsg.Response, error) {
	req := r.body.(*kmsg.CreateACLsRequest)
	resp := req.ResponseKind().(*kmsg.CreateACLsResponse)
	refused := r.cluster(toAlter)
	errs := make([]error, len(req.Creations))
	var acls []ACL
	for i := range req.Creations {
		c := &req.Creations[i]
		a := ACL{
			Resource: c.ResourceType, Pattern: c.ResourcePatternType, Name: c.ResourceName, Principal: c.Principal,
			Host: c.Host, Operation: c.Operation, Permission: c.PermissionType,
		}
		if errs[i] = refused; refused != nil {
			continue
		}
		if err := a.Check(); err != nil {
			errs[i] = problemf(kerr.InvalidRequest, "%v", err)
		} else {
			acls = append(acls, a)
		}
	}
	failed := s.access.AddACLs(ctx, acls...)
	if failed == nil && len(acls) > 0 {
		s.logger.Info("ACLs added", "by", r.conn.who.Load().principal, "acls", acls)
	}
	for _, err := range errs {
		if err == nil {
			err = failed
		}
		out := kmsg.NewCreateACLsResponseResult()
		out.ErrorCode, out.ErrorMessage = answerError(err)
		resp.Results = append(resp.Results, out)
	}
	return resp, nil
}
