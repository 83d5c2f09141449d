package activity

import (
	"strconv"
	"time"

	"github.com/gretestream/grete/log"
)

// The topics that a Generator fills.
const (
	PageViews = "page-views"
	Searches  = "searches"
	AdEvents  = "ad-events"
	Campaigns = "campaigns"
)

// MaxDelay bounds how long after an event its record arrives.
const MaxDelay = 5 * time.Second

const (
	pageCount    = 4_000
	visitorCount = 50_000
	adCount      = 200
	trendCount   = 5 // pages that trend in one minute
)

// The streams of random numbers.
const (
	streamViews uint64 = iota + 1
	streamSearches
	streamAds
	streamVisitors
	streamTrends
)

// Generator makes up web activity. It is not for concurrent use: its buffers
// are reused. Generators with equal seeds make equal records.
type Generator struct {
	seed     uint64
	pages    []page
	byPage   zipf
	visitors zipf
	words    zipf
	ads      zipf

	value, key []byte // of the record being made
}

// page is one page of the site.
type page struct {
	path  string
	bytes int
}

// New returns a generator. It lays out the site, which takes a few milliseconds.
func New(seed uint64) *Generator {
	return &Generator{
		seed:     seed,
		pages:    site(),
		byPage:   newZipf(pageCount, 1),
		visitors: newZipf(visitorCount, 0.7),
		words:    newZipf(len(vocabulary), 1),
		ads:      newZipf(adCount, 0.8),
	}
}

// AppendPageViews adds the page views numbered [from, from+n) that arrive at the
// moment now: each to the builder of its partition, of which to has one each.
func (g *Generator) AppendPageViews(to []log.Builder, from, n uint64, now log.Timestamp) {
	for i := from; i < from+n; i++ {
		r := at(g.seed, streamViews, i)
		happened := now - delay(&r)
		g.pageView(&r, happened)
		g.append(to, happened)
	}
}

// AppendSearches adds the searches numbered [from, from+n); see AppendPageViews.
func (g *Generator) AppendSearches(to []log.Builder, from, n uint64, now log.Timestamp) {
	for i := from; i < from+n; i++ {
		r := at(g.seed, streamSearches, i)
		g.search(&r, now-delay(&r))
		g.append(to, now)
	}
}

// AppendAdEvents adds the ad events numbered [from, from+n); see AppendPageViews.
func (g *Generator) AppendAdEvents(to []log.Builder, from, n uint64, now log.Timestamp) {
	for i := from; i < from+n; i++ {
		r := at(g.seed, streamAds, i)
		g.adEvent(&r, now-delay(&r))
		g.append(to, now)
	}
}

// AppendCampaigns adds the whole table of campaigns: one record per ad.
func (g *Generator) AppendCampaigns(to []log.Builder, now log.Timestamp) {
	for ad := range adCount {
		g.key = appendAd(g.key[:0], ad)
		g.value = append(g.value[:0], `{"name":"`...)
		g.value = append(g.value, campaigns[ad%len(campaigns)]...)
		g.value = append(g.value, `"}`...)
		g.append(to, now)
	}
}

// append adds the record in g.key and g.value to its partition.
func (g *Generator) append(to []log.Builder, t log.Timestamp) {
	to[log.PartitionFor(g.key, len(to))].Append(t, g.key, g.value)
}

// delay is how long, in milliseconds, an event was on its way.
func delay(r *random) log.Timestamp {
	if r.percent(90) {
		return log.Timestamp(r.below(250))
	}
	return log.Timestamp(r.below(int(MaxDelay/time.Millisecond) + 1))
}

func (g *Generator) pageView(r *random, happened log.Timestamp) {
	rank := g.visitors.rank(r)
	v := at(g.seed, streamVisitors, uint64(rank)) // what is the same in all requests of a visitor
	g.key = appendHost(g.key[:0], &v)
	bot := v.percent(15)
	agent := people[v.below(len(people))]
	if bot {
		agent = bots[v.below(len(bots))]
	}

	p := &g.pages[g.choosePage(r, bot, happened)]
	status, size := response(r, p.bytes)

	b := append(g.value[:0], `{"host":"`...)
	b = append(b, g.key...)
	b = append(b, `","user":"`...)
	if !bot && v.percent(20) { // signed in
		b = appendUser(b, rank)
	}
	b = append(b, `","time":`...)
	b = strconv.AppendInt(b, int64(happened), 10)
	b = append(b, `,"method":"`...)
	b = append(b, method(r, bot)...)
	b = append(b, `","target":"`...)
	b = append(b, p.path...)
	if r.percent(12) {
		b = append(b, queries[r.below(len(queries))]...)
	}
	b = append(b, `","path":"`...)
	b = append(b, p.path...)
	b = append(b, `","protocol":"`...)
	b = append(b, protocols[v.below(len(protocols))]...)
	b = append(b, `","status":`...)
	b = strconv.AppendInt(b, int64(status), 10)
	b = append(b, `,"bytes":`...)
	b = strconv.AppendInt(b, int64(size), 10)
	b = append(b, `,"referrer":"`...)
	if !bot && r.percent(60) {
		b = append(b, referrers[r.below(len(referrers))]...)
	}
	b = append(b, `","agent":"`...)
	b = append(b, agent...)
	g.value = append(b, `"}`...)
}

// choosePage returns the index of the page that is asked for: bots walk the
// whole site, people go where people go, some to what trends in this minute.
func (g *Generator) choosePage(r *random, bot bool, happened log.Timestamp) int {
	switch {
	case bot:
		return r.below(pageCount)
	case r.percent(10):
		minute := at(g.seed, streamTrends, uint64(happened/60_000)*trendCount+uint64(r.below(trendCount)))
		return minute.below(pageCount)
	default:
		return g.byPage.rank(r)
	}
}

func (g *Generator) search(r *random, happened log.Timestamp) {
	g.key = appendUser(g.key[:0], g.visitors.rank(r))
	b := append(g.value[:0], `{"user":"`...)
	b = append(b, g.key...)
	b = append(b, `","query":"`...)
	for i := range 1 + r.below(3) {
		if i > 0 {
			b = append(b, ' ')
		}
		b = append(b, vocabulary[g.words.rank(r)]...)
	}
	b = append(b, `","time":`...)
	b = strconv.AppendInt(b, int64(happened), 10)
	g.value = append(b, '}')
}

func (g *Generator) adEvent(r *random, happened log.Timestamp) {
	g.key = appendAd(g.key[:0], g.ads.rank(r))
	kind := "impression"
	if r.percent(2) {
		kind = "click"
	}
	b := append(g.value[:0], `{"kind":"`...)
	b = append(b, kind...)
	b = append(b, `","time":`...)
	b = strconv.AppendInt(b, int64(happened), 10)
	g.value = append(b, '}')
}

// response chooses the status of a request and the size of what was sent.
func response(r *random, size int) (status, sent int) {
	switch n := r.below(1000); {
	case n < 910:
		return 200, size
	case n < 955:
		return 304, 0
	case n < 985:
		return 404, 1_245
	case n < 996:
		return 301, 178
	default:
		return 500, 612
	}
}

func method(r *random, bot bool) string {
	switch n := r.below(100); {
	case n < 3 && bot:
		return "HEAD"
	case n < 5 && !bot:
		return "POST"
	default:
		return "GET"
	}
}

// appendHost makes an address out of the ranges kept for private networks.
func appendHost(b []byte, v *random) []byte {
	b = append(b, "10"...)
	for range 3 {
		b = append(b, '.')
		b = strconv.AppendInt(b, int64(v.below(256)), 10)
	}
	return b
}

func appendUser(b []byte, rank int) []byte {
	return strconv.AppendInt(append(b, "user-"...), int64(rank), 10)
}

func appendAd(b []byte, ad int) []byte {
	return strconv.AppendInt(append(b, "ad-"...), int64(ad), 10)
}
