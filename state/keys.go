package state

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/gretestream/grete/log"
)

// Keys of Pebble, drawn in doc.go.

const (
	storeIDSize = 4 // bytes before each key

	// ownID is the store id under which the database keeps its own records.
	ownID = 0xffffffff

	kindIdentity = 0
	kindPosition = 1
	kindMeta     = 2

	recordVersion = 1 // first byte of the values of own records

	identityMinSize = 1 + 8              // version 1 · generation 8 · cluster id
	positionSize    = 1 + 16 + 8 + 8 + 4 // version 1 · topic id 16 · offset 8 · time 8 · partition 4
)

var (
	identityKey = []byte{0xff, 0xff, 0xff, 0xff, kindIdentity}
	metaKey     = []byte{0xff, 0xff, 0xff, 0xff, kindMeta}
	positionLo  = []byte{0xff, 0xff, 0xff, 0xff, kindPosition}
	positionHi  = []byte{0xff, 0xff, 0xff, 0xff, kindPosition + 1}
)

// appendStoreID appends the prefix of all keys of a store.
func appendStoreID(dst []byte, id uint32) []byte { return binary.BigEndian.AppendUint32(dst, id) }

// storeID reads what appendStoreID wrote.
func storeID(b []byte) uint32 { return binary.BigEndian.Uint32(b) }

// positionKey is where the position of a store is kept.
func positionKey(id uint32) []byte {
	return appendStoreID(positionLo[:len(positionLo):len(positionLo)], id)
}

// identity says whose state a database holds.
type identity struct {
	generation int64
	cluster    string
}

func (i identity) encode() []byte {
	b := binary.BigEndian.AppendUint64([]byte{recordVersion}, uint64(i.generation))
	return append(b, i.cluster...)
}

func decodeIdentity(b []byte) (identity, error) {
	if len(b) < identityMinSize || b[0] != recordVersion {
		return identity{}, fmt.Errorf("identity record %x: want version %d and at least %d bytes", b, recordVersion, identityMinSize)
	}
	return identity{generation: int64(binary.BigEndian.Uint64(b[1:])), cluster: string(b[9:])}, nil
}

// position is up to where a store stands for its changelog.
type position struct {
	topic     log.TopicID
	partition int32
	offset    log.Offset // exclusive: the first that is not in the store
	// at is when the store was last known to stand at the end of its changelog,
	// in ms: any tombstone beyond offset is younger. See DeleteRetention.
	at log.Timestamp
}

// age is how long ago the position was the changelog's end.
func (p position) age(now time.Time) time.Duration { return now.Sub(p.at.Time()) }

func (p position) appendTo(b []byte) []byte {
	b = append(b, recordVersion)
	b = append(b, p.topic[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(p.offset))
	b = binary.BigEndian.AppendUint64(b, uint64(p.at))
	return binary.BigEndian.AppendUint32(b, uint32(p.partition))
}

func decodePosition(b []byte) (p position, err error) {
	if len(b) != positionSize || b[0] != recordVersion {
		return p, fmt.Errorf("position record %x: want version %d and %d bytes", b, recordVersion, positionSize)
	}
	copy(p.topic[:], b[1:])
	p.offset = log.Offset(binary.BigEndian.Uint64(b[17:]))
	p.at = log.Timestamp(binary.BigEndian.Uint64(b[25:]))
	p.partition = int32(binary.BigEndian.Uint32(b[33:]))
	return p, nil
}

// prefixEnd is the smallest key after all that begin with prefix; nil if there
// is none.
func prefixEnd(prefix []byte) []byte {
	for i := len(prefix) - 1; i >= 0; i-- {
		if prefix[i] != 0xff {
			end := append([]byte(nil), prefix[:i+1]...)
			end[i]++
			return end
		}
	}
	return nil
}
