package connect

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/gretestream/grete/log"
)

// sharedData returns the folder of real data with independently computed
// answers, which lies beside the repository and is not part of it.
func sharedData(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for up := dir; ; up = filepath.Dir(up) {
		data := filepath.Join(up, "shared", "data")
		if _, err := os.Stat(filepath.Join(data, "ref")); err == nil {
			return data
		}
		if up == filepath.Dir(up) {
			break
		}
	}
	if os.Getenv("CI") == "true" && os.Getenv("GRETE_SHARED") != "" {
		t.Fatal("no shared/data above this folder, and GRETE_SHARED wants it")
	}
	t.Skip("no shared/data above this folder: nothing to compare with")
	return ""
}

// fieldOf returns a grouping key out of a record's JSON value, by its path.
func fieldOf(field string) func(value map[string]any) string {
	return func(value map[string]any) string {
		switch v := value[field].(type) {
		case string:
			return v
		case float64:
			return strconv.FormatFloat(v, 'f', -1, 64)
		}
		return ""
	}
}

// hostOf is the host of the URL in a field.
func hostOf(field string) func(map[string]any) string {
	return func(value map[string]any) string {
		text, _ := value[field].(string)
		u, err := url.Parse(text)
		if err != nil {
			return ""
		}
		return u.Hostname()
	}
}

// pathOf is the path of a request target in a field.
func pathOf(field string) func(map[string]any) string {
	return func(value map[string]any) string {
		text, _ := value[field].(string)
		path, _, _ := strings.Cut(text, "?")
		return path
	}
}

func everything(map[string]any) string { return "" }

func TestSharedData(t *testing.T) {
	sets := []struct {
		file, ref string
		format    Format
		headers   int64                                  // lines that profile.csv takes for something else
		keys      map[string]func(map[string]any) string // of the count_ references
	}{
		{"weblog_semicomplete_10k.combined.log.gz", "weblog_semicomplete_10k", Format{}, 0,
			map[string]func(map[string]any) string{"all": everything, "path": fieldOf("path"), "status": fieldOf("status")}},
		{"weblog_with_errors.combined.log.gz", "weblog_with_errors", Format{}, 0,
			map[string]func(map[string]any) string{"all": everything, "path": fieldOf("path"), "status": fieldOf("status")}},
		{"nasa_http_19950701.tsv.gz", "nasa_http_19950701", Format{TimeField: "time", TimeUnit: "s"}, 1,
			map[string]func(map[string]any) string{"all": everything, "path": pathOf("url"), "status": fieldOf("response")}},
		{"usagov_bitly_clicks_20120316.jsonl.gz", "usagov_bitly_clicks", Format{TimeField: "t", TimeUnit: "s"}, 0,
			map[string]func(map[string]any) string{"all": everything, "tz": fieldOf("tz"), "country": fieldOf("c"), "g": fieldOf("g"), "host": hostOf("u")}},
		{"ooo_umts_d1.csv.gz", "ooo_umts_d1", Format{Delimiter: ";", TimeField: "S.Client.Detection.Time", TimeUnit: "ms", KeyField: "S.Device.ID"}, 0,
			map[string]func(map[string]any) string{"all": everything, "device": fieldOf("S.Device.ID")}},
	}
	data := sharedData(t)
	for _, set := range sets {
		t.Run(set.ref, func(t *testing.T) {
			src, err := File(filepath.Join(data, set.file))
			if err != nil {
				t.Fatal(err)
			}
			m := newMemory()
			sum, err := Ingest(context.Background(), m, src, Options{Topic: "t", Format: set.format})
			if err != nil {
				t.Fatal(err)
			}
			ref := filepath.Join(data, "ref", set.ref)
			profile := map[string]string{}
			for _, row := range readCSV(t, filepath.Join(ref, "profile.csv")) {
				profile[row[0]] = row[1]
			}
			if got, want := strconv.FormatInt(sum.Records, 10), profile["valid"]; got != want {
				t.Errorf("got %s records, want %s", got, want)
			}
			if got, want := strconv.FormatInt(sum.Rejected+set.headers, 10), profile["malformed"]; got != want {
				t.Errorf("got %s malformed lines, want %s", got, want)
			}
			records := m.records(t, "t")
			checked := 0
			for name, key := range set.keys {
				files, _ := filepath.Glob(filepath.Join(ref, "count_"+name+"_*.csv"))
				for _, file := range files {
					compareCounts(t, file, records, key)
					checked++
				}
			}
			if all, _ := filepath.Glob(filepath.Join(ref, "count_*.csv")); len(all) != checked {
				t.Errorf("compared %d of %d references", checked, len(all))
			}
		})
	}
}

// compareCounts counts records by window and key with a map and compares with a
// reference.
func compareCounts(t *testing.T, file string, records []log.Record, key func(map[string]any) string) {
	t.Helper()
	name := strings.TrimSuffix(filepath.Base(file), ".csv")
	size := map[string]int64{"1s": 1_000, "10s": 10_000, "1m": 60_000, "1h": 3_600_000}[name[strings.LastIndexByte(name, '_')+1:]]
	type cell struct {
		window int64
		key    string
	}
	counts := map[cell]int{}
	for i := range records {
		var value map[string]any
		if err := json.Unmarshal(records[i].Value, &value); err != nil {
			t.Fatalf("value of record %d: %v: %s", i, err, records[i].Value)
		}
		ms := int64(records[i].Timestamp)
		counts[cell{ms - ms%size, key(value)}]++
	}
	var got, want []string
	for c, n := range counts {
		got = append(got, fmt.Sprintf("%d %s %d", c.window, c.key, n))
	}
	for _, row := range readCSV(t, file)[1:] {
		k := ""
		if len(row) == 4 {
			k = row[2]
		}
		want = append(want, fmt.Sprintf("%s %s %s", row[0], k, row[len(row)-1]))
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		for i := range min(len(got), len(want)) {
			if got[i] != want[i] {
				t.Errorf("%s: got %d rows, want %d; first difference: got %q, want %q", name, len(got), len(want), got[i], want[i])
				return
			}
		}
		t.Errorf("%s: got %d rows, want %d", name, len(got), len(want))
	}
}

func readCSV(t *testing.T, file string) [][]string {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	rows, err := csv.NewReader(f).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	return rows
}

// records returns all records of a topic, partition by partition.
func (m *memory) records(t testing.TB, topic string) []log.Record {
	t.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	var all []log.Record
	for p := range m.topics[topic].Partitions {
		for _, b := range m.batches[log.TopicPartition{Topic: topic, Partition: int32(p)}] {
			var err error
			if all, err = log.DecodeRecords(all, b); err != nil {
				t.Fatal(err)
			}
		}
	}
	return all
}
