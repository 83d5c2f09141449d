package kafka_test

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gretestream/grete/log"
	"github.com/gretestream/grete/log/kafka"
)

// rec is a record of a batch that a test sends.
type rec struct {
	time       int64
	key, value []byte
}

// values are records with these values, at times 1000, 1001 and so on.
func values(vs ...string) []rec {
	var recs []rec
	for i, v := range vs {
		recs = append(recs, rec{1000 + int64(i), []byte("k"), []byte(v)})
	}
	return recs
}

// encodeBatch makes a batch as a client sends it; change may spoil it before it
// gets its checksum.
func encodeBatch(recs []rec, change func(*kmsg.RecordBatch)) []byte {
	b := kmsg.RecordBatch{
		PartitionLeaderEpoch: -1, Magic: 2, LastOffsetDelta: int32(len(recs) - 1), NumRecords: int32(len(recs)),
		FirstTimestamp: recs[0].time, MaxTimestamp: recs[0].time, ProducerID: -1, ProducerEpoch: -1, FirstSequence: -1,
	}
	for i, r := range recs {
		b.MaxTimestamp = max(b.MaxTimestamp, r.time)
		one := binary.AppendVarint([]byte{0}, r.time-recs[0].time)
		one = binary.AppendVarint(one, int64(i))
		for _, v := range [][]byte{r.key, r.value} {
			if v == nil {
				one = binary.AppendVarint(one, -1)
			} else {
				one = append(binary.AppendVarint(one, int64(len(v))), v...)
			}
		}
		one = append(one, 0)
		b.Records = append(binary.AppendVarint(b.Records, int64(len(one))), one...)
	}
	b.Length = int32(49 + len(b.Records))
	if change != nil {
		change(&b)
	}
	out := b.AppendTo(nil)
	binary.BigEndian.PutUint32(out[17:], crc32.Checksum(out[21:], crc32.MakeTable(crc32.Castagnoli)))
	return out
}

// serveTopic is serve with a topic t of some partitions.
func serveTopic(t testing.TB, partitions int, configs map[string]string) (*client, *kafka.Server, *log.Embedded) {
	t.Helper()
	s, l := serve(t, nil)
	if _, err := l.CreateTopic(t.Context(), log.TopicSpec{Name: "t", Partitions: partitions, Configs: configs}); err != nil {
		t.Fatal(err)
	}
	return dial(t, s), s, l
}

// produceRequest asks to append one record set to partition 0 of t.
func produceRequest(version, acks int16, id log.TopicID, records []byte) *kmsg.ProduceRequest {
	p := kmsg.NewProduceRequestTopicPartition()
	p.Records = records
	t := kmsg.NewProduceRequestTopic()
	t.Topic, t.TopicID, t.Partitions = "t", id, []kmsg.ProduceRequestTopicPartition{p}
	req := kmsg.NewPtrProduceRequest()
	req.Version, req.Acks, req.TimeoutMillis, req.Topics = version, acks, 1000, []kmsg.ProduceRequestTopic{t}
	return req
}

// produce appends to partition 0 of t.
func (c *client) produce(records []byte) kmsg.ProduceResponseTopicPartition {
	c.t.Helper()
	resp := ask[*kmsg.ProduceResponse](c, produceRequest(11, -1, log.TopicID{}, records))
	return resp.Topics[0].Partitions[0]
}

// mustProduce is produce that has to work out; it returns the offset.
func (c *client) mustProduce(records []byte) int64 {
	c.t.Helper()
	p := c.produce(records)
	if p.ErrorCode != 0 {
		c.t.Fatalf("produce: %s", name(p.ErrorCode))
	}
	return p.BaseOffset
}

// fetchRequest asks for partition 0 of t, without waiting.
func fetchRequest(version int16, id log.TopicID, offset int64) *kmsg.FetchRequest {
	p := kmsg.NewFetchRequestTopicPartition()
	p.FetchOffset, p.PartitionMaxBytes, p.CurrentLeaderEpoch = offset, 1<<20, -1
	t := kmsg.NewFetchRequestTopic()
	t.Topic, t.TopicID, t.Partitions = "t", id, []kmsg.FetchRequestTopicPartition{p}
	req := kmsg.NewPtrFetchRequest()
	req.Version, req.MinBytes, req.MaxBytes, req.Topics = version, 1, 50<<20, []kmsg.FetchRequestTopic{t}
	return req
}

// fetch is what a fetch of partition 0 of t from an offset gives.
func (c *client) fetch(offset int64, change func(*kmsg.FetchRequest)) kmsg.FetchResponseTopicPartition {
	c.t.Helper()
	req := fetchRequest(12, log.TopicID{}, offset)
	if change != nil {
		change(req)
	}
	resp := ask[*kmsg.FetchResponse](c, req)
	if resp.ErrorCode != 0 || len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != 1 {
		c.t.Fatalf("fetch: %s, %d topics", name(resp.ErrorCode), len(resp.Topics))
	}
	return resp.Topics[0].Partitions[0]
}

// contents are the values in whole batches, with their offsets: "0:a 1:b".
func contents(t testing.TB, batches []byte) string {
	t.Helper()
	recs, err := log.DecodeRecords(nil, batches)
	if err != nil {
		t.Fatal(err)
	}
	text := ""
	for _, r := range recs {
		if text != "" {
			text += " "
		}
		text += fmt.Sprintf("%d:%s", r.Offset, r.Value)
	}
	return text
}

// listOffset asks partition 0 of t for an offset by time.
func (c *client) listOffset(version int16, at int64, isolation int8) kmsg.ListOffsetsResponseTopicPartition {
	c.t.Helper()
	p := kmsg.NewListOffsetsRequestTopicPartition()
	p.Timestamp, p.CurrentLeaderEpoch = at, -1
	t := kmsg.NewListOffsetsRequestTopic()
	t.Topic, t.Partitions = "t", []kmsg.ListOffsetsRequestTopicPartition{p}
	req := kmsg.NewPtrListOffsetsRequest()
	req.Version, req.IsolationLevel, req.Topics = version, isolation, []kmsg.ListOffsetsRequestTopic{t}
	return ask[*kmsg.ListOffsetsResponse](c, req).Topics[0].Partitions[0]
}

// metadata asks for topics by name.
func (c *client) metadata(version int16, create bool, topics ...string) *kmsg.MetadataResponse {
	c.t.Helper()
	req := kmsg.NewPtrMetadataRequest()
	req.Version, req.AllowAutoTopicCreation = version, create
	for i := range topics {
		t := kmsg.NewMetadataRequestTopic()
		t.Topic = &topics[i]
		req.Topics = append(req.Topics, t)
	}
	return ask[*kmsg.MetadataResponse](c, req)
}
