package kafka

import "context"

// SetUserFast is SetUser with so few iterations that tests need not wait.
func (a *Access) SetUserFast(ctx context.Context, name, password string) error {
	var facts []fact
	for _, mechanism := range []string{ScramSHA256, ScramSHA512} {
		v, err := newVerifier(mechanism, password, 16)
		if err != nil {
			return err
		}
		facts = append(facts, userFact(name, mechanism, v))
	}
	return a.write(ctx, facts)
}
