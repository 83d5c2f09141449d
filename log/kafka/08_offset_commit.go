package kafka

import (
	"context"
	"errors"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gretestream/grete/log"
)

// OffsetCommit stores how far a group has read. Version 6 brings the leader
// epoch, 7 static members, 10 topic ids. Versions 2 to 4 may say how long to keep the offsets;
// that is up to the server, as it is in Kafka from version 5 on.
var offsetCommitAPI = api{key: kmsg.OffsetCommit, min: 2, max: 10, handle: (*Server).offsetCommit}

func (s *Server) offsetCommit(ctx context.Context, r *request) (kmsg.Response, error) {
	req := r.body.(*kmsg.OffsetCommitRequest)
	resp := kmsg.NewPtrOffsetCommitResponse()
	var offsets []log.GroupOffset
	var at []*int16 // where the outcome of each belongs
	refused := r.group(toRead, req.Group)
	for i := range req.Topics {
		t := &req.Topics[i]
		topic := kmsg.NewOffsetCommitResponseTopic()
		topic.Topic, topic.TopicID = t.Topic, t.TopicID
		known := true
		if r.version >= 10 {
			t.Topic, known = s.opts.Log.TopicName(t.TopicID)
		}
		no := refused
		if no == nil && known {
			no = r.topic(toRead, t.Topic)
		}
		topic.Partitions = make([]kmsg.OffsetCommitResponseTopicPartition, len(t.Partitions))
		for j := range t.Partitions {
			p := &t.Partitions[j]
			out := &topic.Partitions[j]
			out.Default()
			out.Partition = p.Partition
			o := log.GroupOffset{
				TopicPartition: log.TopicPartition{Topic: t.Topic, Partition: p.Partition},
				Offset:         log.Offset(p.Offset), LeaderEpoch: p.LeaderEpoch,
			}
			o.TopicID = t.TopicID // zero before version 10
			if p.Metadata != nil {
				o.Metadata = *p.Metadata
			}
			if no != nil {
				out.ErrorCode = code(no)
				continue
			}
			if code := s.groups.checkOffset(ctx, &o); !known {
				out.ErrorCode = kerr.UnknownTopicID.Code
				continue
			} else if code != nil {
				out.ErrorCode = code.Code
				continue
			}
			offsets, at = append(offsets, o), append(at, &out.ErrorCode)
		}
		resp.Topics = append(resp.Topics, topic)
	}
	if refused != nil {
		return resp, nil
	}
	lock := s.groups.offsetsOf(req.Group)
	lock.RLock()
	defer lock.RUnlock()
	code := s.groups.mayCommit(&committer{
		group: req.Group, member: req.MemberID, instance: instance(req.InstanceID), generation: req.Generation,
		consumer: r.version >= 9, offsets: offsets,
	})
	if code == nil && len(offsets) > 0 {
		code = s.groups.commit(ctx, req.Group, offsets)
	}
	if code != nil {
		for _, c := range at {
			*c = code.Code
		}
	}
	return resp, nil
}

// checkOffset tells why an offset cannot be committed, whoever commits it. A negative one
// can: the group then has none, and begins where its reset policy says. kafkajs resets so.
func (c *coordinator) checkOffset(ctx context.Context, o *log.GroupOffset) *kerr.Error {
	switch _, err := c.log.Bounds(ctx, o.TopicPartition); {
	case err != nil:
		return kerr.UnknownTopicOrPartition
	case len(o.Metadata) > maxOffsetMetadata:
		return kerr.OffsetMetadataTooLarge
	}
	return nil
}

// committer is who wants to commit offsets of a group.
type committer struct {
	group, member, instance string
	generation              int32 // -1: no member
	transaction             bool
	// consumer tells that the client knows of member epochs (KIP-848).
	consumer bool
	offsets  []log.GroupOffset
}

// mayCommit tells why offsets cannot be committed, or nil. Who is no member of
// the group can commit as long as the group has none.
//
// A commit during the join phase is for the generation that ends, and welcome.
// After it the member has heard of the new generation, in which its partitions
// may be another's: it shall sync first. A transaction has read what it commits
// in any case.
func (c *coordinator) mayCommit(by *committer) *kerr.Error {
	if !validGroup(by.group) {
		return kerr.InvalidGroupID
	}
	outside := by.generation < 0 && by.member == "" && by.instance == ""
	if len(c.log.Members(by.group)) > 0 {
		return kerr.UnknownMemberID // the engine's, which commits by itself
	}
	g := c.lookup(by.group)
	switch {
	case g == nil && by.generation < 0:
		return nil
	case g == nil && by.consumer:
		return kerr.GroupIDNotFound
	case g == nil:
		return kerr.IllegalGeneration
	}
	defer g.mu.Unlock()
	if g.state == groupEmpty && by.generation < 0 {
		return nil
	}
	if outside {
		if by.transaction {
			return nil // a producer that does not say for whom, before KIP-447
		}
		return kerr.UnknownMemberID
	}
	if g.ofConsumers() {
		return c.mayCommitConsumer(by, g.consumers)
	}
	m, code := g.find(by.member, by.instance)
	switch {
	case code != nil:
		return code
	case by.generation != g.generation:
		return kerr.IllegalGeneration
	case g.state == groupCompleting && !by.transaction:
		return kerr.RebalanceInProgress
	}
	if !by.transaction {
		g.hear(m, c.now())
	}
	return nil
}

// mayCommitConsumer is mayCommit for a member of the consumer protocol, whose epoch
// takes the place of a generation. Clients that know of none are told so. A member
// that has been moved to the next epoch while its commit was on its way has what it
// had, or it would not be there: its commit is as good (KIP-1251 goes further).
func (c *coordinator) mayCommitConsumer(by *committer, cs *consumers) *kerr.Error {
	code := cs.mayCommit(by.member, by.generation)
	switch {
	case code != kerr.StaleMemberEpoch:
		return code
	case by.generation == cs.members[by.member].before && c.hasAll(cs.members[by.member], by.offsets):
		return nil
	case by.transaction:
		return kerr.IllegalGeneration
	case !by.consumer:
		return kerr.UnsupportedVersion
	}
	return code
}

// hasAll tells whether a member may work on all that offsets are of.
func (c *coordinator) hasAll(m *consumer, offsets []log.GroupOffset) bool {
	for _, o := range offsets {
		id, ok := c.log.TopicID(o.Topic)
		if p := (idPartition{id, o.Partition}); !ok || !m.assigned.has(p) && !m.revoked.has(p) {
			return false
		}
	}
	return true
}

// begin makes a group for a consumer on its own, if nobody has committed to it
// yet, and stores it: so it is known to be no group of the engine's. The caller
// has offsetsOf the group, for reading.
func (c *coordinator) begin(ctx context.Context, name string) error {
	if g := c.lookup(name); g != nil {
		stored := g.stored
		g.mu.Unlock()
		if stored {
			return nil
		}
	}
	if offsets, err := c.log.Committed(ctx, name); err != nil || len(offsets) > 0 {
		return err
	}
	g := c.ensure(name)
	defer g.mu.Unlock()
	if g.stored || g.state != groupEmpty {
		return nil
	}
	err := g.store(nil)
	c.dropIfUnused(g)
	return err
}

// commit stores offsets. The caller has offsetsOf the group, for reading.
func (c *coordinator) commit(ctx context.Context, group string, offsets []log.GroupOffset) *kerr.Error {
	if err := c.begin(ctx, group); err != nil {
		c.logger.Error("a group was not stored", "group", group, "err", err)
		return storeCode(err)
	}
	now := log.TimestampOf(c.now())
	for i := range offsets {
		offsets[i].CommitTime = now
	}
	_, err := c.log.Commit(ctx, &log.Commit{Group: group, Offsets: offsets})
	switch {
	case err == nil:
		c.m.count("kafka.group.commits")
		return nil
	case errors.Is(err, log.ErrTooLarge):
		return kerr.InvalidCommitOffsetSize
	case errors.Is(err, log.ErrUnknownTopic), errors.Is(err, log.ErrUnknownPartition):
		return kerr.UnknownTopicOrPartition // it was there a moment ago: the others will do when they are committed again
	}
	c.logger.Error("offsets were not committed", "group", group, "err", err)
	return storeCode(err)
}
