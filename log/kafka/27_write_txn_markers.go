package kafka

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gretestream/grete/log"
)

// WriteTxnMarkers ends transactions of single partitions, whatever their
// coordinator says. Brokers use it among themselves; here it is for
// kafka-transactions, which ends hanging transactions with it.
var writeTxnMarkersAPI = api{key: kmsg.WriteTxnMarkers, min: 0, max: 1, handle: (*Server).writeTxnMarkers}

func (s *Server) writeTxnMarkers(ctx context.Context, r *request) (kmsg.Response, error) {
	req := r.body.(*kmsg.WriteTxnMarkersRequest)
	resp := req.ResponseKind().(*kmsg.WriteTxnMarkersResponse)
	refused := r.cluster(toActAsCluster)
	for _, m := range req.Markers {
		rm := kmsg.NewWriteTxnMarkersResponseMarker()
		rm.ProducerID = m.ProducerID
		for _, topic := range m.Topics {
			rt := kmsg.NewWriteTxnMarkersResponseMarkerTopic()
			rt.Topic = topic.Topic
			for _, p := range topic.Partitions {
				err := refused
				if err == nil {
					_, err = s.opts.Log.Commit(ctx, &log.Commit{Markers: []log.Marker{{
						TopicPartition: log.TopicPartition{Topic: topic.Topic, Partition: p},
						ProducerID:     m.ProducerID, ProducerEpoch: m.ProducerEpoch,
						CoordinatorEpoch: m.CoordinatorEpoch, Commit: m.Committed,
					}}})
				}
				rp := kmsg.NewWriteTxnMarkersResponseMarkerTopicPartition()
				rp.Partition, rp.ErrorCode = p, code(err)
				rt.Partitions = append(rt.Partitions, rp)
			}
			rm.Topics = append(rm.Topics, rt)
		}
		resp.Markers = append(resp.Markers, rm)
	}
	return resp, nil
}
