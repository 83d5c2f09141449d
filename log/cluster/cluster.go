package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"

	"github.com/hashicorp/go-hclog"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"

	"github.com/gretestream/grete/log"
)

// Log implements log.Log on a Kafka cluster.
//
// Requests are made by hand (kmsg), over the connections of franz-go's clients:
// batches are sent and received as they are stored, so nothing is encoded twice,
// and a step takes as few round trips as the protocol allows. A broker answers
// the requests of one connection in turn, and some of them wait: so each reader
// and each producer has a client of its own, from a pool.
type Log struct {
	opts      Options
	logger    hclog.Logger
	m         *counters
	clusterID string
	implicit  bool // partitions join a transaction by being written to (KIP-890)
	versions  *kversion.Versions

	admin *kgo.Client // topics, offsets, groups
	pool  pool
	meta  metadata
	plain chan *producer // producers without a name that are not in use; nil: yet to be made

	mu struct {
		sync.Mutex
		closed    bool
		producers map[string]*producer // by name: those fenced here
		nameless  []*producer          // of transactions of nobody in particular, not in use
		members   map[*member]struct{}
	}
	ctx    context.Context // ends with Close
	cancel context.CancelFunc
}

var _ log.Log = (*Log)(nil)

// plainProducers is how many Appends may be under way at once.
const plainProducers = 8

// Open connects to a cluster. It fails within Options.DialTimeout if no seed
// answers.
func Open(ctx context.Context, opts Options) (*Log, error) {
	opts.EnsureDefaults()
	if err := opts.Validate(); err != nil {
		return nil, err
	}
	l := &Log{opts: opts, logger: opts.Logger.Named("cluster"), m: newCounters(opts.Metrics), versions: versions()}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	l.mu.producers = map[string]*producer{}
	l.mu.members = map[*member]struct{}{}
	l.plain = make(chan *producer, plainProducers)
	for range plainProducers {
		l.plain <- nil
	}
	dialCtx, cancel := context.WithTimeout(ctx, opts.DialTimeout)
	defer cancel()
	if err := l.connect(dialCtx); err != nil {
		l.cancel()
		if l.admin != nil {
			l.admin.Close()
		}
		if opts.Mechanism != "" && errors.Is(err, io.EOF) {
			err = fmt.Errorf("the broker ended the connection (%w): check user, password and sasl=MECHANISM in the log's URL", err)
		}
		if ctx.Err() == nil && dialCtx.Err() != nil {
			err = fmt.Errorf("no answer within %v: %w", opts.DialTimeout, err)
		}
		return nil, fmt.Errorf("open log at %v: %w", opts.Seeds, explain(err))
	}
	return l, nil
}

// connect asks the cluster who it is and what it can do.
func (l *Log) connect(ctx context.Context) error {
	var err error
	if l.admin, err = l.newClient(); err != nil {
		return err
	}
	if err := l.ping(ctx); err != nil {
		return err
	}
	// Any broker may be asked: what is finalized holds for all of them.
	resp, err := kmsg.NewPtrApiVersionsRequest().RequestWith(ctx, l.admin)
	if err != nil {
		return fmt.Errorf("ask for versions: %w", err)
	}
	if err := kerr.ErrorForCode(resp.ErrorCode); err != nil {
		return fmt.Errorf("ask for versions: %w", err)
	}
	for _, f := range resp.FinalizedFeatures {
		if f.Name == "transaction.version" && f.MaxVersionLevel >= 2 {
			l.implicit = true
		}
	}
	if !l.implicit {
		explicitTransactions(l.versions)
	}
	meta, err := l.fetchMetadata(ctx, []string{})
	if err != nil {
		return err
	}
	if meta.ClusterID != nil {
		l.clusterID = *meta.ClusterID
	}
	return nil
}

// ping dials the seeds once each. The client would go on for as long as it may,
// and hide why: a wrong password or certificate is to be said at once.
func (l *Log) ping(ctx context.Context) error {
	var errs []error
	for _, b := range l.admin.SeedBrokers() {
		req := kmsg.NewPtrMetadataRequest()
		req.Topics = []kmsg.MetadataRequestTopic{}
		_, err := req.RequestWith(ctx, b)
		if err == nil {
			return nil
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// versions are those that requests may have at most. Committed offsets are asked
// for by the topics' names, so that those of a deleted topic need no exception.
func versions() *kversion.Versions {
	v := kversion.Stable()
	v.SetMaxKeyVersion(8, 9)  // OffsetCommit
	v.SetMaxKeyVersion(9, 9)  // OffsetFetch
	v.SetMaxKeyVersion(24, 3) // AddPartitionsToTxn: above, for brokers only
	v.SetMaxKeyVersion(28, 5) // TxnOffsetCommit
	return v
}

// explicitTransactions lowers versions to those that a client may use while the
// cluster has not turned on KIP-890's second part: those above mean it.
func explicitTransactions(v *kversion.Versions) {
	v.SetMaxKeyVersion(0, 11) // Produce
	v.SetMaxKeyVersion(26, 4) // EndTxn
	v.SetMaxKeyVersion(28, 4) // TxnOffsetCommit
}

// ClusterID implements log.Log.
func (l *Log) ClusterID() string { return l.clusterID }

// Close leaves all groups and ends the connections. Readers must be closed first.
func (l *Log) Close() error {
	l.mu.Lock()
	if l.mu.closed {
		l.mu.Unlock()
		return nil
	}
	l.mu.closed = true
	members := l.mu.members
	l.mu.members = nil
	l.mu.Unlock()

	for m := range members {
		m.leave()
	}
	l.cancel()
	for range plainProducers {
		if p := <-l.plain; p != nil {
			p.cl.Close()
		}
	}
	l.mu.Lock()
	producers := append(slices.Collect(maps.Values(l.mu.producers)), l.mu.nameless...)
	l.mu.producers, l.mu.nameless = nil, nil
	l.mu.Unlock()
	for _, p := range producers {
		p.close()
	}
	l.pool.close()
	l.admin.Close()
	return nil
}

// usable tells that the log is not closed.
func (l *Log) usable() error {
	if l.ctx.Err() != nil {
		return log.ErrClosed
	}
	return nil
}
