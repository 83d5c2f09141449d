package kafka

import (
	"context"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// IncrementalAlterConfigs sets, unsets, appends to and subtracts from single
// configs of a topic, or of the broker.
var incrementalAlterConfigsAPI = api{key: kmsg.IncrementalAlterConfigs, min: 0, max: 1, handle: (*Server).incrementalAlterConfigs}

func (s *Server) incrementalAlterConfigs(ctx context.Context, r *request) (kmsg.Response, error) {
	req := r.body.(*kmsg.IncrementalAlterConfigsRequest)
	resp := req.ResponseKind().(*kmsg.IncrementalAlterConfigsResponse)
	named := map[string]int{}
	for i := range req.Resources {
		named[resourceID(req.Resources[i].ResourceType, req.Resources[i].ResourceName)]++
	}
	for i := range req.Resources {
		rr := &req.Resources[i]
		out := kmsg.NewIncrementalAlterConfigsResponseResource()
		out.ResourceType, out.ResourceName = rr.ResourceType, rr.ResourceName
		err := s.alterResource(ctx, r, rr.ResourceType, rr.ResourceName, named, req.ValidateOnly, func(set map[string]string, known []listed) (map[string]string, error) {
			return changedConfigs(set, known, rr.Configs)
		}, slices.ContainsFunc(rr.Configs, func(c kmsg.IncrementalAlterConfigsRequestResourceConfig) bool {
			return c.Op != kmsg.IncrementalAlterConfigOpDelete
		}))
		out.ErrorCode, out.ErrorMessage = answerError(err)
		resp.Resources = append(resp.Resources, out)
	}
	return resp, nil
}

// changedConfigs carries out changes on what is set, and returns that.
func changedConfigs(set map[string]string, known []listed, changes []kmsg.IncrementalAlterConfigsRequestResourceConfig) (map[string]string, error) {
	if set == nil {
		set = map[string]string{}
	}
	seen := map[string]bool{}
	for _, c := range changes {
		if seen[c.Name] {
			return nil, problemf(kerr.InvalidRequest, "config %s is named more than once", c.Name)
		}
		seen[c.Name] = true
		if c.Op == kmsg.IncrementalAlterConfigOpDelete {
			delete(set, c.Name)
			continue
		}
		if c.Value == nil {
			return nil, problemf(kerr.InvalidRequest, "config %s is null, want a value", c.Name)
		}
		at := slices.IndexFunc(known, func(k listed) bool { return k.name == c.Name })
		if at < 0 || c.Op == kmsg.IncrementalAlterConfigOpSet {
			set[c.Name] = *c.Value
			continue
		}
		if !known[at].hasMany {
			return nil, problemf(kerr.InvalidConfig, "config %s is no list: only lists are appended to and subtracted from", c.Name)
		}
		now, ok := set[c.Name]
		if !ok {
			now = known[at].value
		}
		switch c.Op {
		case kmsg.IncrementalAlterConfigOpAppend:
			set[c.Name] = appendToList(now, *c.Value)
		case kmsg.IncrementalAlterConfigOpSubtract:
			set[c.Name] = subtractFromList(now, *c.Value)
		default:
			return nil, problemf(kerr.InvalidRequest, "operation %d on config %s, want set (0), delete (1), append (2) or subtract (3)", c.Op, c.Name)
		}
	}
	return set, nil
}

// appendToList adds the values of more that list does not have.
func appendToList(list, more string) string {
	values := splitList(list)
	for _, v := range splitList(more) {
		if !slices.Contains(values, v) {
			values = append(values, v)
		}
	}
	return strings.Join(values, ",")
}

// subtractFromList takes the values of less out of list.
func subtractFromList(list, less string) string {
	out := splitList(less)
	return strings.Join(slices.DeleteFunc(splitList(list), func(v string) bool { return slices.Contains(out, v) }), ",")
}

func splitList(s string) []string {
	var values []string
	for v := range strings.SplitSeq(s, ",") {
		if v = strings.TrimSpace(v); v != "" {
			values = append(values, v)
		}
	}
	return values
}
