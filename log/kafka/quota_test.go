package kafka_test

import (
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gretestream/grete/log"
	"github.com/gretestream/grete/log/kafka"
)

// Quotas are set, found and taken back as Kafka's tools do.
func TestClientQuotas(t *testing.T) {
	s, _ := serve(t, nil)
	adm := kadm.NewClient(franz(t, s))
	ctx := testCtx(t)
	str := func(s string) *string { return &s }
	alice, app := kadm.ClientQuotaEntityComponent{Type: "user", Name: str("alice")}, kadm.ClientQuotaEntityComponent{Type: "client-id", Name: str("app")}
	everybody := kadm.ClientQuotaEntityComponent{Type: "user"}
	alter := func(want *kerr.Error, entity []kadm.ClientQuotaEntityComponent, ops ...kadm.AlterClientQuotaOp) {
		t.Helper()
		altered, err := adm.AlterClientQuotas(ctx, []kadm.AlterClientQuotaEntry{{Entity: entity, Ops: ops}})
		if err != nil {
			t.Fatal(err)
		}
		if got := altered[0].Err; want == nil && got != nil || want != nil && got != error(want) {
			t.Errorf("%v %v: %v, want %v", entity, ops, got, want)
		}
	}
	rate := func(key string, v float64) kadm.AlterClientQuotaOp {
		return kadm.AlterClientQuotaOp{Key: key, Value: v}
	}
	type entity = []kadm.ClientQuotaEntityComponent
	alter(nil, entity{alice}, rate("producer_byte_rate", 1000), rate("consumer_byte_rate", 2000))
	alter(nil, entity{app, alice}, rate("producer_byte_rate", 500))
	alter(nil, entity{everybody}, rate("producer_byte_rate", 9))
	alter(kerr.InvalidRequest, entity{alice}, rate("request_percentage", 10))
	alter(kerr.InvalidRequest, entity{alice}, rate("producer_byte_rate", -1))
	alter(kerr.InvalidRequest, entity{alice, alice}, rate("producer_byte_rate", 1))
	alter(kerr.InvalidRequest, entity{{Type: "ip", Name: str("10.0.0.1")}}, rate("connection_creation_rate", 1))
	find := func(strict bool, want int, c ...kadm.DescribeClientQuotaComponent) {
		t.Helper()
		got, err := adm.DescribeClientQuotas(ctx, strict, c)
		if err != nil || len(got) != want {
			t.Errorf("%v: %d quotas, %v, want %d", c, len(got), err, want)
		}
	}
	user := kadm.DescribeClientQuotaComponent{Type: "user", MatchType: kmsg.QuotasMatchTypeExact, MatchName: str("alice")}
	find(false, 2, user)
	find(true, 1, user)
	find(false, 1, kadm.DescribeClientQuotaComponent{Type: "user", MatchType: kmsg.QuotasMatchTypeDefault})
	find(false, 3, kadm.DescribeClientQuotaComponent{Type: "user", MatchType: kmsg.QuotasMatchTypeAny})
	find(false, 1, kadm.DescribeClientQuotaComponent{Type: "client-id", MatchType: kmsg.QuotasMatchTypeAny})
	alter(nil, entity{alice}, kadm.AlterClientQuotaOp{Key: "producer_byte_rate", Remove: true}, kadm.AlterClientQuotaOp{Key: "consumer_byte_rate", Remove: true})
	find(true, 0, user)
	req := kmsg.NewPtrDescribeClientQuotasRequest()
	req.Strict, req.Components = true, []kmsg.DescribeClientQuotasRequestComponent{{EntityType: "user", Match: str("alice")}}
	none := ask[*kmsg.DescribeClientQuotasResponse](dial(t, s), req)
	if none.Entries == nil || len(none.Entries) > 0 || none.ErrorCode != 0 {
		t.Errorf("code %d, entries %v, want an empty list, not null", none.ErrorCode, none.Entries)
	}
}

// Who takes more than a quota allows is told, and waits; others do not.
func TestThrottle(t *testing.T) {
	clock := newClock()
	s, l := serve(t, func(o *kafka.Options) { o.Now = clock.now })
	create(t, l, "t", 1, nil)
	alterQuota(t, s, "slow", 10_000)
	produce := func(c *client, size int) int32 {
		t.Helper()
		var b log.Builder
		b.Append(1, nil, make([]byte, size))
		req := kmsg.NewPtrProduceRequest()
		req.Version, req.Acks = 9, -1
		req.Topics = []kmsg.ProduceRequestTopic{{Topic: "t", Partitions: []kmsg.ProduceRequestTopicPartition{{Records: b.Bytes()}}}}
		resp := ask[*kmsg.ProduceResponse](c, req)
		wantCode(t, "produce", resp.Topics[0].Partitions[0].ErrorCode, nil)
		return resp.ThrottleMillis
	}
	slow := dial(t, s)
	slow.id = "slow"
	if ms := produce(slow, 5000); ms != 0 {
		t.Errorf("within the quota: throttled for %d ms", ms)
	}
	if ms := produce(slow, 7000); ms < 50 || ms > 1000 {
		t.Errorf("beyond the quota: throttled for %d ms, want some hundred", ms)
	}
	if ms := produce(dial(t, s), 50_000); ms != 0 {
		t.Errorf("another client is throttled for %d ms", ms)
	}
	clock.advance(s, 10*time.Second)
	if ms := produce(slow, 5000); ms != 0 {
		t.Errorf("later: throttled for %d ms", ms)
	}
	cl := franz(t, s, kgo.ClientID("slow"), kgo.ConsumeTopics("t"))
	if got := consume(t, cl, 4); len(got) != 4 {
		t.Errorf("%d records", len(got))
	}
}

func alterQuota(t *testing.T, s *kafka.Server, clientID string, rate float64) {
	t.Helper()
	req := kmsg.NewPtrAlterClientQuotasRequest()
	e := kmsg.AlterClientQuotasRequestEntry{Entity: []kmsg.AlterClientQuotasRequestEntryEntity{{Type: "client-id", Name: &clientID}}}
	for _, key := range []string{"producer_byte_rate", "consumer_byte_rate"} {
		e.Ops = append(e.Ops, kmsg.AlterClientQuotasRequestEntryOp{Key: key, Value: rate})
	}
	req.Entries = append(req.Entries, e)
	wantCode(t, "quota", ask[*kmsg.AlterClientQuotasResponse](dial(t, s), req).Entries[0].ErrorCode, nil)
}
