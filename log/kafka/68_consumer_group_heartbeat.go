package kafka

import (
	"context"
	"fmt"
	"regexp"
	"regexp/syntax"
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
	pattern := b.pattern
	if pattern == nil && g.consumers != nil {
		if m := g.consumers.members[b.id]; m != nil {
			pattern = &m.pattern
		}
	}
	if pattern != nil {
		b.matched = c.match(*pattern, r)
	}
	answer, code := g.beat(b)
	c.dropIfUnused(g)
	if code != nil {
		return nil, code
	}
	return answer, nil
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
		now: c.now(), id: req.MemberID, instance: instance(req.InstanceID), epoch: req.MemberEpoch,
		said:    consumer{clientID: r.clientID, host: r.conn.host(), rack: instance(req.RackID)},
		pattern: req.SubscribedTopicRegex, assignor: req.ServerAssignor, timeout: -1,
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
	if b.pattern != nil {
		if _, err := compilePattern(*b.pattern); err != nil {
			return nil, problemf(kerr.InvalidRegularExpression, "pattern %q: %v", *b.pattern, err)
		}
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

// maxPattern bounds what a pattern is compiled to, in steps: a few characters that
// repeat each other would take a hundred megabytes.
const maxPattern = 10_000

// compilePattern reads a pattern of topics' names, which has to match all of a
// name. The syntax is RE2's, as with Kafka.
func compilePattern(pattern string) (*regexp.Regexp, error) {
	if len(pattern) > maxPattern {
		return nil, fmt.Errorf("%d bytes, want at most %d", len(pattern), maxPattern)
	}
	re, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		return nil, err
	}
	if patternSize(re) > maxPattern {
		return nil, fmt.Errorf("it repeats itself more than %d times in all", maxPattern)
	}
	return regexp.Compile("^(?:" + pattern + ")$")
}

// patternSize is about how many steps a pattern has, or somewhat more than
// maxPattern.
func patternSize(re *syntax.Regexp) int {
	n := 1 + len(re.Rune)
	for _, sub := range re.Sub {
		n = min(n+patternSize(sub), maxPattern+1)
	}
	if re.Op == syntax.OpRepeat {
		n *= max(re.Min, re.Max, 1)
	}
	return min(n, maxPattern+1)
}

// match lists the topics that a pattern stands for, internal ones too, as in Kafka:
// those that the client may see, or that any may if there is none.
func (c *coordinator) match(pattern string, r *request) (names []string) {
	if pattern == "" {
		return nil
	}
	re, err := compilePattern(pattern)
	if err != nil {
		return nil
	}
	topics, _ := c.log.Topics(context.Background())
	for _, t := range topics {
		if t.Name != accessTopic && re.MatchString(t.Name) && (r == nil || r.topic(toDescribe, t.Name) == nil) {
			names = append(names, t.Name)
		}
	}
	return names
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
