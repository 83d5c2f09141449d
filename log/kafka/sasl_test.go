package kafka_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/rcrowley/go-metrics"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"github.com/gretestream/grete/log"
	"github.com/gretestream/grete/log/kafka"
)

// A real client gets in by every mechanism, and writes and reads.
func TestSASLClients(t *testing.T) {
	for _, c := range []struct {
		name string
		sasl.Mechanism
	}{
		{"plain", plain.Auth{User: "root", Pass: "root-pw"}.AsMechanism()},
		{"scram-sha-256", scram.Auth{User: "root", Pass: "root-pw"}.AsSha256Mechanism()},
		{"scram-sha-512", scram.Auth{User: "root", Pass: "root-pw"}.AsSha512Mechanism()},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, l := serve(t, plainSASL)
			addUsers(t, s, "root")
			create(t, l, "t", 1, nil)
			cl := franz(t, s, kgo.SASL(c.Mechanism), kgo.ConsumeTopics("t"), kgo.DefaultProduceTopic("t"))
			produceAll(t, cl, kgo.StringRecord("hello"))
			if got := string(consume(t, cl, 1)[0].Value); got != "hello" {
				t.Errorf("read %q", got)
			}
		})
	}
}

// Names with the characters that SCRAM writes in another way are theirs.
func TestSCRAMNames(t *testing.T) {
	s, _ := serve(t, func(o *kafka.Options) { plainSASL(o); o.SuperUsers = append(o.SuperUsers, "User:a,b=c é") })
	addUsers(t, s, "a,b=c é")
	cl := franz(t, s, kgo.SASL(scram.Auth{User: "a,b=c é", Pass: "a,b=c é-pw"}.AsSha256Mechanism()))
	if err := cl.Ping(testCtx(t)); err != nil {
		t.Error(err)
	}
}

// Wrong passwords, unknown users and bad messages are answered alike, counted
// and logged without what was sent.
func TestSASLFailures(t *testing.T) {
	for _, c := range []struct{ name, mechanism, msg string }{
		{"wrong password", kafka.Plain, "\x00alice\x00secret-attempt"},
		{"unknown user", kafka.Plain, "\x00bob\x00secret-attempt"},
		{"act as another", kafka.Plain, "root\x00alice\x00alice-pw"},
		{"no password", kafka.Plain, "\x00alice\x00"},
		{"empty", kafka.Plain, ""},
		{"four parts", kafka.Plain, "\x00alice\x00alice-pw\x00"},
		{"long", kafka.Plain, "\x00alice\x00" + strings.Repeat("x", 2000)},
		{"scram without nonce", kafka.ScramSHA256, "n,,n=alice"},
		{"scram with extension", kafka.ScramSHA256, "n,,n=alice,r=abc,tokenauth=true"},
		{"scram acting as another", kafka.ScramSHA256, "n,a=root,n=alice,r=abc"},
		{"scram with binding", kafka.ScramSHA256, "p=tls-unique,,n=alice,r=abc"},
		{"scram with bare =", kafka.ScramSHA256, "n,,n=a=b,r=abc"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var logged bytes.Buffer
			reg := metrics.NewRegistry()
			s, _ := serve(t, func(o *kafka.Options) {
				plainSASL(o)
				o.Metrics, o.Logger = reg, hclog.New(&hclog.LoggerOptions{Output: &logged, Level: hclog.Trace})
			})
			addUsers(t, s, "alice")
			cl := dial(t, s)
			shake := kmsg.NewPtrSASLHandshakeRequest()
			shake.Version, shake.Mechanism = 1, c.mechanism
			wantCode(t, "handshake", ask[*kmsg.SASLHandshakeResponse](cl, shake).ErrorCode, nil)
			req := kmsg.NewPtrSASLAuthenticateRequest()
			req.Version, req.SASLAuthBytes = 2, []byte(c.msg)
			resp := ask[*kmsg.SASLAuthenticateResponse](cl, req)
			wantCode(t, "authenticate", resp.ErrorCode, kerr.SaslAuthenticationFailed)
			if _, err := cl.Read(make([]byte, 1)); err != io.EOF {
				t.Errorf("%v, want the connection ended", err)
			}
			if n := metrics.GetOrRegisterCounter("kafka.auth.failed."+strings.ToLower(c.mechanism), reg).Count(); n != 1 {
				t.Errorf("%d failures counted, want 1", n)
			}
			_ = s.Close()
			if strings.Contains(logged.String(), "secret-attempt") || !strings.Contains(logged.String(), "authentication failed") {
				t.Errorf("logged:\n%s", logged.String())
			}
		})
	}
}

// SCRAM tells nobody whether a user exists: salt and iterations are there, always
// the same, and the proof fails at the end.
func TestSCRAMUnknownUser(t *testing.T) {
	s, _ := serve(t, plainSASL)
	first := func() string {
		c := dial(t, s)
		shake := kmsg.NewPtrSASLHandshakeRequest()
		shake.Version, shake.Mechanism = 1, kafka.ScramSHA512
		ask[*kmsg.SASLHandshakeResponse](c, shake)
		req := kmsg.NewPtrSASLAuthenticateRequest()
		req.SASLAuthBytes = []byte("n,,n=nobody,r=abc")
		resp := ask[*kmsg.SASLAuthenticateResponse](c, req)
		wantCode(t, "first", resp.ErrorCode, nil)
		_, salt, _ := strings.Cut(string(resp.SASLAuthBytes), ",s=")
		return salt
	}
	if a, b := first(), first(); a != b || a == "" {
		t.Errorf("salts %q and %q, want the same", a, b)
	}
	err := franz(t, s, kgo.SASL(scram.Auth{User: "nobody", Pass: "x"}.AsSha512Mechanism())).Ping(testCtx(t))
	if !strings.Contains(err.Error(), "SASL_AUTHENTICATION_FAILED") {
		t.Error(err)
	}
}

// Before authentication there are three APIs, small frames and little time.
func TestStrangers(t *testing.T) {
	t.Run("another api", func(t *testing.T) {
		s, _ := serve(t, plainSASL)
		c := dial(t, s)
		c.send(kmsg.NewPtrMetadataRequest())
		if _, err := c.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("%v, want the connection ended", err)
		}
	})
	t.Run("produce", func(t *testing.T) { // is begun by the reader
		s, l := serve(t, plainSASL)
		create(t, l, "t", 1, nil)
		c := dial(t, s)
		var b log.Builder
		b.Append(1, nil, []byte("v"))
		req := kmsg.NewPtrProduceRequest()
		req.Version, req.Acks = 9, -1
		req.Topics = []kmsg.ProduceRequestTopic{{Topic: "t", Partitions: []kmsg.ProduceRequestTopicPartition{{Records: b.Bytes()}}}}
		c.send(req)
		if _, err := c.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("%v, want the connection ended", err)
		}
		if bounds, _ := l.Bounds(t.Context(), log.TopicPartition{Topic: "t"}); bounds.End != 0 {
			t.Error("a stranger has written")
		}
	})
	t.Run("large frame", func(t *testing.T) {
		s, _ := serve(t, plainSASL)
		c := dial(t, s)
		if _, err := c.Write(binary.BigEndian.AppendUint32(nil, 1<<20)); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("%v, want the connection ended", err)
		}
	})
	t.Run("time", func(t *testing.T) {
		reg := metrics.NewRegistry()
		s, _ := serve(t, func(o *kafka.Options) { plainSASL(o); o.MaxHandshake, o.Metrics = 50*time.Millisecond, reg })
		c := dial(t, s)
		ask[*kmsg.ApiVersionsResponse](c, kmsg.NewPtrApiVersionsRequest())
		if _, err := c.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("%v, want the connection ended", err)
		}
		_ = s.Close()
		if n := metrics.GetOrRegisterCounter("kafka.connections.closed.authentication-timeout", reg).Count(); n != 1 {
			t.Errorf("counted %d times, want once", n)
		}
	})
	t.Run("unknown mechanism", func(t *testing.T) {
		s, _ := serve(t, plainSASL)
		shake := kmsg.NewPtrSASLHandshakeRequest()
		shake.Version, shake.Mechanism = 1, "GSSAPI"
		resp := ask[*kmsg.SASLHandshakeResponse](dial(t, s), shake)
		wantCode(t, "handshake", resp.ErrorCode, kerr.UnsupportedSaslMechanism)
		if len(resp.SupportedMechanisms) != 3 {
			t.Errorf("supported %v", resp.SupportedMechanisms)
		}
	})
	t.Run("token without handshake", func(t *testing.T) {
		s, _ := serve(t, plainSASL)
		resp := ask[*kmsg.SASLAuthenticateResponse](dial(t, s), kmsg.NewPtrSASLAuthenticateRequest())
		wantCode(t, "authenticate", resp.ErrorCode, kerr.IllegalSaslState)
	})
	t.Run("not served", func(t *testing.T) {
		s, _ := serve(t, nil)
		shake := kmsg.NewPtrSASLHandshakeRequest()
		shake.Mechanism = kafka.Plain
		wantCode(t, "handshake", ask[*kmsg.SASLHandshakeResponse](dial(t, s), shake).ErrorCode, kerr.IllegalSaslState)
	})
}

// Old clients send tokens as bare frames after a handshake of version 0.
func TestSASLRawTokens(t *testing.T) {
	s, l := serve(t, plainSASL)
	addUsers(t, s, "root")
	raw := func(c *client, token string) (string, error) {
		t.Helper()
		if _, err := c.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(token))), token...)); err != nil {
			return "", err
		}
		var size [4]byte
		if _, err := io.ReadFull(c, size[:]); err != nil {
			return "", err
		}
		b := make([]byte, binary.BigEndian.Uint32(size[:]))
		_, err := io.ReadFull(c, b)
		return string(b), err
	}
	begin := func() *client {
		c := dial(t, s)
		shake := kmsg.NewPtrSASLHandshakeRequest()
		shake.Mechanism = kafka.Plain
		wantCode(t, "handshake", ask[*kmsg.SASLHandshakeResponse](c, shake).ErrorCode, nil)
		return c
	}
	c := begin()
	if got, err := raw(c, "\x00root\x00root-pw"); got != "" || err != nil {
		t.Errorf("%q, %v, want an empty token", got, err)
	}
	if resp := ask[*kmsg.DescribeClusterResponse](c, kmsg.NewPtrDescribeClusterRequest()); resp.ClusterID != l.ClusterID() {
		t.Errorf("after raw tokens: %+v", resp)
	}
	if _, err := raw(begin(), "\x00root\x00wrong"); err != io.EOF {
		t.Errorf("%v, want the connection ended", err)
	}
	if _, err := raw(begin(), ""); err != io.EOF {
		t.Errorf("%v, want the connection ended", err)
	}
}

// A session ends unless the client proves again who it is; it cannot become
// somebody else.
func TestSASLSession(t *testing.T) {
	clock := newClock()
	s, _ := serve(t, func(o *kafka.Options) {
		plainSASL(o)
		o.MaxSession, o.Now = time.Minute, clock.now
	})
	addUsers(t, s, "root", "alice")
	c := dial(t, s)
	if ms := c.tryLogin("root", "root-pw").SessionLifetimeMillis; ms != 60_000 {
		t.Errorf("session of %d ms, want 60000", ms)
	}
	cluster := kmsg.NewPtrDescribeClusterRequest()
	ask[*kmsg.DescribeClusterResponse](c, cluster)
	clock.advance(s, 40*time.Second)
	c.login("root")
	clock.advance(s, 40*time.Second)
	ask[*kmsg.DescribeClusterResponse](c, cluster) // would have ended but for the second login
	other := dial(t, s).login("alice")
	wantCode(t, "become another", other.tryLogin("root", "root-pw").ErrorCode, kerr.SaslAuthenticationFailed)
	clock.advance(s, 61*time.Second)
	c.send(cluster)
	if _, err := c.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("%v, want the connection ended with its session", err)
	}
}

// A removed user's connections end, also if the removal came by another way than
// through the server.
func TestUserRemoved(t *testing.T) {
	s, l := serve(t, plainSASL)
	addUsers(t, s, "root", "alice")
	c := dial(t, s).login("alice")
	beside, err := kafka.OpenAccess(t.Context(), l)
	if err != nil {
		t.Fatal(err)
	}
	defer beside.Close()
	if known, err := beside.RemoveUser(t.Context(), "alice"); !known || err != nil {
		t.Fatal(known, err)
	}
	if _, err := c.Read(make([]byte, 1)); err == nil {
		t.Error("the connection goes on")
	}
	wantCode(t, "login", dial(t, s).tryLogin("alice", "alice-pw").ErrorCode, kerr.SaslAuthenticationFailed)
	dial(t, s).login("root")
}

// An address that fails again and again waits; others do not.
func TestAuthDelay(t *testing.T) {
	s, _ := serve(t, func(o *kafka.Options) { plainSASL(o); o.MaxAuthDelay = time.Hour })
	addUsers(t, s, "root")
	for range 20 { // the last ones would wait for minutes
		c := dial(t, s)
		shake := kmsg.NewPtrSASLHandshakeRequest()
		shake.Version, shake.Mechanism = 1, kafka.Plain
		ask[*kmsg.SASLHandshakeResponse](c, shake)
		req := kmsg.NewPtrSASLAuthenticateRequest()
		req.Version, req.SASLAuthBytes = 2, []byte("\x00root\x00wrong")
		c.send(req)
	}
	dial(t, s).login("root") // at once
	done := make(chan error, 1)
	go func() { done <- s.Close() }()
	select {
	case <-done:
	case <-time.After(60 * time.Second):
		t.Fatal("those who wait hold up the end")
	}
}

// Users, ACLs and quotas outlive a restart; kadm sets them as Kafka's tools do.
func TestAccessByClient(t *testing.T) {
	s, _ := serve(t, plainSASL)
	addUsers(t, s, "root")
	root := kadm.NewClient(franz(t, s, kgo.SASL(plain.Auth{User: "root", Pass: "root-pw"}.AsMechanism())))
	ctx := testCtx(t)
	if _, err := root.AlterUserSCRAMs(ctx, nil, []kadm.UpsertSCRAM{{User: "bob", Mechanism: kadm.ScramSha256, Iterations: 4096, Password: "bob-pw"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := root.CreateTopic(ctx, 1, -1, nil, "orders.eu"); err != nil {
		t.Fatal(err)
	}
	b := kadm.NewACLs().Topics("orders.").ResourcePatternType(kadm.ACLPatternPrefixed).Operations(kadm.OpWrite, kadm.OpRead).Allow("User:bob").AllowHosts("*")
	made, err := root.CreateACLs(ctx, b)
	if err != nil || made[0].Err != nil {
		t.Fatal(made, err)
	}
	bob := franz(t, s, kgo.SASL(scram.Auth{User: "bob", Pass: "bob-pw"}.AsSha256Mechanism()), kgo.ConsumeTopics("orders.eu"), kgo.DefaultProduceTopic("orders.eu"))
	produceAll(t, bob, kgo.StringRecord("1"))
	consume(t, bob, 1)
	err = bob.ProduceSync(ctx, &kgo.Record{Topic: "secret", Value: []byte("1")}).FirstErr()
	if err == nil || !strings.Contains(err.Error(), "TOPIC_AUTHORIZATION_FAILED") {
		t.Errorf("produce to another topic: %v", err)
	}
	topics, err := kadm.NewClient(bob).ListTopics(ctx)
	if err != nil || len(topics) != 1 {
		t.Errorf("bob sees %v, %v, want his topic", topics.Names(), err)
	}
	described, err := root.DescribeACLs(ctx, kadm.NewACLs().Topics("orders.eu").ResourcePatternType(kadm.ACLPatternMatch).Operations().Allow().Deny().AllowHosts().DenyHosts())
	if err != nil || len(described) == 0 || len(described[0].Described) != 2 {
		t.Errorf("described %+v, %v", described, err)
	}
	if _, err := root.DeleteACLs(ctx, b); err != nil {
		t.Fatal(err)
	}
	bob = franz(t, s, kgo.SASL(scram.Auth{User: "bob", Pass: "bob-pw"}.AsSha256Mechanism()))
	if topics, err := kadm.NewClient(bob).ListTopics(ctx); err != nil || len(topics) != 0 {
		t.Errorf("without ACLs bob sees %v, %v", topics.Names(), err)
	}
	users, err := root.DescribeUserSCRAMs(ctx)
	if err != nil || len(users) != 2 || len(users["bob"].CredInfos) != 1 || users["bob"].CredInfos[0].Iterations != 4096 {
		t.Errorf("users %+v, %v", users, err)
	}
	if _, err := root.DescribeUserSCRAMs(ctx, "nobody"); err != nil {
		t.Error(err)
	}
}

func TestAlterUserSCRAMRules(t *testing.T) {
	s, _ := serve(t, nil)
	c := dial(t, s)
	addUsers(t, s, "old")
	up := func(name string, mechanism int8, iterations int32, salt, salted int) kmsg.AlterUserSCRAMCredentialsRequestUpsertion {
		return kmsg.AlterUserSCRAMCredentialsRequestUpsertion{Name: name, Mechanism: mechanism, Iterations: iterations, Salt: make([]byte, salt), SaltedPassword: make([]byte, salted)}
	}
	del := func(name string, mechanism int8) kmsg.AlterUserSCRAMCredentialsRequestDeletion {
		return kmsg.AlterUserSCRAMCredentialsRequestDeletion{Name: name, Mechanism: mechanism}
	}
	type ups = []kmsg.AlterUserSCRAMCredentialsRequestUpsertion
	type dels = []kmsg.AlterUserSCRAMCredentialsRequestDeletion
	f := func(deletions dels, upsertions ups, want *kerr.Error) {
		t.Helper()
		req := kmsg.NewPtrAlterUserSCRAMCredentialsRequest()
		req.Deletions, req.Upsertions = deletions, upsertions
		resp := ask[*kmsg.AlterUserSCRAMCredentialsResponse](c, req)
		if len(resp.Results) != 1 {
			t.Fatalf("%d answers, want one a user", len(resp.Results))
		}
		wantCode(t, resp.Results[0].User, resp.Results[0].ErrorCode, want)
	}
	f(nil, ups{up("u", 1, 4096, 8, 32)}, nil)
	f(nil, ups{up("u", 2, 16384, 8, 64)}, nil)
	f(nil, ups{up("u", 3, 4096, 8, 32)}, kerr.UnsupportedSaslMechanism)
	f(nil, ups{up("u", 1, 4095, 8, 32)}, kerr.UnacceptableCredential)
	f(nil, ups{up("u", 1, 16385, 8, 32)}, kerr.UnacceptableCredential)
	f(nil, ups{up("u", 1, 4096, 0, 32)}, kerr.UnacceptableCredential)
	f(nil, ups{up("u", 1, 4096, 8, 31)}, kerr.UnacceptableCredential)
	f(nil, ups{up("", 1, 4096, 8, 32)}, kerr.UnacceptableCredential)
	f(nil, ups{up("a\x00b", 1, 4096, 8, 32)}, kerr.UnacceptableCredential)
	f(nil, ups{up("u", 1, 4096, 8, 32), up("u", 1, 4096, 8, 32)}, kerr.DuplicateResource)
	f(dels{del("old", 1)}, ups{up("old", 1, 4096, 8, 32)}, kerr.DuplicateResource)
	f(dels{del("nobody", 1)}, nil, kerr.ResourceNotFound)
	f(dels{del("old", 9)}, nil, kerr.UnsupportedSaslMechanism)
	f(dels{del("old", 1), del("old", 2)}, nil, nil)
	f(dels{del("old", 1)}, nil, kerr.ResourceNotFound)
}

// What was set is there in the next life of the directory.
func TestAccessSurvives(t *testing.T) {
	s, l := serve(t, nil)
	ctx := context.Background()
	acl := allow("User:alice", kmsg.ACLOperationRead, ofTopic, "t")
	if err := s.Access().AddACLs(ctx, acl); err != nil {
		t.Fatal(err)
	}
	addUsers(t, s, "alice", "bob")
	if _, err := s.Access().RemoveUser(ctx, "bob"); err != nil {
		t.Fatal(err)
	}
	again, err := kafka.OpenAccess(ctx, l)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if got := again.ACLs(kafka.AnyACL()); len(got) != 1 || got[0] != acl {
		t.Errorf("ACLs %v", got)
	}
	if users := again.Users(); len(users) != 1 || users[0].Name != "alice" || len(users[0].Mechanisms) != 2 {
		t.Errorf("users %+v", users)
	}
	if !again.CheckPassword("alice", "alice-pw") || again.CheckPassword("alice", "bob-pw") || again.CheckPassword("bob", "bob-pw") || again.CheckPassword("", "") {
		t.Error("passwords are not what they were")
	}
}

// One address cannot take all connections.
func TestConnectionsPerIP(t *testing.T) {
	reg := metrics.NewRegistry()
	s, _ := serve(t, func(o *kafka.Options) { o.MaxConnectionsPerIP, o.Metrics = 2, reg })
	first, second := dial(t, s), dial(t, s)
	for _, c := range []*client{first, second} {
		ask[*kmsg.ApiVersionsResponse](c, kmsg.NewPtrApiVersionsRequest())
	}
	third := dial(t, s)
	if _, err := third.Read(make([]byte, 1)); err == nil {
		t.Error("a third connection is served")
	}
	if n := metrics.GetOrRegisterCounter("kafka.connections.closed.too-many-connections-of-one-address", reg).Count(); n != 1 {
		t.Errorf("counted %d times, want once", n)
	}
	_ = first.Close()
	deadline := time.Now().Add(60 * time.Second)
	for metrics.GetOrRegisterGauge("kafka.connections", reg).Value() > 1 && time.Now().Before(deadline) {
		ask[*kmsg.ApiVersionsResponse](second, kmsg.NewPtrApiVersionsRequest())
	}
	ask[*kmsg.ApiVersionsResponse](dial(t, s), kmsg.NewPtrApiVersionsRequest())
}
