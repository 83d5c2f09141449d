package kafka

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// DescribeGroups tells the state of groups and who their members are. Version 4
// brings static members, 6 an error for groups that are not there, which are told
// to be dead before.
var describeGroupsAPI = api{key: kmsg.DescribeGroups, min: 0, max: 6, handle: (*Server).describeGroups}

func (s *Server) describeGroups(ctx context.Context, r *request) (kmsg.Response, error) {
	req := r.body.(*kmsg.DescribeGroupsRequest)
	resp := kmsg.NewPtrDescribeGroupsResponse()
	for _, name := range req.Groups {
		d := kmsg.NewDescribeGroupsResponseGroup()
		d.Group = name
		if err := r.group(toDescribe, name); err != nil {
			d.ErrorCode, d.ErrorMessage = answerError(err)
			resp.Groups = append(resp.Groups, d)
			continue
		}
		v, err := s.groups.view(ctx, name)
		switch {
		case err != nil:
			return nil, err
		case v == nil || v.kind != classicGroup:
			d.State = groupDead.String()
			if r.version >= 6 {
				d.ErrorCode, d.ErrorMessage = kerr.GroupIDNotFound.Code, kmsg.StringPtr("there is no group "+name+" of the classic protocol")
			}
		default:
			v.describe(&d)
			if req.IncludeAuthorizedOperations {
				d.AuthorizedOperations = r.operations(kmsg.ACLResourceTypeGroup, name)
			}
		}
		resp.Groups = append(resp.Groups, d)
	}
	return resp, nil
}

func (v *groupView) describe(d *kmsg.DescribeGroupsResponseGroup) {
	d.State, d.ProtocolType, d.Protocol = v.state, v.protocolType, v.protocol
	for i := range v.members {
		m := &v.members[i]
		r := kmsg.NewDescribeGroupsResponseGroupMember()
		r.MemberID, r.ClientID, r.ClientHost, r.InstanceID = m.id, m.clientID, m.host, nullable(m.instance)
		r.ProtocolMetadata, r.MemberAssignment = nonNil(m.metadata), nonNil(m.assignment)
		d.Members = append(d.Members, r)
	}
}
