package kafka

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gretestream/grete/log"
)

// DeleteRecords raises the start offset of partitions; -1 is their end.
var deleteRecordsAPI = api{key: kmsg.DeleteRecords, min: 0, max: 2, handle: (*Server).deleteRecords}

func (s *Server) deleteRecords(ctx context.Context, r *request) (kmsg.Response, error) {
	req := r.body.(*kmsg.DeleteRecordsRequest)
	resp := req.ResponseKind().(*kmsg.DeleteRecordsResponse)
	for i := range req.Topics {
		rt := &req.Topics[i]
		out := kmsg.NewDeleteRecordsResponseTopic()
		out.Topic = rt.Topic
		no := r.topic(toDelete, rt.Topic)
		for _, rp := range rt.Partitions {
			p := kmsg.NewDeleteRecordsResponseTopicPartition()
			p.Partition = rp.Partition
			if no != nil {
				p.LowWatermark, p.ErrorCode = -1, code(no)
				out.Partitions = append(out.Partitions, p)
				continue
			}
			start, err := s.deleteRecordsOf(ctx, log.TopicPartition{Topic: rt.Topic, Partition: rp.Partition}, log.Offset(rp.Offset))
			p.LowWatermark = int64(start)
			p.ErrorCode, _ = answerError(err)
			out.Partitions = append(out.Partitions, p)
		}
		resp.Topics = append(resp.Topics, out)
	}
	return resp, nil
}

// deleteRecordsOf returns the start offset as it is then, or -1.
func (s *Server) deleteRecordsOf(ctx context.Context, tp log.TopicPartition, before log.Offset) (log.Offset, error) {
	t, err := s.opts.Log.Topic(ctx, tp.Topic)
	switch {
	case err != nil:
		return -1, err
	case t.Internal:
		return -1, problemf(kerr.InvalidTopicException, "topic %q is the log's own", tp.Topic)
	case t.Configs["cleanup.policy"] == "compact":
		return -1, problemf(kerr.PolicyViolation, "topic %q is compacted, not deleted from", tp.Topic)
	case before < -1:
		return -1, problemf(kerr.OffsetOutOfRange, "offset %d, want 0 or more, or -1 for the end", before)
	}
	if err := s.opts.Log.DeleteRecords(ctx, tp, before); err != nil {
		return -1, err
	}
	b, err := s.opts.Log.Bounds(ctx, tp)
	if err != nil {
		return -1, err
	}
	return b.Start, nil
}
