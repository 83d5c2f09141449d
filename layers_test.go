package main

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/gretestream/grete"

// layers is the architecture: what each package may import of this module. A
// package that is not listed here has no place yet. Test files may import
// everything below testOnly as well.
var layers = map[string][]string{
	"log":             {},
	"log/logtest":     {"log"},
	"log/jsonscan":    {},
	"log/connect":     {"log", "log/jsonscan"},
	"log/remote":      {"log"},
	"log/kafka":       {"log"},
	"log/cluster":     {"log"},
	"log/kafka/bench": {},

	"state/codec": {"log/jsonscan"},
	"state":       {"log", "state/codec"},

	"operators": {"log", "state", "state/codec"},
	"jobs":      {"log", "state", "state/codec", "operators"},

	"engine":         {"log", "state", "state/codec", "operators", "jobs"},
	"engine/jobtest": {"log", "log/logtest", "state", "state/codec", "operators", "jobs", "engine", "engine/query"},
	"engine/sim":     {"log", "log/logtest", "state", "state/codec", "operators", "jobs", "engine"},
	"engine/query":   {"log", "log/remote", "state", "state/codec", "operators", "jobs", "engine"},
	"engine/web":     {"engine", "engine/query"},
	"engine/bench":   {"log", "log/connect", "state", "state/codec", "operators", "jobs", "engine", "engine/query"},
	"engine/cli": {"log", "log/connect", "log/remote", "log/kafka", "log/cluster", "state", "state/codec", "operators", "jobs", "engine", "engine/query",
		"engine/web", "engine/bench", "engine/activity"},
	"engine/activity": {"log", "log/connect", "state/codec"},

	"examples": {"jobs", "operators", "examples/*"},
	"":         {"examples", "engine/cli"},
}

// exampleLayer is what each package below examples may import.
var exampleLayer = []string{"jobs", "operators", "state/codec", "engine/cli", "examples/*"}

// testOnly are the packages made for tests: any test may import them.
var testOnly = []string{"log", "log/logtest", "engine/jobtest", "engine/sim", "state/codec", "operators", "jobs", "engine", "examples", "examples/*"}

// only lists packages of others that one place alone may import, and why.
var only = map[string]struct {
	places []string
	advice string
}{
	"log":                                  {nil, "use the hclog.Logger of Options: std log knows no levels and no fields"},
	"github.com/apache/arrow/go/v15":       {[]string{"engine/query"}, "Arrow is the form of answers, not of records in flight: 95 against 58 ns each"},
	"github.com/cockroachdb/pebble":        {[]string{"state", "engine", "engine/bench"}, "go through state.DB"},
	"github.com/cockroachdb/pebble/vfs":    {[]string{"log", "log/logtest", "state", "engine", "engine/cli"}, "go through log.FS"},
	"github.com/twmb/franz-go/pkg/kgo":     {[]string{"log/cluster", "log/kafka/bench"}, "go through log.Log: a Kafka cluster is one of its kinds"},
	"github.com/spf13/cobra":               {[]string{"engine/cli"}, "only the command line knows about the command line"},
	"github.com/prometheus/client_golang/": {[]string{"engine", "engine/query", "engine/cli"}, "count in the go-metrics registry of Options; the engine exports it"},
}

// TestLayers holds every import in the module against the tables above.
func TestLayers(t *testing.T) {
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && strings.HasPrefix(d.Name(), ".") && path != "." {
			return filepath.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(path, ".go") {
			return nil
		}
		checkImports(t, path)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func checkImports(t *testing.T, path string) {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
	if err != nil {
		t.Fatalf("parse %s: %v", path, err)
	}
	dir := filepath.ToSlash(filepath.Dir(path))
	if dir == "." {
		dir = ""
	}
	allowed, known := layers[dir]
	if !known && strings.HasPrefix(dir, "examples/") {
		allowed, known = exampleLayer, true
	}
	if !known {
		t.Errorf("%s: package %q has no place in layers: say in layers_test.go what it may import", path, dir)
		return
	}
	isTest := strings.HasSuffix(path, "_test.go")
	if isTest {
		allowed = append(append([]string{dir}, allowed...), testOnly...)
	}
	for _, spec := range f.Imports {
		name, _ := strconv.Unquote(spec.Path.Value)
		if rest, ours := strings.CutPrefix(name, module); ours {
			if rest = strings.TrimPrefix(rest, "/"); !matches(rest, allowed) {
				sort.Strings(allowed)
				t.Errorf("%s imports %q: package %q may import only %s; imports run one way, from the user's story down to the log", path, rest, dir, strings.Join(allowed, ", "))
			}
			continue
		}
		checkForeign(t, path, dir, name)
	}
}

// checkForeign refuses packages of others outside of their place.
func checkForeign(t *testing.T, path, dir, name string) {
	t.Helper()
	for pkg, rule := range only {
		hit := name == pkg || strings.HasSuffix(pkg, "/") && strings.HasPrefix(name, pkg) ||
			strings.Contains(pkg, "arrow") && strings.HasPrefix(name, pkg+"/")
		if hit && !matches(dir, rule.places) && !strings.HasSuffix(path, "_test.go") {
			t.Errorf("%s imports %q, which has its place in %v: %s", path, name, rule.places, rule.advice)
		}
	}
}

func matches(name string, patterns []string) bool {
	for _, p := range patterns {
		if p == name || strings.HasSuffix(p, "/*") && strings.HasPrefix(name, strings.TrimSuffix(p, "*")) {
			return true
		}
	}
	return false
}
