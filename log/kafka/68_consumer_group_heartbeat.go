package kafka

import (
	"context"
	"slices"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// ConsumerGroupHeartbeat is all that a member of the consumer protocol says to the
// coordinator (KIP-848): it joins, goes, says what it wants and has, and is told
// what it shall have. From version 1 on members name themselves, and can
// subscribe to a pattern.
var consumerGroupHeartbeatAPI = api{key: kmsg.ConsumerGroupHeartbeat, min: 0, max: 1, handle: (*Server).consumerGroupHeartbeat}

func (s *Server) consumerGroupHeartbeat(_ context.Context, r *request) (kmsg.Response, error) {
	req := r.body.(*kmsg.ConsumerGroupHeartbeatRequest)
	resp := req.ResponseKind().(*kmsg.ConsumerGroupHeartbeatResponse)
	answer, err := s.groups.consumerHeartbeat(r, req)
	if err != nil {
		resp.ErrorCode, resp.ErrorMessage = answerError(err)
		return resp, nil
	}
	resp.MemberID, resp.MemberEpoch = &answer.id, answer.epoch
	resp.HeartbeatIntervalMillis = int32(s.groups.consumerInterval(req.Group).Milliseconds())
	if answer.assigned != nil {
		a := kmsg.NewConsumerGroupHeartbeatResponseAssignment()
		for _, t := range answer.assigned.byTopic() {
			at := kmsg.NewConsumerGroupHeartbeatResponseAssignmentTopic()
			at.TopicID, at.Partitions = t.topic, t.partitions
			a.Topics = append(a.Topics, at)
		}
		resp.Assignment = &a
	}
	return resp, nil
}

// consumerHeartbeat has the group take in a heartbeat.
func (c *coordinator) consumerHeartbeat(r *request, req *kmsg.ConsumerGroupHeartbeatRequest) (*beaten, error) {
	if err := r.group(toRead, req.Group); err != nil {
		return nil, err
	}
	if err := boundConsumerHeartbeat(req); err != nil {
		return nil, err
	}
	for _, name := range req.SubscribedTopicNames {
		if err := r.topic(toDescribe, name); err != nil {
			return nil, err
		}
	}
	if err := checkConsumerHeartbeat(req); err != nil {
		return nil, err
	}
	if len(c.log.Members(req.Group)) > 0 { // the engine shares out the partitions
		return nil, problemf(kerr.GroupIDNotFound, "group %q is one of the engine's", req.Group)
	}
	b, err := c.beatOf(r, req)
	if err != nil {
		return nil, err
	}
	var g *group
	if req.MemberEpoch == epochJoin {
		g = c.ensure(req.Group)
	} else if g = c.lookup(req.Group); g == nil {
		return nil, problemf(kerr.GroupIDNotFound, "there is no group %q", req.Group)
	}
	defer g.mu.Unlock()
	b.matched, b.sight = g.look(r, b.id, b.pattern)
	b.now = c.now() // it may have waited for the group
	answer, code := g.beat(b)
	c.dropIfUnused(g)
	if code != nil {
		return nil, code
	}
	return answer, nil
}

// What one member can say, before it is known whether it is one.
const (
	maxNames = 20_000  // names of topics
	maxOwned = 200_000 // partitions
)

// boundConsumerHeartbeat tells what of a request is too large to be looked at.
func boundConsumerHeartbeat(req *kmsg.ConsumerGroupHeartbeatRequest) error {
	owned := 0
	for i := range req.Topics {
		owned += len(req.Topics[i].Partitions)
	}
	switch names := len(req.SubscribedTopicNames); {
	case !storable(req.MemberID, instance(req.InstanceID), instance(req.RackID)):
		return problemf(kerr.InvalidRequest, "an id is longer than 32767 bytes")
	case names > maxNames:
		return problemf(kerr.InvalidRequest, "it subscribes to %d topics, want at most %d: a pattern stands for any number", names, maxNames)
	case owned > maxOwned:
		return problemf(kerr.InvalidRequest, "it has %d partitions, want at most %d", owned, maxOwned)
	}
	return nil
}

// checkConsumerHeartbeat tells what is wrong with a request in itself.
func checkConsumerHeartbeat(req *kmsg.ConsumerGroupHeartbeatRequest) error {
	bad := func(text string) error { return problemf(kerr.InvalidRequest, "%s", text) }
	joins := req.MemberEpoch == epochJoin
	switch {
	case !validGroup(req.Group):
		return bad("the group has no name, or one that is too long")
	case req.MemberID == "" && (req.Version >= 1 || !joins):
		return bad("the member id is empty")
	case req.InstanceID != nil && *req.InstanceID == "":
		return bad("the instance id is empty")
	case req.RackID != nil && *req.RackID == "":
		return bad("the rack id is empty")
	case req.MemberEpoch < epochAway:
		return bad("member epoch " + strconv.Itoa(int(req.MemberEpoch)) + ", want -2 or more")
	case joins && req.RebalanceTimeoutMillis < 0:
		return bad("who joins has to say its rebalance timeout")
	case joins && len(req.Topics) > 0:
		return bad("who joins has no partitions")
	case joins && req.SubscribedTopicNames == nil && req.SubscribedTopicRegex == nil:
		return bad("who joins has to subscribe to topics or a pattern")
	case req.ServerAssignor != nil && assignors[*req.ServerAssignor] == nil:
		return problemf(kerr.UnsupportedAssignor, "assignor %q, want one of %q", *req.ServerAssignor, assignorNames)
	}
	return nil
}

// beatOf reads a request. It keeps nothing of it.
func (c *coordinator) beatOf(r *request, req *kmsg.ConsumerGroupHeartbeatRequest) (*beat, error) {
	b := &beat{
		id: req.MemberID, instance: instance(req.InstanceID), epoch: req.MemberEpoch,
		clientID: r.clientID, host: r.conn.host(), rack: instance(req.RackID), assignor: req.ServerAssignor, timeout: -1,
	}
	if b.id == "" {
		b.id = randomID()
	}
	if req.RebalanceTimeoutMillis >= 0 {
		b.timeout = time.Duration(req.RebalanceTimeoutMillis) * time.Millisecond
	}
	if req.SubscribedTopicNames != nil {
		b.names = slices.Clone(req.SubscribedTopicNames)
		slices.Sort(b.names)
		b.names = append([]string{}, slices.Compact(b.names)...)
	}
	if text := req.SubscribedTopicRegex; text != nil {
		p, err := compilePattern(*text)
		if err != nil {
			return nil, problemf(kerr.InvalidRegularExpression, "pattern %q: %v", *text, err)
		}
		b.pattern = &p
	}
	if req.Topics != nil || b.epoch == epochJoin {
		b.owned = partitionSet{}
	}
	for i := range req.Topics {
		for _, p := range req.Topics[i].Partitions {
			b.owned[idPartition{req.Topics[i].TopicID, p}] = struct{}{}
		}
	}
	return b, nil
}

// topicSize looks up what there is of a topic.
func (c *coordinator) topicSize(name string) topicSize {
	t, err := c.log.Topic(context.Background(), name)
	if err != nil {
		return topicSize{}
	}
	return topicSize{t.ID, int32(t.Partitions)}
}

// consumerSession is how long a member may be silent.
func (c *coordinator) consumerSession(group string) time.Duration {
	return c.groupMillis(group, "consumer.session.timeout.ms")
}

// consumerInterval is how often a member shall say that it lives.
func (c *coordinator) consumerInterval(group string) time.Duration {
	return c.groupMillis(group, "consumer.heartbeat.interval.ms")
}
