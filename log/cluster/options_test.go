package cluster

import (
	"crypto/tls"
	"net/url"
	"strings"
	"testing"
	"time"
)

func TestParseURL(t *testing.T) {
	t.Setenv(EnvUser, "")
	t.Setenv(EnvPassword, "")
	f := func(url string, want Options) {
		t.Helper()
		got, err := ParseURL(url)
		if err != nil {
			t.Errorf("%s: %v", url, err)
			return
		}
		if strings.Join(got.Seeds, " ") != strings.Join(want.Seeds, " ") || got.User != want.User || got.Password != want.Password ||
			got.Mechanism != want.Mechanism || (got.TLS != nil) != (want.TLS != nil) || got.Timeout != want.Timeout || got.ReplicationFactor != want.ReplicationFactor {
			t.Errorf("%s: got %+v, want %+v", url, got, want)
		}
		if err := got.EnsureDefaults().Validate(); err != nil {
			t.Errorf("%s: %v", url, err)
		}
	}
	f("kafka://localhost:9092", Options{Seeds: []string{"localhost:9092"}})
	f("kafka://localhost", Options{Seeds: []string{"localhost:9092"}})
	f("kafka://[::1]:19092/", Options{Seeds: []string{"[::1]:19092"}})
	f("kafka://a:1,b:2,c", Options{Seeds: []string{"a:1", "b:2", "c:9092"}})
	f("kafka://ann:p%40ss:word@a:1?sasl=plain&tls=true&timeout=5s&replication=3", Options{
		Seeds: []string{"a:1"}, User: "ann", Password: "p@ss:word", Mechanism: Plain, TLS: &tls.Config{}, Timeout: 5 * time.Second, ReplicationFactor: 3,
	})
	f("kafka://a:1?server-name=broker&skip-verify=true", Options{Seeds: []string{"a:1"}, TLS: &tls.Config{}})
	t.Setenv(EnvUser, "eve")
	t.Setenv(EnvPassword, "secret")
	f("kafka://a:1?sasl=SCRAM-SHA-256", Options{Seeds: []string{"a:1"}, User: "eve", Password: "secret", Mechanism: ScramSHA256})
	f("kafka://ann@a:1", Options{Seeds: []string{"a:1"}, User: "ann", Password: "secret"})
}

// TestParseURLMistakes: all at once, and none tells the password.
func TestParseURLMistakes(t *testing.T) {
	t.Setenv(EnvUser, "")
	t.Setenv(EnvPassword, "")
	f := func(url string, want ...string) {
		t.Helper()
		_, err := ParseURL(url)
		if err == nil {
			t.Errorf("%s: no mistake found", url)
			return
		}
		for _, w := range want {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%s: got %v, want it to name %s", url, err, w)
			}
		}
		if strings.Contains(err.Error(), "hush") {
			t.Errorf("%s: the password is told: %v", url, err)
		}
	}
	f("localhost:9092", "kafka://HOST:PORT")
	f("http://ann:hush@a:1", "kafka://HOST:PORT")
	f("kafka://", "a host is missing")
	f("kafka://a:1,,b:1", "a host is missing")
	f("kafka://ann:hush@a:1?sasl=KERBEROS&timeout=soon&replication=0&tls=maybe&colour=red&cert=x&tls=true",
		"sasl=KERBEROS", "timeout=soon", "replication=0", "tls=maybe", `"colour"`, "cert and key", "tls is given twice")
	f("kafka://ann:hush%zz@a:1", "user and password")
	f("kafka://:hush@a:1", "user:password")
	f("kafka://a:1?sasl=PLAIN", "without a user", EnvPassword)
	f("kafka://a:1?ca=/no/such/file", "ca: open /no/such/file")
	f("kafka://a:1?tls=false&server-name=b", "tls=false")
}

func TestValidate(t *testing.T) {
	o := Options{Seeds: []string{"nowhere", ":1", "a:99999"}, Mechanism: "GSSAPI", User: "u", Timeout: -1, FetchBytes: -1, ReplicationFactor: -2, SessionTimeout: 1, RebalanceTimeout: -1}
	err := o.EnsureDefaults().Validate()
	if err == nil {
		t.Fatal("no mistake found")
	}
	for _, want := range []string{`"nowhere"`, `":1"`, `"a:99999"`, "Mechanism", "Password", "Timeout is", "FetchBytes", "ReplicationFactor", "SessionTimeout", "RebalanceTimeout"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want it to name %s", err, want)
		}
	}
}

// FuzzParseURL: no text makes it panic, or tell the password.
func FuzzParseURL(f *testing.F) {
	f.Add("127.0.0.1:9092,[::1]:9093?tls=true&ca=a.pem&timeout=60s&replication=3")
	f.Add("host?sasl=PLAIN&skip-verify=x")
	f.Add("?%zz")
	f.Fuzz(func(t *testing.T, rest string) {
		_, query, _ := strings.Cut(rest, "?")
		if v, _ := url.ParseQuery(query); v.Has("ca") || v.Has("cert") || v.Has("key") {
			return // files of this machine
		}
		const secret = "hunter2-hunter2"
		o, err := ParseURL(Scheme + "user:" + secret + "@" + rest)
		if err != nil && strings.Contains(err.Error(), secret) && !strings.Contains(rest, secret) {
			t.Errorf("tells the password: %v", err)
		}
		if err == nil && (len(o.Seeds) == 0 || o.User == "" || o.Password == "") {
			t.Errorf("%q: got %+v", rest, o)
		}
	})
}
