package kafka

import (
	"bytes"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// member is one member of a group, under the group's lock.
type member struct {
	id       string
	instance string // of a static member; empty: dynamic
	clientID string
	host     string

	sessionTimeout, rebalanceTimeout time.Duration

	protocols  []protocol // in order of preference
	assignment []byte     // what the leader gave it; never nil once it has one

	// deadline is when the member is taken for gone, unless it waits for the
	// answer to a Join or Sync.
	deadline time.Time
	// isNew until its first Join is answered: it may not wait for ever then.
	isNew bool

	joining chan<- *kmsg.JoinGroupResponse // nil: no Join waits
	syncing chan<- *kmsg.SyncGroupResponse // nil: no Sync waits
	// owesSync from the answer to Join until the member has sent Sync.
	owesSync bool
}

// protocol is a way of assigning partitions that a member knows.
type protocol struct {
	name     string
	metadata []byte
}

// static tells whether the member keeps its place while it is away.
func (m *member) static() bool { return m.instance != "" }

// touch is called whenever the member is heard of.
func (m *member) touch(now time.Time) { m.deadline = now.Add(m.sessionTimeout) }

// due tells whether the member has been silent for too long.
func (m *member) due(now time.Time) bool {
	return !m.deadline.After(now) && (m.isNew || m.joining == nil && m.syncing == nil)
}

// metadata is what the member says under a protocol; nil if it does not know it.
func (m *member) metadata(name string) []byte {
	for _, p := range m.protocols {
		if p.name == name {
			return p.metadata
		}
	}
	return nil
}

// matches tells whether the member has said just the same before.
func (m *member) matches(protocols []protocol) bool {
	if len(protocols) != len(m.protocols) {
		return false
	}
	for i, p := range protocols {
		if m.protocols[i].name != p.name || !bytes.Equal(m.protocols[i].metadata, p.metadata) {
			return false
		}
	}
	return true
}

// instanceID is the form of the static id in messages.
func (m *member) instanceID() *string {
	return nullable(m.instance)
}
