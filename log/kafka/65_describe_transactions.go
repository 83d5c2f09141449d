package kafka

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// DescribeTransactions tells the state of transactional ids.
var describeTransactionsAPI = api{key: kmsg.DescribeTransactions, min: 0, max: 0, handle: (*Server).describeTransactions}

func (s *Server) describeTransactions(_ context.Context, r *request) (kmsg.Response, error) {
	req := r.body.(*kmsg.DescribeTransactionsRequest)
	resp := req.ResponseKind().(*kmsg.DescribeTransactionsResponse)
	for _, id := range req.TransactionalIDs {
		st := kmsg.NewDescribeTransactionsResponseTransactionState()
		st.TransactionalID, st.StartTimestamp = id, -1
		if err := r.transactionalID(toDescribe, id); err != nil {
			st.ErrorCode = code(err)
			resp.TransactionStates = append(resp.TransactionStates, st)
			continue
		}
		err := s.txns.with(id, func(t *txn) error {
			st.State = t.status.String()
			st.TimeoutMillis = int32(t.timeout.Milliseconds())
			if t.status == kmsg.TransactionStateOngoing {
				st.StartTimestamp = int64(t.started)
			}
			st.ProducerID, st.ProducerEpoch = t.producer.id, t.producer.epoch
			for _, tp := range t.parts {
				if r.topic(toDescribe, tp.Topic) != nil {
					continue
				}
				n := len(st.Topics)
				if n == 0 || st.Topics[n-1].Topic != tp.Topic {
					topic := kmsg.NewDescribeTransactionsResponseTransactionStateTopic()
					topic.Topic = tp.Topic
					st.Topics = append(st.Topics, topic)
					n++
				}
				st.Topics[n-1].Partitions = append(st.Topics[n-1].Partitions, tp.Partition)
			}
			return nil
		})
		if err != nil {
			st.ErrorCode = kerr.TransactionalIDNotFound.Code
		}
		resp.TransactionStates = append(resp.TransactionStates, st)
	}
	return resp, nil
}
