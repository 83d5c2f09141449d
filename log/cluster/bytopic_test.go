package cluster

import (
	"fmt"
	"testing"

	"github.com/gretestream/grete/log"
)

func TestByTopic(t *testing.T) {
	f := func(want string, tps ...log.TopicPartition) {
		t.Helper()
		var offsets []log.GroupOffset
		for _, tp := range tps {
			offsets = append(offsets, log.GroupOffset{TopicPartition: tp})
		}
		got := ""
		for _, of := range byTopic(offsets, partitionOfOffset) {
			got += of.topic + ":"
			for _, o := range of.parts {
				got += fmt.Sprint(o.Partition, " ")
			}
		}
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	f("")
	f("b:3 1 a:2 ", log.TopicPartition{Topic: "b", Partition: 3}, log.TopicPartition{Topic: "a", Partition: 2}, log.TopicPartition{Topic: "b", Partition: 1})
}
