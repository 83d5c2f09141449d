package kafka

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// ConsumerGroupDescribe tells the state of groups of the consumer protocol
// (KIP-848), and how far each member is.
var consumerGroupDescribeAPI = api{key: kmsg.ConsumerGroupDescribe, min: 0, max: 0, handle: (*Server).consumerGroupDescribe}

func (s *Server) consumerGroupDescribe(_ context.Context, r *request) (kmsg.Response, error) {
	req := r.body.(*kmsg.ConsumerGroupDescribeRequest)
	resp := kmsg.NewPtrConsumerGroupDescribeResponse()
	for _, name := range req.Groups {
		d := kmsg.NewConsumerGroupDescribeResponseGroup()
		d.Group = name
		if err := s.describeConsumers(r, &d); err != nil {
			d = kmsg.NewConsumerGroupDescribeResponseGroup()
			d.Group = name
			d.ErrorCode, d.ErrorMessage = answerError(err)
		} else if req.IncludeAuthorizedOperations {
			d.AuthorizedOperations = r.operations(kmsg.ACLResourceTypeGroup, name)
		}
		resp.Groups = append(resp.Groups, d)
	}
	return resp, nil
}

func (s *Server) describeConsumers(r *request, d *kmsg.ConsumerGroupDescribeResponseGroup) error {
	if err := r.group(toDescribe, d.Group); err != nil {
		return err
	}
	g := s.groups.lookup(d.Group)
	if g == nil {
		return problemf(kerr.GroupIDNotFound, "there is no group %q", d.Group)
	}
	defer g.mu.Unlock()
	if g.consumers == nil {
		return problemf(kerr.GroupIDNotFound, "group %q is not one of the consumer protocol", d.Group)
	}
	cs := g.consumers
	d.State, d.Epoch, d.AssignmentEpoch, d.AssignorName = g.state.String(), cs.epoch, cs.targetEpoch, cs.assignor()
	for _, id := range cs.sorted() {
		m := cs.members[id]
		dm := kmsg.NewConsumerGroupDescribeResponseGroupMember()
		dm.MemberID, dm.InstanceID, dm.RackID, dm.MemberEpoch = m.id, nullable(m.instance), nullable(m.rack), m.epoch
		dm.ClientID, dm.ClientHost, dm.SubscribedTopics, dm.SubscribedTopicRegex = m.clientID, m.host, m.names, nullable(m.pattern.text)
		var err error
		if dm.Assignment, err = s.describeShare(r, m.assigned); err != nil {
			return err
		}
		if dm.TargetAssignment, err = s.describeShare(r, cs.target[id]); err != nil {
			return err
		}
		d.Members = append(d.Members, dm)
	}
	return nil
}

// describeShare names the partitions of a share. A topic that is gone is left out.
func (s *Server) describeShare(r *request, share partitionSet) (kmsg.Assignment, error) {
	a := kmsg.NewAssignment()
	for _, t := range share.byTopic() {
		name, ok := s.opts.Log.TopicName(t.topic)
		if !ok {
			continue
		}
		if err := r.topic(toDescribe, name); err != nil {
			return a, err
		}
		at := kmsg.NewAssignmentTopicPartition()
		at.TopicID, at.Topic, at.Partitions = t.topic, name, t.partitions
		a.TopicPartitions = append(a.TopicPartitions, at)
	}
	return a, nil
}
