package cli

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"github.com/gretestream/grete/log/logtest"
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
	for _, c := range []struct {
		flags []string
		want  map[string]string
	}{
		{nil, map[string]string{"auto.create.topics.enable": "true", "group.initial.rebalance.delay.ms": "250", "node.id": "1"}},
		{[]string{"--rebalance-delay", "0s"}, map[string]string{"group.initial.rebalance.delay.ms": "0"}},
		{[]string{"--no-auto-create", "--rebalance-delay", "1500ms", "--node-id", "7"},
			map[string]string{"auto.create.topics.enable": "false", "group.initial.rebalance.delay.ms": "1500", "node.id": "7"}},
	} {
		dir := t.TempDir()
		h := hold(t, dir, append([]string{"serve", "--kafka", "127.0.0.1:0", "--http", "127.0.0.1:0"}, c.flags...)...)
		r, err := readRunning(dir)
		if err != nil {
			t.Fatal(err)
		}
		got := brokerConfigs(t, r.Kafka)
		for name, want := range c.want {
			if got[name] != want {
				t.Errorf("%v: %s is %q, want %q", c.flags, name, got[name], want)
			}
		}
		h.end()
	}
}

// brokerConfigs asks a server for the configs of its node, whatever its id.
func brokerConfigs(t *testing.T, addr string) map[string]string {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(addr))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	meta, err := kmsg.NewPtrMetadataRequest().RequestWith(t.Context(), cl)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, b := range meta.Brokers {
		req := kmsg.NewPtrDescribeConfigsRequest()
		req.Resources = []kmsg.DescribeConfigsRequestResource{{ResourceType: kmsg.ConfigResourceTypeBroker, ResourceName: fmt.Sprint(b.NodeID)}}
		resp, err := req.RequestWith(t.Context(), cl)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range resp.Resources[0].Configs {
			got[c.Name] = *c.Value
		}
	}
	return got
}

// TestJoinGuardedServer: commands that work through the Kafka listener of the
// process that holds the directory trust its certificate, and no other; who they
// are is for the environment to say.
func TestJoinGuardedServer(t *testing.T) {
	dir, files := t.TempDir(), t.TempDir()
	cert, key := writeCert(t, files, "server")
	other, _ := writeCert(t, files, "other")
	must(t, "alice-pw", "user", "add", "alice", "--data", dir)
	h := hold(t, dir, "serve", "--kafka", "127.0.0.1:0", "--http", "127.0.0.1:0", "--auth", "scram", "--super-user", "alice", "--tls-cert", cert, "--tls-key", key)
	h.ask(0, "produce lines", "a\tone\n", "Produced 1")
	h.ask(1, "group list", "", "GRETE_KAFKA_USER")
	t.Setenv("GRETE_KAFKA_USER", "alice")
	t.Setenv("GRETE_KAFKA_PASSWORD", "alice-pw")
	h.ask(0, "consume lines --group readers --print %k", "", "a")
	h.ask(0, "group describe readers", "", "readers", "lines")
	h.ask(0, "run shout --until-end --http 127.0.0.1:0", "", "1 records")
	if err := os.Rename(other, cert); err != nil { // before the server looks
		t.Fatal(err)
	}
	h.ask(1, "group list", "", "another certificate")
	h.end()
}

// TestRunIsGuarded: run knows Kafka clients and those of HTTP as serve does, and
// tells that it serves none where another process does.
func TestRunIsGuarded(t *testing.T) {
	dir, files := t.TempDir(), t.TempDir()
	cert, key := writeCert(t, files, "server")
	must(t, "alice-pw", "user", "add", "alice", "--data", dir)
	addr := logtest.FreeAddr(t)
	h := hold(t, dir, "run", "count", "--kafka", "127.0.0.1:0", "--http", addr, "--auth", "scram", "--super-user", "alice", "--tls-cert", cert, "--tls-key", key)
	if want := "https://" + addr; !strings.Contains(h.errs.String(), want) {
		t.Errorf("told %q, want %s", h.errs.String(), want)
	}
	r, err := readRunning(dir)
	if err != nil {
		t.Fatal(err)
	}
	whoever := &tls.Config{InsecureSkipVerify: true} // the certificate signs itself
	ping := func(opts ...kgo.Opt) error {
		t.Helper()
		cl, err := kgo.NewClient(append(opts, kgo.SeedBrokers(r.Kafka), kgo.DialTLSConfig(whoever), kgo.RequestRetries(0))...)
		if err != nil {
			t.Fatal(err)
		}
		defer cl.Close()
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		return cl.Ping(ctx)
	}
	if err := ping(); err == nil {
		t.Error("Kafka: nobody was let in")
	}
	if err := ping(kgo.SASL(scram.Auth{User: "alice", Pass: "alice-pw"}.AsSha256Mechanism())); err != nil {
		t.Errorf("Kafka: alice: %v", err)
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: whoever, DisableKeepAlives: true}}
	for user, want := range map[string]int{"": http.StatusUnauthorized, "alice": http.StatusOK} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+addr+"/v1/jobs", nil)
		if err != nil {
			t.Fatal(err)
		}
		if user != "" {
			req.SetBasicAuth(user, user+"-pw")
		}
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("HTTP: %q: status %d, want %d", user, resp.StatusCode, want)
		}
	}
	must(t, "", "query", "count", "--data", dir) // by token
	for _, c := range []string{"run shout", "reprocess count"} {
		args := append(strings.Fields(c), "--kafka", "127.0.0.1:0", "--auth", "scram", "--data", dir)
		if code, _, errs := grete(t, "", args...); code != exitFailure || !strings.Contains(errs, "leave --kafka out") {
			t.Errorf("%s beside it: code %d: %s", c, code, errs)
		}
	}
}
