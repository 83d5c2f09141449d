package cli

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/rcrowley/go-metrics"
	"github.com/spf13/pflag"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gretestream/grete/log/kafka"
)

// security is how a server knows its clients. The zero value does not ask them.
type security struct {
	cert, key, clientCA string // files
	auth                []string
	supers              []string
	session             time.Duration

	certificate *reloaded[*tls.Certificate] // read by check; nil: none, and no TLS
	authorities *reloaded[*x509.CertPool]   // of clients; read by check; nil: none
}

const (
	authSCRAM = "scram"
	authPlain = "plain"
	authMTLS  = "mtls"
)

func (a *app) securityFlags(f *pflag.FlagSet) {
	s := &a.security
	f.StringVar(&s.cert, "tls-cert", "", "`file` with the server's certificate and those above it (PEM): Kafka clients and HTTP come by TLS; read again when it changes")
	f.StringVar(&s.key, "tls-key", "", "`file` with the key of that certificate (PEM)")
	f.StringVar(&s.clientCA, "tls-client-ca", "", "`file` with the authorities that certificates of clients are checked by (PEM), read again when it changes; with --auth mtls")
	f.Var(flagOf(a, "auth", &s.auth, func(text string) ([]string, error) {
		list := s.auth
		for v := range strings.SplitSeq(text, ",") {
			if v != authSCRAM && v != authPlain && v != authMTLS {
				return nil, fmt.Errorf("got %q, want scram, plain or mtls", v)
			}
			if !slices.Contains(list, v) {
				list = append(list, v)
			}
		}
		return list, nil
	}, func(list []string) string { return strings.Join(list, ",") }), "auth", "how clients say who they are: `scram`, plain or mtls, or several with commas; then only ACLs and super users let them do anything")
	a.listVar(f, &s.supers, "super-user", "`name` of a user who may do anything; may be repeated")
	a.durationVar(f, &s.session, "session", "how long an authentication by scram or plain lasts; default: as long as the connection")
}

// check notes all that is wrong with the flags, and reads the files.
func (s *security) check(a *app) {
	mtls := slices.Contains(s.auth, authMTLS)
	if (s.cert == "") != (s.key == "") {
		a.mistake("--tls-cert and --tls-key: want both or neither")
	}
	if mtls && s.clientCA == "" {
		a.mistake("--auth mtls: want --tls-client-ca, the authorities of the clients' certificates")
	}
	if s.clientCA != "" && !mtls {
		a.mistake("--tls-client-ca: want --auth mtls, or nobody is asked for a certificate")
	}
	if mtls && s.cert == "" && s.key == "" {
		a.mistake("--auth mtls: want --tls-cert and --tls-key")
	}
	if len(s.supers) > 0 && len(s.auth) == 0 {
		a.mistake("--super-user: want --auth, or nobody is known by name")
	}
	if s.session > 0 && len(s.mechanisms()) == 0 {
		a.mistake("--session: want --auth scram or plain")
	}
	var err error
	if s.clientCA != "" {
		if s.authorities, err = loadAuthorities(s.clientCA, a.now); err != nil {
			a.mistake("--tls-client-ca: %s: %v", s.clientCA, err)
		}
	}
	if s.cert != "" && s.key != "" {
		if s.certificate, err = loadCertificate(s.cert, s.key, a.now); err != nil {
			a.mistake("--tls-cert, --tls-key: %v", err)
		}
	}
}

// watch says where changed files are told and counted.
func (s *security) watch(logger hclog.Logger, registry metrics.Registry) {
	if s.certificate != nil {
		s.certificate.watch(logger, registry)
	}
	if s.authorities != nil {
		s.authorities.watch(logger, registry)
	}
}

// kafkaTLS is TLS for Kafka clients; nil: none.
func (s *security) kafkaTLS() *tls.Config { return s.tls(tls.RequireAndVerifyClientCert) }

// httpTLS is TLS for HTTP, where a password may take the place of a certificate.
func (s *security) httpTLS() *tls.Config { return s.tls(tls.VerifyClientCertIfGiven) }

// tls makes the TLS of a listener, which asks for certificates of clients in that
// way if there are authorities for them.
func (s *security) tls(ask tls.ClientAuthType) *tls.Config {
	if s.certificate == nil {
		return nil
	}
	config := &tls.Config{
		MinVersion:     tls.VersionTLS12,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return s.certificate.get(), nil },
	}
	if s.authorities == nil {
		return config
	}
	config.ClientAuth, config.ClientCAs = ask, s.authorities.get()
	current := config.Clone()
	config.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		now := current.Clone()
		now.ClientCAs = s.authorities.get()
		return now, nil
	}
	return config
}

// mechanisms are those of SASL.
func (s *security) mechanisms() []string {
	var list []string
	for _, v := range s.auth {
		switch v {
		case authSCRAM:
			list = append(list, kafka.ScramSHA256, kafka.ScramSHA512)
		case authPlain:
			list = append(list, kafka.Plain)
		}
	}
	return list
}

// superUsers are principals.
func (s *security) superUsers() []string {
	var list []string
	for _, name := range s.supers {
		list = append(list, principal(name))
	}
	return list
}

// principal is a user's name as ACLs have it.
func principal(name string) string {
	if strings.HasPrefix(name, "User:") {
		return name
	}
	return "User:" + name
}

// authorizer judges requests over HTTP by the users and ACLs of Kafka clients: to
// look takes the operation describe on the cluster, to change something alter. It
// is asked when Kafka clients are served.
func (d *dataDir) authorizer() func(*http.Request) int {
	s := &d.app.security
	if len(s.auth) == 0 || d.kafkaLog() == nil {
		return nil
	}
	return func(r *http.Request) int {
		host, _, err := net.SplitHostPort(r.RemoteAddr)
		if err != nil {
			return http.StatusUnauthorized
		}
		who := ""
		if r.TLS != nil && len(r.TLS.VerifiedChains) > 0 {
			who = "User:" + r.TLS.PeerCertificates[0].Subject.String()
		} else if user, password, ok := r.BasicAuth(); ok && len(s.mechanisms()) > 0 {
			if who, ok = d.kafka.Authenticate(r.Context(), host, user, password); !ok {
				return http.StatusUnauthorized
			}
		} else {
			return http.StatusUnauthorized
		}
		op := kmsg.ACLOperationAlter
		if r.Method == http.MethodGet || r.Method == http.MethodHead {
			op = kmsg.ACLOperationDescribe
		}
		if !d.kafka.Allowed(who, host, op) {
			return http.StatusForbidden
		}
		return 0
	}
}
