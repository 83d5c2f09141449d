package kafka

import (
	"slices"
	"strings"
)

// Quotas are stored and told as Kafka's tools set them. Those of bytes are kept
// to (throttle.go); the others are limits of things that a broker of many is
// short of, and are refused rather than kept and ignored.

// quotaLimits are the limits that can be set.
var quotaLimits = []string{producerByteRate, consumerByteRate}

const (
	producerByteRate = "producer_byte_rate" // bytes a second
	consumerByteRate = "consumer_byte_rate" //
)

// quotaEntity is one part of what a quota is for: a user or a client id, or the
// default of all of those.
type quotaEntity struct {
	kind      string // "user" or "client-id"
	name      string
	isDefault bool
}

// String is the entity in a record's key.
func (e quotaEntity) String() string {
	if e.isDefault {
		return e.kind
	}
	return e.kind + "=" + e.name
}

func parseQuotaEntity(s string) quotaEntity {
	kind, name, named := strings.Cut(s, "=")
	return quotaEntity{kind, name, !named}
}

// entityKey is what a list of entities is found by: in order of kinds.
func entityKey(entities []quotaEntity) string {
	parts := make([]string, len(entities))
	for i, e := range entities {
		parts[i] = e.String()
	}
	slices.Sort(parts)
	return strings.Join(parts, "\x00")
}

func (k quotaKey) entities() []quotaEntity {
	var list []quotaEntity
	for part := range strings.SplitSeq(k.entity, "\x00") {
		list = append(list, parseQuotaEntity(part))
	}
	return list
}

// quota returns the limit of a user and client, by Kafka's order, and with whom
// it is shared: what is set for both first, then for the user, then for the
// client; names before defaults.
func (s *accessState) quota(limit, user, client string) (rate float64, share quotaShare, ok bool) {
	u, c := quotaEntity{kind: "user", name: user}, quotaEntity{kind: "client-id", name: client}
	du, dc := quotaEntity{kind: "user", isDefault: true}, quotaEntity{kind: "client-id", isDefault: true}
	for i, entities := range [][]quotaEntity{{u, c}, {u, dc}, {u}, {du, c}, {du, dc}, {du}, {c}, {dc}} {
		v, ok := s.quotas[quotaKey{limit, entityKey(entities)}]
		if !ok {
			continue
		}
		share := quotaShare{limit, user, client}
		switch {
		case i >= 6:
			share.user = ""
		case len(entities) == 1:
			share.client = ""
		}
		return v, share, true
	}
	return 0, quotaShare{}, false
}
