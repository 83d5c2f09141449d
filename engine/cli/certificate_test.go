package cli

import (
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/rcrowley/go-metrics"
)

// A certificate that is replaced is in use from the next look at its files on. One
// that cannot be used is told and counted, once, and leaves the one before.
func TestCertificateChanges(t *testing.T) {
	dir := t.TempDir()
	cert, key := writeCert(t, dir, "one")
	cert2, key2 := writeCert(t, dir, "two")
	at := time.Now()
	c, err := loadCertificate(cert, key, func() time.Time { return at })
	if err != nil {
		t.Fatal(err)
	}
	var logged bytes.Buffer
	registry := metrics.NewRegistry()
	c.watch(hclog.New(&hclog.LoggerOptions{Output: &logged}), registry)
	move := func(from, to string) {
		t.Helper()
		if err := os.Rename(from, to); err != nil {
			t.Fatal(err)
		}
	}
	// f connects, and tells who has answered and what was counted.
	f := func(what string, pass time.Duration, want string, reloads, failed int64) {
		t.Helper()
		at = at.Add(pass)
		if got := serverName(t, c); got != want {
			t.Errorf("%s: %s has answered, want %s", what, got, want)
		}
		if c.reloads.Count() != reloads || c.reloadsFailed.Count() != failed {
			t.Errorf("%s: %d reloads and %d failed, want %d and %d", what, c.reloads.Count(), c.reloadsFailed.Count(), reloads, failed)
		}
	}
	f("at first", 0, "one", 0, 0)
	f("unchanged", time.Hour, "one", 0, 0)
	move(cert2, cert)
	f("too early to look", fileLook-1, "one", 0, 0)
	f("a certificate without its key", 1, "one", 0, 1)
	f("still without", time.Hour, "one", 0, 1)
	move(key2, key)
	f("with its key", fileLook, "two", 1, 1)
	move(cert, cert+".away")
	f("the file is gone", fileLook, "two", 1, 2)
	f("still gone", fileLook, "two", 1, 2)
	if err := os.WriteFile(cert, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	f("no certificate", fileLook, "two", 1, 3)
	move(cert+".away", cert)
	f("the file is back", fileLook, "two", 2, 3)
	if n := bytes.Count(logged.Bytes(), []byte("[ERROR]")); n != 3 {
		t.Errorf("%d errors were told, want 3:\n%s", n, &logged)
	}
	if registry.Get("tls.certificate-errors") == nil {
		t.Error("errors are not in the registry")
	}
}

// serverName is the name in the certificate that a handshake is answered with.
func serverName(t *testing.T, c *reloaded[*tls.Certificate]) (name string) {
	t.Helper()
	client, server := net.Pipe()
	defer client.Close()
	done := make(chan error, 1)
	go func() {
		defer server.Close()
		done <- tls.Server(server, (&security{certificate: c}).kafkaTLS()).HandshakeContext(t.Context())
	}()
	conn := tls.Client(client, &tls.Config{InsecureSkipVerify: true}) // whoever it is
	if err := conn.HandshakeContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	name = conn.ConnectionState().PeerCertificates[0].Subject.CommonName
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	return name
}

// Both listeners of a server go over to a new certificate.
func TestServeChangesCertificate(t *testing.T) {
	dir, files := t.TempDir(), t.TempDir()
	cert, key := writeCert(t, files, "one")
	cert2, key2 := writeCert(t, files, "two")
	must(t, "alice-pw", "user", "add", "alice", "--data", dir)
	// A free port, which HTTP takes at once.
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	_ = l.Close()
	hold(t, dir, "serve", "--kafka", "127.0.0.1:0", "--http", addr, "--auth", "scram", "--tls-cert", cert, "--tls-key", key)
	r, err := readRunning(dir)
	if err != nil {
		t.Fatal(err)
	}
	listeners := []string{r.Kafka, addr}
	answers := func(addr string) string {
		t.Helper()
		d := tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true}} // whoever it is
		nc, err := d.DialContext(t.Context(), "tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		return nc.(*tls.Conn).ConnectionState().PeerCertificates[0].Subject.CommonName
	}
	for _, addr := range listeners {
		if got := answers(addr); got != "one" {
			t.Errorf("%s has answered, want one", got)
		}
	}
	for from, to := range map[string]string{cert2: cert, key2: key} {
		if err := os.Rename(from, to); err != nil {
			t.Fatal(err)
		}
	}
	for _, addr := range listeners {
		deadline := time.Now().Add(30 * time.Second)
		for answers(addr) != "two" {
			if time.Now().After(deadline) {
				t.Fatal("the new certificate is not in use")
			}
			<-time.After(50 * time.Millisecond)
		}
	}
}

// The authorities of clients are read again, too: for certificates that those have
// signed, and against sessions of clients that they do not know any more. What
// cannot be used leaves those before.
func TestClientAuthoritiesChange(t *testing.T) {
	dir := t.TempDir()
	at := time.Now()
	now := func() time.Time { return at }
	cert, key := writeCert(t, dir, "server")
	alice, aliceKey := writeCert(t, dir, "alice")
	bob, bobKey := writeCert(t, dir, "bob")
	asClient := func(cert, key string) *tls.Config {
		t.Helper()
		config := &tls.Config{InsecureSkipVerify: true, ServerName: "server", ClientSessionCache: tls.NewLRUClientSessionCache(1)}
		if cert != "" {
			pair, err := tls.LoadX509KeyPair(cert, key)
			if err != nil {
				t.Fatal(err)
			}
			config.Certificates = []tls.Certificate{pair}
		}
		return config
	}
	asAlice, asBob, asNobody := asClient(alice, aliceKey), asClient(bob, bobKey), asClient("", "")
	ca := filepath.Join(dir, "ca.pem")
	move := func(from, to string) {
		t.Helper()
		if err := os.Rename(from, to); err != nil {
			t.Fatal(err)
		}
	}
	move(alice, ca)
	var s security
	var err error
	if s.certificate, err = loadCertificate(cert, key, now); err != nil {
		t.Fatal(err)
	}
	if s.authorities, err = loadAuthorities(ca, now); err != nil {
		t.Fatal(err)
	}
	registry := metrics.NewRegistry()
	s.watch(hclog.NewNullLogger(), registry)
	kafka, http := s.kafkaTLS(), s.httpTLS()
	// f connects, and tells whether the server lets the client in, and knows it.
	f := func(what string, server, client *tls.Config, want, known bool) {
		t.Helper()
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		near, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer near.Close()
		far, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		type result struct {
			err   error
			known bool
		}
		done := make(chan result, 1)
		go func() {
			defer far.Close()
			nc := tls.Server(far, server)
			err := nc.HandshakeContext(t.Context())
			if err == nil {
				_, err = nc.Write([]byte("hello"))
			}
			done <- result{err, len(nc.ConnectionState().VerifiedChains) > 0}
		}()
		// Reading takes in the ticket that the session goes on with the next time.
		_, errClient := io.ReadFull(tls.Client(near, client), make([]byte, 5))
		got := <-done
		if (got.err == nil && errClient == nil) != want || got.known != known {
			t.Errorf("%s: %v and %v, known %v; want let in %v, known %v", what, got.err, errClient, got.known, want, known)
		}
	}
	f("alice", kafka, asAlice, true, true)
	f("alice again", kafka, asAlice, true, true)
	f("alice over HTTP", http, asAlice, true, true)
	f("bob", kafka, asBob, false, false)
	f("nobody", kafka, asNobody, false, false)
	f("nobody over HTTP", http, asNobody, true, false)
	move(bob, ca)
	f("alice, too early to look", kafka, asAlice, true, true)
	at = at.Add(fileLook)
	f("alice after the change", kafka, asAlice, false, false)
	f("bob after the change", kafka, asBob, true, true)
	f("bob over HTTP after the change", http, asBob, true, true)
	if err := os.WriteFile(ca, []byte("no authority"), 0o600); err != nil {
		t.Fatal(err)
	}
	at = at.Add(fileLook)
	f("bob, with a file that holds nothing", kafka, asBob, true, true)
	f("nobody, with a file that holds nothing", kafka, asNobody, false, false)
	for name, want := range map[string]int64{"tls.client-ca-reloads": 1, "tls.client-ca-errors": 1, "tls.certificate-reloads": 0} {
		if got := registry.Get(name).(metrics.Counter).Count(); got != want {
			t.Errorf("%s is %d, want %d", name, got, want)
		}
	}
}
