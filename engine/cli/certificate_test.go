package cli

import (
	"bytes"
	"crypto/tls"
	"net"
	"os"
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
	f("too early to look", certificateLook-1, "one", 0, 0)
	f("a certificate without its key", 1, "one", 0, 1)
	f("still without", time.Hour, "one", 0, 1)
	move(key2, key)
	f("with its key", certificateLook, "two", 1, 1)
	move(cert, cert+".away")
	f("the file is gone", certificateLook, "two", 1, 2)
	f("still gone", certificateLook, "two", 1, 2)
	if err := os.WriteFile(cert, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	f("no certificate", certificateLook, "two", 1, 3)
	move(cert+".away", cert)
	f("the file is back", certificateLook, "two", 2, 3)
	if n := bytes.Count(logged.Bytes(), []byte("[ERROR]")); n != 3 {
		t.Errorf("%d errors were told, want 3:\n%s", n, &logged)
	}
	if registry.Get("tls.certificate-errors") == nil {
		t.Error("errors are not in the registry")
	}
}

// serverName is the name in the certificate that a handshake is answered with.
func serverName(t *testing.T, c *certificate) (name string) {
	t.Helper()
	client, server := net.Pipe()
	defer client.Close()
	done := make(chan error, 1)
	go func() {
		defer server.Close()
		done <- tls.Server(server, &tls.Config{GetCertificate: c.get}).HandshakeContext(t.Context())
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
