package query

import (
	"context"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gretestream/grete/log"
)

// groupCollector shows how far consumer groups have come, under the names that
// dashboards for Kafka know. It is worked out when it is scraped, from memory.
type groupCollector struct{ log groupLog }

// groupLog is a log that knows its groups: the embedded one.
type groupLog interface {
	log.Log
	Groups() []string
}

// scrapeTimeout bounds the work for one scrape.
const scrapeTimeout = 5 * time.Second

var (
	descGroupLag    = prometheus.NewDesc("kafka_consumergroup_lag", "Records of the partition that the group has not read.", []string{"group", "topic", "partition"}, nil)
	descGroupOffset = prometheus.NewDesc("kafka_consumergroup_current_offset", "Offset that the group reads next, as committed.", []string{"group", "topic", "partition"}, nil)
	descGroupSum    = prometheus.NewDesc("kafka_consumergroup_lag_sum", "Records of all partitions that the group has not read.", []string{"group"}, nil)
	descEnd         = prometheus.NewDesc("kafka_topic_partition_current_offset", "End offset of the partition.", []string{"topic", "partition"}, nil)
	descStart       = prometheus.NewDesc("kafka_topic_partition_oldest_offset", "Start offset of the partition.", []string{"topic", "partition"}, nil)
)

func (groupCollector) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descGroupLag, descGroupOffset, descGroupSum, descEnd, descStart} {
		out <- d
	}
}

func (c groupCollector) Collect(out chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), scrapeTimeout)
	defer cancel()
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		// A name that is not UTF-8 is no reason to show nothing at all.
		if m, err := prometheus.NewConstMetric(d, prometheus.GaugeValue, v, labels...); err == nil {
			out <- m
		}
	}
	for _, group := range c.log.Groups() {
		offsets, err := c.log.Committed(ctx, group)
		if err != nil {
			return
		}
		var sum float64
		for tp, o := range offsets {
			b, err := c.log.Bounds(ctx, tp)
			if err != nil {
				continue // the topic has gone
			}
			// What has been deleted unread is not to be read any more.
			lag := float64(max(b.End-max(o.Offset, b.Start), 0))
			sum += lag
			partition := strconv.Itoa(int(tp.Partition))
			gauge(descGroupLag, lag, group, tp.Topic, partition)
			gauge(descGroupOffset, float64(o.Offset), group, tp.Topic, partition)
		}
		if len(offsets) > 0 {
			gauge(descGroupSum, sum, group)
		}
	}
	c.collectTopics(ctx, gauge)
}

func (c groupCollector) collectTopics(ctx context.Context, gauge func(*prometheus.Desc, float64, ...string)) {
	topics, err := c.log.Topics(ctx)
	if err != nil {
		return
	}
	for i := range topics {
		for p := range topics[i].Partitions {
			b, err := c.log.Bounds(ctx, log.TopicPartition{Topic: topics[i].Name, Partition: int32(p)})
			if err != nil {
				continue
			}
			gauge(descEnd, float64(b.End), topics[i].Name, strconv.Itoa(p))
			gauge(descStart, float64(b.Start), topics[i].Name, strconv.Itoa(p))
		}
	}
}
