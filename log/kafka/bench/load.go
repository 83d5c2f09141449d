package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	partitions = 4
	batchBytes = 16 << 10 // Kafka's default of batch.size
	linger     = 5 * time.Millisecond
	rate       = 20_000 // records/s, where latency is measured

	// rest is how long a run waits for what the one before has left.
	rest = time.Second

	// bytesPerRecord is what a record of 100 B takes in a batch.
	bytesPerRecord = 110
)

// workload is one kind of load. It returns how many records it moved; its
// latencies, if it measures them, go to seen.
type workload struct {
	name  string
	size  int  // of a record's value, in bytes
	floor bool // a floor takes it
	run   func(ctx context.Context, l *load) (records int64, err error)
}

var workloads = []workload{
	{"produce 100 B, frames", 100, true, produceFrames},
	{"produce 100 B, 32 producers", 100, true, produceMany},
	{"produce 100 B, client", 100, false, produceClient},
	{"produce 1 KiB, frames", 1024, true, produceFrames},
	{"produce 1 KiB, 32 producers", 1024, true, produceMany},
	{"produce 1 KiB, client", 1024, false, produceClient},
	{"consume 100 B, frames", 100, true, consumeFrames},
	{"consume 100 B, client", 100, false, consumeClient},
	{"end to end, 20,000/s", 100, false, endToEnd},
}

// load is one run of a workload.
type load struct {
	workload
	addr, topic string
	duration    time.Duration
	cl          *kgo.Client // to ask with
	start       func()      // what comes before is not measured
	latencies   []time.Duration
}

// measure runs a workload on a server, on a topic of its own.
func measure(ctx context.Context, s *server, w workload, m *memory, d time.Duration) (r result, err error) {
	cl, err := kgo.NewClient(kgo.SeedBrokers(s.addr))
	if err != nil {
		return r, err
	}
	defer cl.Close()
	l := &load{workload: w, addr: s.addr, topic: fmt.Sprintf("bench-%x", rand.Uint64()), duration: d, cl: cl}
	if !s.isFloor {
		if err := l.createTopic(ctx); err != nil {
			return r, err
		}
		defer func() { err = errors.Join(err, l.deleteTopic(ctx)) }()
	}
	// What the run before has left to be deleted and written is not paid by this one.
	select {
	case <-time.After(rest):
	case <-ctx.Done():
	}
	syscall.Sync()
	if err := m.fill(); err != nil {
		return r, fmt.Errorf("fill the page cache: %w", err)
	}
	var cpu time.Duration
	var began time.Time
	l.start = func() { cpu, began = s.cpu(), time.Now() }
	l.start()
	if r.records, err = w.run(ctx, l); err != nil {
		return r, err
	}
	r.elapsed, r.cpu, r.rss = time.Since(began), s.cpu()-cpu, s.rss()
	if n := len(l.latencies); n > 0 {
		slices.Sort(l.latencies)
		r.p50, r.p99 = l.latencies[n/2], l.latencies[n*99/100]
	}
	return r, nil
}

func (l *load) createTopic(ctx context.Context) error {
	t := kmsg.NewCreateTopicsRequestTopic()
	t.Topic, t.NumPartitions, t.ReplicationFactor = l.topic, partitions, 1
	// What is deleted goes at once: Kafka's minute would end amid another run.
	now := "0"
	t.Configs = []kmsg.CreateTopicsRequestTopicConfig{{Name: "file.delete.delay.ms", Value: &now}}
	req := kmsg.NewPtrCreateTopicsRequest()
	req.Topics, req.TimeoutMillis = []kmsg.CreateTopicsRequestTopic{t}, 30_000
	resp, err := req.RequestWith(ctx, l.cl)
	if err != nil {
		return err
	}
	if err := kerr.ErrorForCode(resp.Topics[0].ErrorCode); err != nil {
		return err
	}
	for { // Kafka answers before its partitions can be written to
		err := l.askPartitions(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// askPartitions asks the leader of each partition for its end.
func (l *load) askPartitions(ctx context.Context) error {
	t := kmsg.NewListOffsetsRequestTopic()
	t.Topic = l.topic
	for p := range int32(partitions) {
		part := kmsg.NewListOffsetsRequestTopicPartition()
		part.Partition, part.Timestamp = p, -1
		t.Partitions = append(t.Partitions, part)
	}
	req := kmsg.NewPtrListOffsetsRequest()
	req.ReplicaID, req.Topics = -1, []kmsg.ListOffsetsRequestTopic{t}
	resp, err := req.RequestWith(ctx, l.cl)
	if err != nil {
		return err
	}
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			err = errors.Join(err, kerr.ErrorForCode(p.ErrorCode))
		}
	}
	return err
}

func (l *load) deleteTopic(ctx context.Context) error {
	t := kmsg.NewDeleteTopicsRequestTopic()
	t.Topic = &l.topic
	req := kmsg.NewPtrDeleteTopicsRequest()
	req.Topics, req.TopicNames, req.TimeoutMillis = []kmsg.DeleteTopicsRequestTopic{t}, []string{l.topic}, 30_000
	_, err := req.RequestWith(ctx, l.cl)
	return err
}

// client is a franz-go client with the defaults of Kafka's own.
func (l *load) client(opts ...kgo.Opt) (*kgo.Client, error) {
	return kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(l.addr), kgo.DefaultProduceTopic(l.topic), kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.ProducerBatchMaxBytes(batchBytes), kgo.ProducerLinger(linger), kgo.ProducerBatchCompression(kgo.NoCompression()),
		kgo.MaxBufferedRecords(100_000), kgo.FetchMaxWait(500 * time.Millisecond),
		kgo.RecordPartitioner(kgo.RoundRobinPartitioner()),
	}, opts...)...)
}

// produceClient produces as fast as a client can.
func produceClient(ctx context.Context, l *load) (int64, error) {
	cl, err := l.client()
	if err != nil {
		return 0, err
	}
	defer cl.Close()
	value := randomValue(l.size)
	var failed atomic.Pointer[error]
	var n int64
	for began := time.Now(); n%256 != 0 || time.Since(began) < l.duration; n++ {
		cl.Produce(ctx, &kgo.Record{Value: value}, func(_ *kgo.Record, err error) {
			if err != nil {
				failed.Store(&err)
			}
		})
	}
	if err := cl.Flush(ctx); err != nil {
		return n, err
	}
	if err := failed.Load(); err != nil {
		return n, *err
	}
	return n, nil
}

// randomValue does not compress.
func randomValue(size int) []byte {
	b := make([]byte, size)
	for i := range b {
		b[i] = byte(rand.Uint32())
	}
	return b
}

// frame is a Produce request with a batch for each partition, and how many
// records it has.
func (l *load) frame() (req *kmsg.ProduceRequest, records int64) {
	now := time.Now()
	req = kmsg.NewPtrProduceRequest()
	req.Acks, req.TimeoutMillis = -1, 30_000
	t := kmsg.NewProduceRequestTopic()
	t.Topic = l.topic
	for p := range int32(partitions) {
		batch, n := encodeBatch(now, l.size)
		part := kmsg.NewProduceRequestTopicPartition()
		part.Partition, part.Records = p, batch
		t.Partitions = append(t.Partitions, part)
		records += n
	}
	req.Topics = []kmsg.ProduceRequestTopic{t}
	return req, records
}

// produceFrames is some producers, produceMany is many.
func produceFrames(ctx context.Context, l *load) (int64, error) { return l.produce(ctx, fewConns) }
func produceMany(ctx context.Context, l *load) (int64, error)   { return l.produce(ctx, 32) }

// fewConns keep a server busy that does not wait for a disk.
const fewConns = 4

// produce sends the same request again and again, over some connections with up
// to five in flight each.
func (l *load) produce(ctx context.Context, conns int) (int64, error) {
	req, records := l.frame()
	return l.overConns(ctx, conns, func(c *frameConn) (int64, error) {
		const inFlight = 5
		b := c.encode(9, req)
		var sent, answered int64
		for began := time.Now(); time.Since(began) < l.duration || answered < sent; {
			for sent < answered+inFlight && time.Since(began) < l.duration {
				if err := c.send(b); err != nil {
					return 0, err
				}
				sent++
			}
			body, err := c.receive()
			if err != nil {
				return 0, err
			}
			answered++
			if answered == 1 {
				resp := kmsg.ProduceResponse{Version: 9}
				if err := errors.Join(resp.ReadFrom(body[5:]), kerr.ErrorForCode(resp.Topics[0].Partitions[0].ErrorCode)); err != nil {
					return 0, err
				}
			}
		}
		return answered * records, nil
	})
}

// overConns runs f over some connections at a time and adds up.
func (l *load) overConns(ctx context.Context, conns int, f func(c *frameConn) (int64, error)) (int64, error) {
	var wg sync.WaitGroup
	var n atomic.Int64
	errs := make([]error, conns)
	for i := range errs {
		c, err := dialFrames(ctx, l.addr, int32(i))
		if err != nil {
			return 0, err
		}
		defer c.Close()
		wg.Go(func() {
			m, err := f(c)
			n.Add(m)
			errs[i] = err
		})
	}
	wg.Wait()
	return n.Load(), errors.Join(errs...)
}

// fillTopic gives every partition some records, and returns how many.
func (l *load) fillTopic(ctx context.Context) (int64, error) {
	fill := *l
	fill.duration = max(l.duration/4, time.Second)
	n, err := produceFrames(ctx, &fill)
	syscall.Sync() // that is not reading
	l.start()
	return n, err
}

// consumeFrames reads the topic, a connection for each partition, again and
// again.
func consumeFrames(ctx context.Context, l *load) (int64, error) {
	filled, err := l.fillTopic(ctx)
	if err != nil {
		return 0, err
	}
	end := filled / partitions
	return l.overConns(ctx, fewConns, func(c *frameConn) (int64, error) {
		part := kmsg.NewFetchRequestTopicPartition()
		part.Partition, part.PartitionMaxBytes, part.CurrentLeaderEpoch = c.id, 1<<20, -1
		t := kmsg.NewFetchRequestTopic()
		t.Topic, t.Partitions = l.topic, []kmsg.FetchRequestTopicPartition{part}
		req := kmsg.NewPtrFetchRequest()
		req.MaxWaitMillis, req.MinBytes, req.MaxBytes, req.SessionEpoch, req.Topics = 500, 1, 50<<20, -1, []kmsg.FetchRequestTopic{t}
		var n, offset int64
		for began := time.Now(); time.Since(began) < l.duration; {
			req.Topics[0].Partitions[0].FetchOffset = offset
			if err := c.send(c.encode(11, req)); err != nil {
				return n, err
			}
			body, err := c.receive()
			if err != nil {
				return n, err
			}
			resp := kmsg.FetchResponse{Version: 11}
			if err := resp.ReadFrom(body[4:]); err != nil {
				return n, err
			}
			p := resp.Topics[0].Partitions[0]
			next, records := afterBatches(p.RecordBatches)
			if p.ErrorCode != 0 || records == 0 {
				return n, fmt.Errorf("fetch at %d of %d: %d bytes: %w", offset, end, len(p.RecordBatches), kerr.ErrorForCode(p.ErrorCode))
			}
			n += records
			if offset = next; offset >= end {
				offset = 0
			}
		}
		return n, nil
	})
}

// consumeClient reads the topic with a client, again and again.
func consumeClient(ctx context.Context, l *load) (int64, error) {
	filled, err := l.fillTopic(ctx)
	if err != nil {
		return 0, err
	}
	var n int64
	for began := time.Now(); time.Since(began) < l.duration; {
		cl, err := l.client(kgo.ConsumeTopics(l.topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
		if err != nil {
			return n, err
		}
		for left := filled; left > 0 && time.Since(began) < l.duration; {
			fetches := cl.PollFetches(ctx)
			if err := fetches.Err(); err != nil {
				cl.Close()
				return n, err
			}
			got := int64(fetches.NumRecords())
			left -= got
			n += got
		}
		cl.Close()
	}
	return n, nil
}

// endToEnd produces at a steady rate and measures how long each record takes to
// reach a consumer.
func endToEnd(ctx context.Context, l *load) (int64, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	consumer, err := l.client(kgo.ConsumeTopics(l.topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		return 0, err
	}
	defer consumer.Close()
	producer, err := l.client(kgo.ProducerLinger(0))
	if err != nil {
		return 0, err
	}
	defer producer.Close()
	if err := producer.ProduceSync(ctx, &kgo.Record{Value: make([]byte, l.size)}).FirstErr(); err != nil {
		return 0, err
	}
	consumer.PollFetches(ctx) // it stands at the end from now on
	l.start()
	total := int64(float64(rate) * l.duration.Seconds())
	warm := total / 10 // not counted
	done := make(chan error, 1)
	go func() {
		for n := int64(0); n < total; {
			fetches := consumer.PollFetches(ctx)
			if err := fetches.Err(); err != nil {
				done <- err
				return
			}
			now := time.Now().UnixNano()
			fetches.EachRecord(func(r *kgo.Record) {
				if n++; n > warm {
					l.latencies = append(l.latencies, time.Duration(now-int64(binary.BigEndian.Uint64(r.Value))))
				}
			})
		}
		done <- nil
	}()
	const tick = time.Millisecond
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	began := time.Now()
	for sent := int64(0); sent < total; {
		<-ticker.C
		due := min(total, int64(time.Since(began).Seconds()*rate))
		for ; sent < due; sent++ {
			value := make([]byte, l.size)
			binary.BigEndian.PutUint64(value, uint64(time.Now().UnixNano()))
			producer.Produce(ctx, &kgo.Record{Value: value}, nil)
		}
	}
	select {
	case err = <-done:
	case <-time.After(30 * time.Second):
		err = errors.New("records are missing")
	}
	if err != nil && strings.Contains(err.Error(), "context canceled") {
		err = ctx.Err()
	}
	return total, err
}
