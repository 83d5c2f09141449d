package kafka

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gretestream/grete/log"
)

// DeleteGroups removes groups that have no members, with their offsets. Version 3
// brings messages.
var deleteGroupsAPI = api{key: kmsg.DeleteGroups, min: 0, max: 3, handle: (*Server).deleteGroups}

func (s *Server) deleteGroups(_ context.Context, r *request) (kmsg.Response, error) {
	req := r.body.(*kmsg.DeleteGroupsRequest)
	resp := kmsg.NewPtrDeleteGroupsResponse()
	for _, name := range req.Groups {
		g := kmsg.NewDeleteGroupsResponseGroup()
		g.Group = name
		if err := r.group(toDelete, name); err != nil {
			g.ErrorCode, g.ErrorMessage = answerError(err)
		} else if code := s.groups.delete(name); code != nil {
			g.ErrorCode, g.ErrorMessage = code.Code, kmsg.StringPtr(code.Description)
		}
		resp.Groups = append(resp.Groups, g)
	}
	return resp, nil
}

// delete removes a group: what is stored of it first, so that a crash in between
// leaves offsets that can be deleted again. Those that open transactions have for
// it go, too, as in Kafka.
func (c *coordinator) delete(name string) *kerr.Error {
	if !validGroup(name) {
		return kerr.InvalidGroupID
	}
	lock := c.offsetsOf(name)
	lock.Lock()
	defer lock.Unlock()
	if len(c.log.Members(name)) > 0 {
		return kerr.NonEmptyGroup
	}
	g := c.lookup(name)
	if g != nil {
		defer g.mu.Unlock()
		if g.state != groupEmpty || len(g.pending) > 0 {
			return kerr.NonEmptyGroup
		}
	}
	offsets := c.log.OffsetPartitions(name)
	if g == nil && len(offsets) == 0 {
		return kerr.GroupIDNotFound
	}
	if err := c.forget(name, g, offsets); err != nil {
		c.logger.Error("a group was not deleted", "group", name, "err", err)
		return storeCode(err)
	}
	return nil
}

// forget removes a group (nil if only the log knows it), whose lock is held, and
// offsets, which are all it has. The caller has offsetsOf the group, for writing.
func (c *coordinator) forget(name string, g *group, offsets []log.TopicPartition) error {
	if g != nil && g.stored {
		if err := g.unstore(); err != nil {
			return err
		}
	}
	if err := c.forgetOffsets(name, offsets); err != nil {
		return err
	}
	if g != nil {
		c.drop(g)
	}
	return nil
}

// forgetOffsets removes committed offsets, also those of open transactions. The
// caller has offsetsOf the group, for writing.
func (c *coordinator) forgetOffsets(name string, offsets []log.TopicPartition) error {
	if len(offsets) == 0 {
		return nil
	}
	list := make([]log.GroupOffset, 0, len(offsets))
	for _, tp := range offsets {
		list = append(list, log.GroupOffset{TopicPartition: tp, Offset: -1})
	}
	_, err := c.log.Commit(context.Background(), &log.Commit{Group: name, Offsets: list})
	return err
}
