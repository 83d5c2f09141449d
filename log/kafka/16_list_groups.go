package kafka

import (
	"context"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// ListGroups lists the groups. Version 4 can ask for those in some states, 5 for
// those of some types.
var listGroupsAPI = api{key: kmsg.ListGroups, min: 0, max: 5, handle: (*Server).listGroups}

func (s *Server) listGroups(ctx context.Context, r *request) (kmsg.Response, error) {
	req := r.body.(*kmsg.ListGroupsRequest)
	resp := kmsg.NewPtrListGroupsResponse()
	views, err := s.groups.views(ctx)
	if err != nil {
		return nil, err
	}
	wanted := func(filter []string, value string) bool {
		return len(filter) == 0 || slices.ContainsFunc(filter, func(f string) bool { return strings.EqualFold(f, value) })
	}
	all := r.cluster(toDescribe) == nil
	for _, v := range views {
		if !all && r.group(toDescribe, v.name) != nil {
			continue
		}
		if !wanted(req.StatesFilter, v.state) || !wanted(req.TypesFilter, v.kind) {
			continue
		}
		g := kmsg.NewListGroupsResponseGroup()
		g.Group, g.ProtocolType, g.GroupState, g.GroupType = v.name, v.protocolType, v.state, v.kind
		resp.Groups = append(resp.Groups, g)
	}
	return resp, nil
}
