package kafka

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gretestream/grete/log"
)

// TxnOffsetCommit commits offsets of a group when the transaction does. From
// version 3 on the member of the group is checked (KIP-447); from 5 on
// AddOffsetsToTxn can be left out (KIP-890).
var txnOffsetCommitAPI = api{key: kmsg.TxnOffsetCommit, min: 0, max: 5, handle: (*Server).txnOffsetCommit}

// maxOffsetMetadata is offset.metadata.max.bytes.
const maxOffsetMetadata = 4096

func (s *Server) txnOffsetCommit(ctx context.Context, r *request) (kmsg.Response, error) {
	req := r.body.(*kmsg.TxnOffsetCommitRequest)
	resp := req.ResponseKind().(*kmsg.TxnOffsetCommitResponse)
	var offsets []log.GroupOffset
	refused := r.transactionalID(toWrite, req.TransactionalID)
	if refused == nil {
		refused = r.group(toRead, req.Group)
	}
	for _, topic := range req.Topics {
		rt := kmsg.NewTxnOffsetCommitResponseTopic()
		rt.Topic = topic.Topic
		no := refused
		if no == nil {
			no = r.topic(toRead, topic.Topic)
		}
		for _, p := range topic.Partitions {
			rp := kmsg.NewTxnOffsetCommitResponseTopicPartition()
			rp.Partition = p.Partition
			o := log.GroupOffset{
				TopicPartition: log.TopicPartition{Topic: topic.Topic, Partition: p.Partition},
				Offset:         log.Offset(p.Offset), LeaderEpoch: p.LeaderEpoch,
			}
			if p.Metadata != nil {
				o.Metadata = *p.Metadata
			}
			if no != nil {
				rp.ErrorCode = code(no)
			} else if bad := s.groups.checkOffset(ctx, &o); bad != nil {
				rp.ErrorCode = bad.Code
			} else if o.Offset < 0 { // no client does; the log cannot hold back forgetting until a transaction ends
				rp.ErrorCode = kerr.InvalidCommitOffsetSize.Code
			} else {
				offsets = append(offsets, o)
			}
			rt.Partitions = append(rt.Partitions, rp)
		}
		resp.Topics = append(resp.Topics, rt)
	}
	if len(offsets) == 0 {
		return resp, nil
	}
	err := s.commitTxnOffsets(ctx, req, offsets)
	if err == error(kerr.ProducerFenced) {
		err = kerr.InvalidProducerEpoch // in all versions
	}
	for i := range resp.Topics {
		for j := range resp.Topics[i].Partitions {
			if p := &resp.Topics[i].Partitions[j]; p.ErrorCode == 0 {
				p.ErrorCode = code(err)
			}
		}
	}
	return resp, nil
}

func (s *Server) commitTxnOffsets(ctx context.Context, req *kmsg.TxnOffsetCommitRequest, offsets []log.GroupOffset) error {
	lock := s.groups.offsetsOf(req.Group)
	lock.RLock()
	defer lock.RUnlock()
	p := producerEpoch{req.ProducerID, req.ProducerEpoch}
	if code := s.groups.mayCommit(&committer{
		group: req.Group, member: req.MemberID, instance: instance(req.InstanceID), generation: req.Generation, transaction: true, offsets: offsets,
	}); code != nil {
		return code
	}
	var err error
	errTxn := s.txns.write(ctx, req.TransactionalID, p, req.Version >= 5, []log.TopicPartition{offsetsPartition}, func() {
		if err = s.groups.begin(ctx, req.Group); err != nil {
			return
		}
		err = s.opts.Log.CommitTxnOffsets(ctx, req.Group, p.id, p.epoch, offsets)
	})
	if errTxn != nil {
		return errTxn
	}
	return err
}
