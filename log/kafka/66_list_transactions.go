package kafka

import (
	"context"
	"regexp"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// ListTransactions lists transactional ids, by state and producer; from version 1
// on by age, too, and from 2 on by a pattern of the id.
var listTransactionsAPI = api{key: kmsg.ListTransactions, min: 0, max: 2, handle: (*Server).listTransactions}

func (s *Server) listTransactions(_ context.Context, r *request) (kmsg.Response, error) {
	req := r.body.(*kmsg.ListTransactionsRequest)
	resp := req.ResponseKind().(*kmsg.ListTransactionsResponse)
	for _, name := range req.StateFilters {
		if !slices.Contains(kmsg.TransactionStateStrings(), name) {
			resp.UnknownStateFilters = append(resp.UnknownStateFilters, name)
		}
	}
	pattern := regexp.MustCompile("")
	if req.TransactionalIDPattern != nil && *req.TransactionalIDPattern != "" {
		var err error
		if pattern, err = regexp.Compile("^(?:" + *req.TransactionalIDPattern + ")$"); err != nil {
			resp.ErrorCode = kerr.InvalidRegularExpression.Code
			return resp, nil
		}
	}
	atLeast := time.Duration(-1)
	if r.version >= 1 && req.DurationFilterMillis >= 0 {
		atLeast = time.Duration(req.DurationFilterMillis) * time.Millisecond
	}
	now := s.opts.Now()
	for _, t := range s.txns.all() {
		t.mu.Lock()
		state := t.status.String()
		fits := !t.gone && t.producer != noProducer &&
			(len(req.StateFilters) == 0 || slices.Contains(req.StateFilters, state)) &&
			(len(req.ProducerIDFilters) == 0 || slices.Contains(req.ProducerIDFilters, t.producer.id)) &&
			(atLeast < 0 || t.status == kmsg.TransactionStateOngoing && now.Sub(t.started.Time()) > atLeast) &&
			pattern.MatchString(t.id) && r.transactionalID(toDescribe, t.id) == nil
		if fits {
			st := kmsg.NewListTransactionsResponseTransactionState()
			st.TransactionalID, st.ProducerID, st.TransactionState = t.id, t.producer.id, state
			resp.TransactionStates = append(resp.TransactionStates, st)
		}
		t.mu.Unlock()
	}
	return resp, nil
}
