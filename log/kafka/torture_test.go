package kafka_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/gretestream/grete/log"
	"github.com/gretestream/grete/log/kafka"
	"github.com/gretestream/grete/log/logtest"
)

// The torture runs clients against a server that is killed again and again, and
// then holds what everybody was told against what is there: the checks of
// Jepsen's Kafka workload. The server is this test binary in a process of its
// own (runVictim), killed with SIGKILL.

const (
	victimDir  = "GRETE_KAFKA_VICTIM_DIR"
	victimAddr = "GRETE_KAFKA_VICTIM_ADDR"

	tortureTopic      = "values"  // what producers send
	tortureCopies     = "copies"  // what the copier makes of it
	tortureGroup      = "copiers" // the copier's group
	torturePartitions = 3
)

// runVictim serves a directory until it is killed, or told to end.
func runVictim(dir string) int {
	fail := func(err error) int {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	l, err := log.Open(dir, log.Options{MaintainEvery: 100 * time.Millisecond, JournalBytes: 1 << 20, SegmentBytes: 64 << 10}) // and so references to 16 KiB
	if err != nil {
		return fail(err)
	}
	defer l.Close()
	s, err := kafka.Listen(kafka.Options{Log: l, Addr: os.Getenv(victimAddr), DefaultPartitions: torturePartitions})
	if err != nil {
		return fail(err)
	}
	defer s.Close()
	fmt.Println("serving")
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGTERM)
	<-ended
	return 0
}

// victim is the server's process.
type victim struct {
	t    *testing.T
	dir  string
	addr string
	cmd  *exec.Cmd
}

func newVictim(t *testing.T) *victim {
	return &victim{t: t, dir: t.TempDir(), addr: logtest.FreeAddr(t)}
}

func (v *victim) start() {
	v.t.Helper()
	v.cmd = exec.Command(os.Args[0])
	v.cmd.Env = append(os.Environ(), victimDir+"="+v.dir, victimAddr+"="+v.addr)
	out, err := v.cmd.StdoutPipe()
	if err != nil {
		v.t.Fatal(err)
	}
	var errs strings.Builder
	v.cmd.Stderr = &errs
	if err := v.cmd.Start(); err != nil {
		v.t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		_ = v.cmd.Wait()
		v.t.Fatalf("the server did not start: %q %v: %s", line, err, errs.String())
	}
}

func (v *victim) kill() {
	_ = v.cmd.Process.Kill()
	_ = v.cmd.Wait()
}

// place is where a record lies.
type place struct {
	topic     string
	partition int32
	offset    int64
}

// outcome is what a producer was told about a record of its.
type outcome uint8

const (
	unknown  outcome = iota // nobody can say: an error, or no answer
	acked                   // it is in
	aborting                // it was to be aborted, and the abort was answered
)

// sent is one record, as its producer knows it.
type sent struct {
	value     string // unique; "<producer>:<number>" with rising numbers
	partition int32
	offset    int64
	outcome   outcome
	txn       string // all of one transaction are in or none is; "": none
}

// history is what everybody was told.
type history struct {
	mu       sync.Mutex // guards the fields below
	sent     []sent
	seen     map[place]string // by consumers, while all went on
	mistakes []string
}

func (h *history) add(s ...sent) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.sent = append(h.sent, s...)
}

func (h *history) mistake(format string, args ...any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.mistakes = append(h.mistakes, fmt.Sprintf(format, args...))
}

// see takes down that a consumer saw a record. What was seen once never changes.
func (h *history) see(r *kgo.Record) {
	at := place{r.Topic, r.Partition, r.Offset}
	h.mu.Lock()
	before, again := h.seen[at]
	h.seen[at] = string(r.Value)
	h.mu.Unlock()
	if again && before != string(r.Value) {
		h.mistake("%v was %q and is %q", at, before, r.Value)
	}
}

// torture is one run.
type torture struct {
	*history
	addr string
	wg   sync.WaitGroup
	rnd  func() *rand.Rand
}

// client connects; it gives up what it cannot deliver soon, so that runs end.
func (x *torture) client(opts ...kgo.Opt) (*kgo.Client, error) {
	return kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(x.addr), kgo.AllowAutoTopicCreation(), kgo.RetryTimeout(10 * time.Second),
		kgo.RecordDeliveryTimeout(15 * time.Second), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.MetadataMinAge(50 * time.Millisecond), kgo.RetryBackoffFn(func(int) time.Duration { return 20 * time.Millisecond }),
	}, opts...)...)
}

// produce sends records until ctx ends, one after the other in each partition,
// without transactions.
func (x *torture) produce(ctx context.Context, name string) {
	rnd := x.rnd()
	cl, err := x.client()
	if err != nil {
		x.mistake("%s: %v", name, err)
		return
	}
	defer cl.Close()
	for n := 0; ctx.Err() == nil; {
		var recs []*kgo.Record
		for range 1 + rnd.IntN(20) {
			recs = append(recs, &kgo.Record{Topic: tortureTopic, Partition: rnd.Int32N(torturePartitions), Value: fmt.Appendf(nil, "%s:%d", name, n)})
			n++
		}
		for _, res := range cl.ProduceSync(context.WithoutCancel(ctx), recs...) {
			s := sent{value: string(res.Record.Value), partition: res.Record.Partition, offset: res.Record.Offset}
			if res.Err == nil {
				s.outcome = acked
			}
			x.add(s)
		}
	}
}

// transact sends records in transactions until ctx ends, some of which it aborts.
func (x *torture) transact(ctx context.Context, name string) {
	rnd := x.rnd()
	for n := 0; ctx.Err() == nil; {
		n = x.transactions(ctx, name, n, rnd)
	}
}

// transactions are those of one client: one that fails leaves its producer in a
// state that only another one can go on from.
func (x *torture) transactions(ctx context.Context, name string, n int, rnd *rand.Rand) int {
	cl, err := x.client(kgo.TransactionalID(name), kgo.TransactionTimeout(20*time.Second))
	if err != nil {
		x.mistake("%s: %v", name, err)
		return n
	}
	defer cl.Close()
	whole := context.WithoutCancel(ctx)
	for ctx.Err() == nil {
		if err := cl.BeginTransaction(); err != nil {
			return n
		}
		txn := fmt.Sprintf("%s/%d", name, n)
		var recs []*kgo.Record
		for range 1 + rnd.IntN(10) {
			recs = append(recs, &kgo.Record{Topic: tortureTopic, Partition: rnd.Int32N(torturePartitions), Value: fmt.Appendf(nil, "%s:%d", name, n)})
			n++
		}
		results := cl.ProduceSync(whole, recs...)
		commit := results.FirstErr() == nil && rnd.IntN(4) > 0
		err := cl.EndTransaction(whole, kgo.TransactionEndTry(commit))
		told := unknown
		switch {
		case err == nil && commit:
			told = acked
		case err == nil && results.FirstErr() == nil:
			told = aborting
		}
		for _, res := range results {
			x.add(sent{value: string(res.Record.Value), partition: res.Record.Partition, offset: res.Record.Offset, outcome: told, txn: txn})
		}
		if err != nil || results.FirstErr() != nil {
			return n
		}
	}
	return n
}

// copier copies every committed value once, whatever happens: it commits what
// it has read with what it has written.
func (x *torture) copier(ctx context.Context, name string) {
	for ctx.Err() == nil {
		x.copies(ctx, name)
	}
}

func (x *torture) copies(ctx context.Context, name string) {
	sess, err := kgo.NewGroupTransactSession(
		kgo.SeedBrokers(x.addr), kgo.AllowAutoTopicCreation(), kgo.RetryTimeout(10*time.Second), kgo.RecordDeliveryTimeout(15*time.Second),
		kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.MetadataMinAge(50*time.Millisecond),
		kgo.TransactionalID(name), kgo.TransactionTimeout(20*time.Second), kgo.ConsumerGroup(tortureGroup), kgo.ConsumeTopics(tortureTopic),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.SessionTimeout(6*time.Second), kgo.HeartbeatInterval(500*time.Millisecond), kgo.FetchMaxWait(200*time.Millisecond),
	)
	if err != nil {
		x.mistake("%s: %v", name, err)
		return
	}
	defer sess.Close()
	whole := context.WithoutCancel(ctx)
	for ctx.Err() == nil {
		poll, cancel := context.WithTimeout(ctx, 2*time.Second)
		fetches := sess.PollFetches(poll)
		cancel()
		if fetches.NumRecords() == 0 {
			continue
		}
		if err := sess.Begin(); err != nil {
			return
		}
		var recs []*kgo.Record
		for r := range fetches.RecordsAll() {
			recs = append(recs, &kgo.Record{Topic: tortureCopies, Partition: r.Partition, Value: r.Value})
		}
		err := sess.ProduceSync(whole, recs...).FirstErr()
		if _, errEnd := sess.End(whole, kgo.TransactionEndTry(err == nil)); err != nil || errEnd != nil {
			return
		}
	}
}

// watch reads everything that is committed, again and again.
func (x *torture) watch(ctx context.Context) {
	for ctx.Err() == nil {
		cl, err := x.client(kgo.ConsumeTopics(tortureTopic, tortureCopies), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.FetchMaxWait(200*time.Millisecond))
		if err != nil {
			x.mistake("watch: %v", err)
			return
		}
		round, cancel := context.WithTimeout(ctx, 3*time.Second)
		for round.Err() == nil {
			fetches := cl.PollFetches(round)
			for r := range fetches.RecordsAll() {
				x.see(r)
			}
		}
		cancel()
		cl.Close()
	}
}

// TestTorture kills the server at random moments under load. GRETE_TORTURE_ROUNDS
// is the number of rounds, of some seconds and a few kills each.
func TestTorture(t *testing.T) {
	rounds := 1
	if n, err := strconv.Atoi(os.Getenv("GRETE_TORTURE_ROUNDS")); err == nil {
		rounds = n
	} else if testing.Short() {
		t.Skip("takes 20 s")
	}
	v := newVictim(t)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	x := &torture{history: &history{seen: map[place]string{}}, addr: v.addr}
	x.rnd = func() *rand.Rand { seed++; return rand.New(rand.NewPCG(seed, 0)) }
	rnd := x.rnd()
	kills := 0
	for round := range rounds {
		v.start()
		ctx, cancel := context.WithCancel(t.Context())
		for i := range 3 {
			name := fmt.Sprintf("p%d.%d", round, i)
			x.wg.Go(func() { x.produce(ctx, name) })
		}
		for i := range 2 {
			name := fmt.Sprintf("t%d.%d", round, i)
			x.wg.Go(func() { x.transact(ctx, name) })
		}
		for i := range 2 {
			name := fmt.Sprintf("copier%d", i) // the same in each round: it has a past
			x.wg.Go(func() { x.copier(ctx, name) })
		}
		x.wg.Go(func() { x.watch(ctx) })
		for range 2 + rnd.IntN(3) {
			pause(t, time.Duration(200+rnd.IntN(1500))*time.Millisecond)
			v.kill()
			kills++
			pause(t, time.Duration(rnd.IntN(300))*time.Millisecond)
			v.start()
		}
		pause(t, 500*time.Millisecond)
		cancel()
		x.wg.Wait()
		x.check(t, round == rounds-1)
		v.kill()
		if t.Failed() {
			break
		}
	}
	told := map[outcome]int{}
	for _, s := range x.sent {
		told[s.outcome]++
	}
	t.Logf("%d rounds, %d kills: %d records acknowledged, %d aborted, %d unknown, %d seen meanwhile", rounds, kills, told[acked], told[aborting], told[unknown], len(x.seen))
}

// pause lets the load go on for a while; there is nothing to wait for.
func pause(t *testing.T, d time.Duration) {
	t.Helper()
	select {
	case <-time.After(d):
	case <-t.Context().Done():
		t.Fatal(t.Context().Err())
	}
}

// readAll reads partitions of a topic from beginning to end.
func (x *torture) readAll(t *testing.T, topic string, committed bool) map[int32][]*kgo.Record {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	opts := []kgo.Opt{kgo.ConsumeTopics(topic), kgo.FetchMaxWait(100 * time.Millisecond), kgo.KeepControlRecords()}
	if committed {
		opts = append(opts, kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	}
	cl, err := x.client(opts...)
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	read := map[int32][]*kgo.Record{}
	ends := map[int32]int64{}
	for done := 0; done < torturePartitions; {
		fetches := cl.PollFetches(ctx)
		if err := ctx.Err(); err != nil {
			t.Fatalf("read all of %s: %v after %d of %d partitions", topic, err, done, torturePartitions)
		}
		fetches.EachError(func(_ string, p int32, err error) {
			if !errors.Is(err, kerr.UnknownTopicOrPartition) {
				t.Logf("read all of %s/%d: %v", topic, p, err)
			}
		})
		fetches.EachPartition(func(p kgo.FetchTopicPartition) {
			read[p.Partition] = append(read[p.Partition], p.Records...)
			ends[p.Partition] = p.HighWatermark
		})
		done = 0
		for p, end := range ends {
			if n := len(read[p]); end == 0 || n > 0 && read[p][n-1].Offset == end-1 {
				done++
			}
		}
	}
	return read
}

// check holds what is there against what everybody was told.
func (x *torture) check(t *testing.T, copied bool) {
	t.Helper()
	for _, m := range x.mistakes {
		t.Error(m)
	}
	all := x.readAll(t, tortureTopic, false)
	committed := x.readAll(t, tortureTopic, true)
	in := map[string]place{}
	for p, recs := range committed {
		last := map[string]int{}
		for _, r := range recs {
			if r.Attrs.IsControl() {
				continue
			}
			value := string(r.Value)
			if before, twice := in[value]; twice {
				t.Errorf("%s is at %v and at %d/%d", value, before, p, r.Offset)
			}
			in[value] = place{tortureTopic, p, r.Offset}
			name, number, _ := strings.Cut(value, ":")
			n, _ := strconv.Atoi(number)
			if before, ok := last[name]; ok && n <= before {
				t.Errorf("partition %d, offset %d: %s comes after %s:%d", p, r.Offset, value, name, before)
			}
			last[name] = n
		}
	}
	x.checkGaps(t, all)
	x.checkSent(t, in)
	x.checkSeen(t, committed)
	if copied {
		x.checkCopies(t, in)
	}
}

// checkGaps: offsets follow one another, control records among them.
func (x *torture) checkGaps(t *testing.T, all map[int32][]*kgo.Record) {
	for p, recs := range all {
		for i, r := range recs {
			if r.Offset != int64(i) {
				t.Errorf("partition %d: offset %d after %d", p, r.Offset, i-1)
				break
			}
		}
	}
}

// checkSent: what was acknowledged is where it was said to be, what was aborted
// is not there, and of each transaction all or nothing.
func (x *torture) checkSent(t *testing.T, in map[string]place) {
	parts := map[string]map[bool]int{}
	for _, s := range x.sent {
		at, there := in[s.value]
		switch {
		case s.outcome == acked && !there:
			t.Errorf("%s was acknowledged at %d/%d and is lost", s.value, s.partition, s.offset)
		case s.outcome == acked && (at.partition != s.partition || at.offset != s.offset):
			t.Errorf("%s was acknowledged at %d/%d and is at %v", s.value, s.partition, s.offset, at)
		case s.outcome == aborting && there:
			t.Errorf("%s was aborted and is at %v", s.value, at)
		}
		if s.txn != "" {
			if parts[s.txn] == nil {
				parts[s.txn] = map[bool]int{}
			}
			parts[s.txn][there]++
		}
	}
	for _, txn := range slices.Sorted(maps.Keys(parts)) {
		if n := parts[txn]; n[true] > 0 && n[false] > 0 {
			t.Errorf("transaction %s: %d records are there and %d are not", txn, n[true], n[false])
		}
	}
}

// checkSeen: what a consumer saw is there still.
func (x *torture) checkSeen(t *testing.T, committed map[int32][]*kgo.Record) {
	now := map[place]string{}
	for p, recs := range committed {
		for _, r := range recs {
			now[place{tortureTopic, p, r.Offset}] = string(r.Value)
		}
	}
	for at, value := range x.seen {
		if at.topic == tortureTopic && now[at] != value {
			t.Errorf("a consumer saw %q at %v, where %q is", value, at, now[at])
		}
	}
}

// checkCopies lets the copier come to the end, and then wants every committed
// value copied once.
func (x *torture) checkCopies(t *testing.T, in map[string]place) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	var wg sync.WaitGroup
	wg.Go(func() { x.copier(ctx, "copier0") })
	copies := map[string]int{}
	for ctx.Err() == nil && len(copies) < len(in) {
		clear(copies)
		for _, recs := range x.readAll(t, tortureCopies, true) {
			for _, r := range recs {
				if !r.Attrs.IsControl() {
					copies[string(r.Value)]++
				}
			}
		}
	}
	cancel()
	wg.Wait()
	missing := 0
	for value := range in {
		if copies[value] == 0 {
			missing++
		}
	}
	if missing > 0 {
		t.Errorf("%d of %d committed values were not copied", missing, len(in))
	}
	for value, n := range copies {
		if _, ok := in[value]; !ok || n > 1 {
			t.Errorf("%s was copied %d times, committed: %v", value, n, ok)
		}
	}
}
