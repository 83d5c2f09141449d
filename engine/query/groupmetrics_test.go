package query

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gretestream/grete/log"
	"github.com/gretestream/grete/log/logtest"
)

// Lag is by group and partition, whatever the group is called, and does not count
// what is gone unread.
func TestGroupMetrics(t *testing.T) {
	l := logtest.Open(t)
	tps := logtest.Create(t, l, "t", 2)
	for range 5 {
		logtest.Append(t, l, tps[0], log.Record{Value: []byte("v")})
	}
	ctx := context.Background()
	const odd = `a{b="c",d}`
	for _, c := range []log.Commit{
		{Group: "g", Offsets: []log.GroupOffset{{TopicPartition: tps[0], Offset: 1}, {TopicPartition: tps[1]}}},
		{Group: odd, Offsets: []log.GroupOffset{{TopicPartition: tps[0], Offset: 4}}},
		{Group: "\xff", Offsets: []log.GroupOffset{{TopicPartition: tps[0], Offset: 4}}},
	} {
		if _, err := l.Commit(ctx, &c); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.DeleteRecords(ctx, tps[0], 3); err != nil {
		t.Fatal(err)
	}
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(groupCollector{l.(groupLog)})
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range families {
		for _, m := range f.GetMetric() {
			s := f.GetName()
			for _, label := range m.GetLabel() {
				if label.GetValue() == "__consumer_offsets" {
					s = ""
					break
				}
				s += " " + label.GetValue()
			}
			if s != "" {
				got = append(got, fmt.Sprintf("%s %v", s, m.GetGauge().GetValue()))
			}
		}
	}
	for _, want := range []string{
		"kafka_consumergroup_lag g 0 t 2", // labels are sorted by name
		"kafka_consumergroup_lag g 1 t 0",
		"kafka_consumergroup_current_offset g 0 t 1",
		"kafka_consumergroup_lag " + odd + " 0 t 1",
		"kafka_consumergroup_lag_sum g 2",
		"kafka_topic_partition_current_offset 0 t 5",
		"kafka_topic_partition_oldest_offset 0 t 3",
	} {
		if !slices.Contains(got, want) {
			t.Errorf("%q is missing in %q", want, got)
		}
	}
}
