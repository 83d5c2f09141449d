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

// GroupSyncing tells how many members wait for the leader in Sync.
func (s *Server) GroupSyncing(name string) (n int) {
	g := s.groups.lookup(name)
	if g == nil {
		return 0
	}
	defer g.mu.Unlock()
	for _, m := range g.members {
		if m.syncing != nil {
			n++
		}
	}
	return n
}

// ExpireOffsets forgets what is too old by Options.Now.
func (s *Server) ExpireOffsets() { s.groups.expire() }

// Parked tells how many fetches wait for records.
func (s *Server) Parked() int { return int(s.parked.Load()) }

// Wakes tells how often one has looked again.
func (s *Server) Wakes() int { return int(s.wakes.Load()) }

// Cursors tells how many cursors the connections have open.
func (s *Server) Cursors() int { return int(s.cursors.Load()) }
