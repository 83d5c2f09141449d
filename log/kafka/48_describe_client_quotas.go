package kafka

import (
	"context"
	"maps"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// DescribeClientQuotas finds quotas by what they are for. Version 1 is flexible.
var describeClientQuotasAPI = api{key: kmsg.DescribeClientQuotas, min: 0, max: 1, handle: (*Server).describeClientQuotas}

func (s *Server) describeClientQuotas(_ context.Context, r *request) (kmsg.Response, error) {
	req := r.body.(*kmsg.DescribeClientQuotasRequest)
	resp := req.ResponseKind().(*kmsg.DescribeClientQuotasResponse)
	err := r.cluster(toDescribeConfigs)
	if err == nil {
		err = checkComponents(req.Components)
	}
	if err != nil {
		resp.ErrorCode, resp.ErrorMessage = answerError(err)
		return resp, nil
	}
	resp.Entries = []kmsg.DescribeClientQuotasResponseEntry{} // null would be an error: Java's tools take it for one and fail
	quotas := s.access.state.Load().quotas
	byEntity := map[string][]quotaKey{}
	for k := range quotas {
		if quotaFits(k, req) {
			byEntity[k.entity] = append(byEntity[k.entity], k)
		}
	}
	for _, entity := range slices.Sorted(maps.Keys(byEntity)) {
		out := kmsg.NewDescribeClientQuotasResponseEntry()
		for _, e := range (quotaKey{entity: entity}).entities() {
			oe := kmsg.NewDescribeClientQuotasResponseEntryEntity()
			oe.Type = e.kind
			if !e.isDefault {
				oe.Name = &e.name
			}
			out.Entity = append(out.Entity, oe)
		}
		for _, k := range byEntity[entity] {
			v := kmsg.NewDescribeClientQuotasResponseEntryValue()
			v.Key, v.Value = k.limit, quotas[k]
			out.Values = append(out.Values, v)
		}
		resp.Entries = append(resp.Entries, out)
	}
	return resp, nil
}

// How a component of a request matches.
const (
	matchExact   = 0
	matchDefault = 1
	matchAny     = 2
)

func checkComponents(list []kmsg.DescribeClientQuotasRequestComponent) error {
	seen := map[string]bool{}
	for i := range list {
		c := &list[i]
		switch {
		case c.EntityType != "user" && c.EntityType != "client-id" && c.EntityType != "ip":
			return problemf(kerr.UnsupportedVersion, "quotas of %q, want user or client-id", c.EntityType)
		case seen[c.EntityType]:
			return problemf(kerr.InvalidRequest, "%s is named more than once", c.EntityType)
		case c.MatchType < matchExact || c.MatchType > matchAny || (c.MatchType == matchExact) != (c.Match != nil):
			return problemf(kerr.InvalidRequest, "match type %d of %s, want exact (0) with a name, default (1) or any (2) without", c.MatchType, c.EntityType)
		}
		seen[c.EntityType] = true
	}
	return nil
}

// quotaFits tells whether a quota is one that is asked for.
func quotaFits(k quotaKey, req *kmsg.DescribeClientQuotasRequest) bool {
	entities := k.entities()
	if req.Strict && len(entities) != len(req.Components) {
		return false
	}
	for i := range req.Components {
		c := &req.Components[i]
		fits := slices.ContainsFunc(entities, func(e quotaEntity) bool {
			return e.kind == c.EntityType && (c.MatchType == matchAny || e.isDefault == (c.MatchType == matchDefault) && (c.Match == nil || *c.Match == e.name))
		})
		if !fits {
			return false
		}
	}
	return true
}
