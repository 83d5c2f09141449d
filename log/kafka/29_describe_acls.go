package kafka

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// DescribeAcls finds ACLs. Prefixed patterns came with version 1.
var describeACLsAPI = api{key: kmsg.DescribeACLs, min: 0, max: 3, handle: (*Server).describeACLs}

func (s *Server) describeACLs(_ context.Context, r *request) (kmsg.Response, error) {
	req := r.body.(*kmsg.DescribeACLsRequest)
	resp := req.ResponseKind().(*kmsg.DescribeACLsResponse)
	f := ACLFilter{
		Resource: req.ResourceType, Pattern: req.ResourcePatternType, Name: req.ResourceName,
		Principal: req.Principal, Host: req.Host, Operation: req.Operation, Permission: req.PermissionType,
	}
	err := r.cluster(toDescribe)
	if err == nil {
		err = checkFilter(&f)
	}
	if err != nil {
		resp.ErrorCode, resp.ErrorMessage = answerError(err)
		return resp, nil
	}
	for _, a := range s.access.ACLs(f) { // ordered: those of a resource follow on each other
		n := len(resp.Resources)
		if n == 0 || resp.Resources[n-1].ResourceType != a.Resource || resp.Resources[n-1].ResourceName != a.Name || resp.Resources[n-1].ResourcePatternType != a.Pattern {
			out := kmsg.NewDescribeACLsResponseResource()
			out.ResourceType, out.ResourceName, out.ResourcePatternType = a.Resource, a.Name, a.Pattern
			resp.Resources = append(resp.Resources, out)
			n++
		}
		out := kmsg.NewDescribeACLsResponseResourceACL()
		out.Principal, out.Host, out.Operation, out.PermissionType = a.Principal, a.Host, a.Operation, a.Permission
		resp.Resources[n-1].ACLs = append(resp.Resources[n-1].ACLs, out)
	}
	return resp, nil
}

// checkFilter is ACLFilter.Check in Kafka's words.
func checkFilter(f *ACLFilter) error {
	if err := f.Check(); err != nil {
		return problemf(kerr.InvalidRequest, "%v", err)
	}
	return nil
}
