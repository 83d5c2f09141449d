package cluster

import "github.com/gretestream/grete/log"

// ofTopic is what a request says of the partitions of one topic.
type ofTopic[T any] struct {
	topic string
	parts []*T
}

// byTopic gathers what is said of partitions by topic, as requests have it, in
// the order in which topics are named first.
func byTopic[T any](list []T, partition func(*T) log.TopicPartition) (topics []ofTopic[T]) {
	at := map[string]int{}
	for i := range list {
		name := partition(&list[i]).Topic
		j, ok := at[name]
		if !ok {
			j = len(topics)
			at[name] = j
			topics = append(topics, ofTopic[T]{topic: name})
		}
		topics[j].parts = append(topics[j].parts, &list[i])
	}
	return topics
}

func partitionOfWrite(w *log.Write) log.TopicPartition        { return w.TopicPartition }
func partitionOfOffset(o *log.GroupOffset) log.TopicPartition { return o.TopicPartition }
