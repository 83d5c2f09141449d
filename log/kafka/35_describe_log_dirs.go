package kafka

import (
	"context"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gretestream/grete/log"
)

// DescribeLogDirs tells the sizes of partitions; from version 4 on, that of the
// disk as well. There is one directory.
var describeLogDirsAPI = api{key: kmsg.DescribeLogDirs, min: 0, max: 4, handle: (*Server).describeLogDirs}

func (s *Server) describeLogDirs(ctx context.Context, r *request) (kmsg.Response, error) {
	req := r.body.(*kmsg.DescribeLogDirsRequest)
	resp := req.ResponseKind().(*kmsg.DescribeLogDirsResponse)
	if err := r.cluster(toDescribe); err != nil {
		resp.ErrorCode = code(err)
		return resp, nil
	}
	dir := kmsg.NewDescribeLogDirsResponseDir()
	dir.Dir = s.opts.Log.Dir()
	if total, free, err := s.opts.Log.Disk(); err == nil {
		dir.TotalBytes, dir.UsableBytes = total, free
	}
	topics, err := s.opts.Log.Topics(ctx)
	if err != nil {
		dir.ErrorCode = code(err)
	}
	for _, t := range topics {
		at := slices.IndexFunc(req.Topics, func(rt kmsg.DescribeLogDirsRequestTopic) bool { return rt.Topic == t.Name })
		if req.Topics != nil && at < 0 || t.Name == accessTopic {
			continue
		}
		out := kmsg.NewDescribeLogDirsResponseDirTopic()
		out.Topic = t.Name
		for p := range int32(t.Partitions) {
			if at >= 0 && !slices.Contains(req.Topics[at].Partitions, p) {
				continue
			}
			size, err := s.opts.Log.PartitionBytes(log.TopicPartition{Topic: t.Name, Partition: p})
			if err != nil {
				continue // deleted meanwhile
			}
			rp := kmsg.NewDescribeLogDirsResponseDirTopicPartition()
			rp.Partition, rp.Size = p, size
			out.Partitions = append(out.Partitions, rp)
		}
		dir.Topics = append(dir.Topics, out)
	}
	resp.Dirs = append(resp.Dirs, dir)
	return resp, nil
}
