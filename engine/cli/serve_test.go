package cli

import (
	"errors"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// TestNoAutoCreate: with --no-auto-create a topic is there because somebody has
// created it, and not because somebody has named it.
func TestNoAutoCreate(t *testing.T) {
	for _, args := range [][]string{nil, {"--no-auto-create"}} {
		dir := t.TempDir()
		hold(t, dir, append([]string{"serve", "--kafka", "127.0.0.1:0", "--http", "127.0.0.1:0"}, args...)...)
		r, err := readRunning(dir)
		if err != nil {
			t.Fatal(err)
		}
		cl, err := kgo.NewClient(kgo.SeedBrokers(r.Kafka), kgo.AllowAutoTopicCreation())
		if err != nil {
			t.Fatal(err)
		}
		req := kmsg.NewPtrMetadataRequest()
		name := "named"
		req.Topics, req.AllowAutoTopicCreation = []kmsg.MetadataRequestTopic{{Topic: &name}}, true
		resp, err := req.RequestWith(t.Context(), cl)
		if err != nil {
			t.Fatal(err)
		}
		if err, want := kerr.ErrorForCode(resp.Topics[0].ErrorCode), len(args) > 0; errors.Is(err, kerr.UnknownTopicOrPartition) != want {
			t.Errorf("%v: %v", args, err)
		}
		cl.Close()
	}
}

// TestServeFlags: what the flags of serve say is what its configs tell.
func TestServeFlags(t *testing.T) {
	dir := t.TempDir()
	hold(t, dir, "serve", "--kafka", "127.0.0.1:0", "--http", "127.0.0.1:0", "--no-auto-create", "--rebalance-delay", "1500ms", "--node-id", "7")
	r, err := readRunning(dir)
	if err != nil {
		t.Fatal(err)
	}
	cl, err := kgo.NewClient(kgo.SeedBrokers(r.Kafka))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	req := kmsg.NewPtrDescribeConfigsRequest()
	req.Resources = []kmsg.DescribeConfigsRequestResource{{ResourceType: kmsg.ConfigResourceTypeBroker, ResourceName: "7"}}
	for _, shard := range cl.RequestSharded(t.Context(), req) {
		if shard.Err != nil {
			t.Fatal(shard.Err)
		}
		got := map[string]string{}
		for _, c := range shard.Resp.(*kmsg.DescribeConfigsResponse).Resources[0].Configs {
			got[c.Name] = *c.Value
		}
		for name, want := range map[string]string{"auto.create.topics.enable": "false", "group.initial.rebalance.delay.ms": "1500", "node.id": "7"} {
			if got[name] != want {
				t.Errorf("%s is %q, want %q", name, got[name], want)
			}
		}
	}
}
