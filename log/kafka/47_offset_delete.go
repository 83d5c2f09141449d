package kafka

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gretestream/grete/log"
)

// OffsetDelete removes committed offsets of a group: of any partition if it has
// no members, else of topics that no member wants.
var offsetDeleteAPI = api{key: kmsg.OffsetDelete, min: 0, max: 0, handle: (*Server).offsetDelete}

func (s *Server) offsetDelete(ctx context.Context, r *request) (kmsg.Response, error) {
	req := r.body.(*kmsg.OffsetDeleteRequest)
	resp := kmsg.NewPtrOffsetDeleteResponse()
	if err := r.group(toDelete, req.Group); err != nil {
		resp.ErrorCode = code(err)
		return resp, nil
	}
	lock := s.groups.offsetsOf(req.Group)
	lock.Lock()
	defer lock.Unlock()
	v, err := s.groups.view(ctx, req.Group)
	if err != nil {
		return nil, err
	}
	wanted, code := v.wanted()
	if code != nil {
		resp.ErrorCode = code.Code
		return resp, nil
	}
	var gone []log.TopicPartition
	for i := range req.Topics {
		topic := kmsg.NewOffsetDeleteResponseTopic()
		topic.Topic = req.Topics[i].Topic
		for _, p := range req.Topics[i].Partitions {
			tp := log.TopicPartition{Topic: topic.Topic, Partition: p.Partition}
			out := kmsg.NewOffsetDeleteResponseTopicPartition()
			out.Partition = p.Partition
			if r.topic(toRead, tp.Topic) != nil {
				out.ErrorCode = kerr.TopicAuthorizationFailed.Code
			} else if _, err := s.opts.Log.Bounds(ctx, tp); err != nil {
				out.ErrorCode = kerr.UnknownTopicOrPartition.Code
			} else if wanted[tp.Topic] {
				out.ErrorCode = kerr.GroupSubscribedToTopic.Code
			} else {
				gone = append(gone, tp)
			}
			topic.Partitions = append(topic.Partitions, out)
		}
		resp.Topics = append(resp.Topics, topic)
	}
	if err := s.groups.forgetOffsets(req.Group, gone); err != nil {
		resp.ErrorCode, resp.Topics = storeCode(err).Code, nil
	}
	return resp, nil
}

// wanted are the topics that members of a group have subscribed to. Of members
// that are no consumers it is not known, so such a group has to be empty.
func (v *groupView) wanted() (map[string]bool, *kerr.Error) {
	wanted := map[string]bool{}
	if v == nil {
		return nil, kerr.GroupIDNotFound
	}
	if len(v.members) > 0 && v.protocolType != consumerProtocol {
		return nil, kerr.NonEmptyGroup
	}
	for i := range v.members {
		topics, ok := subscription(v.protocolType, v.members[i].metadata)
		if !ok {
			return nil, kerr.NonEmptyGroup
		}
		for _, t := range topics {
			wanted[t] = true
		}
	}
	return wanted, nil
}
