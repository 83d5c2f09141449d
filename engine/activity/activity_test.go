package activity

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gretestream/grete/log"
)

// moment is when the tests play.
const moment log.Timestamp = 1_700_000_000_000

type view struct {
	Host, User, Method, Target, Path, Protocol, Referrer, Agent string
	Time                                                        int64
	Status, Bytes                                               int
}

func records(t *testing.T, builders []log.Builder) [][]log.Record {
	t.Helper()
	recs := make([][]log.Record, len(builders))
	for p := range builders {
		var err error
		if recs[p], err = log.DecodeRecords(nil, builders[p].Bytes()); err != nil {
			t.Fatal(err)
		}
	}
	return recs
}

func decode[T any](t *testing.T, r log.Record) (v T) {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(r.Value))
	d.DisallowUnknownFields()
	if err := d.Decode(&v); err != nil {
		t.Fatalf("%s: %v", r.Value, err)
	}
	return v
}

func TestPageViews(t *testing.T) {
	const n = 20_000
	to := make([]log.Builder, 4)
	New(1).AppendPageViews(to, 0, n, moment)

	pages, statuses := map[string]int{}, map[int]int{}
	var count, bots, late, disorder int
	for p, recs := range records(t, to) {
		previous := log.Timestamp(0)
		for _, r := range recs {
			v := decode[view](t, r)
			count++
			pages[v.Path]++
			statuses[v.Status]++
			if string(r.Key) != v.Host || log.PartitionFor(r.Key, 4) != int32(p) {
				t.Fatalf("record of host %s with key %s is in partition %d", v.Host, r.Key, p)
			}
			if log.Timestamp(v.Time) != r.Timestamp || r.Timestamp > moment || r.Timestamp < moment-log.Timestamp(MaxDelay.Milliseconds()) {
				t.Fatalf("time %d, timestamp %d, want both equal and at most %v before %d", v.Time, r.Timestamp, MaxDelay, moment)
			}
			if path, _, _ := strings.Cut(v.Target, "?"); path != v.Path {
				t.Fatalf("target %q has path %q", v.Target, v.Path)
			}
			if r.Timestamp < previous {
				disorder++
			}
			previous = r.Timestamp
			if r.Timestamp < moment-1000 {
				late++
			}
			agent := strings.ToLower(v.Agent)
			if slices.ContainsFunc([]string{"bot", "crawl", "spider", "slurp"}, func(w string) bool { return strings.Contains(agent, w) }) {
				bots++
			}
		}
	}
	if count != n {
		t.Fatalf("%d records, want %d", count, n)
	}
	within := func(what string, got, low, high int) {
		t.Helper()
		if got < low || got > high {
			t.Errorf("%s: %d of %d, want %d to %d", what, got, n, low, high)
		}
	}
	within("views of the first page", pages["/"], n*6/100, n*11/100)
	within("pages seen", len(pages), 2_000, pageCount)
	within("status 200", statuses[200], n*89/100, n*93/100)
	within("status 404", statuses[404], n*2/100, n*4/100)
	within("status 500", statuses[500], 1, n/100)
	within("bots", bots, n*12/100, n*18/100)
	within("seconds late", late, n*6/100, n*10/100)
	within("out of order", disorder, n*3/10, n*6/10)
}

func TestSearchesAndAds(t *testing.T) {
	const n = 10_000
	g := New(1)
	to := make([]log.Builder, 3)
	g.AppendSearches(to, 0, n, moment)
	words := map[string]int{}
	for _, recs := range records(t, to) {
		for _, r := range recs {
			s := decode[struct {
				User, Query string
				Time        int64
			}](t, r)
			if s.User != string(r.Key) || r.Timestamp != moment || s.Time > int64(moment) {
				t.Fatalf("search %s with key %s at %d", r.Value, r.Key, r.Timestamp)
			}
			for _, w := range strings.Fields(s.Query) {
				words[w]++
			}
		}
	}
	if words[vocabulary[0]] < 5*words[vocabulary[20]] {
		t.Errorf("%q %d times, %q %d times: want the first more often", vocabulary[0], words[vocabulary[0]], vocabulary[20], words[vocabulary[20]])
	}

	campaignOf := map[string]string{}
	to = make([]log.Builder, 3)
	g.AppendCampaigns(to, moment)
	for _, recs := range records(t, to) {
		for _, r := range recs {
			campaignOf[string(r.Key)] = decode[struct{ Name string }](t, r).Name
		}
	}
	to = make([]log.Builder, 3)
	g.AppendAdEvents(to, 0, n, moment)
	kinds := map[string]int{}
	for _, recs := range records(t, to) {
		for _, r := range recs {
			kinds[decode[struct {
				Kind string
				Time int64
			}](t, r).Kind]++
			if campaignOf[string(r.Key)] == "" {
				t.Fatalf("ad %s has no campaign", r.Key)
			}
		}
	}
	if clicks := kinds["click"]; kinds["impression"]+clicks != n || clicks < n/100 || clicks > 3*n/100 {
		t.Errorf("%v, want %d, 2 %% of them clicks", kinds, n)
	}
}

// A record depends on the seed, its number and the moment, and on nothing that
// was made before.
func TestPure(t *testing.T) {
	make := func(seed uint64, cuts ...uint64) string {
		g := New(seed)
		to := make([]log.Builder, 2)
		from := uint64(0)
		for _, cut := range append(cuts, 100) {
			g.AppendPageViews(to, from, cut-from, moment)
			from = cut
		}
		return string(to[0].Bytes()) + string(to[1].Bytes())
	}
	if make(7) != make(7, 1, 50, 99) {
		t.Error("records depend on how they are cut into calls")
	}
	if make(7) == make(8) {
		t.Error("records do not depend on the seed")
	}
}

// counter is a log that counts what is appended to it.
type counter struct {
	log.Log
	records map[string]int
	known   map[string]bool
}

func (c *counter) CreateTopic(_ context.Context, spec log.TopicSpec) (log.Topic, error) {
	if c.known[spec.Name] {
		return log.Topic{}, fmt.Errorf("create topic %s: %w", spec.Name, log.ErrTopicExists)
	}
	c.known[spec.Name] = true
	return log.Topic{Name: spec.Name, Partitions: spec.Partitions}, nil
}

func (c *counter) Topic(_ context.Context, name string) (log.Topic, error) {
	return log.Topic{Name: name, Partitions: 2}, nil
}

func (c *counter) Append(_ context.Context, tp log.TopicPartition, b []byte) (log.Offset, error) {
	n, err := log.CheckBatches(b)
	c.records[tp.Topic] += int(n)
	return 0, err
}

func TestRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &counter{records: map[string]int{}, known: map[string]bool{Searches: true}}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second+time.Millisecond)
		defer cancel()
		if err := New(1).Run(ctx, c, 1_000, time.Now); err != nil {
			t.Fatal(err)
		}
		want := map[string]int{PageViews: 8_000, Searches: 1_000, AdEvents: 1_000, Campaigns: adCount}
		for topic, n := range want {
			if c.records[topic] != n {
				t.Errorf("%d records in %s, want %d", c.records[topic], topic, n)
			}
		}
	})
	if err := New(1).Run(t.Context(), nil, 0, time.Now); err == nil {
		t.Error("a rate of 0 was accepted")
	}
}

// A log that hangs for a minute is not flooded afterwards.
func TestPaceForgetsBacklog(t *testing.T) {
	start := moment.Time()
	p := pace{rate: 100, since: start}
	f := func(after time.Duration, want uint64) {
		t.Helper()
		from, to := p.due(start.Add(after))
		if to-from != want {
			t.Errorf("%d records are due at %v, want %d", to-from, after, want)
		}
	}
	f(0, 0)
	f(time.Second/2, 50)
	f(time.Second, 50)
	f(61*time.Second, 100)
	f(62*time.Second, 100)
}

func BenchmarkPageViews(b *testing.B) {
	g := New(1)
	to := make([]log.Builder, 4)
	b.ReportAllocs()
	for b.Loop() {
		g.AppendPageViews(to, 0, 1_000, moment)
		for p := range to {
			to[p].Reset()
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1000, "ns/record")
}
