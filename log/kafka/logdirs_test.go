package kafka_test

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// A partition can be moved to where it is, and nowhere else.
func TestAlterReplicaLogDirs(t *testing.T) {
	s, l := serve(t, nil)
	createTopic(t, l, "t")
	c := dial(t, s)
	for _, x := range []struct{ dir, topic, want string }{
		{l.Dir(), "t", ""}, {"/elsewhere", "t", "LOG_DIR_NOT_FOUND"}, {l.Dir(), "u", "UNKNOWN_TOPIC_OR_PARTITION"},
	} {
		req := kmsg.NewPtrAlterReplicaLogDirsRequest()
		req.Version = 2
		req.Dirs = []kmsg.AlterReplicaLogDirsRequestDir{{Dir: x.dir, Topics: []kmsg.AlterReplicaLogDirsRequestDirTopic{{Topic: x.topic, Partitions: []int32{0}}}}}
		resp := ask[*kmsg.AlterReplicaLogDirsResponse](c, req)
		want(t, x.dir+" "+x.topic, name(resp.Topics[0].Partitions[0].ErrorCode), x.want)
	}
}
