package kafka_test

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gretestream/grete/log"
	"github.com/gretestream/grete/log/kafka"
)

// producer is a transactional producer that says each step itself.
type producer struct {
	c       *client
	id      string
	pid     int64
	epoch   int16
	version int16 // of EndTxn
}

// name is Kafka's name of an error code, or "".
func name(code int16) string {
	if err := kerr.TypedErrorForCode(code); err != nil {
		return err.Message
	}
	return ""
}

func initProducer(c *client, id string, as ...int64) (*producer, string) {
	req := kmsg.NewPtrInitProducerIDRequest()
	req.Version, req.TransactionalID, req.TransactionTimeoutMillis = 4, &id, 60_000
	if len(as) == 2 {
		req.ProducerID, req.ProducerEpoch = as[0], int16(as[1])
	}
	resp := ask[*kmsg.InitProducerIDResponse](c, req)
	return &producer{c: c, id: id, pid: resp.ProducerID, epoch: resp.ProducerEpoch, version: 3}, name(resp.ErrorCode)
}

func mustInit(c *client, id string) *producer {
	c.t.Helper()
	p, errName := initProducer(c, id)
	if errName != "" {
		c.t.Fatalf("init %s: %s", id, errName)
	}
	return p
}

func (p *producer) add(topic string, partition int32) string {
	p.c.t.Helper()
	req := kmsg.NewPtrAddPartitionsToTxnRequest()
	req.Version, req.TransactionalID, req.ProducerID, req.ProducerEpoch = 3, p.id, p.pid, p.epoch
	req.Topics = []kmsg.AddPartitionsToTxnRequestTopic{{Topic: topic, Partitions: []int32{partition}}}
	resp := ask[*kmsg.AddPartitionsToTxnResponse](p.c, req)
	return name(resp.Topics[0].Partitions[0].ErrorCode)
}

// commitOffset commits offset 7 of partition 0 of topic "t" for a group. Before
// version 5 the group has to be part of the transaction.
func (p *producer) commitOffset(version int16, group string) string {
	p.c.t.Helper()
	req := kmsg.NewPtrTxnOffsetCommitRequest()
	req.Version, req.TransactionalID, req.ProducerID, req.ProducerEpoch, req.Group = version, p.id, p.pid, p.epoch, group
	rp := kmsg.NewTxnOffsetCommitRequestTopicPartition()
	rp.Offset = 7
	req.Topics = []kmsg.TxnOffsetCommitRequestTopic{{Topic: "t", Partitions: []kmsg.TxnOffsetCommitRequestTopicPartition{rp}}}
	return name(ask[*kmsg.TxnOffsetCommitResponse](p.c, req).Topics[0].Partitions[0].ErrorCode)
}

func (p *producer) end(commit bool) string {
	p.c.t.Helper()
	req := kmsg.NewPtrEndTxnRequest()
	req.Version, req.TransactionalID, req.ProducerID, req.ProducerEpoch, req.Commit = p.version, p.id, p.pid, p.epoch, commit
	resp := ask[*kmsg.EndTxnResponse](p.c, req)
	if resp.ErrorCode == 0 && p.version >= 5 {
		p.pid, p.epoch = resp.ProducerID, resp.ProducerEpoch
	}
	return name(resp.ErrorCode)
}

func (p *producer) state() string {
	p.c.t.Helper()
	req := kmsg.NewPtrDescribeTransactionsRequest()
	req.TransactionalIDs = []string{p.id}
	st := ask[*kmsg.DescribeTransactionsResponse](p.c, req).TransactionStates[0]
	if st.ErrorCode != 0 {
		return name(st.ErrorCode)
	}
	return fmt.Sprint(st.State, " ", st.Topics)
}

func want(t *testing.T, what, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %q, want %q", what, got, want)
	}
}

func createTopic(t *testing.T, l *log.Embedded, name string) {
	t.Helper()
	if _, err := l.CreateTopic(t.Context(), log.TopicSpec{Name: name, Partitions: 1}); err != nil {
		t.Fatal(err)
	}
}

// Trap 10: EndTxn of nothing, twice, late, of the wrong producer.
func TestEndTxn(t *testing.T) {
	s, l := serve(t, nil)
	createTopic(t, l, "t")
	c := dial(t, s)
	p := mustInit(c, "a")
	want(t, "describe", p.state(), "Empty []")
	want(t, "commit nothing", p.end(true), "INVALID_TXN_STATE")
	want(t, "abort nothing", p.end(false), "INVALID_TXN_STATE")
	want(t, "add", p.add("t", 0), "")
	want(t, "add again", p.add("t", 0), "")
	want(t, "add an unknown topic", p.add("u", 0), "UNKNOWN_TOPIC_OR_PARTITION")
	want(t, "describe", p.state(), "Ongoing [{t [0] {map[]}}]")
	want(t, "commit", p.end(true), "")
	want(t, "commit again", p.end(true), "")
	want(t, "abort late", p.end(false), "INVALID_TXN_STATE")
	want(t, "add", p.add("t", 0), "")
	want(t, "abort", p.end(false), "")
	want(t, "abort again", p.end(false), "")
	want(t, "commit late", p.end(true), "INVALID_TXN_STATE")

	other := *p
	other.pid++
	want(t, "another producer id", other.end(true), "INVALID_PRODUCER_ID_MAPPING")
	other = *p
	other.id = "unknown"
	want(t, "another id", other.end(true), "INVALID_PRODUCER_ID_MAPPING")
	want(t, "describe", other.state(), "TRANSACTIONAL_ID_NOT_FOUND")
}

// With version 5 every end is a new epoch, and a lost answer is given again.
func TestEndTxnBump(t *testing.T) {
	s, l := serve(t, nil)
	createTopic(t, l, "t")
	c := dial(t, s)
	p := mustInit(c, "a")
	p.version = 5
	before := *p
	want(t, "commit nothing", p.end(true), "INVALID_TXN_STATE")
	want(t, "abort nothing", p.end(false), "")
	if p.epoch != before.epoch+1 {
		t.Errorf("epoch %d after %d, want the next", p.epoch, before.epoch)
	}
	before = *p
	want(t, "add", p.add("t", 0), "")
	want(t, "commit", p.end(true), "")
	again := before
	want(t, "commit, asked again", again.end(true), "")
	if again.epoch != p.epoch || p.epoch != before.epoch+1 {
		t.Errorf("epochs %d and %d after %d, want the next, twice", p.epoch, again.epoch, before.epoch)
	}
	again = before
	want(t, "abort what was committed", again.end(false), "PRODUCER_FENCED")
	want(t, "the old epoch adds", before.add("t", 0), "PRODUCER_FENCED")
}

// A newer producer of the same id fences the one before and aborts for it.
func TestInitProducerFences(t *testing.T) {
	s, l := serve(t, nil)
	createTopic(t, l, "t")
	c := dial(t, s)
	zombie := mustInit(c, "a")
	want(t, "add", zombie.add("t", 0), "")
	p := mustInit(c, "a")
	if p.pid != zombie.pid || p.epoch <= zombie.epoch {
		t.Errorf("producer %d epoch %d after %d epoch %d, want the same with a higher one", p.pid, p.epoch, zombie.pid, zombie.epoch)
	}
	want(t, "the zombie commits", zombie.end(true), "PRODUCER_FENCED")
	want(t, "the zombie adds", zombie.add("t", 0), "PRODUCER_FENCED")
	_, errName := initProducer(c, "a", zombie.pid, int64(zombie.epoch))
	want(t, "the zombie goes on", errName, "PRODUCER_FENCED")
	want(t, "state", p.state(), "Empty []")

	// KIP-360: a producer goes on under its own name; a repeated request gives
	// the same; another epoch is fenced.
	next, errName := initProducer(c, "a", p.pid, int64(p.epoch))
	want(t, "go on", errName, "")
	again, errName := initProducer(c, "a", p.pid, int64(p.epoch))
	want(t, "asked again", errName, "")
	if next.epoch != p.epoch+1 || again.epoch != next.epoch {
		t.Errorf("epochs %d and %d after %d, want the next, twice", next.epoch, again.epoch, p.epoch)
	}
	_, errName = initProducer(c, "a", p.pid, int64(p.epoch-1))
	want(t, "an old epoch", errName, "PRODUCER_FENCED")

	for _, bad := range []struct {
		id      string
		timeout int32
		want    string
	}{{"", 1000, "INVALID_REQUEST"}, {"b", 0, "INVALID_TRANSACTION_TIMEOUT"}, {"b", 1 << 30, "INVALID_TRANSACTION_TIMEOUT"}} {
		req := kmsg.NewPtrInitProducerIDRequest()
		req.Version, req.TransactionalID, req.TransactionTimeoutMillis = 4, &bad.id, bad.timeout
		want(t, "init", name(ask[*kmsg.InitProducerIDResponse](c, req).ErrorCode), bad.want)
	}
}

// A producer whose id a new one has taken does not become that one by asking for
// the next epoch, also when nothing was open, and after a restart.
func TestInitProducerAfterAnother(t *testing.T) {
	s, l := serve(t, nil)
	createTopic(t, l, "t")
	c := dial(t, s)
	zombie := mustInit(c, "a")
	p := mustInit(c, "a")
	refused := func(when string) {
		t.Helper()
		_, errName := initProducer(c, "a", zombie.pid, int64(zombie.epoch))
		want(t, "the zombie goes on "+when, errName, "PRODUCER_FENCED")
		bumps := *zombie
		bumps.version = 5
		want(t, "the zombie commits "+when, bumps.end(true), "PRODUCER_FENCED")
		nobody := producer{c: c, id: "a", pid: -1, epoch: -1, version: 5}
		want(t, "nobody commits "+when, nobody.end(true), "INVALID_PRODUCER_ID_MAPPING")
	}
	refused("at once")
	want(t, "add", p.add("t", 0), "")
	want(t, "commit", p.end(true), "")
	refused("after a commit")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s, err := kafka.Listen(kafka.Options{Log: l})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	c = dial(t, s)
	zombie.c, p.c = c, c
	refused("after a restart")
}

// Producer ids without a transactional id are always to be had, and never twice
// (trap 7).
func TestInitProducerID(t *testing.T) {
	s, _ := serve(t, nil)
	c := dial(t, s)
	seen := map[int64]bool{}
	for version := int16(0); version <= 5; version++ {
		req := kmsg.NewPtrInitProducerIDRequest()
		req.Version = version
		resp := ask[*kmsg.InitProducerIDResponse](c, req)
		if resp.ErrorCode != 0 || resp.ProducerID < 0 || resp.ProducerEpoch != 0 || seen[resp.ProducerID] {
			t.Errorf("version %d: error %d, producer %d epoch %d", version, resp.ErrorCode, resp.ProducerID, resp.ProducerEpoch)
		}
		seen[resp.ProducerID] = true
	}
}

// An epoch that can rise no further is followed by another producer id.
func TestEpochsRunOut(t *testing.T) {
	s, l := serve(t, nil)
	createTopic(t, l, "t")
	c := dial(t, s)
	p := mustInit(c, "a")
	first := p.pid
	for range 1<<15 - 2 {
		next, errName := initProducer(c, "a", p.pid, int64(p.epoch))
		if errName != "" {
			t.Fatalf("after epoch %d: %s", p.epoch, errName)
		}
		p = next
	}
	want(t, "last epoch", fmt.Sprint(p.epoch, p.pid == first), "32766 true")
	p.version = 5
	want(t, "add", p.add("t", 0), "")
	want(t, "commit", p.end(true), "")
	want(t, "another producer", fmt.Sprint(p.epoch, p.pid == first), "0 false")
}

// A group that is committed to in transactions alone is one of the coordinator's:
// its offsets expire.
func TestTxnOffsetCommitBeginsGroup(t *testing.T) {
	s, l := serve(t, nil)
	createTopic(t, l, "t")
	c := dial(t, s)
	p := mustInit(c, "a")
	want(t, "commit offsets", p.commitOffset(5, "g"), "")
	want(t, "commit", p.end(true), "")
	state, _ := s.GroupWaiting("g")
	want(t, "the coordinator's group", state, "Empty")
}

// The log's own topics are nobody's to write to, in a transaction or not; nor do
// they become part of one by being asked for.
func TestTxnWithInternalTopics(t *testing.T) {
	s, l := serve(t, nil)
	createTopic(t, l, "t")
	c := dial(t, s)
	p := mustInit(c, "a")
	for _, topic := range []string{"__consumer_offsets", "__transaction_state", "__grete_access"} {
		want(t, "add "+topic, p.add(topic, 0), "TOPIC_AUTHORIZATION_FAILED")
		for _, version := range []int16{11, 12} { // from 12 on they are added by being written to
			for _, transactional := range []bool{true, false} {
				req := kmsg.NewPtrProduceRequest()
				req.Version, req.Acks, req.TimeoutMillis = version, -1, 1000
				if transactional {
					req.TransactionID = &p.id
				}
				batch := encodeBatch(values("x"), func(b *kmsg.RecordBatch) {
					if b.ProducerID, b.ProducerEpoch, b.FirstSequence = p.pid, p.epoch, 0; transactional {
						b.Attributes = 0x10
					}
				})
				req.Topics = []kmsg.ProduceRequestTopic{{Topic: topic, Partitions: []kmsg.ProduceRequestTopicPartition{{Records: batch}}}}
				got := name(ask[*kmsg.ProduceResponse](c, req).Topics[0].Partitions[0].ErrorCode)
				wanted := "INVALID_TOPIC_EXCEPTION"
				if topic == "__grete_access" {
					wanted = "TOPIC_AUTHORIZATION_FAILED"
				}
				want(t, fmt.Sprint("produce to ", topic, " version ", version, " transactional ", transactional), got, wanted)
			}
		}
	}
	want(t, "state", p.state(), "Empty []")
	req := kmsg.NewPtrAddPartitionsToTxnRequest()
	req.Version, req.TransactionalID, req.ProducerID, req.ProducerEpoch = 3, p.id, p.pid, p.epoch
	req.Topics = []kmsg.AddPartitionsToTxnRequestTopic{{Topic: "t", Partitions: []int32{0}}, {Topic: "__consumer_offsets", Partitions: []int32{0}}}
	want(t, "t beside one of them", name(ask[*kmsg.AddPartitionsToTxnResponse](c, req).Topics[0].Partitions[0].ErrorCode), "OPERATION_NOT_ATTEMPTED")
	want(t, "state", p.state(), "Empty []")
}

// Whoever writes under another's producer id, or ends its transactions under a
// later epoch of the coordinator, does not keep it from ending transactions.
func TestEndTxnThatOthersMeddleWith(t *testing.T) {
	s, l := serve(t, nil)
	createTopic(t, l, "t")
	createTopic(t, l, "u")
	c := dial(t, s)
	p := mustInit(c, "a")
	batch := func(change func(*kmsg.RecordBatch)) []byte {
		return encodeBatch(values("x"), func(b *kmsg.RecordBatch) {
			b.ProducerID, b.ProducerEpoch, b.FirstSequence = p.pid, p.epoch, 0
			change(b)
		})
	}
	want(t, "add", p.add("t", 0), "")
	want(t, "add", p.add("u", 0), "")
	mine := produceRequest(9, -1, log.TopicID{}, batch(func(b *kmsg.RecordBatch) { b.Attributes |= 1 << 4 }))
	mine.TransactionID, mine.Topics[0].Topic = &p.id, "u"
	want(t, "write", name(ask[*kmsg.ProduceResponse](c, mine).Topics[0].Partitions[0].ErrorCode), "")
	c.mustProduce(batch(func(b *kmsg.RecordBatch) { b.ProducerEpoch = 100 }))
	meddle := kmsg.NewPtrWriteTxnMarkersRequest()
	meddle.Version = 1
	meddle.Markers = []kmsg.WriteTxnMarkersRequestMarker{{
		ProducerID: p.pid, ProducerEpoch: p.epoch, CoordinatorEpoch: 7,
		Topics: []kmsg.WriteTxnMarkersRequestMarkerTopic{{Topic: "u", Partitions: []int32{0}}},
	}}
	want(t, "meddle", name(ask[*kmsg.WriteTxnMarkersResponse](c, meddle).Markers[0].Topics[0].Partitions[0].ErrorCode), "")
	want(t, "commit", p.end(true), "")
	b, err := l.Bounds(t.Context(), log.TopicPartition{Topic: "u"})
	if err != nil || b.Stable != b.End {
		t.Errorf("%+v, %v, want all of it stable", b, err)
	}
}

// What takes longer than its timeout is aborted and its producer fenced; ids that
// nobody uses are forgotten.
func TestTxnTimeout(t *testing.T) {
	var skew atomic.Int64 // ns
	s, l := serve(t, func(o *kafka.Options) {
		o.Now = func() time.Time { return time.Now().Add(time.Duration(skew.Load())) }
	})
	createTopic(t, l, "t")
	c := dial(t, s)
	p := mustInit(c, "a")
	want(t, "add", p.add("t", 0), "")
	skew.Store(int64(61 * time.Second))
	eventually(t, "the transaction is aborted", func() bool { return p.state() == "CompleteAbort []" })
	want(t, "commit late", p.end(true), "PRODUCER_FENCED")
	skew.Store(int64(8 * 24 * time.Hour))
	eventually(t, "the id is forgotten", func() bool { return p.state() == "TRANSACTIONAL_ID_NOT_FOUND" })
}

// eventually waits for a condition.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(30 * time.Second)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("not so after 30 s: %s", what)
		}
	}
}

// The coordinator goes on after a restart of the server where it was.
func TestTxnRestart(t *testing.T) {
	s, l := serve(t, nil)
	createTopic(t, l, "t")
	createTopic(t, l, "u")
	p := mustInit(dial(t, s), "a")
	want(t, "add", p.add("u", 0), "")
	want(t, "add", p.add("t", 0), "")
	before := p.state()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s, err := kafka.Listen(kafka.Options{Log: l})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	p.c = dial(t, s)
	want(t, "state after the restart", p.state(), before)
	want(t, "commit after the restart", p.end(true), "")

	req := kmsg.NewPtrListTransactionsRequest()
	req.StateFilters = []string{"CompleteCommit", "Nonsense"}
	list := ask[*kmsg.ListTransactionsResponse](p.c, req)
	want(t, "list", fmt.Sprint(len(list.TransactionStates), list.UnknownStateFilters), "1 [Nonsense]")
}
