package cluster

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
)

// certificate makes one for 127.0.0.1 that vouches for itself, and its PEM file.
func certificate(t *testing.T) (tls.Certificate, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, file
}

// TestSecurity: who may not, is told at once what to do about it.
func TestSecurity(t *testing.T) {
	t.Setenv(EnvUser, "")
	t.Setenv(EnvPassword, "")
	cert, ca := certificate(t)
	c := brokers(t, kfake.TLS(&tls.Config{Certificates: []tls.Certificate{cert}}), kfake.EnableSASL(),
		kfake.Superuser("SCRAM-SHA-512", "ann", "right"), kfake.Superuser("SCRAM-SHA-256", "bob", "right"), kfake.Superuser("PLAIN", "eve", "right"))
	seed := c.ListenAddrs()[0]
	f := func(url, want string) {
		t.Helper()
		started := time.Now()
		opts, err := ParseURL(url)
		if err != nil {
			t.Fatal(err)
		}
		opts.DialTimeout, opts.Timeout = time.Minute, 5*time.Minute
		l, err := Open(t.Context(), opts)
		if err == nil {
			_, err = l.Topics(t.Context())
			l.Close()
		}
		switch {
		case want == "" && err != nil:
			t.Errorf("%s: %v", url, err)
		case want != "" && err == nil:
			t.Errorf("%s: got in, want an error that says %s", url, want)
		case want != "" && !strings.Contains(err.Error(), want):
			t.Errorf("%s: got %v, want it to say %s", url, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "wrong!") {
			t.Errorf("%s: the password is told: %v", url, err)
		}
		if took := time.Since(started); took > time.Minute { // a refusal is not tried again
			t.Errorf("%s: took %v", url, took)
		}
	}
	f("kafka://ann:right@"+seed+"?ca="+ca, "")
	f("kafka://bob:right@"+seed+"?sasl=SCRAM-SHA-256&ca="+ca, "")
	f("kafka://eve:right@"+seed+"?sasl=PLAIN&skip-verify=true", "")
	f("kafka://ann:wrong!@"+seed+"?ca="+ca, "check user, password and sasl")
	f("kafka://eve:wrong!@"+seed+"?sasl=PLAIN&ca="+ca, "check user, password and sasl")
	f("kafka://ann:right@"+seed+"?tls=true", "certificate")
	f("kafka://ann:right@"+seed, "TLS")
}
