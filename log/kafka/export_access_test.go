package kafka

import "context"

// SetUserFast is SetUser with as few iterations as clients take.
func (a *Access) SetUserFast(ctx context.Context, name, password string) error {
	var facts []fact
	for _, mechanism := range []string{ScramSHA256, ScramSHA512} {
		v, err := newVerifier(mechanism, password, minIterations)
		if err != nil {
			return err
		}
		facts = append(facts, userFact(name, mechanism, v))
	}
	return a.write(ctx, facts)
}
