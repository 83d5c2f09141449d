package cli

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// groupStory runs the group commands in one of the ways to reach a log.
func groupStory(t *testing.T, ask func(code int, args, in string, want ...string) string) {
	ask(0, "topic create clicks --partitions 1", "")
	ask(0, "produce clicks", "a\nb\nc\n")
	ask(0, "group list", "", "GROUP")
	ask(1, "group describe readers", "", "unknown group", "grete group list")
	ask(1, "group delete readers", "", "unknown group")
	ask(1, "group reset readers --to earliest", "", "name the topics with --topic")
	ask(2, "group reset readers --to yesterday", "", `--to "yesterday"`, "want earliest, latest")
	ask(2, "group remove readers", "", "unknown command")

	ask(0, "group reset readers --to 1 --topic clicks --dry-run", "", "Nothing was changed")
	ask(1, "group describe readers", "", "unknown group")
	ask(0, "group reset readers --to earliest --topic clicks", "")
	if out := ask(0, "group describe readers --output csv", ""); strings.Count(out, ",0,3,3,") != 1 {
		t.Errorf("describe: %s\nwant 3 records that are not read", out)
	}
	ask(0, "group list", "", "readers  Empty")
	ask(0, "group reset readers --to latest", "")
	var line struct{ Lag, Partitions int }
	if out := ask(0, "group list --output json", ""); json.Unmarshal([]byte(out), &line) != nil || line.Lag != 0 || line.Partitions != 1 {
		t.Errorf("list: %s\nwant a lag of 0 in 1 partition", out)
	}
	ask(0, "group reset readers --to 2000-01-01T00:00:00Z", "")
	if out := ask(0, "group describe readers --output csv", ""); strings.Count(out, ",0,3,3,") != 1 {
		t.Errorf("describe: %s\nwant the records of this century to be ahead", out)
	}
	ask(0, "group reset readers --to 99", "")
	if out := ask(0, "group describe readers --output csv", ""); strings.Count(out, ",3,3,0,") != 1 {
		t.Errorf("describe: %s\nwant the offset within bounds", out)
	}
	ask(0, "group delete readers", "", "Deleted group readers")
	ask(1, "group describe readers", "", "unknown group")
}

func TestGroupsOfOwnDirectory(t *testing.T) {
	h := &holder{t: t, dir: t.TempDir()}
	groupStory(t, h.ask)
}

func TestGroupsOfServer(t *testing.T) {
	dir := t.TempDir()
	h := hold(t, dir, "serve", "--kafka", "127.0.0.1:0", "--http", "127.0.0.1:0")
	groupStory(t, h.ask)

	// A group that has a member.
	r, err := readRunning(dir)
	if err != nil {
		t.Fatal(err)
	}
	cl, err := kgo.NewClient(kgo.SeedBrokers(r.Kafka), kgo.ConsumerGroup("live"), kgo.ConsumeTopics("clicks"), kgo.InstanceID("one"), kgo.ClientID("me"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if fetches := cl.PollRecords(ctx, 3); fetches.Err() != nil {
		t.Fatal(fetches.Err())
	}
	if err := cl.CommitUncommittedOffsets(ctx); err != nil {
		t.Fatal(err)
	}
	h.ask(0, "group describe live", "", "Group live is Stable, assigns by", "members: 1")
	h.ask(0, "group describe live --members", "", "one", "me", "127.0.0.1", "clicks-0")
	h.ask(1, "group reset live --to earliest", "", "group has members", "stop its consumers first")
	h.ask(1, "group delete live", "", "group has members")
	cl.CloseAllowingRebalance()

	// The static member has not left; the directory, on its own, knows that it
	// cannot be there any more.
	h.ask(1, "group reset live --to earliest", "", "group has members")
	h.end()
	h.ask(0, "group reset live --to earliest", "", "live")
	h.ask(0, "group describe live --members", "", "is Empty")
	h.ask(0, "group delete live", "", "Deleted group live")
}

// Groups whose members the server shares partitions out to are groups like others.
func TestGroupsOfConsumerProtocol(t *testing.T) {
	dir := t.TempDir()
	h := hold(t, dir, "serve", "--kafka", "127.0.0.1:0", "--http", "127.0.0.1:0")
	h.ask(0, "topic create clicks --partitions 2", "")
	h.ask(0, "produce clicks", "a\nb\nc\n")
	r, err := readRunning(dir)
	if err != nil {
		t.Fatal(err)
	}
	cl, err := kgo.NewClient(kgo.SeedBrokers(r.Kafka), kgo.ConsumerGroup("next"), kgo.ConsumeTopics("clicks"), kgo.ClientID("me"),
		kgo.Balancers(kgo.StickyBalancer()), kgo.ServerSideBalancer(), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.CloseAllowingRebalance()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for n := 0; n < 3; {
		fetches := cl.PollRecords(ctx, 3)
		if fetches.Err() != nil {
			t.Fatal(fetches.Err())
		}
		n += fetches.NumRecords()
	}
	if err := cl.CommitUncommittedOffsets(ctx); err != nil {
		t.Fatal(err)
	}
	h.ask(0, "group list", "", "next   Stable  consumer")
	h.ask(0, "group describe next", "", "Group next is Stable, assigns by uniform", "members: 1")
	h.ask(0, "group describe next --members", "", "me", "127.0.0.1", "clicks-0 clicks-1")
	h.ask(1, "group reset next --to earliest", "", "group has members", "stop its consumers first")
	h.ask(1, "group delete next", "", "group has members")
	h.end()
	h.ask(0, "group reset next --to earliest", "", "next")
	h.ask(0, "group describe next --members", "", "is Empty")
	h.ask(0, "group delete next", "", "Deleted group next")
	h.ask(1, "group describe next", "", "unknown group")
}
