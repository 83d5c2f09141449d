package cli_test

import (
	"encoding/csv"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// references are the sets of real data with answers that were computed
// elsewhere: which file, how it is brought into the log, and which job and store
// answers each reference file.
var references = []struct {
	set, file string
	topic     string
	ingest    []string
	answers   []answer
}{
	{"weblog_semicomplete_10k", "weblog_semicomplete_10k.combined.log.gz", "page-views", nil, accessLogAnswers},
	{"weblog_with_errors", "weblog_with_errors.combined.log.gz", "page-views", nil, accessLogAnswers},
	{"nasa_http_19950701", "nasa_http_19950701.tsv.gz", "nasa", []string{"--time-field", "time", "--time-unit", "s"}, []answer{
		{"count_all_1h", "counts", []string{"window=1h"}, ""},
		{"count_all_1m", "counts", []string{"window=1m"}, ""},
		{"count_status_1h", "counts", []string{"key=response", "window=1h"}, ""},
		{"count_status_1m", "counts", []string{"key=response", "window=1m"}, ""},
		{"count_path_1h", "counts", []string{"key=path(url)", "window=1h"}, ""},
		{"count_path_1m", "counts", []string{"key=path(url)", "window=1m"}, ""},
	}},
	{"usagov_bitly_clicks", "usagov_bitly_clicks_20120316.jsonl.gz", "clicks", []string{"--time-field", "t", "--time-unit", "s"}, []answer{
		{"count_all_1m", "counts", []string{"window=1m"}, ""},
		{"count_country_1h", "counts", []string{"key=c", "window=1h"}, ""},
		{"count_country_1m", "counts", []string{"key=c", "window=1m"}, ""},
		{"count_g_1m", "counts", []string{"key=g", "window=1m"}, ""},
		{"count_host_1h", "counts", []string{"key=host(u)", "window=1h"}, ""},
		{"count_host_1m", "counts", []string{"key=host(u)", "window=1m"}, ""},
		{"count_tz_1h", "counts", []string{"key=tz", "window=1h"}, ""},
		{"count_tz_1m", "counts", []string{"key=tz", "window=1m"}, ""},
	}},
	{"ooo_umts_d1", "ooo_umts_d1.csv.gz", "phones", []string{"--delimiter", ";", "--time-field", "S.Client.Detection.Time", "--time-unit", "ms"}, []answer{
		{"count_all_1s", "counts", []string{"window=1s"}, ""},
		{"count_device_1s", "counts", []string{"key=S.Device.ID", "window=1s"}, ""},
		{"count_device_10s", "counts", []string{"key=S.Device.ID", "window=10s"}, ""},
		{"count_device_1m", "counts", []string{"key=S.Device.ID", "window=1m"}, ""},
	}},
}

type answer struct {
	ref, job string
	set      []string
	store    string // of a job that needs no settings
}

var accessLogAnswers = []answer{
	{"count_path_1m", "pageviews", nil, "views-per-page"},
	{"count_status_1m", "pageviews", nil, "views-per-status"},
	{"count_path_1h", "counts", []string{"key=path", "window=1h"}, ""},
	{"count_status_1h", "counts", []string{"key=status", "window=1h"}, ""},
	{"count_all_1h", "counts", []string{"window=1h"}, ""},
	{"count_all_1m", "counts", []string{"window=1m"}, ""},
}

// TestReferences answers every count reference of the shared data through the
// commands a user types, with several partition counts, after a second run, and
// after a reprocess from offset zero.
func TestReferences(t *testing.T) {
	data := sharedData(t)
	grete := buildGrete(t)
	for i, ref := range references {
		for j, a := range ref.answers {
			partitions := []int{4, 1, 3, 7}[(i+j)%4]
			t.Run(fmt.Sprintf("%s/%s/%d", ref.set, a.ref, partitions), func(t *testing.T) {
				if testing.Short() && j > 0 {
					t.Skip("short: one reference a set")
				}
				dir := filepath.Join(t.TempDir(), "data")
				run := func(args ...string) string {
					t.Helper()
					out, err := exec.Command(grete, append(args, "--data", dir)...).Output()
					if err != nil {
						t.Fatalf("grete %s: %v\n%s", strings.Join(args, " "), err, stderrOf(err))
					}
					return string(out)
				}
				run(append([]string{"ingest", filepath.Join(data, ref.file), "--topic", ref.topic, "--partitions", fmt.Sprint(partitions)}, ref.ingest...)...)
				job := []string{"run", a.job, "--until-end"}
				store := a.store
				if a.job == "counts" {
					store = "counts"
					job = append(job, "--set", "topic="+ref.topic)
					for _, s := range a.set {
						job = append(job, "--set", s)
					}
				}
				want := readReference(t, filepath.Join(data, "ref", ref.set, a.ref+".csv"))
				query := []string{"query", a.job, "--store", store, "--output", "csv"}
				run(job...)
				first := run(query...)
				sameRows(t, "first run", first, want)
				run(job...)
				same(t, "second run", run(query...), first)
				run("reprocess", a.job, "--from", "earliest", "--until-end")
				same(t, "reprocess", run(query...), first)
			})
		}
	}
}

// sharedData finds the data sets, which are not part of the module.
func sharedData(t *testing.T) string {
	t.Helper()
	dir := filepath.Join("..", "..", "..", "shared", "data")
	if _, err := os.Stat(dir); err != nil {
		t.Skipf("the shared data sets are not beside the module: %v", err)
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		t.Fatal(err)
	}
	return abs
}

// readReference returns the rows as key and value, the key empty where the
// reference counts all records together.
func readReference(t *testing.T, name string) [][]string {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	rows, err := csv.NewReader(f).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range rows {
		if len(r) == 3 {
			rows[i] = []string{r[0], r[1], "", r[2]}
		}
	}
	return rows[1:]
}

// sameRows compares what a query printed with the reference, row for row.
func sameRows(t *testing.T, what, got string, want [][]string) {
	t.Helper()
	rows, err := csv.NewReader(strings.NewReader(got)).ReadAll()
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	if len(rows) == 0 || strings.Join(rows[0], ",") != "window_start_ms,window_start,key,value" {
		t.Fatalf("%s: header %q", what, rows[:min(1, len(rows))])
	}
	rows = rows[1:]
	for i := range min(len(rows), len(want)) {
		if g, w := strings.Join(rows[i], "|"), strings.Join(want[i], "|"); g != w {
			t.Fatalf("%s: row %d: got %s, want %s (%d and %d rows)", what, i+1, g, w, len(rows), len(want))
		}
	}
	if len(rows) != len(want) {
		t.Fatalf("%s: got %d rows, want %d", what, len(rows), len(want))
	}
}

func same(t *testing.T, what, got, want string) {
	t.Helper()
	if got != want {
		t.Fatalf("%s: %s", what, firstDifference(got, want))
	}
}

func stderrOf(err error) string {
	if e, ok := err.(*exec.ExitError); ok {
		return string(e.Stderr)
	}
	return ""
}
