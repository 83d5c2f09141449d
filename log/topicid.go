package log

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
)

// newTopicID returns an id that no topic has had. Like Kafka's it never begins
// with a dash, which command lines would take for an option.
func newTopicID() TopicID {
	for {
		var id TopicID
		if _, err := rand.Read(id[:]); err != nil {
			panic(fmt.Sprintf("no random bytes: %v", err)) // crypto/rand never fails on a supported system
		}
		if id.String()[0] != '-' {
			return id
		}
	}
}

// String is Kafka's form: 22 characters of URL-safe base64.
func (id TopicID) String() string { return base64.RawURLEncoding.EncodeToString(id[:]) }

// MarshalText is String.
func (id TopicID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText reads what MarshalText writes.
func (id *TopicID) UnmarshalText(b []byte) error {
	parsed, err := ParseTopicID(string(b))
	*id = parsed
	return err
}

// ParseTopicID reads what String writes.
func ParseTopicID(s string) (id TopicID, err error) {
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil || len(b) != len(id) {
		return TopicID{}, fmt.Errorf("topic id %q, want 22 characters of base64", s)
	}
	copy(id[:], b)
	return id, nil
}
