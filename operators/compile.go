package operators

// Compile runs build on a new graph and cuts what it declared into stages, in an
// order in which every repartition is written by an earlier stage than the one
// that reads it. All mistakes in the graph come back in one error, in words.
func Compile(build func(*Graph)) ([]*Stage, error) {
	g, err := Build(build)
	if err != nil {
		return nil, err
	}
	return g.Stages(), nil
}
