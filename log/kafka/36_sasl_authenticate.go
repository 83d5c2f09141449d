package kafka

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// SaslAuthenticate carries the tokens of the mechanism that SaslHandshake has
// chosen. From version 1 on the answer tells how long the session will last: a
// client that wants to stay begins again before that.
var saslAuthenticateAPI = api{key: kmsg.SASLAuthenticate, min: 0, max: 2, open: true, handle: (*Server).saslAuthenticate}

func (s *Server) saslAuthenticate(ctx context.Context, r *request) (kmsg.Response, error) {
	req := r.body.(*kmsg.SASLAuthenticateRequest)
	resp := req.ResponseKind().(*kmsg.SASLAuthenticateResponse)
	reply, done, err := r.conn.token(ctx, req.SASLAuthBytes)
	if err != nil {
		resp.ErrorCode, resp.ErrorMessage = answerError(err)
		r.last = true
		return resp, nil
	}
	resp.SASLAuthBytes = reply
	if done {
		resp.SessionLifetimeMillis = r.conn.session().Milliseconds()
	}
	return resp, nil
}
