// Package ads measures how often the ads of a campaign are clicked.
//
//	campaigns ─────► TableFrom campaigns
//	                      │
//	ad-events ──► LeftJoin ──► KeyBy campaign ──► Window 1 min ──► Aggregate click-through ──► campaign-rates
//
// Impressions and clicks come in one topic, keyed by the ad; the table says to
// which campaign an ad belongs. Events of an ad that is in no campaign count
// under "unknown", so that nothing is lost from the sums.
package ads

import (
	"time"

	"github.com/gretestream/grete/jobs"
	op "github.com/gretestream/grete/operators"
)

// Event is an impression or a click of an ad.
type Event struct {
	Kind string `json:"kind"` // "impression" or "click"
	Time int64  `json:"time"` // ms since 1970 UTC
}

// Campaign is what the table holds for an ad.
type Campaign struct {
	Name string `json:"name"`
}

// CampaignEvent is an event with its ad's campaign.
type CampaignEvent struct {
	Campaign string `json:"campaign"`
	Click    bool   `json:"click"`
}

// Rate is what a campaign got in a window.
type Rate struct {
	Impressions int64 `json:"impressions"`
	Clicks      int64 `json:"clicks"`
}

// The topics of the job.
var (
	Events        = op.NewTopic("ad-events", op.String, op.JSON[Event]())
	Campaigns     = op.NewTopic("campaigns", op.String, op.JSON[Campaign]())
	CampaignRates = op.NewTopic("campaign-rates", op.WindowKey(op.String), op.JSON[Rate]())
)

// Job is the job as the command line knows it.
var Job = jobs.Job{
	Name:  "ads",
	Doc:   "impressions and clicks per campaign, each minute",
	Build: MeasureAds,
}

// MeasureAds sums impressions and clicks per campaign and minute.
func MeasureAds(g *op.Graph) {
	campaigns := op.TableFrom(g, Campaigns, "campaigns")
	events := op.EventTime(op.From(g, Events), Event.At)

	joined := op.LeftJoin(events, campaigns, Event.In)
	byCampaign := op.KeyBy(joined, "events-by-campaign", CampaignEvent.Key)
	perMinute := op.Window(byCampaign, op.Tumbling{Size: time.Minute, Grace: 10 * time.Second})
	rates := op.Aggregate(perMinute, "click-through", Rate.Add, Rate.Merge)

	op.To(rates.Final(), CampaignRates)
}

// At is when the event happened.
func (e Event) At() time.Time { return time.UnixMilli(e.Time) }

// In gives the event its campaign.
func (e Event) In(c Campaign, ok bool) CampaignEvent {
	if !ok {
		c.Name = "unknown"
	}
	return CampaignEvent{Campaign: c.Name, Click: e.Kind == "click"}
}

// Key is the campaign's name.
func (e CampaignEvent) Key() string { return e.Campaign }

// Add counts one event.
func (r Rate) Add(e CampaignEvent) Rate {
	if e.Click {
		r.Clicks++
	} else {
		r.Impressions++
	}
	return r
}

// Merge adds up two rates.
func (r Rate) Merge(o Rate) Rate {
	return Rate{Impressions: r.Impressions + o.Impressions, Clicks: r.Clicks + o.Clicks}
}
