package cluster

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math"
	"net"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/rcrowley/go-metrics"
)

// The mechanisms of SASL.
const (
	Plain       = "PLAIN"
	ScramSHA256 = "SCRAM-SHA-256"
	ScramSHA512 = "SCRAM-SHA-512"
)

// The environment variables that ParseURL takes the user from when the URL has
// none: a password on a command line can be read by everybody on the machine.
const (
	EnvUser     = "GRETE_KAFKA_USER"
	EnvPassword = "GRETE_KAFKA_PASSWORD"
)

// Options tune a Log. Seeds are required.
type Options struct {
	// Seeds are brokers to ask first, host:port.
	Seeds []string

	// TLS, if set, encrypts all connections. Without a ServerName each broker is
	// held against the host it is reached at.
	TLS *tls.Config

	// Mechanism is how User and Password are shown to the brokers: Plain,
	// ScramSHA256 or ScramSHA512. Default: no authentication; ScramSHA512 if there
	// is a User.
	Mechanism string
	User      string
	Password  string

	// ClientID names this client in the brokers' logs and quotas. Default: "grete".
	ClientID string

	// DialTimeout bounds Open, and each connection made. Default: 10 s.
	DialTimeout time.Duration

	// Timeout is how long a call goes on trying while the cluster is away.
	// Default: 60 s.
	Timeout time.Duration

	// SessionTimeout is how long a member of a group may be silent before its
	// partitions are given to others. Default: 10 s.
	SessionTimeout time.Duration

	// RebalanceTimeout is how long the members of a group wait for one that lets
	// go of its partitions. Default: 60 s.
	RebalanceTimeout time.Duration

	// FetchBytes bounds what a Reader without a bound of its own asks for at a
	// time, in bytes. It holds up to three times as much. Default: 1 MiB.
	FetchBytes int

	// ReplicationFactor of topics that are made. Default: the cluster's.
	ReplicationFactor int

	// Logger hears of retries and brokers that come and go. Default: none.
	Logger hclog.Logger

	// Metrics is where counters are registered (see metrics.go). Default: a
	// registry of its own.
	Metrics metrics.Registry
}

// EnsureDefaults fills in every field that is zero and returns o.
func (o *Options) EnsureDefaults() *Options {
	if o.Mechanism == "" && o.User != "" {
		o.Mechanism = ScramSHA512
	}
	setDefault(&o.ClientID, "grete")
	setDefault(&o.DialTimeout, 10*time.Second)
	setDefault(&o.Timeout, 60*time.Second)
	setDefault(&o.SessionTimeout, 10*time.Second)
	setDefault(&o.RebalanceTimeout, 60*time.Second)
	setDefault(&o.FetchBytes, 1<<20)
	setDefault(&o.ReplicationFactor, -1)
	if o.Logger == nil {
		o.Logger = hclog.NewNullLogger()
	}
	if o.Metrics == nil {
		o.Metrics = metrics.NewRegistry()
	}
	return o
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// Validate reports all mistakes at once, by field name. Defaults are in place.
func (o *Options) Validate() error {
	var errs []error
	want := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf("options: "+format, args...))
		}
	}
	want(len(o.Seeds) > 0, "no Seeds, want at least one host:port")
	for _, s := range o.Seeds {
		host, port, err := net.SplitHostPort(s)
		n, errPort := strconv.Atoi(port)
		want(err == nil && host != "" && errPort == nil && n > 0 && n < 1<<16, "seed %q, want host:port", s)
	}
	mechanisms := []string{Plain, ScramSHA256, ScramSHA512}
	want(o.Mechanism == "" || slices.Contains(mechanisms, o.Mechanism), "Mechanism is %q, want %s", o.Mechanism, strings.Join(mechanisms, ", "))
	want(o.Mechanism == "" || o.User != "", "Mechanism is %s without a User", o.Mechanism)
	want(o.User == "" || o.Password != "", "User is %q without a Password", o.User)
	want(o.DialTimeout > 0, "DialTimeout is %v, want more than 0", o.DialTimeout)
	want(o.Timeout > 0, "Timeout is %v, want more than 0", o.Timeout)
	want(o.SessionTimeout >= time.Second, "SessionTimeout is %v, want at least 1s", o.SessionTimeout)
	want(o.RebalanceTimeout >= o.SessionTimeout, "RebalanceTimeout is %v, want at least SessionTimeout, which is %v", o.RebalanceTimeout, o.SessionTimeout)
	want(o.FetchBytes > 0 && o.FetchBytes <= maxFetchBytes, "FetchBytes is %d, want 1 to %d", o.FetchBytes, maxFetchBytes)
	want(o.ReplicationFactor == -1 || o.ReplicationFactor >= 1 && o.ReplicationFactor <= math.MaxInt16, "ReplicationFactor is %d, want at least 1, or -1 for the cluster's", o.ReplicationFactor)
	return errors.Join(errs...)
}

// Scheme is what the URL of a Log begins with.
const Scheme = "kafka://"

// ParseURL reads options from
//
//	kafka://[user:password@]host:port[,host:port…][?name=value&…]
//
// where the names are
//
//	tls           true: encrypt
//	ca            file of the authorities to trust, PEM; default: the machine's
//	cert, key     files of the client's certificate and its key, PEM
//	server-name   the name that the brokers' certificates must have
//	skip-verify   true: trust any certificate
//	sasl          PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512; default: the last
//	timeout       how long a call goes on trying, such as 60s
//	replication   replicas of topics that are made
//
// User and password may be percent-encoded. Without them in the URL they are
// those of the environment, GRETE_KAFKA_USER and GRETE_KAFKA_PASSWORD. It reports
// all mistakes at once; the password is in none of them.
func ParseURL(s string) (Options, error) {
	rest, ok := strings.CutPrefix(s, Scheme)
	if !ok {
		return Options{}, fmt.Errorf("log %q, want %sHOST:PORT", withoutPassword(s), Scheme)
	}
	p := urlParser{}
	rest, query, _ := strings.Cut(rest, "?")
	if i := strings.LastIndexByte(rest, '@'); i >= 0 {
		p.user(rest[:i])
		rest = rest[i+1:]
	} else {
		p.o.User, p.o.Password = os.Getenv(EnvUser), os.Getenv(EnvPassword)
	}
	for _, seed := range strings.Split(strings.TrimSuffix(rest, "/"), ",") {
		p.seed(seed)
	}
	values, err := url.ParseQuery(query)
	if err != nil {
		p.mistake("settings after the question mark: %v", err)
	}
	p.settings(values)
	if len(p.mistakes) > 0 {
		return Options{}, fmt.Errorf("log %s: %w", withoutPassword(s), errors.Join(p.mistakes...))
	}
	return p.o, nil
}

// withoutPassword hides what stands before the last @.
func withoutPassword(s string) string {
	hosts, query, _ := strings.Cut(s, "?")
	i := strings.LastIndexByte(hosts, '@')
	if i < 0 {
		return s
	}
	if query != "" {
		query = "?" + query
	}
	return Scheme + "…" + hosts[i:] + query
}

// urlParser collects options and mistakes.
type urlParser struct {
	o        Options
	mistakes []error
}

func (p *urlParser) mistake(format string, args ...any) {
	p.mistakes = append(p.mistakes, fmt.Errorf(format, args...))
}

func (p *urlParser) user(s string) {
	user, password, _ := strings.Cut(s, ":")
	var errUser, errPassword error
	p.o.User, errUser = url.PathUnescape(user)
	p.o.Password, errPassword = url.PathUnescape(password)
	if errUser != nil || errPassword != nil {
		p.mistake("user and password: want %% only before two hexadecimal digits") // without the words: they are secret
	}
	if p.o.Password == "" {
		p.o.Password = os.Getenv(EnvPassword)
	}
	if p.o.User == "" || p.o.Password == "" {
		p.mistake("before the @: want user:password")
	}
}

func (p *urlParser) seed(s string) {
	if s == "" {
		p.mistake("a host is missing, want host:port")
		return
	}
	if _, _, err := net.SplitHostPort(s); err != nil {
		s = net.JoinHostPort(strings.Trim(s, "[]"), "9092")
	}
	p.o.Seeds = append(p.o.Seeds, s)
}

func (p *urlParser) settings(values url.Values) {
	known := []string{"tls", "ca", "cert", "key", "server-name", "skip-verify", "sasl", "timeout", "replication"}
	for name, list := range values {
		if !slices.Contains(known, name) {
			p.mistake("unknown setting %q, want one of %s", name, strings.Join(known, ", "))
		} else if len(list) > 1 {
			p.mistake("%s is given twice", name)
		}
	}
	p.tls(values)
	if m := strings.ToUpper(values.Get("sasl")); m != "" {
		p.o.Mechanism = m
		if !slices.Contains([]string{Plain, ScramSHA256, ScramSHA512}, m) {
			p.mistake("sasl=%s, want %s, %s or %s", m, Plain, ScramSHA256, ScramSHA512)
		} else if p.o.User == "" {
			p.mistake("sasl=%s without a user: want %suser:password@host:port, or %s and %s set", m, Scheme, EnvUser, EnvPassword)
		}
	}
	if v := values.Get("timeout"); v != "" {
		d, err := time.ParseDuration(v)
		if err != nil || d <= 0 {
			p.mistake("timeout=%s, want a time span such as 60s", v)
		}
		p.o.Timeout = d
	}
	if v := values.Get("replication"); v != "" {
		n, err := strconv.Atoi(v)
		if err != nil || n < 1 || n > math.MaxInt16 {
			p.mistake("replication=%s, want a number from 1 on", v)
		}
		p.o.ReplicationFactor = n
	}
}

// tls reads the settings of TLS; any of them turns it on.
func (p *urlParser) tls(values url.Values) {
	on := p.flag(values, "tls")
	c := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: values.Get("server-name"), InsecureSkipVerify: p.flag(values, "skip-verify")}
	if name := values.Get("ca"); name != "" {
		pem, err := os.ReadFile(name)
		c.RootCAs = x509.NewCertPool()
		if err != nil {
			p.mistake("ca: %w", err)
		} else if !c.RootCAs.AppendCertsFromPEM(pem) {
			p.mistake("ca: no certificate in %s, want PEM", name)
		}
	}
	cert, key := values.Get("cert"), values.Get("key")
	switch {
	case cert != "" && key != "":
		pair, err := tls.LoadX509KeyPair(cert, key)
		if err != nil {
			p.mistake("cert and key: %w", err)
		}
		c.Certificates = []tls.Certificate{pair}
	case cert != "" || key != "":
		p.mistake("cert and key belong together: one of them is missing")
	}
	if on || c.ServerName != "" || c.InsecureSkipVerify || c.RootCAs != nil || c.Certificates != nil {
		if values.Get("tls") != "" && !on {
			p.mistake("tls=false does not go with the other settings of TLS")
		}
		p.o.TLS = c
	}
}

func (p *urlParser) flag(values url.Values, name string) bool {
	v := values.Get(name)
	if v == "" {
		return false
	}
	b, err := strconv.ParseBool(v)
	if err != nil {
		p.mistake("%s=%s, want true or false", name, v)
	}
	return b
}
