package kafka

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// saslState is where a connection stands in saying who it is. The writer owns it.
//
//	        SaslHandshake             token                     last token
//	(none) ──────────────► chosen ───────────────► begun ──────────────────► (none)
//	                         └──────────── PLAIN ──────────────────────────►
//
// A failure ends the connection. Once it is over it may begin again: to prove
// that the client still is who it was (KIP-368).
type saslState struct {
	mechanism string       // chosen, or ""
	scram     *scramServer // begun, or nil
}

const (
	nonceBytes = 18
	// maxSASLBytes bounds a request before authentication: strangers share the
	// memory for small frames only. Kafka's sasl.server.max.receive.size is 512 KiB,
	// for tokens of kinds that are not served.
	maxSASLBytes = smallFrame
)

// choose begins with a mechanism.
func (c *conn) choose(mechanism string) error {
	switch {
	case len(c.s.opts.SASL) == 0:
		return problemf(kerr.IllegalSaslState, "SASL is not served here")
	case !slices.Contains(c.s.opts.SASL, mechanism):
		return problemf(kerr.UnsupportedSaslMechanism, "mechanism %q, want %s", clip(mechanism), strings.Join(c.s.opts.SASL, " or "))
	}
	c.sasl = saslState{mechanism: mechanism}
	return nil
}

// token takes a client's message and returns the server's. done tells that the
// client is known from now on.
func (c *conn) token(ctx context.Context, msg []byte) (reply []byte, done bool, err error) {
	state := c.sasl
	if state.mechanism == "" {
		return nil, false, problemf(kerr.IllegalSaslState, "a token of SASL without a handshake before")
	}
	user, text, done, err := c.exchange(ctx, string(msg))
	if err == nil && done {
		err = c.become(user, state.mechanism)
	}
	if err != nil {
		c.sasl = saslState{}
		host := c.who.Load().host
		if !errors.Is(err, errAuth) {
			c.s.logger.Debug("authentication failed", "client", host, "mechanism", state.mechanism, "err", err)
		}
		c.s.authFailed(ctx, host, strings.ToLower(state.mechanism), user)
		// Which part of it was wrong is not the client's to know.
		return nil, false, problemf(kerr.SaslAuthenticationFailed, "authentication failed: %v with mechanism %s", errAuth, state.mechanism)
	}
	return []byte(text), done, nil
}

// exchange does one step of a mechanism.
func (c *conn) exchange(ctx context.Context, msg string) (user, reply string, done bool, err error) {
	state := &c.sasl
	if state.mechanism == Plain {
		user, password, err := parsePlain(msg)
		if err == nil {
			err = c.checkPassword(ctx, user, password)
		}
		return user, "", true, err
	}
	if state.scram == nil {
		var ours [nonceBytes]byte
		_, _ = rand.Read(ours[:]) // never fails
		state.scram = &scramServer{mechanism: state.mechanism}
		reply, err = state.scram.start(msg, base64.RawStdEncoding.EncodeToString(ours[:]), func(user string) (*verifier, bool) {
			return c.s.access.verifierOf(user, state.mechanism)
		})
		return state.scram.user, reply, false, err
	}
	reply, err = state.scram.finish(msg)
	return state.scram.user, reply, true, err
}

// checkPassword is done by few connections at a time, since it is work.
func (c *conn) checkPassword(ctx context.Context, user, password string) error {
	if err := c.s.hashing.Acquire(ctx, 1); err != nil {
		return err
	}
	defer c.s.hashing.Release(1)
	if !c.s.access.CheckPassword(user, password) {
		return errAuth
	}
	return nil
}

// become makes the client somebody, or lets it stay who it is.
func (c *conn) become(user, mechanism string) error {
	old := c.who.Load()
	if old.user != "" && (old.user != user || old.mechanism != mechanism) {
		return errors.New("a connection cannot become somebody else's")
	}
	who := c.s.identify("User:"+user, old.host)
	who.user, who.mechanism = user, mechanism
	if c.s.opts.MaxSession > 0 {
		who.expires = c.s.opts.Now().Add(c.s.opts.MaxSession)
	}
	c.who.Store(who)
	c.sasl = saslState{}
	c.s.failures.forget(old.host)
	c.s.m.count("kafka.auth.succeeded." + strings.ToLower(mechanism))
	return nil
}

// session is how long the client's identity holds from now on; 0: for ever.
func (c *conn) session() time.Duration {
	who := c.who.Load()
	if who.expires.IsZero() {
		return 0
	}
	return max(0, who.expires.Sub(c.s.opts.Now()))
}

// rawTokenAPI stands for frames that hold nothing but a token: after a
// SaslHandshake of version 0 they come without headers, and are answered so.
var rawTokenAPI = api{open: true, key: kmsg.SASLAuthenticate}

// answerRaw answers a frame that is nothing but a token.
func (c *conn) answerRaw(r *request) error {
	reply, done, err := c.token(c.ctx, r.frame)
	if err != nil {
		return refusef("authentication-failed", "%w", err)
	}
	if done {
		c.raw.Store(false)
	}
	return c.sendRaw(reply)
}
