package log

import (
	"bytes"
	"encoding/json"
	"fmt"
	"hash/crc32"
)

// The meta file holds what changes seldom: who this log is, its topics, and how
// far each partition is known to be safe without the journal. It is one line
// that names the format, the checksum and the length, then JSON:
//
//	grete-meta 1 crc32c 0f3a9c11 length 1234
//	{ ... }
//
// It is replaced as a whole (write aside, sync, rename, sync directory).
const (
	metaFileName = "meta.json"
	metaMagic    = "grete-meta"
	metaVersion  = 1
)

// meta is the content of the meta file.
type meta struct {
	ClusterID string `json:"cluster_id"`
	// Boot counts the opens of the directory; it is the high half of epochs.
	Boot int64 `json:"boot"`
	// LeaderEpoch rises when the directory is opened after a crash.
	LeaderEpoch int32 `json:"leader_epoch"`
	// Journal is a journal file number above all that were ever used.
	Journal int64 `json:"journal"`
	// Sync is the sync policy's mode since this meta was first stored by an Open:
	// what the journal has lost tells nothing about damage unless it is SyncGroup.
	Sync SyncMode `json:"sync"`
	// Sequence is that of the last journal entry whose effects are all synced.
	Sequence uint64      `json:"sequence"`
	Topics   []metaTopic `json:"topics"`
}

type metaTopic struct {
	Name       string            `json:"name"`
	ID         TopicID           `json:"id"`
	Internal   bool              `json:"internal,omitempty"`
	Configs    map[string]string `json:"configs,omitempty"`
	Partitions []metaPartition   `json:"partitions"`
}

// metaPartition says how far a partition is safe.
// Invariant: everything below Recovery is synced in the segments.
type metaPartition struct {
	Start    Offset `json:"start"`
	Recovery Offset `json:"recovery"`
	// Position of Recovery in the last of Segments, in bytes.
	Position int64         `json:"position"`
	Segments []metaSegment `json:"segments,omitempty"`
	// Compacted is where compaction goes on: below it every key is there once.
	Compacted Offset `json:"compacted,omitempty"`
	// Producers is nil if none was known at the recovery point.
	Producers *metaProducers `json:"producers,omitempty"`
}

// recoverySegment is the base of the segment that the recovery point is in or at
// the end of.
func (mp *metaPartition) recoverySegment() Offset {
	if n := len(mp.Segments); n > 0 {
		return mp.Segments[n-1].Base
	}
	return 0
}

// metaSegment is a segment as of the recovery point. All but the last are sealed.
type metaSegment struct {
	Base       Offset    `json:"base"`
	Bytes      int64     `json:"bytes"`
	MaxTime    Timestamp `json:"max_time"`
	AppendTime Timestamp `json:"append_time"`
	FirstTime  Timestamp `json:"first_append_time"`
	// Aborted is how many transactions the transaction index has at least.
	Aborted int `json:"aborted,omitempty"`
	// Swap names a file, complete and synced, that takes the place of the
	// segment's, if it is still there.
	Swap string `json:"swap,omitempty"`
}

func metaPath(fs FS, dir string) string { return fs.PathJoin(dir, metaDirName, metaFileName) }

// store makes m the meta of dir, durably.
func (m *meta) store(fs FS, dir string) error {
	body, err := json.Marshal(m)
	if err != nil {
		return fmt.Errorf("encode meta: %w", err)
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s %d crc32c %08x length %d\n", metaMagic, metaVersion, crc32.Checksum(body, castagnoli), len(body))
	b.Write(body)
	if err := replaceFile(fs, metaPath(fs, dir), b.Bytes()); err != nil {
		return fmt.Errorf("store meta: %w", err)
	}
	return nil
}

// loadMeta reads the meta of dir.
func loadMeta(fs FS, dir string) (*meta, error) {
	name := metaPath(fs, dir)
	data, err := readFile(fs, name)
	if err != nil {
		return nil, fmt.Errorf("load meta: %w", err)
	}
	m, err := decodeMeta(data)
	if err != nil {
		return nil, fmt.Errorf("load meta: %s: %w", name, err)
	}
	return m, nil
}

func decodeMeta(data []byte) (*meta, error) {
	line, body, _ := bytes.Cut(data, []byte("\n"))
	var version, length int
	var crc uint32
	if _, err := fmt.Sscanf(string(line), metaMagic+" %d crc32c %x length %d", &version, &crc, &length); err != nil {
		return nil, fmt.Errorf("%w: first line %.40q, want one that begins with %s", ErrCorrupt, line, metaMagic)
	}
	if version != metaVersion {
		return nil, fmt.Errorf("%w: meta version %d, want %d", ErrNewerFormat, version, metaVersion)
	}
	if length != len(body) {
		return nil, fmt.Errorf("%w: %d bytes, want %d", ErrCorrupt, len(body), length)
	}
	if got := crc32.Checksum(body, castagnoli); got != crc {
		return nil, fmt.Errorf("%w: crc %08x, want %08x", ErrCorrupt, got, crc)
	}
	m := new(meta)
	if err := json.Unmarshal(body, m); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return m, nil
}
