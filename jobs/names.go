package jobs

import (
	"fmt"
	"strconv"
	"strings"
)

// PlansTopic holds one record per job: its Deployment. It is compacted and has
// one partition.
const PlansTopic = "grete.jobs"

// TaskName is "<stage>-<partition>".
func TaskName(stage string, partition int) string {
	return stage + "-" + strconv.Itoa(partition)
}

// internalName is "<job>.<generation>.<rest>".
func internalName(job string, generation int64, rest string) string {
	return fmt.Sprintf("%s.%d.%s", job, generation, rest)
}

// CheckpointTopic is where the tasks of a generation write their checkpoints.
func CheckpointTopic(job string, generation int64) string {
	return internalName(job, generation, "checkpoint")
}

// RepartitionTopic is what the KeyBy or Top of that name writes to.
func RepartitionTopic(job string, generation int64, name string) string {
	return internalName(job, generation, name+".repartition")
}

// ChangelogTopic mirrors the store of that name.
func ChangelogTopic(job string, generation int64, store string) string {
	return internalName(job, generation, store+".changelog")
}

// DeadLettersTopic is where records go that could not be handled, unless
// Options.DeadLetters names another.
func DeadLettersTopic(job string) string { return job + ".dead-letters" }

// Producer is the name under which a task's commits are fenced.
func Producer(job string, generation int64, task string) string {
	return internalName(job, generation, task)
}

// Group is the consumer group whose offsets show the job's progress to Kafka's
// tools. The engine never reads them.
func Group(job string, generation int64) string {
	return job + "." + strconv.FormatInt(generation, 10)
}

// TaskGroup is the group in which containers share out the tasks of a
// generation. It is not the one of the offsets, since Kafka lets only members
// commit to a group that has some.
func TaskGroup(job string, generation int64) string {
	return internalName(job, generation, "tasks")
}

// InternalTopic tells whether a topic was made for one generation of the job,
// and for which.
func InternalTopic(job, topic string) (generation int64, ok bool) {
	rest, ok := strings.CutPrefix(topic, job+".")
	if !ok {
		return 0, false
	}
	number, rest, ok := strings.Cut(rest, ".")
	if !ok {
		return 0, false
	}
	generation, err := strconv.ParseInt(number, 10, 64)
	if err != nil || generation < 1 || strconv.FormatInt(generation, 10) != number {
		return 0, false
	}
	internal := rest == "checkpoint" || strings.HasSuffix(rest, ".changelog") || strings.HasSuffix(rest, ".repartition")
	return generation, internal
}
