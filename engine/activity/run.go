package activity

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/gretestream/grete/log"
)

const (
	// Partitions is how many each topic gets that Run creates.
	Partitions = 4
	// interval is how long Run collects records before it appends them.
	interval = 50 * time.Millisecond
	// maxBacklog bounds, in time, what Run makes up for after it was held up.
	maxBacklog = time.Second
)

// source is one topic that Run fills.
type source struct {
	topic  string
	share  uint64 // of every 10 records
	append func(to []log.Builder, from, n uint64, now log.Timestamp)
	to     []log.Builder
	next   uint64 // number of the next record
}

// Prepare creates the topics where they are missing and writes the table of
// campaigns, so that jobs which start before Run find all that they read.
func (g *Generator) Prepare(ctx context.Context, l log.Log, now time.Time) error {
	for _, topic := range []string{PageViews, Searches, AdEvents} {
		if _, err := openTopic(ctx, l, topic); err != nil {
			return err
		}
	}
	return g.writeCampaigns(ctx, l, log.TimestampOf(now))
}

// Run creates the topics where they are missing, writes the table of campaigns,
// and appends rate records a second until ctx ends, which is no error. If the
// log is slower than that, Run makes up for one second at most and then goes on
// at the pace of the log. The records are numbered from the time of the start,
// so that a later Run makes others.
func (g *Generator) Run(ctx context.Context, l log.Log, rate int, now func() time.Time) error {
	if rate <= 0 {
		return fmt.Errorf("generate activity: rate is %d records/s, want 1 or more", rate)
	}
	started := now()
	first := uint64(started.UnixMilli()) << 16
	sources := []*source{
		{topic: PageViews, share: 8, append: g.AppendPageViews, next: first},
		{topic: Searches, share: 1, append: g.AppendSearches, next: first},
		{topic: AdEvents, share: 1, append: g.AppendAdEvents, next: first},
	}
	if err := g.writeCampaigns(ctx, l, log.TimestampOf(started)); err != nil {
		return ended(ctx, err)
	}
	for _, s := range sources {
		to, err := openTopic(ctx, l, s.topic)
		if err != nil {
			return ended(ctx, err)
		}
		s.to = to
	}

	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	p := pace{rate: float64(rate), since: started}
	for {
		t := now()
		from, to := p.due(t)
		for _, s := range sources {
			// Shares are of the running number, so that none is lost to rounding.
			n := share(to, s.share) - share(from, s.share)
			s.append(s.to, s.next, n, log.TimestampOf(t))
			s.next += n
			if err := flush(ctx, l, s.topic, s.to); err != nil {
				return ended(ctx, err)
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// share is how many of the first n records belong to a source with so many of
// every ten.
func share(n, tenths uint64) uint64 { return n * tenths / 10 }

// pace tells how many records are due.
type pace struct {
	rate  float64
	since time.Time
	made  uint64 // records since then
}

// due returns the numbers [from, to) of the records to make at t.
func (p *pace) due(t time.Time) (from, to uint64) {
	owed := p.rate * t.Sub(p.since).Seconds()
	if late := owed - float64(p.made); late > p.rate*maxBacklog.Seconds() {
		skipped := time.Duration((late/p.rate - maxBacklog.Seconds()) * float64(time.Second))
		p.since = p.since.Add(skipped)
		owed = p.rate * t.Sub(p.since).Seconds()
	}
	from = p.made
	p.made = max(from, uint64(owed))
	return from, p.made
}

func (g *Generator) writeCampaigns(ctx context.Context, l log.Log, now log.Timestamp) error {
	to, err := openTopic(ctx, l, Campaigns)
	if err != nil {
		return err
	}
	g.AppendCampaigns(to, now)
	return flush(ctx, l, Campaigns, to)
}

// openTopic creates a topic if it is missing, and returns a builder for each of
// its partitions.
func openTopic(ctx context.Context, l log.Log, name string) ([]log.Builder, error) {
	topic, err := l.CreateTopic(ctx, log.TopicSpec{Name: name, Partitions: Partitions})
	if errors.Is(err, log.ErrTopicExists) {
		topic, err = l.Topic(ctx, name)
	}
	if err != nil {
		return nil, fmt.Errorf("generate activity: open topic %s: %w", name, err)
	}
	return make([]log.Builder, topic.Partitions), nil
}

// flush appends what the builders hold, and empties them.
func flush(ctx context.Context, l log.Log, topic string, to []log.Builder) error {
	for p := range to {
		b := &to[p]
		if b.Len() == 0 {
			continue
		}
		if _, err := l.Append(ctx, log.TopicPartition{Topic: topic, Partition: int32(p)}, b.Bytes()); err != nil {
			return fmt.Errorf("generate activity: %w", err)
		}
		b.Reset()
	}
	return nil
}

// ended is err, unless the context has ended: then that is all there is to it.
func ended(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}
