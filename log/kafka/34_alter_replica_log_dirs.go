package kafka

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gretestream/grete/log"
)

// AlterReplicaLogDirs moves partitions to another directory of the broker. There
// is one, in which they are.
var alterReplicaLogDirsAPI = api{key: kmsg.AlterReplicaLogDirs, min: 1, max: 2, handle: (*Server).alterReplicaLogDirs}

func (s *Server) alterReplicaLogDirs(ctx context.Context, r *request) (kmsg.Response, error) {
	req := r.body.(*kmsg.AlterReplicaLogDirsRequest)
	resp := req.ResponseKind().(*kmsg.AlterReplicaLogDirsResponse)
	denied := r.cluster(toAlter)
	for _, d := range req.Dirs {
		for _, topic := range d.Topics {
			out := kmsg.NewAlterReplicaLogDirsResponseTopic()
			out.Topic = topic.Topic
			for _, p := range topic.Partitions {
				err := denied
				if err == nil {
					_, err = s.opts.Log.Bounds(ctx, log.TopicPartition{Topic: topic.Topic, Partition: p})
				}
				if err == nil && d.Dir != s.opts.Log.Dir() {
					err = kerr.LogDirNotFound
				}
				rp := kmsg.NewAlterReplicaLogDirsResponseTopicPartition()
				rp.Partition, rp.ErrorCode = p, code(err)
				out.Partitions = append(out.Partitions, rp)
			}
			resp.Topics = append(resp.Topics, out)
		}
	}
	return resp, nil
}
