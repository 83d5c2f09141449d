package operators

import (
	"strconv"

	"github.com/gretestream/grete/log"
)

// GenerationHeader is the header of results that names the generation of the
// job that made them. The first generation's results go without: a header on
// every record would cost more than writing it.
const GenerationHeader = "grete.generation"

// builderSets is how many intervals an output has buffers for: the one being
// filled, the one whose commit is under way, and the one frozen last.
const builderSets = 3

// outputBatchBytes is where a batch of results is closed: while it is still in
// the processor's cache, since the checksum reads all of it again.
const outputBatchBytes = 128 << 10

// output collects the encoded records of one output topic.
type output struct {
	sets    [builderSets][]*log.Builder // by partition; nil until used
	current int
	lonely  int32        // the partition of null keys in this batch
	stamp   []log.Header // on every record; of results
	headers []log.Header // scratch
}

func newOutput(i int, spec OutputSpec, env Env) *output {
	o := &output{}
	n := 1
	if env.Partitions != nil {
		n = max(1, env.Partitions(i))
	}
	for s := range o.sets {
		o.sets[s] = make([]*log.Builder, n)
	}
	if !spec.Repartition && env.Generation > 1 {
		o.stamp = []log.Header{{Key: GenerationHeader, Value: strconv.AppendInt(nil, env.Generation, 10)}}
	}
	return o
}

// newBatch moves null keys on to the next partition, so that each batch's stay
// together.
func (o *output) newBatch() {
	if o.lonely++; int(o.lonely) >= len(o.sets[0]) {
		o.lonely = 0
	}
}

// put adds a record in the partition of its key. The bytes are copied.
func (o *output) put(t int64, key, value []byte, headers []log.Header) {
	set := o.sets[o.current]
	p := o.lonely
	if len(set) == 1 {
		p = 0
	} else if key != nil {
		p = log.PartitionFor(key, len(set))
	}
	b := set[p]
	if b == nil {
		b = &log.Builder{MaxBatchBytes: outputBatchBytes}
		if last := o.sets[(o.current+builderSets-1)%builderSets][p]; last != nil {
			b.Grow(last.Size() + last.Size()/16) // about as much will come again
		}
		set[p] = b
	}
	if o.stamp != nil {
		o.headers = append(append(o.headers[:0], headers...), o.stamp...)
		headers = o.headers
	}
	b.Append(log.Timestamp(t), key, value, headers...)
}

// freeze hands out what was collected and goes on with the next set.
func (o *output) freeze(visit func(partition int32, b *log.Builder)) {
	for p, b := range o.sets[o.current] {
		if b != nil && b.Len() > 0 {
			visit(int32(p), b)
		}
	}
	o.current = (o.current + 1) % builderSets
	for _, b := range o.sets[o.current] {
		if b != nil {
			b.Reset()
		}
	}
}

// size is the number of bytes collected and not yet frozen.
func (o *output) size() int {
	n := 0
	for _, b := range o.sets[o.current] {
		if b != nil {
			n += b.Size()
		}
	}
	return n
}
