package kafka

import (
	"context"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gretestream/grete/log"
)

// DescribeTopicPartitions is Metadata for administrators, page by page: a cursor
// says where the next page begins.
var describeTopicPartitionsAPI = api{key: kmsg.DescribeTopicPartitions, min: 0, max: 0, handle: (*Server).describeTopicPartitions}

// maxPagePartitions bounds a page, as in Kafka.
const maxPagePartitions = 2000

func (s *Server) describeTopicPartitions(ctx context.Context, r *request) (kmsg.Response, error) {
	req := r.body.(*kmsg.DescribeTopicPartitionsRequest)
	resp := req.ResponseKind().(*kmsg.DescribeTopicPartitionsResponse)
	names, err := s.pageNames(ctx, r)
	if err != nil {
		return nil, err
	}
	left := maxPagePartitions
	if n := int(req.ResponsePartitionLimit); n > 0 {
		left = min(left, n)
	}
	for _, name := range names {
		first := int32(0)
		if req.Cursor != nil && req.Cursor.Topic == name {
			first = max(0, req.Cursor.Partition)
		}
		var t log.Topic
		err := r.topic(toDescribe, name)
		if err == nil {
			t, err = s.opts.Log.Topic(ctx, name)
		}
		if left == 0 && (err != nil || int(first) < t.Partitions) {
			resp.NextCursor = &kmsg.DescribeTopicPartitionsResponseNextCursor{Topic: name, Partition: first}
			break
		}
		out := kmsg.NewDescribeTopicPartitionsResponseTopic()
		out.Topic = &name
		if err != nil {
			out.ErrorCode = code(err)
			if nameErr := log.CheckTopicName(name); nameErr != nil {
				out.ErrorCode = kerr.InvalidTopicException.Code
			}
			resp.Topics = append(resp.Topics, out)
			continue
		}
		out.TopicID, out.IsInternal = t.ID, t.Internal
		out.AuthorizedOperations = r.operations(kmsg.ACLResourceTypeTopic, name)
		end := min(int32(t.Partitions), first+int32(left))
		for p := first; p < end; p++ {
			out.Partitions = append(out.Partitions, s.describePartition(p))
		}
		left -= len(out.Partitions)
		resp.Topics = append(resp.Topics, out)
		if int(end) < t.Partitions {
			resp.NextCursor = &kmsg.DescribeTopicPartitionsResponseNextCursor{Topic: name, Partition: end}
			break
		}
	}
	return resp, nil
}

// pageNames are the topics asked for, or all, from the cursor on, in order.
func (s *Server) pageNames(ctx context.Context, r *request) ([]string, error) {
	req := r.body.(*kmsg.DescribeTopicPartitionsRequest)
	var names []string
	for i := range req.Topics {
		names = append(names, req.Topics[i].Topic)
	}
	if len(names) == 0 {
		topics, err := s.opts.Log.Topics(ctx)
		if err != nil {
			return nil, err
		}
		for i := range topics {
			if r.topic(toDescribe, topics[i].Name) == nil {
				names = append(names, topics[i].Name)
			}
		}
	}
	slices.Sort(names)
	names = slices.Compact(names)
	if req.Cursor != nil {
		names = slices.DeleteFunc(names, func(n string) bool { return strings.Compare(n, req.Cursor.Topic) < 0 })
	}
	return names, nil
}

func (s *Server) describePartition(n int32) kmsg.DescribeTopicPartitionsResponseTopicPartition {
	p := kmsg.NewDescribeTopicPartitionsResponseTopicPartition()
	p.Partition, p.LeaderID, p.LeaderEpoch = n, s.opts.NodeID, s.opts.Log.LeaderEpoch()
	p.Replicas, p.ISR = []int32{s.opts.NodeID}, []int32{s.opts.NodeID}
	p.EligibleLeaderReplicas, p.LastKnownELR = []int32{}, []int32{}
	return p
}
