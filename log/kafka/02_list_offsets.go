package kafka

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gretestream/grete/log"
)

// ListOffsets finds offsets by time. Version 7 came with the largest timestamp,
// 8 and 9 with tiers of storage, of which there is one, and 10 with a timeout
// for them.
var listOffsetsAPI = api{key: kmsg.ListOffsets, min: 1, max: 10, handle: (*Server).listOffsets}

// Timestamps that mean something else.
const (
	atLatest        = -1
	atEarliest      = -2
	atMaxTimestamp  = -3
	atEarliestLocal = -4
	atLatestTiered  = -5
)

const readCommitted = 1 // isolation level

func (s *Server) listOffsets(ctx context.Context, r *request) (kmsg.Response, error) {
	req := r.body.(*kmsg.ListOffsetsRequest)
	resp := req.ResponseKind().(*kmsg.ListOffsetsResponse)
	for i := range req.Topics {
		asked := &req.Topics[i]
		t := kmsg.NewListOffsetsResponseTopic()
		t.Topic = asked.Topic
		no := r.topic(toDescribe, asked.Topic)
		for j := range asked.Partitions {
			p := &asked.Partitions[j]
			tp := log.TopicPartition{Topic: asked.Topic, Partition: p.Partition}
			if no != nil {
				out := kmsg.NewListOffsetsResponseTopicPartition()
				out.Partition, out.Offset, out.Timestamp, out.ErrorCode = p.Partition, -1, -1, code(no)
				t.Partitions = append(t.Partitions, out)
				continue
			}
			t.Partitions = append(t.Partitions, s.listOffset(ctx, tp, p, req.IsolationLevel == readCommitted))
		}
		resp.Topics = append(resp.Topics, t)
	}
	return resp, ctx.Err()
}

func (s *Server) listOffset(ctx context.Context, tp log.TopicPartition, asked *kmsg.ListOffsetsRequestTopicPartition, committed bool) kmsg.ListOffsetsResponseTopicPartition {
	p := kmsg.NewListOffsetsResponseTopicPartition()
	p.Partition, p.Offset, p.Timestamp = tp.Partition, -1, -1
	l := s.opts.Log
	b, err := l.Bounds(ctx, tp)
	if err != nil {
		p.ErrorCode = code(err)
		return p
	}
	if p.ErrorCode = s.checkEpoch(asked.CurrentLeaderEpoch); p.ErrorCode != 0 {
		return p
	}
	end := b.End // of what the client can fetch
	if committed {
		end = b.Stable
	}
	offset, at := log.Offset(-1), log.NoTimestamp
	switch t := asked.Timestamp; t {
	case atLatest:
		offset = end
	case atEarliest, atEarliestLocal:
		offset = b.Start
	case atLatestTiered:
	case atMaxTimestamp:
		offset, at, err = l.MaxTimestamp(ctx, tp)
	default:
		if t < 0 {
			p.ErrorCode = kerr.InvalidRequest.Code
			return p
		}
		offset, at, err = l.OffsetFor(ctx, tp, log.Timestamp(t))
	}
	if err != nil {
		p.ErrorCode = code(err)
		return p
	}
	byTime := asked.Timestamp == atMaxTimestamp || asked.Timestamp >= 0
	if offset < 0 || byTime && (at == log.NoTimestamp || offset >= end) {
		return p
	}
	p.Offset, p.Timestamp = int64(offset), int64(at)
	p.LeaderEpoch = l.EpochAt(tp, offset)
	return p
}

// checkEpoch judges which leader epoch a client takes for the current one; -1 is
// none.
func (s *Server) checkEpoch(epoch int32) int16 {
	current := s.opts.Log.LeaderEpoch()
	switch {
	case epoch < 0 || epoch == current:
		return 0
	case epoch < current:
		return kerr.FencedLeaderEpoch.Code
	default:
		return kerr.UnknownLeaderEpoch.Code
	}
}
