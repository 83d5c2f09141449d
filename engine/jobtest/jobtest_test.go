package jobtest_test

import (
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/gretestream/grete/engine/jobtest"
	"github.com/gretestream/grete/jobs"
	"github.com/gretestream/grete/log"
	op "github.com/gretestream/grete/operators"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	words     = op.NewTopic("words", op.String, op.String)
	meanings  = op.NewTopic("meanings", op.String, op.String)
	explained = op.NewTopic("explained", op.String, op.String)
)

// explain joins words, by the word, with what they mean.
func explain(g *op.Graph) {
	table := op.TableFrom(g, meanings, "meanings")
	byWord := op.KeyBy(op.From(g, words), "by-word", strings.ToLower)
	joined := op.LeftJoin(byWord, table, func(word, meaning string, ok bool) string {
		if !ok {
			return word + "?"
		}
		return word + ": " + meaning
	})
	op.To(joined, explained)
}

var explainJob = jobs.Job{Name: "explain", Build: explain}

func TestSendAndRead(t *testing.T) {
	jt := jobtest.New(t, explainJob)
	at := jt.Now()
	jobtest.Send(jt, meanings, "beetle", "an insect", at)
	jobtest.Send(jt, words, "", "Beetle", at.Add(time.Second))
	jobtest.Send(jt, words, "", "trial", at.Add(2*time.Second))
	got := jobtest.Read(jt, explained)
	if len(got) != 2 || got[0].Value != "Beetle: an insect" || got[0].Key != "beetle" || !got[0].Time.Equal(at.Add(time.Second)) || got[1].Value != "trial?" {
		t.Fatalf("got %+v", got)
	}
	if again := jobtest.Read(jt, explained); len(again) != 0 {
		t.Errorf("the same records were read twice: %+v", again)
	}
	if !jt.Now().Equal(at.Add(2 * time.Second)) {
		t.Errorf("the clock is at %v, want that of the last record", jt.Now())
	}
}

func TestRestartKeepsWhatWasCommitted(t *testing.T) {
	jt := jobtest.New(t, explainJob, jobtest.Options{Partitions: 3})
	at := jt.Now()
	jobtest.Send(jt, meanings, "beetle", "an insect", at)
	for range 3 {
		jobtest.Send(jt, words, "", "beetle", at)
		jt.Restart()
	}
	if got := jobtest.Read(jt, explained); len(got) != 3 || got[0].Value != "beetle: an insect" || got[2].Value != "beetle: an insect" {
		t.Fatalf("got %+v, want the word three times", got)
	}
	if rows := jt.Rows("meanings"); len(rows) != 1 || rows[0].Key != "beetle" || rows[0].Value != "an insect" {
		t.Fatalf("got %+v", rows)
	}
	jobtest.Delete(jt, meanings, "beetle", at)
	if rows := jt.Rows("meanings"); len(rows) != 0 {
		t.Fatalf("got %+v after the tombstone", rows)
	}
}

func TestDeadLettersAndFailure(t *testing.T) {
	build := func(in op.Input) func(*op.Graph) {
		return func(g *op.Graph) {
			clean := op.Map(op.From(g, words, in), func(word string) string {
				if word == "" {
					panic("no word")
				}
				return word
			})
			op.To(clean, explained)
		}
	}
	jt := jobtest.New(t, jobs.Job{Name: "clean", Build: build(op.Input{})})
	jobtest.Send(jt, words, "k", "", jt.Now())
	if dead := jt.DeadLetters(); len(dead) != 1 || string(dead[0].Key) != "k" {
		t.Fatalf("got %+v", dead)
	}

	jt = jobtest.New(t, jobs.Job{Name: "strict", Build: build(op.Input{OnError: op.Stop})}, jobtest.Options{MayFail: true})
	if err := jt.Failure(); err != nil {
		t.Fatal(err)
	}
	jobtest.Send(jt, words, "k", "", jt.Now())
	if err := jt.Failure(); err == nil || !strings.Contains(err.Error(), "no word") {
		t.Fatalf("got %v", err)
	}
}

// A record from the future is set aside unless the clock is there.
func TestHoldClock(t *testing.T) {
	jt := jobtest.New(t, explainJob, jobtest.Options{HoldClock: true})
	jobtest.Send(jt, words, "", "beetle", jt.Now().Add(2*time.Hour))
	if dead := jt.DeadLetters(); len(dead) != 1 {
		t.Fatalf("got %+v", dead)
	}
	jt.Advance(2 * time.Hour)
	jobtest.Send(jt, words, "", "beetle", jt.Now())
	if got := jobtest.Read(jt, explained); len(got) != 1 {
		t.Fatalf("got %+v", got)
	}
}

func TestAppendAsStored(t *testing.T) {
	jt := jobtest.New(t, explainJob, jobtest.Options{Partitions: 2})
	at := log.TimestampOf(jt.Now())
	jt.Append("words", log.Record{Timestamp: at, Value: []byte("a")}, log.Record{Timestamp: at, Key: []byte("k"), Value: []byte("b")})
	if got := jt.Records("explained"); len(got) != 2 {
		t.Fatalf("got %+v", got)
	}
	if got := jt.Records("nowhere"); got != nil {
		t.Fatalf("got %+v of a topic that does not exist", got)
	}
}
