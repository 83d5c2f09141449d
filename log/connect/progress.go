package connect

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/gretestream/grete/log"
)

// A progress is what the log remembers about a file: how far it was ingested. It
// is the metadata of an offset that the group "ingest.<topic>.<file id>" commits
// for partition 0 of the topic, together with the records, as JSON:
//
//	{"line":8192,"byte":1672413,"records":8190,"rejected":2,"done":false,"size":0,"partial":false,"path":"/var/log/access.log"}
//
// The offset itself is the number of lines. A group of its own per file makes
// two ingests of one file meet, and no others.
type progress struct {
	Line     int64  `json:"line"` // lines that are in the log
	Byte     int64  `json:"byte"` // bytes of them, after decompression
	Records  int64  `json:"records"`
	Rejected int64  `json:"rejected"`
	Done     bool   `json:"done"`    // the file was read to its end
	Size     int64  `json:"size"`    // bytes of the file at that time, before decompression
	Partial  bool   `json:"partial"` // its last line had no end
	Path     string `json:"path"`    // for people; cut if very long
}

// maxShownPath bounds the path in the metadata, whose limit is 4096 bytes:
// escaped as JSON, each byte can take six.
const maxShownPath = 512 // bytes

// progressGroup names the group that keeps the progress of a file.
func progressGroup(topic, fileID string) string { return "ingest." + topic + "." + fileID }

// loadProgress returns what the log remembers about a file; nothing is zero.
func loadProgress(ctx context.Context, l log.Log, group, topic string) (progress, error) {
	tp := log.TopicPartition{Topic: topic}
	offsets, err := l.Committed(ctx, group, tp)
	if err != nil {
		return progress{}, fmt.Errorf("read progress of group %s: %w", group, err)
	}
	var p progress
	o, ok := offsets[tp]
	if !ok {
		return p, nil
	}
	if err := json.Unmarshal([]byte(o.Metadata), &p); err != nil {
		return progress{}, fmt.Errorf("read progress of group %s: got metadata %q: %w", group, o.Metadata, err)
	}
	return p, nil
}

// offset is the progress as a commit carries it.
func (p progress) offset(topic string) (log.GroupOffset, error) {
	if len(p.Path) > maxShownPath {
		p.Path = p.Path[:maxShownPath]
	}
	metadata, err := json.Marshal(p)
	if err != nil {
		return log.GroupOffset{}, fmt.Errorf("write progress: %w", err)
	}
	return log.GroupOffset{TopicPartition: log.TopicPartition{Topic: topic}, Offset: log.Offset(p.Line), LeaderEpoch: -1, Metadata: string(metadata)}, nil
}
