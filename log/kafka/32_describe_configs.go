package kafka

import (
	"context"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// DescribeConfigs tells all configs of topics and of the broker with their
// values and where those are from; from version 1 on with synonyms, from 3 on
// with types and words.
var describeConfigsAPI = api{key: kmsg.DescribeConfigs, min: 0, max: 4, handle: (*Server).describeConfigs}

func (s *Server) describeConfigs(ctx context.Context, r *request) (kmsg.Response, error) {
	req := r.body.(*kmsg.DescribeConfigsRequest)
	resp := req.ResponseKind().(*kmsg.DescribeConfigsResponse)
	for i := range req.Resources {
		rr := &req.Resources[i]
		out := kmsg.NewDescribeConfigsResponseResource()
		out.ResourceType, out.ResourceName = rr.ResourceType, rr.ResourceName
		var configs []config
		err := r.configs(toDescribeConfigs, rr.ResourceType, rr.ResourceName)
		if err == nil {
			configs, err = s.configsOf(ctx, rr.ResourceType, rr.ResourceName)
		}
		out.ErrorCode, out.ErrorMessage = answerError(err)
		for j := range configs {
			if c := &configs[j]; len(rr.ConfigNames) == 0 || slices.Contains(rr.ConfigNames, c.name) {
				out.Configs = append(out.Configs, c.describe(req))
			}
		}
		resp.Resources = append(resp.Resources, out)
	}
	return resp, nil
}

// configsOf returns all configs of a resource.
func (s *Server) configsOf(ctx context.Context, kind kmsg.ConfigResourceType, name string) ([]config, error) {
	switch kind {
	case kmsg.ConfigResourceTypeTopic:
		t, err := s.opts.Log.Topic(ctx, name)
		if err != nil {
			return nil, err
		}
		return s.topicConfigs(t.Configs, t.Internal), nil
	case kmsg.ConfigResourceTypeBroker:
		if name == allBrokers {
			return s.allBrokersConfigs(), nil
		}
		if err := s.checkBroker(name); err != nil {
			return nil, err
		}
		return s.brokerConfigs(), nil
	case kmsg.ConfigResourceTypeBrokerLogger:
		if err := s.checkBroker(name); err != nil {
			return nil, err
		}
		return []config{{name: "root", value: s.logLevel(), kind: kmsg.ConfigTypeString, source: kmsg.ConfigSourceDynamicBrokerLoggerConfig, readOnly: true,
			doc: "What is logged, from this level up. It is set by the command line."}}, nil
	case kmsg.ConfigResourceTypeGroupConfig:
		return s.groupConfigs(name), nil
	case kmsg.ConfigResourceTypeClientMetrics:
		return nil, nil // none is asked for
	}
	return nil, problemf(kerr.InvalidRequest, "resource type %d, want topic (2), broker (4), broker logger (8) or group (32)", kind)
}

func (s *Server) checkBroker(name string) error {
	if name != s.nodeName() {
		return problemf(kerr.InvalidRequest, "broker %q, want %d", name, s.opts.NodeID)
	}
	return nil
}

// describe is a config as it is answered.
func (c *config) describe(req *kmsg.DescribeConfigsRequest) kmsg.DescribeConfigsResponseResourceConfig {
	out := kmsg.NewDescribeConfigsResponseResourceConfig()
	out.Name, out.Value, out.ReadOnly = c.name, &c.value, c.readOnly
	out.Source, out.ConfigType = c.source, c.kind
	out.IsDefault = c.source == kmsg.ConfigSourceDefaultConfig
	if c.sensitive {
		out.Value, out.IsSensitive = nil, true
	}
	if req.IncludeDocumentation && c.doc != "" {
		out.Documentation = &c.doc
	}
	if req.IncludeSynonyms {
		for _, syn := range c.synonyms {
			o := kmsg.NewDescribeConfigsResponseResourceConfigConfigSynonym()
			o.Name, o.Value, o.Source = syn.name, &syn.value, syn.source
			out.ConfigSynonyms = append(out.ConfigSynonyms, o)
		}
	}
	return out
}

// configs asks whether the client may do something to the configs of a resource.
func (r *request) configs(op kmsg.ACLOperation, kind kmsg.ConfigResourceType, name string) error {
	switch kind {
	case kmsg.ConfigResourceTypeTopic:
		return r.topic(op, name)
	case kmsg.ConfigResourceTypeGroupConfig:
		return r.group(op, name)
	}
	return r.cluster(op)
}
