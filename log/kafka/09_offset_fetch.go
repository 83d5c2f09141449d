package kafka

import (
	"cmp"
	"context"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gretestream/grete/log"
)

// OffsetFetch tells how far groups have read. Version 2 can ask for all
// partitions, 5 brings the leader epoch, 7 waits out transactions (RequireStable),
// 8 asks for several groups, 9 says who asks (KIP-848), 10 brings topic ids.
//
// A group or partition that nobody has committed to has the offset -1; that is
// no error.
var offsetFetchAPI = api{key: kmsg.OffsetFetch, min: 1, max: 10, handle: (*Server).offsetFetch}

func (s *Server) offsetFetch(ctx context.Context, r *request) (kmsg.Response, error) {
	req := r.body.(*kmsg.OffsetFetchRequest)
	resp := kmsg.NewPtrOffsetFetchResponse()
	if r.version >= 8 {
		for i := range req.Groups {
			asked := &req.Groups[i]
			if r.version >= 10 {
				s.nameTopics(asked.Topics)
			}
			g, err := s.fetchOffsets(ctx, r, asked, req.RequireStable)
			if r.version >= 10 {
				s.identifyTopics(g.Topics, asked.Topics)
			}
			if err != nil {
				return nil, err
			}
			resp.Groups = append(resp.Groups, g)
		}
		return resp, nil
	}
	asked := kmsg.NewOffsetFetchRequestGroup()
	asked.Group = req.Group
	if req.Topics != nil || r.version < 2 {
		asked.Topics = []kmsg.OffsetFetchRequestGroupTopic{}
	}
	for i := range req.Topics {
		t := kmsg.NewOffsetFetchRequestGroupTopic()
		t.Topic, t.Partitions = req.Topics[i].Topic, req.Topics[i].Partitions
		asked.Topics = append(asked.Topics, t)
	}
	g, err := s.fetchOffsets(ctx, r, &asked, req.RequireStable)
	if err != nil {
		return nil, err
	}
	resp.ErrorCode = g.ErrorCode
	for i := range g.Topics {
		t := kmsg.NewOffsetFetchResponseTopic()
		t.Topic = g.Topics[i].Topic
		for _, p := range g.Topics[i].Partitions {
			out := kmsg.NewOffsetFetchResponseTopicPartition()
			out.Partition, out.Offset, out.LeaderEpoch, out.Metadata, out.ErrorCode = p.Partition, p.Offset, p.LeaderEpoch, p.Metadata, p.ErrorCode
			t.Partitions = append(t.Partitions, out)
		}
		resp.Topics = append(resp.Topics, t)
	}
	return resp, nil
}

// fetch looks up the offsets of one group: of the topics asked for, or all of
// them if that is nil.
func (c *coordinator) fetch(ctx context.Context, asked *kmsg.OffsetFetchRequestGroup, stable bool) (kmsg.OffsetFetchResponseGroup, error) {
	resp := kmsg.NewOffsetFetchResponseGroup()
	resp.Group = asked.Group
	offsets, err := c.log.Committed(ctx, asked.Group)
	if err != nil {
		return resp, err
	}
	topics := asked.Topics
	if topics == nil {
		topics = topicsOf(offsets)
	}
	for i := range topics {
		t := kmsg.NewOffsetFetchResponseGroupTopic()
		t.Topic = topics[i].Topic
		for _, p := range topics[i].Partitions {
			tp := log.TopicPartition{Topic: t.Topic, Partition: p}
			out := kmsg.NewOffsetFetchResponseGroupTopicPartition()
			out.Partition, out.Offset, out.LeaderEpoch, out.Metadata = p, -1, -1, kmsg.StringPtr("")
			if stable && c.log.PendingOffsets(asked.Group, tp) {
				out.ErrorCode = kerr.UnstableOffsetCommit.Code
			} else if o, ok := offsets[tp]; ok {
				out.Offset, out.LeaderEpoch, out.Metadata = int64(o.Offset), o.LeaderEpoch, kmsg.StringPtr(o.Metadata)
			}
			t.Partitions = append(t.Partitions, out)
		}
		resp.Topics = append(resp.Topics, t)
	}
	return resp, nil
}

// nameTopics fills in the names of topics that were asked for by id; that of one
// that is not known stays empty.
func (s *Server) nameTopics(topics []kmsg.OffsetFetchRequestGroupTopic) {
	for i := range topics {
		topics[i].Topic, _ = s.opts.Log.TopicName(topics[i].TopicID)
	}
}

// identifyTopics fills in the ids of topics, and refuses those that were asked
// for by an id that is not known. Where all were asked for, one that is gone is
// left without an id.
func (s *Server) identifyTopics(topics []kmsg.OffsetFetchResponseGroupTopic, asked []kmsg.OffsetFetchRequestGroupTopic) {
	for i := range topics {
		t := &topics[i]
		if asked == nil {
			if topic, err := s.opts.Log.Topic(context.Background(), t.Topic); err == nil {
				t.TopicID = topic.ID
			}
			continue
		}
		t.TopicID = asked[i].TopicID
		for j := range t.Partitions {
			if t.Topic == "" {
				t.Partitions[j].ErrorCode = kerr.UnknownTopicID.Code
			}
		}
	}
}

// topicsOf lists what there are offsets of, in order.
func topicsOf(offsets map[log.TopicPartition]log.GroupOffset) (topics []kmsg.OffsetFetchRequestGroupTopic) {
	tps := make([]log.TopicPartition, 0, len(offsets))
	for tp := range offsets {
		tps = append(tps, tp)
	}
	slices.SortFunc(tps, func(a, b log.TopicPartition) int {
		return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition))
	})
	for _, tp := range tps {
		if n := len(topics); n == 0 || topics[n-1].Topic != tp.Topic {
			t := kmsg.NewOffsetFetchRequestGroupTopic()
			t.Topic = tp.Topic
			topics = append(topics, t)
		}
		last := &topics[len(topics)-1]
		last.Partitions = append(last.Partitions, tp.Partition)
	}
	return topics
}

// fetchOffsets returns what the client may know of a group's offsets.
func (s *Server) fetchOffsets(ctx context.Context, r *request, asked *kmsg.OffsetFetchRequestGroup, stable bool) (kmsg.OffsetFetchResponseGroup, error) {
	if err := r.group(toDescribe, asked.Group); err != nil {
		g := kmsg.NewOffsetFetchResponseGroup()
		g.Group, g.ErrorCode = asked.Group, code(err)
		if r.version < 2 { // no error but those of partitions
			for i := range asked.Topics {
				g.Topics = append(g.Topics, refuseOffsets(&asked.Topics[i], err))
			}
		}
		return g, nil
	}
	if code := s.groups.mayFetch(asked); code != nil {
		g := kmsg.NewOffsetFetchResponseGroup()
		g.Group, g.ErrorCode = asked.Group, code.Code
		return g, nil
	}
	g, err := s.groups.fetch(ctx, asked, stable)
	if err != nil {
		return g, err
	}
	known := g.Topics[:0]
	for i := range g.Topics {
		t := &g.Topics[i]
		err := error(nil)
		if t.Topic != "" { // of an id that is not known
			err = r.topic(toDescribe, t.Topic)
		}
		switch {
		case err == nil:
			known = append(known, *t)
		case asked.Topics != nil:
			known = append(known, refuseOffsets(&asked.Topics[i], err))
		}
	}
	g.Topics = known
	return g, nil
}

// mayFetch tells why a member of the consumer protocol cannot look up offsets of
// its group, or nil. Who says to be none, and members of other groups, always can.
func (c *coordinator) mayFetch(asked *kmsg.OffsetFetchRequestGroup) *kerr.Error {
	if asked.MemberID == nil || *asked.MemberID == "" && asked.MemberEpoch < 0 {
		return nil
	}
	g := c.lookup(asked.Group)
	if g == nil {
		return nil
	}
	defer g.mu.Unlock()
	if !g.ofConsumers() {
		return nil
	}
	return g.consumers.mayCommit(*asked.MemberID, asked.MemberEpoch)
}

// refuseOffsets answers a topic whose offsets are not the client's to know.
func refuseOffsets(asked *kmsg.OffsetFetchRequestGroupTopic, err error) kmsg.OffsetFetchResponseGroupTopic {
	t := kmsg.NewOffsetFetchResponseGroupTopic()
	t.Topic, t.TopicID = asked.Topic, asked.TopicID
	for _, n := range asked.Partitions {
		p := kmsg.NewOffsetFetchResponseGroupTopicPartition()
		p.Partition, p.Offset, p.ErrorCode = n, -1, code(err)
		t.Partitions = append(t.Partitions, p)
	}
	return t
}
