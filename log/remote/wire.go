package remote

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"

	"github.com/gretestream/grete/log"
)

const (
	// Prefix is where Handler serves and Dial asks.
	Prefix = "/internal/log/v1/"

	// MaxBody bounds the body of a request, in bytes. A Commit of the engine
	// takes 16 MiB at most.
	MaxBody = 64 << 20
	// maxHead bounds the JSON part of requests, in bytes.
	maxHead = 4 << 20

	headerEnd      = "Grete-End"      // of a fetch: the end of what may be read
	headerPosition = "Grete-Position" // of a fetch: where the next one goes on
)

// wireTopic is a log.Topic.
type wireTopic struct {
	Name       string            `json:"name"`
	ID         string            `json:"id"`
	Partitions int               `json:"partitions"`
	Configs    map[string]string `json:"configs,omitempty"`
	Internal   bool              `json:"internal,omitempty"`
}

func encodeTopic(t log.Topic) wireTopic {
	return wireTopic{
		Name: t.Name, ID: base64.RawURLEncoding.EncodeToString(t.ID[:]),
		Partitions: t.Partitions, Configs: t.Configs, Internal: t.Internal,
	}
}

func (w wireTopic) decode() (log.Topic, error) {
	t := log.Topic{Name: w.Name, Partitions: w.Partitions, Configs: w.Configs, Internal: w.Internal}
	id, err := base64.RawURLEncoding.DecodeString(w.ID)
	if err != nil || len(id) != len(t.ID) {
		return t, fmt.Errorf("topic %q: got id %q, want 16 bytes in URL-safe base64", w.Name, w.ID)
	}
	copy(t.ID[:], id)
	return t, nil
}

// wireSpec is a log.TopicSpec.
type wireSpec struct {
	Name       string            `json:"name"`
	Partitions int               `json:"partitions,omitempty"`
	Configs    map[string]string `json:"configs,omitempty"`
	Internal   bool              `json:"internal,omitempty"`
}

// wirePartition is a log.TopicPartition.
type wirePartition struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
}

func encodePartition(tp log.TopicPartition) wirePartition {
	return wirePartition{Topic: tp.Topic, Partition: tp.Partition}
}

func (w wirePartition) decode() log.TopicPartition {
	return log.TopicPartition{Topic: w.Topic, Partition: w.Partition}
}

// wireGroupOffset is a log.GroupOffset.
type wireGroupOffset struct {
	wirePartition
	Offset      log.Offset    `json:"offset"`
	LeaderEpoch int32         `json:"leader_epoch"`
	Metadata    string        `json:"metadata,omitempty"`
	CommitTime  log.Timestamp `json:"commit_time,omitempty"`
}

func encodeGroupOffset(o log.GroupOffset) wireGroupOffset {
	return wireGroupOffset{wirePartition: encodePartition(o.TopicPartition), Offset: o.Offset, LeaderEpoch: o.LeaderEpoch, Metadata: o.Metadata, CommitTime: o.CommitTime}
}

func (w wireGroupOffset) decode() log.GroupOffset {
	return log.GroupOffset{TopicPartition: w.wirePartition.decode(), Offset: w.Offset, LeaderEpoch: w.LeaderEpoch, Metadata: w.Metadata, CommitTime: w.CommitTime}
}

// wireCommit is the head of a commit.
type wireCommit struct {
	Producer string            `json:"producer,omitempty"`
	Epoch    log.Epoch         `json:"epoch,omitempty"`
	Group    string            `json:"group,omitempty"`
	Offsets  []wireGroupOffset `json:"offsets,omitempty"`
	Writes   []wireWrite       `json:"writes,omitempty"`
}

// wireWrite says how many bytes of the body are one write.
type wireWrite struct {
	wirePartition
	Size int `json:"size"` // bytes
}

type wireCommitted struct {
	Group      string          `json:"group"`
	Partitions []wirePartition `json:"partitions,omitempty"`
}

type wireBounds struct {
	Start  log.Offset `json:"start"`
	Stable log.Offset `json:"stable"`
	End    log.Offset `json:"end"`
}

type wireOffset struct {
	Offset    log.Offset    `json:"offset"`
	Timestamp log.Timestamp `json:"timestamp"`
}

type wireOffsets struct {
	Offsets []log.Offset `json:"offsets"`
}

type wireEpoch struct {
	Epoch log.Epoch `json:"epoch"`
}

type wireCluster struct {
	ClusterID string `json:"cluster_id"`
}

// appendCommitHead appends the frame of c that goes before its batches.
func appendCommitHead(dst []byte, c *log.Commit) ([]byte, error) {
	head := wireCommit{Producer: c.Producer, Epoch: c.Epoch, Group: c.Group}
	for _, o := range c.Offsets {
		head.Offsets = append(head.Offsets, encodeGroupOffset(o))
	}
	for _, w := range c.Writes {
		head.Writes = append(head.Writes, wireWrite{wirePartition: encodePartition(w.TopicPartition), Size: len(w.Batches)})
	}
	text, err := json.Marshal(&head)
	if err != nil {
		return dst, err
	}
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(text)))
	return append(dst, text...), nil
}

// readCommit reads what appendCommitHead wrote and the batches after it. The
// batches share one buffer.
func readCommit(r io.Reader) (*log.Commit, error) {
	var prefix [4]byte
	if _, err := io.ReadFull(r, prefix[:]); err != nil {
		return nil, fmt.Errorf("read length of head: %w", err)
	}
	n := binary.BigEndian.Uint32(prefix[:])
	if n > maxHead {
		return nil, fmt.Errorf("head of %d bytes, want at most %d: %w", n, maxHead, log.ErrTooLarge)
	}
	text := make([]byte, n)
	if _, err := io.ReadFull(r, text); err != nil {
		return nil, fmt.Errorf("read head of %d bytes: %w", n, err)
	}
	var head wireCommit
	if err := json.Unmarshal(text, &head); err != nil {
		return nil, fmt.Errorf("read head: %w", err)
	}

	c := &log.Commit{Producer: head.Producer, Epoch: head.Epoch, Group: head.Group}
	for _, o := range head.Offsets {
		c.Offsets = append(c.Offsets, o.decode())
	}
	total := 0
	for _, w := range head.Writes {
		if w.Size < 0 || w.Size > MaxBody-total {
			return nil, fmt.Errorf("write of %d bytes to %v, want at most %d in all: %w", w.Size, w.decode(), MaxBody, log.ErrTooLarge)
		}
		total += w.Size
	}
	batches := make([]byte, total)
	if n, err := io.ReadFull(r, batches); err != nil {
		return nil, fmt.Errorf("read batches: got %d bytes, want %d: %w", n, total, err)
	}
	for _, w := range head.Writes {
		c.Writes = append(c.Writes, log.Write{TopicPartition: w.decode(), Batches: batches[:w.Size:w.Size]})
		batches = batches[w.Size:]
	}
	return c, nil
}

// loopbackHost tells whether host is an address of this machine alone.
func loopbackHost(host string) bool {
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}
