// Package activity makes up the web activity of a busy site: page views,
// searches, impressions and clicks of ads. The demo lives on it, tests and
// measurements can.
//
// The primary type is Generator. It is pure: record number i of a topic at a
// moment depends on nothing but the seed, i and the moment, so a run can be
// repeated, split up, or continued anywhere.
//
//	g := activity.New(42)
//	err := g.Run(ctx, l, 1_000, time.Now) // 1,000 records/s until ctx ends
//
// # What it makes
//
// Four topics, all with JSON values:
//
//	page-views  8 of 10 records. Keyed by the visitor's host. One request of an
//	            access log, the same object that log/connect makes of a line:
//	            {"host","user","time","method","target","path","protocol",
//	            "status","bytes","referrer","agent"}
//	searches    1 of 10. Keyed by the user. {"user","query","time"}
//	ad-events   1 of 10. Keyed by the ad.   {"kind":"impression"|"click","time"}
//	campaigns   a table, written once. Keyed by the ad. {"name"}
//
// Pages, visitors, words and ads are as unequal as in life: the n-th most
// popular is met about 1/n times as often as the first (Zipf). Each minute a
// few pages trend, so that a top ten moves. Of the requests about 91 % end with
// status 200, the rest with 304, 404, 301 or 500; 15 % come from bots.
//
// Events arrive late and out of order, as from servers that buffer: most within
// a quarter of a second, one in ten seconds late, at most MaxDelay. The
// timestamp of a page view is the time of its event, as when an access log is
// ingested; those of searches and ad events are the moment they arrive, and
// their values tell when they happened. No event lies in the future.
package activity
