package kafka

import (
	"context"
	"fmt"
	"maps"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gretestream/grete/log"
)

// AlterConfigs replaces all that is set on a topic, or of the broker. Its successor,
// IncrementalAlterConfigs, changes single configs.
var alterConfigsAPI = api{key: kmsg.AlterConfigs, min: 0, max: 2, handle: (*Server).alterConfigs}

func (s *Server) alterConfigs(ctx context.Context, r *request) (kmsg.Response, error) {
	req := r.body.(*kmsg.AlterConfigsRequest)
	resp := req.ResponseKind().(*kmsg.AlterConfigsResponse)
	named := map[string]int{}
	for i := range req.Resources {
		named[resourceID(req.Resources[i].ResourceType, req.Resources[i].ResourceName)]++
	}
	for i := range req.Resources {
		rr := &req.Resources[i]
		out := kmsg.NewAlterConfigsResponseResource()
		out.ResourceType, out.ResourceName = rr.ResourceType, rr.ResourceName
		err := s.alterResource(ctx, r, rr.ResourceType, rr.ResourceName, named, req.ValidateOnly, func(map[string]string, []listed) (map[string]string, error) {
			return replacedConfigs(rr)
		}, len(rr.Configs) > 0)
		out.ErrorCode, out.ErrorMessage = answerError(err)
		resp.Resources = append(resp.Resources, out)
	}
	return resp, nil
}

func resourceID(kind kmsg.ConfigResourceType, name string) string {
	return fmt.Sprintf("%d %s", kind, name)
}

// configChange turns what is set of a resource into what shall be. known are the
// configs that it may have.
type configChange func(set map[string]string, known []listed) (map[string]string, error)

// listed is a config as changes need to know it.
type listed struct {
	name    string
	value   string // while it is not set
	hasMany bool   // values, with commas in between
}

// alterResource changes what is set of a resource. named counts how often the
// request names each; sets tells whether it sets anything: of what cannot be set,
// kafka-reassign-partitions unsets what nobody has set.
func (s *Server) alterResource(ctx context.Context, r *request, kind kmsg.ConfigResourceType, name string, named map[string]int, validateOnly bool, change configChange, sets bool) error {
	if named[resourceID(kind, name)] > 1 {
		return problemf(kerr.InvalidRequest, "resource %q is named more than once", name)
	}
	if err := r.configs(toAlterConfigs, kind, name); err != nil {
		return err
	}
	switch kind {
	case kmsg.ConfigResourceTypeTopic:
		return s.alterTopicConfigs(ctx, name, validateOnly, change)
	case kmsg.ConfigResourceTypeBroker:
		return s.alterBrokerConfigs(ctx, name, validateOnly, change)
	case kmsg.ConfigResourceTypeGroupConfig:
		return s.alterGroupConfigs(ctx, name, validateOnly, change)
	}
	if _, err := s.configsOf(ctx, kind, name); err != nil {
		return err
	}
	if !sets {
		return nil
	}
	if kind == kmsg.ConfigResourceTypeClientMetrics {
		return problemf(kerr.InvalidRequest, "metrics of clients are not taken here (KIP-714): nothing can be asked of %q", name)
	}
	return problemf(kerr.InvalidRequest, "configs of %v are set by the command line of the server, when it starts", kind)
}

func (s *Server) alterTopicConfigs(ctx context.Context, name string, validateOnly bool, change configChange) error {
	// Two clients that alter a topic at once must not undo each other's work.
	s.alterMu.Lock()
	defer s.alterMu.Unlock()
	t, err := s.opts.Log.Topic(ctx, name)
	if err != nil {
		return err
	}
	if t.Internal {
		return problemf(kerr.InvalidConfig, "topic %q is the log's own", name)
	}
	wanted, err := change(maps.Clone(t.Configs), s.knownOfTopics())
	if err != nil {
		return err
	}
	if err := s.opts.Log.CheckConfigs(wanted); err != nil || validateOnly {
		return err
	}
	changed := map[string]*string{}
	for k := range t.Configs {
		changed[k] = nil
	}
	for k, v := range wanted {
		changed[k] = &v
	}
	_, err = s.opts.Log.AlterTopic(ctx, name, changed)
	return err
}

func (s *Server) knownOfTopics() []listed {
	var known []listed
	for _, info := range s.opts.Log.ConfigInfos() {
		known = append(known, listed{info.Name, info.Default, info.Type == log.ConfigList})
	}
	return known
}

// replacedConfigs are those that shall be set. Of one that is named twice the
// last counts, as in Kafka: librdkafka's tests do that.
func replacedConfigs(rr *kmsg.AlterConfigsRequestResource) (map[string]string, error) {
	wanted := map[string]string{}
	for _, c := range rr.Configs {
		if c.Value == nil {
			return nil, problemf(kerr.InvalidRequest, "config %s is null, want a value", c.Name)
		}
		wanted[c.Name] = *c.Value
	}
	return wanted, nil
}
