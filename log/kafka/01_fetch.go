package kafka

import (
	"context"
	"errors"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gretestream/grete/log"
)

// Fetch hands out stored batches. Topics go by their ids from version 13 on.
//
// Sessions are declined: a full fetch is answered with session 0, whereupon
// clients name all partitions each time. What is asked of a session is answered
// with FETCH_SESSION_ID_NOT_FOUND.
var fetchAPI = api{key: kmsg.Fetch, min: 4, max: 18, handle: (*Server).fetch}

const (
	maxFetchBytes = 55 << 20 // of one answer, however much is asked for; Kafka's default
	sparedCursors = 16       // of partitions that a connection has fetched, and has not this time
)

// fetching is one Fetch on its way, and its answer.
type fetching struct {
	*kmsg.FetchResponse // the answer, if there is an error; never encoded by kmsg otherwise

	s     *Server
	req   *kmsg.FetchRequest
	conn  *conn
	parts []fetchPart // of all topics, in order
	bytes int         // of all spans
	now   bool        // do not wait: something is wrong
}

// fetchPart is what is answered for one partition.
type fetchPart struct {
	asked   *kmsg.FetchRequestTopicPartition
	name    string
	cursor  *log.Cursor
	code    int16
	bounds  log.Bounds
	span    log.Span
	aborted []log.AbortedTxn
}

func (s *Server) fetch(ctx context.Context, r *request) (kmsg.Response, error) {
	req := r.body.(*kmsg.FetchRequest)
	resp := req.ResponseKind().(*kmsg.FetchResponse)
	if req.SessionID != 0 {
		resp.ErrorCode = kerr.FetchSessionIDNotFound.Code
		return resp, nil
	}
	if req.SessionEpoch > 0 {
		resp.ErrorCode = kerr.InvalidFetchSessionEpoch.Code
		return resp, nil
	}
	f := &fetching{FetchResponse: resp, s: s, req: req, conn: r.conn}
	f.open(r)
	if f.collect(); f.enough() || req.MaxWaitMillis <= 0 {
		return f, nil
	}
	wake := make(chan struct{}, 1)
	defer f.each(func(p *fetchPart) { p.cursor.Disarm(wake) })
	timeout := time.NewTimer(min(time.Duration(req.MaxWaitMillis)*time.Millisecond, r.patience()))
	defer timeout.Stop()
	for {
		// Look again after arming: records may have come in between.
		f.each(func(p *fetchPart) { p.cursor.Arm(wake) })
		if f.collect(); f.enough() {
			return f, nil
		}
		if done, err := s.park(ctx, wake, timeout.C); done || err != nil {
			return f, err
		}
	}
}

// park waits for records. It reports whether the client gets its answer now,
// whatever there is.
func (s *Server) park(ctx context.Context, wake <-chan struct{}, timeout <-chan time.Time) (done bool, err error) {
	s.parked.Add(1)
	defer s.parked.Add(-1)
	select {
	case <-wake:
		s.wakes.Add(1)
		return false, nil
	case <-timeout:
		return true, nil
	case <-s.stopping:
		return true, nil
	case <-ctx.Done():
		return false, ctx.Err()
	}
}

// open finds the cursors of all partitions that are asked for.
func (f *fetching) open(r *request) {
	c := f.conn
	n := 0
	for i := range f.req.Topics {
		n += len(f.req.Topics[i].Partitions)
	}
	f.parts = make([]fetchPart, 0, n)
	c.fetches++
	for i := range f.req.Topics {
		t := &f.req.Topics[i]
		for j := range t.Partitions {
			f.parts = append(f.parts, f.part(r, t, &t.Partitions[j]))
		}
	}
	if len(c.cursors) > 2*n+sparedCursors {
		c.closeCursors(func(u *cursorUse) bool { return u.fetch != c.fetches })
	}
}

// part finds the cursor of one partition.
func (f *fetching) part(r *request, t *kmsg.FetchRequestTopic, asked *kmsg.FetchRequestTopicPartition) fetchPart {
	c, l := f.conn, f.s.opts.Log
	p := fetchPart{asked: asked, name: t.Topic}
	var id log.TopicID
	known, byID := false, f.req.Version >= 13
	if byID {
		id = t.TopicID
		if p.name, known = l.TopicName(id); !known {
			p.code = kerr.UnknownTopicID.Code
			return p
		}
	} else {
		id, known = l.TopicID(p.name)
	}
	if err := r.topic(toRead, p.name); err != nil {
		p.code = code(err)
		return p
	}
	if p.code = f.s.checkEpoch(asked.CurrentLeaderEpoch); p.code != 0 {
		return p
	}
	tp := log.TopicPartition{Topic: p.name, Partition: asked.Partition}
	u := c.cursors[tp]
	switch {
	case u != nil && u.fetch == c.fetches:
		p.code = kerr.InvalidRequest.Code // named twice: spans of one cursor exclude each other
		return p
	case u != nil && known && u.TopicID() == id:
		u.fetch, p.cursor = c.fetches, u.Cursor
		return p
	case u != nil:
		c.closeCursor(tp, u)
	}
	var err error
	if byID {
		// Not by the name: the topic may have been made again under it.
		p.cursor, err = l.OpenCursorByID(id, tp.Partition)
		err = unknownID(err)
	} else {
		p.cursor, err = l.OpenCursor(tp)
	}
	if err != nil {
		p.code = code(err)
		return p
	}
	c.cursors[tp] = &cursorUse{p.cursor, c.fetches}
	f.s.cursors.Add(1)
	return p
}

func (f *fetching) each(do func(*fetchPart)) {
	for i := range f.parts {
		if p := &f.parts[i]; p.cursor != nil {
			do(p)
		}
	}
}

// collect finds what there is, within the bounds of the request: the first
// partition that has anything gives at least one whole batch.
func (f *fetching) collect() {
	f.bytes, f.now = 0, false
	left := min(int(f.req.MaxBytes), maxFetchBytes)
	committed := f.req.IsolationLevel == readCommitted
	for i := range f.parts {
		p := &f.parts[i]
		if p.cursor == nil {
			f.now = true
			continue
		}
		var err error
		limit := min(int(p.asked.PartitionMaxBytes), left-f.bytes)
		p.span, p.bounds, err = p.cursor.Next(log.Offset(p.asked.FetchOffset), limit, f.bytes == 0, committed)
		if err == nil && committed && p.span.Size > 0 {
			p.aborted = p.cursor.Aborted(log.Offset(p.asked.FetchOffset), p.span.Next)
		}
		if err != nil {
			f.fail(p, err)
			continue
		}
		f.bytes += p.span.Size
	}
}

// fail answers a partition with an error.
func (f *fetching) fail(p *fetchPart, err error) {
	p.code, p.span, f.now = code(err), log.Span{}, true
	if errors.Is(err, log.ErrCorrupt) {
		f.s.logger.Error("stored batches cannot be handed out", "topic", p.name, "partition", p.asked.Partition, "offset", p.asked.FetchOffset, "err", err)
	}
}

// enough tells whether the client gets its answer now.
func (f *fetching) enough() bool {
	return f.now || f.bytes >= int(f.req.MinBytes) || len(f.parts) == 0
}

// cursorUse is a connection's cursor of a partition. So a consumer that reads on
// where it was costs neither a search nor an open file.
type cursorUse struct {
	*log.Cursor
	fetch int64 // the last one that had a use for it
}

// closeCursors closes those of which which is true.
func (c *conn) closeCursors(which func(*cursorUse) bool) {
	for tp, u := range c.cursors {
		if which(u) {
			c.closeCursor(tp, u)
		}
	}
}

func (c *conn) closeCursor(tp log.TopicPartition, u *cursorUse) {
	u.Close()
	delete(c.cursors, tp)
	c.s.cursors.Add(-1)
}
