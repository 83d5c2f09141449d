package kafka

import (
	"context"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Configs of groups are about groups of the consumer protocol (KIP-848); others
// do not look at them, as in Kafka.

var groupAlterables = []alterable{
	{"consumer.heartbeat.interval.ms", "", kmsg.ConfigTypeInt, "5000", kmsg.ConfigSourceDefaultConfig,
		"How often members of a group of the consumer protocol say that they live, in milliseconds.", numberFrom(5000, 15000)},
	{"consumer.session.timeout.ms", "", kmsg.ConfigTypeInt, "45000", kmsg.ConfigSourceDefaultConfig,
		"How long a member of a group of the consumer protocol may be silent, in milliseconds.", numberFrom(45000, 60000)},
}

// groupMillis is what a group's config says, in milliseconds.
func (c *coordinator) groupMillis(group, name string) time.Duration {
	value := c.configs(group)[name]
	for _, a := range groupAlterables {
		if a.name == name && value == "" {
			value = a.value
		}
	}
	n, _ := strconv.Atoi(value) // it was checked when it was set
	return time.Duration(n) * time.Millisecond
}

func groupOwner(name string) configOwner { return configOwner{"group", name} }

// setOfGroup is what is set of a group.
func (s *Server) setOfGroup(group string) map[string]string {
	return s.access.state.Load().configs[groupOwner(group)]
}

// groupConfigs are the configs of any group, whether there is one or not.
func (s *Server) groupConfigs(group string) []config {
	set := s.setOfGroup(group)
	configs := make([]config, len(groupAlterables))
	for i, a := range groupAlterables {
		var values []setConfig
		if v, ok := set[a.name]; ok {
			values = []setConfig{{v, kmsg.ConfigSourceGroupConfig}}
		}
		configs[i] = a.describe(values)
	}
	return configs
}

func (s *Server) alterGroupConfigs(ctx context.Context, group string, validateOnly bool, change configChange) error {
	if group == "" {
		return problemf(kerr.InvalidRequest, "group %q, want a name: there are no configs of all groups", group)
	}
	return s.alterKept(ctx, groupOwner(group), groupAlterables, validateOnly, change)
}
