package kafka

// TickGroups does what is due by Options.Now in all groups, as their timers would.
func (s *Server) TickGroups() {
	for _, g := range s.groups.all() {
		g.tick()
	}
}

// GroupWaiting tells in which state a group is, and how many of its members wait
// for others in Join.
func (s *Server) GroupWaiting(name string) (state string, waiting int) {
	g := s.groups.lookup(name)
	if g == nil {
		return "", 0
	}
	defer g.mu.Unlock()
	return g.state.String(), g.waiting
}

// ExpireOffsets forgets what is too old by Options.Now.
func (s *Server) ExpireOffsets() { s.groups.expire() }
