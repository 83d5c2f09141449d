package operators

// SmallCommits makes closing windows stop after a few keys, and returns what
// undoes it.
func SmallCommits() (undo func()) {
	bytes, step := closeBytes, closeStep
	closeBytes, closeStep = 100, 2
	return func() { closeBytes, closeStep = bytes, step }
}
