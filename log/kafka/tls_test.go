package kafka_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gretestream/grete/log/kafka"
)

// authority signs certificates for one test.
type authority struct {
	t    testing.TB
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
	pool *x509.CertPool
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	a := &authority{t: t, pool: x509.NewCertPool()}
	a.key, a.cert, _ = a.sign(pkix.Name{CommonName: "test authority"}, true)
	a.pool.AddCert(a.cert)
	return a
}

// sign makes a certificate, by itself if there is no authority yet.
func (a *authority) sign(name pkix.Name, ca bool) (*ecdsa.PrivateKey, *x509.Certificate, tls.Certificate) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: name,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: ca, BasicConstraintsValid: true,
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	parent, signer := template, key
	if a.cert != nil {
		parent, signer = a.cert, a.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		a.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return key, cert, tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// issue makes a certificate for somebody.
func (a *authority) issue(name pkix.Name) tls.Certificate {
	_, _, cert := a.sign(name, false)
	return cert
}

// server is the side of a server that asks clients for certificates, or not.
func (a *authority) server(ask tls.ClientAuthType) *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{a.issue(pkix.Name{CommonName: "server"})}, ClientCAs: a.pool, ClientAuth: ask}
}

func TestTLS(t *testing.T) {
	ca := newAuthority(t)
	s, l := serve(t, func(o *kafka.Options) { o.TLS = ca.server(tls.NoClientCert) })
	create(t, l, "t", 1, nil)
	cl := franz(t, s, kgo.DialTLSConfig(&tls.Config{RootCAs: ca.pool}), kgo.DefaultProduceTopic("t"), kgo.ConsumeTopics("t"), kgo.ProducerBatchMaxBytes(1<<20))
	var sent []*kgo.Record
	for range 40 { // more than is copied at once
		sent = append(sent, &kgo.Record{Value: make([]byte, 10_000)})
	}
	produceAll(t, cl, sent...)
	if got := consume(t, cl, len(sent)); len(got[0].Value) != 10_000 {
		t.Errorf("read %d bytes", len(got[0].Value))
	}
	// Nothing is said to those who do not speak TLS, nor to what is no handshake.
	nc, err := net.Dial("tcp", s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	if _, err := nc.Write([]byte{0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 1, 255, 255}); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 1024)
	if n, err := nc.Read(b); err == nil && n > 7 { // an alert is 7 bytes
		t.Errorf("answered %x", b[:n])
	}
}

// A client is who its certificate says; without one it does not get in.
func TestMutualTLS(t *testing.T) {
	ca, stranger := newAuthority(t), newAuthority(t)
	s, l := serve(t, func(o *kafka.Options) {
		o.TLS, o.SuperUsers = ca.server(tls.RequireAndVerifyClientCert), []string{"User:CN=root,O=Example"}
	})
	create(t, l, "t", 1, nil)
	if err := s.Access().AddACLs(t.Context(), allow("User:CN=alice", kmsg.ACLOperationDescribe, ofTopic, "t")); err != nil {
		t.Fatal(err)
	}
	connect := func(certs ...tls.Certificate) *kadm.Client {
		return kadm.NewClient(franz(t, s, kgo.DialTLSConfig(&tls.Config{RootCAs: ca.pool, Certificates: certs}), kgo.RetryTimeout(time.Second)))
	}
	ctx := testCtx(t)
	f := func(who string, cl *kadm.Client, want int) {
		t.Helper()
		topics, err := cl.ListTopics(ctx)
		if want < 0 {
			if err == nil {
				t.Errorf("%s got in", who)
			}
			return
		}
		if err != nil || len(topics) != want {
			t.Errorf("%s: sees %v, %v, want %d", who, topics.Names(), err, want)
		}
	}
	f("root", connect(ca.issue(pkix.Name{CommonName: "root", Organization: []string{"Example"}})), 1)
	f("alice", connect(ca.issue(pkix.Name{CommonName: "alice"})), 1)
	f("bob", connect(ca.issue(pkix.Name{CommonName: "bob"})), 0)
	f("nobody", connect(), -1)
	f("somebody else's alice", connect(stranger.issue(pkix.Name{CommonName: "alice"})), -1)
}

// A client that never speaks holds a connection for MaxHandshake only.
func TestTLSHandshakeTimeout(t *testing.T) {
	ca := newAuthority(t)
	s, _ := serve(t, func(o *kafka.Options) { o.TLS, o.MaxHandshake = ca.server(tls.NoClientCert), 50*time.Millisecond })
	nc, err := net.Dial("tcp", s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	_ = nc.SetReadDeadline(time.Now().Add(60 * time.Second))
	if _, err := nc.Read(make([]byte, 1)); err == nil || strings.Contains(err.Error(), "timeout") {
		t.Errorf("%v, want the connection ended", err)
	}
}
