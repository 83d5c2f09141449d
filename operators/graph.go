package operators

// Graph is a job under construction: it holds the steps that Build declares and
// collects mistakes, to be reported all at once. It never panics.
type Graph struct{}
