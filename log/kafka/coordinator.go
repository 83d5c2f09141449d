package kafka

import (
	"hash/maphash"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/gretestream/grete/log"
)

// coordinator keeps the groups of the server: see group for how their members
// agree, and groupstore.go for what of it is stored.
//
// Three kinds of groups have committed offsets: those whose members have joined
// over the protocol or that were committed to by a consumer on its own, which
// the coordinator knows; and those of the engine (log.Log's Join and Commit),
// which only the log knows. The latter are shown, and left alone: their offsets
// never expire, and nobody joins them over the protocol while the engine does.
type coordinator struct {
	log    *log.Embedded
	opts   *Options
	logger hclog.Logger
	m      *counters
	// configs are what is set of a group; see groupAlterables.
	configs func(group string) map[string]string

	mu     sync.Mutex // guards groups; taken after a group's
	groups map[string]*group

	// offsets keep commits of offsets and their deletion apart, by group: see
	// offsetsOf. Taken before all other locks.
	offsets [64]sync.RWMutex
	seed    maphash.Seed

	held atomic.Int64 // bytes, of all groups

	closed atomic.Bool
	timers sync.WaitGroup // those that are armed or run
}

// newCoordinator knows the groups that are stored.
func newCoordinator(s *Server) (*coordinator, error) {
	c := &coordinator{log: s.opts.Log, opts: &s.opts, logger: s.logger, m: &s.m, configs: s.setOfGroup, groups: map[string]*group{}, seed: maphash.MakeSeed()}
	if err := c.load(); err != nil {
		return nil, err
	}
	c.registerGauges(s.opts.Metrics)
	return c, nil
}

// offsetsOf is the lock of a group's offsets. Who commits some has it for reading,
// from the question whether that may be until they are stored; who deletes some,
// for writing. So nothing is committed to a group that was found fit for it and
// has been deleted meanwhile, and nothing deleted that is new. Groups share locks.
func (c *coordinator) offsetsOf(group string) *sync.RWMutex {
	return &c.offsets[maphash.String(c.seed, group)%uint64(len(c.offsets))]
}

func (c *coordinator) now() time.Time { return c.opts.Now() }

func (c *coordinator) isClosed() bool { return c.closed.Load() }

// close ends all timers. No request runs any more.
func (c *coordinator) close() {
	c.closed.Store(true)
	for _, g := range c.all() {
		g.mu.Lock()
		g.stopTimer()
		g.mu.Unlock()
	}
	c.timers.Wait()
}

// after calls f in d, unless stopTimer comes first.
func (c *coordinator) after(d time.Duration, f func()) *time.Timer {
	c.timers.Add(1)
	return time.AfterFunc(d, func() {
		defer c.timers.Done()
		f()
	})
}

func (c *coordinator) stopTimer(t *time.Timer) {
	if t.Stop() {
		c.timers.Done()
	}
}

// lookup returns a group with its lock held, or nil if the coordinator does not
// know it.
func (c *coordinator) lookup(name string) *group {
	c.mu.Lock()
	g := c.groups[name]
	c.mu.Unlock()
	if g == nil {
		return nil
	}
	g.mu.Lock()
	if g.state == groupDead { // removed meanwhile
		g.mu.Unlock()
		return nil
	}
	return g
}

// ensure is lookup that makes the group if there is none.
func (c *coordinator) ensure(name string) *group {
	for {
		c.mu.Lock()
		if c.groups[name] == nil {
			c.groups[name] = newGroup(c, name)
		}
		c.mu.Unlock()
		if g := c.lookup(name); g != nil {
			return g
		}
	}
}

// all are the groups at this moment, by name.
func (c *coordinator) all() []*group {
	c.mu.Lock()
	defer c.mu.Unlock()
	list := make([]*group, 0, len(c.groups))
	for _, name := range slices.Sorted(maps.Keys(c.groups)) {
		list = append(list, c.groups[name])
	}
	return list
}

// drop removes a group, whose lock is held.
func (c *coordinator) drop(g *group) {
	g.become(groupDead)
	g.stopTimer()
	c.mu.Lock()
	delete(c.groups, g.name)
	c.mu.Unlock()
	g.hold(-g.held)
}

// dropIfUnused removes a group that nothing has come of: its lock is held.
func (c *coordinator) dropIfUnused(g *group) {
	if g.state == groupEmpty && !g.stored && len(g.pending) == 0 {
		c.drop(g)
	}
}
