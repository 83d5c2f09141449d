package jobs

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	op "github.com/gretestream/grete/operators"
)

// Setting is one value that a job can be configured with.
type Setting struct {
	Name, Default, Help string
	Required            bool
}

// Resolve returns the value of every setting of the job: what is given, else
// what was stored at the last deploy, else its default. It reports all unknown
// and all missing settings at once.
func (j *Job) Resolve(given, stored map[string]string) (map[string]string, error) {
	m := &Mistakes{Job: j.Name}
	known := make(map[string]bool, len(j.Settings))
	values := make(map[string]string, len(j.Settings))
	for _, s := range j.Settings {
		known[s.Name] = true
		v, ok := given[s.Name]
		if !ok {
			v, ok = stored[s.Name]
		}
		if !ok {
			v = s.Default
		}
		if v == "" && s.Required {
			m.addf("setting %q is missing (%s): give it with --set %s=VALUE", s.Name, s.Help, s.Name)
		}
		values[s.Name] = v
	}
	for _, name := range slices.Sorted(maps.Keys(given)) {
		if !known[name] {
			m.addf("unknown setting %q; it has %s", name, j.settingNames())
		}
	}
	return values, m.err()
}

func (j *Job) settingNames() string {
	if len(j.Settings) == 0 {
		return "none"
	}
	names := make([]string, len(j.Settings))
	for i, s := range j.Settings {
		names[i] = s.Name
	}
	return strings.Join(names, ", ")
}

// Compile builds the job's graph with the given values of all its settings (see
// Resolve) and cuts it into stages. Mistakes in the graph are reported all at
// once.
func (j *Job) Compile(settings map[string]string) ([]*op.Stage, error) {
	build := j.Build
	if j.Configure != nil {
		b, err := j.Configure(maps.Clone(settings))
		if err != nil {
			return nil, fmt.Errorf("job %q: configure: %w", j.Name, err)
		}
		build = b
	}
	stages, err := op.Compile(build)
	if err != nil {
		return nil, fmt.Errorf("job %q: %w", j.Name, err)
	}
	return stages, nil
}
