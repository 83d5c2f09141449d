package kafka

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/rcrowley/go-metrics"

	"github.com/gretestream/grete/log"
)

// Options of a Server. Only Log is needed.
type Options struct {
	// Log is what is served. It stays its owner's, who closes it after the server.
	Log *log.Embedded

	// Addr is host:port; port 0 takes a free one. "localhost" listens on both
	// families. Default: 127.0.0.1:0.
	Addr string
	// Advertised is the host:port that clients are told to connect to. Default:
	// the address by which the client has reached the server.
	Advertised string
	// Insecure allows an address that other machines can reach without
	// authentication.
	Insecure bool
	// TLS, if set, encrypts all connections. With RequireAndVerifyClientCert, who
	// a client is comes from its certificate: User: and the subject, such as
	// User:CN=alice.
	TLS *tls.Config
	// SASL are the mechanisms by which clients must say who they are: ScramSHA256,
	// ScramSHA512, Plain. Default: none, they need not.
	SASL []string
	// SuperUsers are principals that may do anything, such as User:admin.
	SuperUsers []string
	// MaxSession is how long an authentication by SASL lasts. Default: as long as
	// the connection.
	MaxSession time.Duration
	// MaxHandshake is how long a client may take to say who it is. Default: 10 s.
	MaxHandshake time.Duration
	// MaxAuthDelay bounds how long an answer is held back after failures of an
	// address: 100 ms, and twice as long each time. Default: 3 s; negative: not
	// at all.
	MaxAuthDelay time.Duration

	// NodeID is the broker id that clients are told.
	NodeID int32
	// DefaultPartitions is for topics that are created by being named. Default: 4.
	DefaultPartitions int
	// StrictReplication refuses topics of more than one replica, as a Kafka of
	// one broker does. Without it they are made with one.
	StrictReplication bool
	// NoAutoCreate refuses to create topics by being named.
	NoAutoCreate bool

	// MaxRequestBytes bounds one request. Default: 100 MiB, as in Kafka.
	MaxRequestBytes int
	// MaxQueuedBytes bounds the requests of all connections that have been read
	// and not answered, in bytes. Default: 256 MiB.
	MaxQueuedBytes int64
	// MaxInFlight bounds the requests of one connection that have been read and
	// not answered. Default: 64.
	MaxInFlight int
	// MaxConnections bounds the connections. Default: 10,000.
	MaxConnections int
	// MaxConnectionsPerIP bounds the connections of one address. Default: as many
	// as there may be at all.
	MaxConnectionsPerIP int
	// MaxIdle is how long a connection may stay silent. Default: 10 minutes.
	MaxIdle time.Duration
	// MaxWrite is how long a client may take to read one answer, or a MiB of one
	// that is larger, and to send a request, with a second more for each MiB.
	// Default: 30 s.
	MaxWrite time.Duration
	// RebalanceDelay is how long the first members of a new group wait for more.
	// Default: 0; Kafka's is 3 s.
	RebalanceDelay time.Duration
	// MinSessionTimeout and MaxSessionTimeout bound what members of groups may
	// ask for. Default: 6 s and 30 minutes, as in Kafka.
	MinSessionTimeout, MaxSessionTimeout time.Duration
	// MaxGroupSize bounds the members of a group. Default: 10,000.
	MaxGroupSize int
	// MaxMemberBytes bounds what one member of a group says when it joins, in all
	// protocols together, and what it is given. Kafka has no such bound but what a
	// record of its offsets topic takes, for the whole group, 1 MiB by default.
	// Default: 16 MiB.
	MaxMemberBytes int64
	// MaxGroupBytes bounds what all members of a group say and are given.
	// Default: 64 MiB.
	MaxGroupBytes int64
	// MaxGroupsBytes bounds the same of all groups: who joins then shall try again.
	// Default: 256 MiB.
	MaxGroupsBytes int64
	// OffsetsRetention is how long the offsets of a group are kept that has no
	// members. Default: 7 days, as in Kafka; negative: for ever.
	OffsetsRetention time.Duration

	// Logger hears about connections and refusals. Default: none.
	Logger hclog.Logger
	// Metrics is where the server registers what it counts. Default: a registry
	// of its own.
	Metrics metrics.Registry
	// Now is the clock. Default: time.Now.
	Now func() time.Time
}

// EnsureDefaults fills in every field that is zero and returns o.
func (o *Options) EnsureDefaults() *Options {
	setDefault(&o.Addr, "127.0.0.1:0")
	setDefault(&o.DefaultPartitions, 4)
	setDefault(&o.MaxRequestBytes, 100<<20)
	setDefault(&o.MaxQueuedBytes, 256<<20)
	setDefault(&o.MaxInFlight, 64)
	setDefault(&o.MaxConnections, 10_000)
	setDefault(&o.MaxConnectionsPerIP, o.MaxConnections)
	setDefault(&o.MaxHandshake, 10*time.Second)
	setDefault(&o.MaxAuthDelay, 3*time.Second)
	setDefault(&o.MaxIdle, 10*time.Minute)
	setDefault(&o.MaxWrite, 30*time.Second)
	setDefault(&o.MinSessionTimeout, 6*time.Second)
	setDefault(&o.MaxSessionTimeout, 30*time.Minute)
	setDefault(&o.MaxGroupSize, 10_000)
	setDefault(&o.MaxMemberBytes, 16<<20)
	setDefault(&o.MaxGroupBytes, 64<<20)
	setDefault(&o.MaxGroupsBytes, 256<<20)
	setDefault(&o.OffsetsRetention, 7*24*time.Hour)
	if o.Logger == nil {
		o.Logger = hclog.NewNullLogger()
	}
	if o.Metrics == nil {
		o.Metrics = metrics.NewRegistry()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return o
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// Validate reports all mistakes at once. Defaults are in place.
func (o *Options) Validate() error {
	var errs []error
	want := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	want(o.Log != nil, "Log is nil, want the log to serve")
	host, _, err := splitHostPort(o.Addr)
	want(err == nil, "Kafka address %q: want HOST:PORT, such as 127.0.0.1:9092: %w", o.Addr, err)
	if err == nil && !o.Insecure && !isLoopback(host) {
		want(o.guarded(), "Kafka address %q can be reached from other machines without authentication: use 127.0.0.1, or --auth, or --insecure if the network is trusted", o.Addr)
		want(o.TLS != nil || !slices.Contains(o.SASL, Plain), "Kafka address %q can be reached from other machines, and %s would send passwords without TLS: use TLS or SCRAM, or --insecure if the network is trusted", o.Addr, Plain)
	}
	for _, m := range o.SASL {
		want(m == Plain || scramHash(m) != nil, "SASL mechanism %q, want %s, %s or %s", m, ScramSHA256, ScramSHA512, Plain)
	}
	for _, p := range o.SuperUsers {
		kind, name, _ := strings.Cut(p, ":")
		want(kind == "User" && name != "", "super user %q, want a principal such as User:admin", p)
	}
	want(o.MaxSession == 0 || o.MaxSession >= time.Second, "MaxSession is %v, want at least 1 s, or 0 for no end", o.MaxSession)
	want(o.MaxHandshake > 0, "MaxHandshake is %v, want more than 0", o.MaxHandshake)
	want(o.MaxConnectionsPerIP > 0, "MaxConnectionsPerIP is %d, want 1 or more", o.MaxConnectionsPerIP)
	if o.Advertised != "" {
		_, _, err := splitHostPort(o.Advertised)
		want(err == nil, "advertised address %q: want HOST:PORT: %w", o.Advertised, err)
	}
	want(o.NodeID >= 0, "NodeID is %d, want 0 or more", o.NodeID)
	want(o.DefaultPartitions > 0, "DefaultPartitions is %d, want 1 or more", o.DefaultPartitions)
	want(o.MaxRequestBytes >= 1<<10, "MaxRequestBytes is %d, want 1024 or more", o.MaxRequestBytes)
	want(o.MaxQueuedBytes >= 2*int64(o.MaxRequestBytes), "MaxQueuedBytes is %d, want at least twice MaxRequestBytes, which is %d", o.MaxQueuedBytes, o.MaxRequestBytes)
	want(o.MaxInFlight > 0, "MaxInFlight is %d, want 1 or more", o.MaxInFlight)
	want(o.MaxConnections > 0, "MaxConnections is %d, want 1 or more", o.MaxConnections)
	want(o.MaxIdle > 0, "MaxIdle is %v, want more than 0", o.MaxIdle)
	want(o.MaxWrite > 0, "MaxWrite is %v, want more than 0", o.MaxWrite)
	want(o.RebalanceDelay >= 0, "RebalanceDelay is %v, want 0 or more", o.RebalanceDelay)
	want(o.MinSessionTimeout > 0 && o.MinSessionTimeout <= o.MaxSessionTimeout, "MinSessionTimeout is %v, want more than 0 and at most MaxSessionTimeout, which is %v", o.MinSessionTimeout, o.MaxSessionTimeout)
	want(o.MaxGroupSize > 0, "MaxGroupSize is %d, want 1 or more", o.MaxGroupSize)
	want(o.MaxMemberBytes > 0 && o.MaxMemberBytes <= o.MaxGroupBytes, "MaxMemberBytes is %d, want 1 or more and at most MaxGroupBytes, which is %d", o.MaxMemberBytes, o.MaxGroupBytes)
	want(o.MaxGroupBytes <= o.MaxGroupsBytes, "MaxGroupBytes is %d, want at most MaxGroupsBytes, which is %d", o.MaxGroupBytes, o.MaxGroupsBytes)
	return errors.Join(errs...)
}

func splitHostPort(addr string) (host string, port int32, err error) {
	host, text, err := net.SplitHostPort(addr)
	if err != nil {
		return "", 0, err
	}
	n, err := strconv.ParseUint(text, 10, 16)
	return host, int32(n), err
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
