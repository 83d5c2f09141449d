package kafka

import (
	"context"
	"crypto/tls"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Who a client is comes from its certificate or from SASL (sasl.go); what it may
// do is asked by the handler of each API, by the functions at the end of this
// file. auth_test.go holds that each API asks.
//
// A server is guarded if clients must say who they are: then a resource without
// ACLs is closed to all but super users. Otherwise everybody is User:ANONYMOUS,
// and a resource without ACLs is open: Kafka's allow.everyone.if.no.acl.found.

// identity is who is at the other end of a connection. It does not change: a
// connection gets another one.
type identity struct {
	principal string // such as User:alice
	host      string // IP address
	super     bool
	user      string    // by SASL, or ""
	mechanism string    // of user
	expires   time.Time // when SASL is due again; zero: never
}

// guarded tells whether clients must say who they are.
func (o *Options) guarded() bool { return len(o.SASL) > 0 || o.asksCertificate() }

func (o *Options) asksCertificate() bool {
	return o.TLS != nil && o.TLS.ClientAuth == tls.RequireAndVerifyClientCert
}

// identify makes who somebody is.
func (s *Server) identify(principal, host string) *identity {
	return &identity{principal: principal, host: host, super: slices.Contains(s.opts.SuperUsers, principal)}
}

// greet finds out who has connected, as far as that is known before the first
// request; with TLS that takes a handshake.
func (c *conn) greet() error {
	principal := Anonymous
	if tc, ok := c.nc.(*tls.Conn); ok {
		ctx, cancel := context.WithTimeout(c.ctx, c.s.opts.MaxHandshake)
		defer cancel()
		if err := tc.HandshakeContext(ctx); err != nil {
			return refusef("tls-handshake", "TLS handshake: %w", err)
		}
		if certs := tc.ConnectionState().PeerCertificates; len(certs) > 0 && len(tc.ConnectionState().VerifiedChains) > 0 {
			principal = "User:" + certs[0].Subject.String()
		}
	}
	c.who.Store(c.s.identify(principal, c.address))
	return nil
}

// authenticated tells whether the client has said who it is, or need not.
func (c *conn) authenticated() bool {
	return len(c.s.opts.SASL) == 0 || c.who.Load().user != ""
}

// admit tells whether a request may be looked at now.
func (c *conn) admit(r *request) error {
	who := c.who.Load()
	switch {
	case r.open:
		return nil
	case !c.authenticated():
		return refusef("not-authenticated", "%s before authentication", r.key.Name())
	case !who.expires.IsZero() && c.s.opts.Now().After(who.expires):
		return refusef("session-expired", "%s after the session of %s has ended, without authentication again", r.key.Name(), who.principal)
	}
	return nil
}

// userGone ends the connections of users that were removed.
func (s *Server) userGone() {
	users := s.access.state.Load().users
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		if who := c.who.Load(); who != nil && who.user != "" && users[who.user] == nil {
			s.m.closed("user-removed")
			s.logger.Info("connection of a removed user ended", "user", who.user, "client", who.host)
			c.close()
		}
	}
}

// Authenticate checks a user's password, for those who ask by other means than
// Kafka's. It waits a while after failures of an address, and counts them.
func (s *Server) Authenticate(ctx context.Context, host, user, password string) (principal string, ok bool) {
	if err := s.hashing.Acquire(ctx, 1); err != nil {
		return "", false
	}
	ok = s.access.CheckPassword(user, password)
	s.hashing.Release(1)
	if !ok {
		s.authFailed(ctx, host, "password", user)
		return "", false
	}
	s.failures.forget(host)
	return "User:" + user, true
}

// Allowed tells whether a principal may do something to the cluster as a whole.
func (s *Server) Allowed(principal, host string, op kmsg.ACLOperation) bool {
	return s.allowed(s.identify(principal, host), op, kmsg.ACLResourceTypeCluster, ClusterName)
}

// allowed is the authorizer.
func (s *Server) allowed(who *identity, op kmsg.ACLOperation, kind kmsg.ACLResourceType, name string) bool {
	if kind == kmsg.ACLResourceTypeTopic && name == accessTopic {
		return false // verifiers are nobody's to read
	}
	if who.super {
		return true
	}
	switch s.access.state.Load().acls.judge(who.principal, who.host, op, kind, name) {
	case noACL:
		return !s.opts.guarded()
	case allowed:
		return true
	}
	s.m.count("kafka.refused." + lower(op) + "-" + lower(kind))
	return false
}

// What may be done to a resource, by Kafka's names. To read, write, delete or
// alter something includes to describe it.
const (
	toRead              = kmsg.ACLOperationRead
	toWrite             = kmsg.ACLOperationWrite
	toCreate            = kmsg.ACLOperationCreate
	toDelete            = kmsg.ACLOperationDelete
	toAlter             = kmsg.ACLOperationAlter
	toDescribe          = kmsg.ACLOperationDescribe
	toDescribeConfigs   = kmsg.ACLOperationDescribeConfigs
	toAlterConfigs      = kmsg.ACLOperationAlterConfigs
	toActAsCluster      = kmsg.ACLOperationClusterAction
	toWriteIdempotently = kmsg.ACLOperationIdempotentWrite
)

// The questions of handlers: nil, or the error that Kafka has for it.

// topic asks whether the client may do something to a topic.
func (r *request) topic(op kmsg.ACLOperation, name string) error {
	return r.ask(op, kmsg.ACLResourceTypeTopic, name, kerr.TopicAuthorizationFailed)
}

// group asks whether the client may do something to a consumer group.
func (r *request) group(op kmsg.ACLOperation, name string) error {
	return r.ask(op, kmsg.ACLResourceTypeGroup, name, kerr.GroupAuthorizationFailed)
}

// transactionalID asks whether the client may do something to a transactional id.
func (r *request) transactionalID(op kmsg.ACLOperation, id string) error {
	return r.ask(op, kmsg.ACLResourceTypeTransactionalId, id, kerr.TransactionalIDAuthorizationFailed)
}

// cluster asks whether the client may do something to the cluster as a whole.
func (r *request) cluster(op kmsg.ACLOperation) error {
	return r.ask(op, kmsg.ACLResourceTypeCluster, ClusterName, kerr.ClusterAuthorizationFailed)
}

func (r *request) ask(op kmsg.ACLOperation, kind kmsg.ACLResourceType, name string, no *kerr.Error) error {
	if r.conn.s.allowed(r.conn.who.Load(), op, kind, name) {
		return nil
	}
	return no
}

// anyTopic asks whether there is a topic that the client may do something to.
func (r *request) anyTopic(op kmsg.ACLOperation) error {
	s, who := r.conn.s, r.conn.who.Load()
	if who.super {
		return nil
	}
	switch s.access.state.Load().acls.judgeAny(who.principal, who.host, op, kmsg.ACLResourceTypeTopic) {
	case noACL:
		if !s.opts.guarded() {
			return nil
		}
	case allowed:
		return nil
	}
	return kerr.TopicAuthorizationFailed
}

// create asks whether the client may make a topic: this one, or any.
func (r *request) create(name string) error {
	if r.cluster(toCreate) == nil {
		return nil
	}
	return r.topic(toCreate, name)
}

// operations are those that the client may do to a resource, as a bit field by
// Kafka's numbers.
func (r *request) operations(kind kmsg.ACLResourceType, name string) int32 {
	var bits int32
	for _, op := range operationsOf[kind] {
		if r.conn.s.allowed(r.conn.who.Load(), op, kind, name) {
			bits |= 1 << op
		}
	}
	return bits
}

// authFailed counts and tells of a failure, and waits: longer for each further
// one of an address. It holds up nothing but the caller.
func (s *Server) authFailed(ctx context.Context, host, mechanism, user string) {
	s.m.count("kafka.auth.failed." + mechanism)
	s.logger.Warn("authentication failed", "client", host, "mechanism", mechanism, "user", clip(user))
	wait := s.failures.next(host, s.opts.Now())
	if wait > s.opts.MaxAuthDelay {
		wait = s.opts.MaxAuthDelay
	}
	if wait <= 0 {
		return
	}
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-t.C:
	case <-s.stopping:
	case <-ctx.Done():
	}
}

// clip shortens what a client has sent for a line of the log.
func clip(s string) string {
	const most = 64
	if len(s) > most {
		return fmt.Sprintf("%.64q…", s)
	}
	return s
}
