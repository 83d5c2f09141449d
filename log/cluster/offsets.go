package cluster

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gretestream/grete/log"
)

// What ListOffsets understands beside timestamps.
const (
	latest   = -1
	earliest = -2
)

// Isolation levels: what is read ends at the high watermark, or at the last
// stable offset.
const (
	readUncommitted = 0
	readCommitted   = 1
)

// Bounds implements log.Log.
func (l *Log) Bounds(ctx context.Context, tp log.TopicPartition) (log.Bounds, error) {
	var wg sync.WaitGroup
	var offsets [3]log.Offset
	var errs [3]error
	for i, q := range [...]struct {
		at        int64
		isolation int8
	}{{earliest, readCommitted}, {latest, readCommitted}, {latest, readUncommitted}} {
		wg.Go(func() { offsets[i], _, errs[i] = l.listOffset(ctx, tp, q.at, q.isolation) })
	}
	wg.Wait()
	if err := errors.Join(errs[:]...); err != nil {
		return log.Bounds{}, err
	}
	// They were not asked at one moment.
	b := log.Bounds{Start: offsets[0]}
	b.Stable = max(offsets[1], b.Start)
	b.End = max(offsets[2], b.Stable)
	return b, nil
}

// OffsetFor implements log.Log.
func (l *Log) OffsetFor(ctx context.Context, tp log.TopicPartition, t log.Timestamp) (log.Offset, log.Timestamp, error) {
	o, at, err := l.listOffset(ctx, tp, int64(max(t, 0)), readCommitted)
	if err != nil || o >= 0 {
		return o, at, err
	}
	o, _, err = l.listOffset(ctx, tp, latest, readCommitted)
	return o, log.NoTimestamp, err
}

// listOffset asks for one offset; -1 if no record is as young as that.
func (l *Log) listOffset(ctx context.Context, tp log.TopicPartition, t int64, isolation int8) (o log.Offset, at log.Timestamp, err error) {
	err = atLeader(ctx, l, l.admin, tp, func(at place) kmsg.Request {
		req := kmsg.NewPtrListOffsetsRequest()
		req.ReplicaID, req.IsolationLevel = -1, isolation
		rt := kmsg.NewListOffsetsRequestTopic()
		rt.Topic = tp.Topic
		rp := kmsg.NewListOffsetsRequestTopicPartition()
		rp.Partition, rp.CurrentLeaderEpoch, rp.Timestamp = tp.Partition, -1, t
		rt.Partitions = append(rt.Partitions, rp)
		req.Topics = append(req.Topics, rt)
		return req
	}, func(resp *kmsg.ListOffsetsResponse) error {
		if len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != 1 {
			return fmt.Errorf("got an answer about %d topics, want one partition", len(resp.Topics))
		}
		p := &resp.Topics[0].Partitions[0]
		o, at = log.Offset(p.Offset), log.Timestamp(p.Timestamp)
		return kerr.ErrorForCode(p.ErrorCode)
	})
	if err != nil {
		return 0, log.NoTimestamp, fmt.Errorf("offset of %s: %w", tp, explain(err))
	}
	return o, at, nil
}

// DeleteRecords implements log.Log.
func (l *Log) DeleteRecords(ctx context.Context, tp log.TopicPartition, before log.Offset) error {
	if before < 0 {
		return fmt.Errorf("delete records of %s: %w: %d", tp, log.ErrOffsetOutOfRange, before)
	}
	err := atLeader(ctx, l, l.admin, tp, func(place) kmsg.Request {
		req := kmsg.NewPtrDeleteRecordsRequest()
		req.TimeoutMillis = int32(l.opts.DialTimeout.Milliseconds())
		rt := kmsg.NewDeleteRecordsRequestTopic()
		rt.Topic = tp.Topic
		rp := kmsg.NewDeleteRecordsRequestTopicPartition()
		rp.Partition, rp.Offset = tp.Partition, int64(before)
		rt.Partitions = append(rt.Partitions, rp)
		req.Topics = append(req.Topics, rt)
		return req
	}, func(resp *kmsg.DeleteRecordsResponse) error {
		if len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != 1 {
			return fmt.Errorf("got an answer about %d topics, want one partition", len(resp.Topics))
		}
		return kerr.ErrorForCode(resp.Topics[0].Partitions[0].ErrorCode)
	})
	if errors.Is(err, kerr.OffsetOutOfRange) {
		// Some find fault with records that are gone already.
		if b, errBounds := l.Bounds(ctx, tp); errBounds == nil && before <= b.Start {
			return nil
		}
	}
	if err != nil {
		return fmt.Errorf("delete records of %s before %d: %w", tp, before, explain(err))
	}
	return nil
}

// Committed implements log.Log. It waits for offsets of a transaction that is
// about to end.
func (l *Log) Committed(ctx context.Context, group string, tps ...log.TopicPartition) (map[log.TopicPartition]log.GroupOffset, error) {
	req := kmsg.NewPtrOffsetFetchRequest()
	req.Group, req.RequireStable = group, true
	byTopic := map[string][]int32{}
	for _, tp := range tps {
		byTopic[tp.Topic] = append(byTopic[tp.Topic], tp.Partition)
	}
	rg := kmsg.NewOffsetFetchRequestGroup() // from version 8 on
	rg.Group = group
	for topic, partitions := range byTopic {
		t := kmsg.NewOffsetFetchRequestTopic()
		t.Topic, t.Partitions = topic, partitions
		req.Topics = append(req.Topics, t)
		gt := kmsg.NewOffsetFetchRequestGroupTopic()
		gt.Topic, gt.Partitions = topic, partitions
		rg.Topics = append(rg.Topics, gt)
	}
	req.Groups = append(req.Groups, rg)
	var offsets map[log.TopicPartition]log.GroupOffset
	err := l.again(ctx, func(ctx context.Context) error {
		resp, err := req.RequestWith(ctx, l.admin)
		if err == nil {
			offsets, err = committedOffsets(resp)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("committed offsets of group %q: %w", group, explain(err))
	}
	return offsets, nil
}

func committedOffsets(resp *kmsg.OffsetFetchResponse) (map[log.TopicPartition]log.GroupOffset, error) {
	offsets := map[log.TopicPartition]log.GroupOffset{}
	add := func(topic string, partition int32, offset int64, epoch int32, metadata *string, code int16) error {
		err := kerr.ErrorForCode(code)
		if err != nil || offset < 0 {
			if errors.Is(err, kerr.UnknownTopicOrPartition) {
				err = nil // the topic is gone, and its offsets with it
			}
			return err
		}
		o := log.GroupOffset{TopicPartition: log.TopicPartition{Topic: topic, Partition: partition}, Offset: log.Offset(offset), LeaderEpoch: epoch}
		if metadata != nil {
			o.Metadata = *metadata
		}
		offsets[o.TopicPartition] = o
		return nil
	}
	errs := []error{groupError(resp.ErrorCode)}
	for i := range resp.Topics { // up to version 7
		t := &resp.Topics[i]
		for j := range t.Partitions {
			p := &t.Partitions[j]
			errs = append(errs, add(t.Topic, p.Partition, p.Offset, p.LeaderEpoch, p.Metadata, p.ErrorCode))
		}
	}
	for i := range resp.Groups {
		g := &resp.Groups[i]
		errs = append(errs, groupError(g.ErrorCode))
		for j := range g.Topics {
			t := &g.Topics[j]
			for k := range t.Partitions {
				p := &t.Partitions[k]
				errs = append(errs, add(t.Topic, p.Partition, p.Offset, p.LeaderEpoch, p.Metadata, p.ErrorCode))
			}
		}
	}
	return offsets, errors.Join(errs...)
}

// groupError is an error of a group; that there is none has committed nothing.
func groupError(code int16) error {
	err := kerr.ErrorForCode(code)
	if errors.Is(err, kerr.GroupIDNotFound) {
		return nil
	}
	return err
}
