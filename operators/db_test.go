package operators_test

import (
	op "github.com/gretestream/grete/operators"
	"github.com/gretestream/grete/state"
)

func (r *runner) openDB(s *op.Stage) *state.DB { return nil }
func (r *runner) apply(stage int)              {}
