package kafka

import (
	"context"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// ListConfigResources lists what has configs: all topics, this broker, its logger,
// and groups for which some are set. Version 0 is about subscriptions to metrics
// of clients, of which there are none; 1 asks for kinds, or for all.
var listConfigResourcesAPI = api{key: kmsg.ListConfigResources, min: 0, max: 1, handle: (*Server).listConfigResources}

// resourceKinds are those that can be asked for, in the order of the answer.
var resourceKinds = []kmsg.ConfigResourceType{
	kmsg.ConfigResourceTypeGroupConfig, kmsg.ConfigResourceTypeClientMetrics,
	kmsg.ConfigResourceTypeBrokerLogger, kmsg.ConfigResourceTypeBroker, kmsg.ConfigResourceTypeTopic,
}

func (s *Server) listConfigResources(ctx context.Context, r *request) (kmsg.Response, error) {
	req := r.body.(*kmsg.ListConfigResourcesRequest)
	resp := req.ResponseKind().(*kmsg.ListConfigResourcesResponse)
	if err := r.cluster(toDescribeConfigs); err != nil {
		resp.ErrorCode = code(err)
		return resp, nil
	}
	for _, kind := range req.ResourceTypes {
		if !slices.Contains(resourceKinds, kmsg.ConfigResourceType(kind)) {
			resp.ErrorCode = kerr.UnsupportedVersion.Code // Kafka's
			return resp, nil
		}
	}
	for _, kind := range resourceKinds {
		if req.Version == 0 || len(req.ResourceTypes) > 0 && !slices.Contains(req.ResourceTypes, int8(kind)) {
			continue
		}
		names, err := s.resourcesOf(ctx, kind)
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			resp.ConfigResources = append(resp.ConfigResources, kmsg.ListConfigResourcesResponseConfigResource{Name: name, Type: int8(kind)})
		}
	}
	return resp, nil
}

// resourcesOf are the names of the resources of a kind, in order.
func (s *Server) resourcesOf(ctx context.Context, kind kmsg.ConfigResourceType) (names []string, err error) {
	switch kind {
	case kmsg.ConfigResourceTypeTopic:
		topics, err := s.opts.Log.Topics(ctx)
		for i := range topics {
			if topics[i].Name != accessTopic { // nobody's to describe
				names = append(names, topics[i].Name)
			}
		}
		return names, err
	case kmsg.ConfigResourceTypeBroker, kmsg.ConfigResourceTypeBrokerLogger:
		return []string{s.nodeName()}, nil
	case kmsg.ConfigResourceTypeGroupConfig:
		return s.access.state.Load().groupsWithConfigs(), nil
	}
	return nil, nil // no metrics of clients are asked for
}

// groupsWithConfigs are the groups for which some are set, by name.
func (s *accessState) groupsWithConfigs() (names []string) {
	for owner := range s.configs {
		if owner == groupOwner(owner.name) {
			names = append(names, owner.name)
		}
	}
	slices.Sort(names)
	return names
}
