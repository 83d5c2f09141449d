package kafka

import (
	"bytes"
	"cmp"
	"maps"
	"slices"

	"github.com/gretestream/grete/log"
)

// idPartition is a partition of a topic under its id: one that was deleted and
// made again is another.
type idPartition struct {
	topic     log.TopicID
	partition int32
}

func compareIDPartitions(a, b idPartition) int {
	return cmp.Or(bytes.Compare(a.topic[:], b.topic[:]), cmp.Compare(a.partition, b.partition))
}

// partitionSet is a set of partitions. One that a group holds is never changed.
type partitionSet map[idPartition]struct{}

func (s partitionSet) has(p idPartition) bool {
	_, ok := s[p]
	return ok
}

// sorted are the partitions in order.
func (s partitionSet) sorted() []idPartition {
	return slices.SortedFunc(maps.Keys(s), compareIDPartitions)
}

// split parts a set into what is in other, too, and what is not.
func (s partitionSet) split(other partitionSet) (in, out partitionSet) {
	in, out = partitionSet{}, partitionSet{}
	for p := range s {
		if other.has(p) {
			in[p] = struct{}{}
		} else {
			out[p] = struct{}{}
		}
	}
	return in, out
}

// meets tells whether sets have a partition in common.
func (s partitionSet) meets(other partitionSet) bool {
	for p := range s {
		if other.has(p) {
			return true
		}
	}
	return false
}

// leaves tells whether a set has partitions that other has not.
func (s partitionSet) leaves(other partitionSet) bool {
	for p := range s {
		if !other.has(p) {
			return true
		}
	}
	return false
}

// topicPartitions are the partitions of one topic.
type topicPartitions struct {
	topic      log.TopicID
	partitions []int32
}

// byTopic groups a set as messages do.
func (s partitionSet) byTopic() []topicPartitions {
	var list []topicPartitions
	for _, p := range s.sorted() {
		if n := len(list); n == 0 || list[n-1].topic != p.topic {
			list = append(list, topicPartitions{topic: p.topic})
		}
		last := &list[len(list)-1]
		last.partitions = append(last.partitions, p.partition)
	}
	return list
}
