package ads_test

import (
	"fmt"

	"github.com/gretestream/grete/engine/jobtest"
	"github.com/gretestream/grete/examples/ads"
)

// Events find their campaign in the table; what is in none counts as unknown.
func ExampleMeasureAds() {
	jobtest.Show(ads.Job, func(jt *jobtest.Run) {
		at := jt.Now()
		jobtest.Send(jt, ads.Campaigns, "ad-1", ads.Campaign{Name: "spring"}, at)
		jt.Rows("campaigns") // lets the table arrive before the events
		event := func(ad, kind string) {
			jobtest.Send(jt, ads.Events, ad, ads.Event{Kind: kind, Time: at.UnixMilli()}, at)
		}
		event("ad-1", "impression")
		event("ad-1", "impression")
		event("ad-1", "click")
		event("ad-9", "impression")
		jt.Finish()
		for _, r := range jobtest.Read(jt, ads.CampaignRates) {
			fmt.Printf("%s: %d of %d clicked\n", r.Key.Key, r.Value.Clicks, r.Value.Impressions)
		}
	})
	// Output:
	// spring: 1 of 2 clicked
	// unknown: 0 of 1 clicked
}
