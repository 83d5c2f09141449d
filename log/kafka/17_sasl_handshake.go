package kafka

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// SaslHandshake chooses how the client will say who it is. After version 0
// tokens follow as bare frames; after version 1, in SaslAuthenticate.
var saslHandshakeAPI = api{key: kmsg.SASLHandshake, min: 0, max: 1, open: true, handle: (*Server).saslHandshake}

func (s *Server) saslHandshake(_ context.Context, r *request) (kmsg.Response, error) {
	req := r.body.(*kmsg.SASLHandshakeRequest)
	resp := req.ResponseKind().(*kmsg.SASLHandshakeResponse)
	err := r.conn.choose(req.Mechanism)
	resp.ErrorCode, resp.SupportedMechanisms = code(err), s.opts.SASL
	if err != nil {
		s.m.count("kafka.auth.failed.handshake")
		return resp, nil
	}
	r.conn.raw.Store(req.Version == 0)
	return resp, nil
}
