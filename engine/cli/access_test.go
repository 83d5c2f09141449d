package cli

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"github.com/gretestream/grete/log/cluster"

	"github.com/gretestream/grete/log/logtest"
)

// grete runs a command with some standard input and returns what it wrote.
func grete(t *testing.T, in string, args ...string) (code int, out, errs string) {
	t.Helper()
	var o, e bytes.Buffer
	code = run(context.Background(), args, streams{in: strings.NewReader(in), out: &o, err: &e}, testJobs())
	return code, o.String(), e.String()
}

// must is grete that has to succeed.
func must(t *testing.T, in string, args ...string) string {
	t.Helper()
	code, out, errs := grete(t, in, args...)
	if code != exitOK {
		t.Fatalf("grete %v: code %d: %s", args, code, errs)
	}
	return out
}

// Users and ACLs are the same whether a server holds the directory or nobody
// does, and hold at once.
func TestUsersAndACLs(t *testing.T) {
	dir := t.TempDir()
	must(t, "alice-pw\n", "user", "add", "alice", "--data", dir)
	must(t, "", "topic", "create", "orders", "--data", dir)
	h := hold(t, dir, "serve", "--kafka", "127.0.0.1:0", "--http", "127.0.0.1:0", "--auth", "scram", "--super-user", "root")
	r, err := readRunning(dir)
	if err != nil {
		t.Fatal(err)
	}
	produce := func(user, password string) error {
		cl, err := kgo.NewClient(kgo.SeedBrokers(r.Kafka), kgo.SASL(scram.Auth{User: user, Pass: password}.AsSha512Mechanism()),
			kgo.DefaultProduceTopic("orders"), kgo.RecordRetries(0), kgo.UnknownTopicRetries(0))
		if err != nil {
			t.Fatal(err)
		}
		defer cl.Close()
		ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
		defer cancel()
		return cl.ProduceSync(ctx, kgo.StringRecord("1")).FirstErr()
	}
	if err := produce("alice", "alice-pw"); err == nil || !strings.Contains(err.Error(), "TOPIC_AUTHORIZATION_FAILED") {
		t.Errorf("alice without an ACL: %v", err)
	}
	must(t, "", "acl", "add", "--allow", "User:alice", "--operation", "write", "--topic", "prefix:ord", "--data", dir)
	soon := func(what, user, password string) { // the server reads of a change right after it is stored
		t.Helper()
		deadline := time.Now().Add(30 * time.Second)
		for err := produce(user, password); err != nil; err = produce(user, password) {
			if time.Now().After(deadline) {
				t.Fatalf("%s: %v", what, err)
			}
		}
	}
	soon("alice with an ACL", "alice", "alice-pw")
	must(t, "root-pw", "user", "add", "root", "--data", dir, "--password-file", "-")
	soon("super user", "root", "root-pw")
	if out := must(t, "", "acl", "list", "--topic", "prefix:ord", "--output", "csv", "--data", dir); !strings.Contains(out, "topic,prefixed,ord,User:alice,*,write,allow") {
		t.Errorf("listed:\n%s", out)
	}
	if out := must(t, "", "acl", "list", "--group", "g", "--output", "csv", "--data", dir); strings.Contains(out, "alice") {
		t.Errorf("listed:\n%s", out)
	}
	h.end()
	// Nobody holds the directory any more.
	must(t, "", "acl", "remove", "--principal", "alice", "--data", dir)
	must(t, "", "user", "remove", "alice", "--data", dir)
	if out := must(t, "", "user", "list", "--output", "csv", "--data", dir); strings.Contains(out, "alice") || !strings.Contains(out, "root") {
		t.Errorf("users:\n%s", out)
	}
	for _, args := range [][]string{{"user", "remove", "alice"}, {"acl", "remove", "--topic", "none"}} {
		if code, _, _ := grete(t, "", append(args, "--data", dir)...); code != exitFailure {
			t.Errorf("%v: code %d", args, code)
		}
	}
}

// Users and ACLs of a cluster are changed through the protocol, by who may.
func TestUsersAndACLsOfACluster(t *testing.T) {
	dir, elsewhere := t.TempDir(), t.TempDir()
	must(t, "root-pw\n", "user", "add", "root", "--data", dir)
	hold(t, dir, "serve", "--kafka", "127.0.0.1:0", "--http", "127.0.0.1:0", "--auth", "scram", "--super-user", "root")
	r, err := readRunning(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv(cluster.EnvUser, "root")
	t.Setenv(cluster.EnvPassword, "root-pw")
	remote := func(in string, args ...string) (code int, out, errs string) {
		t.Helper()
		return grete(t, in, append(args, "--log", cluster.Scheme+r.Kafka, "--data", elsewhere)...)
	}
	ok := func(in string, args ...string) string {
		t.Helper()
		code, out, errs := remote(in, args...)
		if code != exitOK {
			t.Fatalf("grete %v: code %d: %s", args, code, errs)
		}
		return out
	}
	ok("alice-pw\n", "user", "add", "alice")
	ok("", "acl", "add", "--allow", "alice", "--operation", "read", "--operation", "describe", "--topic", "prefix:ord", "--group", "g")
	for _, list := range []string{ok("", "acl", "list", "--output", "csv"), must(t, "", "acl", "list", "--output", "csv", "--data", dir)} {
		for _, want := range []string{"topic,prefixed,ord,User:alice,*,read,allow", "group,literal,g,User:alice,*,describe,allow"} {
			if !strings.Contains(list, want) {
				t.Errorf("no %s in:\n%s", want, list)
			}
		}
	}
	if out := ok("", "user", "list", "--output", "csv"); !strings.Contains(out, "alice,\"SCRAM-SHA-256, SCRAM-SHA-512\"") {
		t.Errorf("users:\n%s", out)
	}
	if code, _, errs := remote("", "acl", "remove", "--topic", "none"); code != exitFailure || !strings.Contains(errs, "no ACL fits") {
		t.Errorf("code %d: %s", code, errs)
	}
	if _, _, errs := remote("", "acl", "remove", "--topic", "prefix:ord", "--operation", "read"); errs != "Removed: allow User:alice from * to read topic prefix:ord.\n" {
		t.Errorf("removed: %s", errs)
	}

	// alice is somebody by now, and may not change what she may.
	t.Setenv(cluster.EnvUser, "alice")
	t.Setenv(cluster.EnvPassword, "alice-pw")
	for _, args := range [][]string{{"user", "list"}, {"user", "remove", "root"}, {"acl", "list"}, {"acl", "add", "--allow", "alice", "--operation", "all", "--cluster"}, {"acl", "remove", "--deny", "alice"}} {
		if code, _, errs := remote("", args...); code != exitFailure || !strings.Contains(strings.ToLower(errs), "authoriz") {
			t.Errorf("alice's %v: code %d: %s", args, code, errs)
		}
	}
	t.Setenv(cluster.EnvUser, "root")
	t.Setenv(cluster.EnvPassword, "root-pw")
	ok("", "user", "remove", "alice")
	if code, _, _ := remote("", "user", "remove", "alice"); code != exitFailure {
		t.Errorf("removed twice: code %d", code)
	}
}

// All that is wrong with a line is told at once, and a password is never one of
// its arguments.
func TestAccessUsage(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []struct {
		args []string
		want []string
	}{
		{[]string{"serve", "--auth", "mtls,kerberos", "--tls-cert", "c.pem", "--super-user", "root", "--session", "1h"}, []string{"kerberos"}},
		{[]string{"serve", "--auth", "mtls", "--tls-cert", "c.pem"}, []string{"--tls-key", "--tls-client-ca"}},
		{[]string{"serve", "--super-user", "root", "--session", "1h", "--tls-client-ca", "none.pem"}, []string{"--super-user", "--session", "--auth mtls", "none.pem"}},
		{[]string{"serve", "--tls-cert", "none.pem", "--tls-key", "none.key"}, []string{"none.pem"}},
		{[]string{"serve", "--node-id", "3000000000"}, []string{"--node-id", "2147483647"}},
		{[]string{"run", "shout", "--auth", "mtls", "--tls-cert", "c.pem", "--node-id", "2"}, []string{"--tls-key", "--tls-client-ca", "--auth is about Kafka clients", "--node-id is about", "want --kafka"}},
		{[]string{"run", "shout", "--session", "1h", "--super-user", "root", "--no-auto-create", "--rebalance-delay", "1s"}, []string{"--session is", "--super-user is", "--no-auto-create is", "--rebalance-delay is", "want --auth"}},
		{[]string{"run", "shout", "--kafka", "127.0.0.1:0", "--super-user", "root"}, []string{"--super-user: want --auth"}},
		{[]string{"run", "shout", "--log", "kafka://127.0.0.1:1", "--auth", "scram"}, []string{"--auth is about the log in --data"}},
		{[]string{"reprocess", "shout", "--auth", "scram"}, []string{"want --kafka"}},
		{[]string{"user", "add"}, []string{"NAME"}},
		{[]string{"user", "add", "a\nb"}, []string{"printed"}},
		{[]string{"user", "add", "alice", "--password", "x"}, []string{"unknown flag --password"}},
		{[]string{"user", "add", "alice", "x"}, []string{"unexpected argument"}},
		{[]string{"acl", "add"}, []string{"--allow", "--operation", "--topic"}},
		{[]string{"acl", "add", "--allow", "User:a", "--operation", "fly", "--topic", "t"}, []string{"fly"}},
		{[]string{"acl", "add", "--allow", "User:a", "--operation", "cluster-action", "--topic", "t"}, []string{"cluster-action"}},
		{[]string{"acl", "remove"}, []string{"which"}},
		{[]string{"user"}, []string{"add, list, remove"}},
	} {
		code, _, errs := grete(t, "", append(c.args, "--data", dir)...)
		if code != exitUsage {
			t.Errorf("%v: code %d, want %d: %s", c.args, code, exitUsage, errs)
		}
		for _, w := range c.want {
			if !strings.Contains(errs, w) {
				t.Errorf("%v: not told of %q:\n%s", c.args, w, errs)
			}
		}
	}
	for _, c := range [][]string{
		{"serve", "--kafka", "0.0.0.0:0"},
		{"serve", "--kafka", "0.0.0.0:0", "--auth", "plain"},
		{"serve", "--http", "0.0.0.0:0", "--kafka", "127.0.0.1:0"},
		{"run", "shout", "--kafka", "0.0.0.0:0"},
		{"run", "shout", "--kafka", "0.0.0.0:0", "--auth", "plain"},
		{"run", "shout", "--http", "0.0.0.0:0"},
		{"serve", "--http", "0.0.0.0:0", "--kafka", "127.0.0.1:0", "--auth", "scram"},
	} {
		if code, _, errs := grete(t, "", append(c, "--data", dir)...); code != exitFailure || !strings.Contains(errs, "--insecure") {
			t.Errorf("%v: code %d: %s", c, code, errs)
		}
	}
	if code, _, errs := grete(t, "\n", "user", "add", "alice", "--data", dir); code != exitFailure || !strings.Contains(errs, "password") {
		t.Errorf("no password: code %d: %s", code, errs)
	}
}

// writeCert writes a certificate that signs itself, and its key.
func writeCert(t *testing.T, dir, name string) (cert, key string) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &k.PublicKey, k)
	if err != nil {
		t.Fatal(err)
	}
	encoded, err := x509.MarshalECPrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	cert, key = filepath.Join(dir, name+".pem"), filepath.Join(dir, name+".key")
	for file, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "EC PRIVATE KEY", Bytes: encoded}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}

// HTTP knows the same users: by password, by certificate, and commands of this
// machine by their token.
func TestHTTPAccess(t *testing.T) {
	dir, files := t.TempDir(), t.TempDir()
	cert, key := writeCert(t, files, "server")
	client, clientKey := writeCert(t, files, "carol")
	for _, user := range []string{"alice", "bob"} {
		must(t, user+"-pw", "user", "add", user, "--data", dir)
	}
	must(t, "", "acl", "add", "--allow", "alice", "--allow", "CN=carol", "--operation", "describe", "--cluster", "--data", dir)
	addr := logtest.FreeAddr(t)
	hold(t, dir, "serve", "--kafka", "127.0.0.1:0", "--http", addr, "--auth", "scram,mtls",
		"--tls-cert", cert, "--tls-key", key, "--tls-client-ca", client)
	ca, err := os.ReadFile(cert)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	pair, err := tls.LoadX509KeyPair(client, clientKey)
	if err != nil {
		t.Fatal(err)
	}
	get := func(path, user string, certs ...tls.Certificate) int {
		t.Helper()
		tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, Certificates: certs}, DisableKeepAlives: true}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+addr+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if user != "" {
			name, password, _ := strings.Cut(user, " ")
			req.SetBasicAuth(name, password)
		}
		resp, err := (&http.Client{Transport: tr}).Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		return resp.StatusCode
	}
	f := func(what string, got, want int) {
		t.Helper()
		if got != want {
			t.Errorf("%s: status %d, want %d", what, got, want)
		}
	}
	f("nobody", get("/metrics", ""), http.StatusUnauthorized)
	f("wrong password", get("/metrics", "alice bob-pw"), http.StatusUnauthorized)
	f("unknown", get("/v1/jobs", "dave dave-pw"), http.StatusUnauthorized)
	f("alice", get("/metrics", "alice alice-pw"), http.StatusOK)
	f("alice's jobs", get("/v1/jobs", "alice alice-pw"), http.StatusOK)
	f("bob, who has no ACL", get("/metrics", "bob bob-pw"), http.StatusForbidden)
	f("carol by certificate", get("/metrics", "", pair), http.StatusOK)
	f("health", get("/healthz", ""), http.StatusOK)
	f("the log, without token", get("/internal/log/v1/topics", "alice alice-pw"), http.StatusUnauthorized)
	must(t, "", "topic", "list", "--data", dir) // by token
}

// Partitions are added and topics exported, whoever holds the directory.
func TestTopicGrowAndExport(t *testing.T) {
	dir := t.TempDir()
	must(t, "", "topic", "create", "t", "--partitions", "2", "--data", dir)
	must(t, "a\nb\nc\n", "produce", "t", "--data", dir)
	exports := t.TempDir()
	check := func(parts int) {
		t.Helper()
		to := filepath.Join(exports, "export"+string(rune('0'+parts)))
		must(t, "", "topic", "alter", "t", "--partitions", string(rune('0'+parts)), "--data", dir)
		must(t, "", "topic", "export", "t", "--to", to, "--data", dir)
		files, err := filepath.Glob(filepath.Join(to, "t-*", "partition.metadata"))
		if err != nil || len(files) != parts {
			t.Errorf("%d partitions exported, want %d", len(files), parts)
		}
		if logs, _ := filepath.Glob(filepath.Join(to, "t-*", "*.log")); len(logs) == 0 {
			t.Error("no segments")
		}
	}
	check(3)
	hold(t, dir, "serve", "--kafka", "127.0.0.1:0", "--http", "127.0.0.1:0")
	check(4)
	if code, _, errs := grete(t, "", "topic", "alter", "t", "--partitions", "4", "--data", dir); code != exitFailure {
		t.Errorf("no more partitions: code %d: %s", code, errs)
	}
	if code, _, _ := grete(t, "", "topic", "export", "t", "--data", dir); code != exitUsage {
		t.Errorf("nowhere: code %d", code)
	}
}
