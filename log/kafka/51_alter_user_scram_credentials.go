package kafka

import (
	"context"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// AlterUserScramCredentials sets and removes passwords. The client salts them:
// the server sees no password, and keeps less than what it is sent. What is
// asked for one user is done together, or not at all.
var alterUserSCRAMCredentialsAPI = api{key: kmsg.AlterUserSCRAMCredentials, min: 0, max: 0, handle: (*Server).alterUserSCRAMCredentials}

func (s *Server) alterUserSCRAMCredentials(ctx context.Context, r *request) (kmsg.Response, error) {
	req := r.body.(*kmsg.AlterUserSCRAMCredentialsRequest)
	resp := req.ResponseKind().(*kmsg.AlterUserSCRAMCredentialsResponse)
	refused := r.cluster(toAlter)
	var users []string
	facts, errs := map[string][]fact{}, map[string]error{}
	note := func(user string, mechanism int8, make func() (*verifier, error)) {
		if !slices.Contains(users, user) {
			users = append(users, user)
			errs[user] = refused
		}
		if errs[user] != nil {
			return
		}
		v, err := make()
		f := userFact(user, scramNumbers[mechanism], v)
		if slices.ContainsFunc(facts[user], func(g fact) bool { return g.key[2] == f.key[2] }) {
			err = problemf(kerr.DuplicateResource, "user %q is changed more than once", user)
		}
		errs[user] = err
		facts[user] = append(facts[user], f)
	}
	for i := range req.Deletions {
		d := &req.Deletions[i]
		note(d.Name, d.Mechanism, func() (*verifier, error) { return nil, s.checkDeletion(d) })
	}
	for i := range req.Upsertions {
		u := &req.Upsertions[i]
		note(u.Name, u.Mechanism, func() (*verifier, error) { return checkUpsertion(u) })
	}
	var all []fact
	for _, user := range users {
		if errs[user] == nil {
			all = append(all, facts[user]...)
		}
	}
	failed := s.access.write(ctx, all)
	for _, user := range users {
		err := errs[user]
		if err == nil {
			err = failed
		}
		if err == nil {
			s.logger.Info("credentials of a user changed", "by", r.conn.who.Load().principal, "user", user)
		}
		out := kmsg.NewAlterUserSCRAMCredentialsResponseResult()
		out.User = user
		out.ErrorCode, out.ErrorMessage = answerError(err)
		resp.Results = append(resp.Results, out)
	}
	return resp, nil
}

func (s *Server) checkDeletion(d *kmsg.AlterUserSCRAMCredentialsRequestDeletion) error {
	mechanism, err := scramNumbered(d.Mechanism)
	if err != nil {
		return err
	}
	if _, has := s.access.state.Load().users[d.Name][mechanism]; !has {
		return problemf(kerr.ResourceNotFound, "user %q has no %s", d.Name, mechanism)
	}
	return nil
}

func checkUpsertion(u *kmsg.AlterUserSCRAMCredentialsRequestUpsertion) (*verifier, error) {
	mechanism, err := scramNumbered(u.Mechanism)
	if err != nil {
		return nil, err
	}
	if err := CheckUserName(u.Name); err != nil {
		return nil, problemf(kerr.UnacceptableCredential, "%v", err)
	}
	if u.Iterations < minIterations || u.Iterations > maxIterations {
		return nil, problemf(kerr.UnacceptableCredential, "%d iterations, want %d to %d", u.Iterations, minIterations, maxIterations)
	}
	if len(u.Salt) == 0 || len(u.Salt) > maxSaltBytes || len(u.SaltedPassword) != scramHash(mechanism)().Size() {
		return nil, problemf(kerr.UnacceptableCredential, "salt of %d bytes and salted password of %d, want 1 to %d and %d", len(u.Salt), len(u.SaltedPassword), maxSaltBytes, scramHash(mechanism)().Size())
	}
	// The request's bytes are gone after the answer.
	return saltedVerifier(mechanism, slices.Clone(u.Salt), u.SaltedPassword, int(u.Iterations)), nil
}

func scramNumbered(number int8) (string, error) {
	if mechanism, ok := scramNumbers[number]; ok {
		return mechanism, nil
	}
	return "", problemf(kerr.UnsupportedSaslMechanism, "mechanism %d, want 1 (%s) or 2 (%s)", number, ScramSHA256, ScramSHA512)
}
