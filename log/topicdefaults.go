package log

import (
	"fmt"
	"maps"
)

// SetTopicDefaults has configs hold for all topics that do not set them, those
// that are there and those to come, in place of the ones that were set before and
// of this log's own. Internal topics are left out: the log reads them. Defaults
// are not stored; who sets them does so each time the log is opened. After an
// error, ErrInvalidConfig, those of before go on to hold.
func (l *Embedded) SetTopicDefaults(configs map[string]string) error {
	l.topicMu.Lock()
	defer l.topicMu.Unlock()
	if maps.Equal(l.topicDefaults, configs) {
		return nil
	}
	c := defaultConfig(&l.opts)
	if err := c.set(configs); err != nil {
		return fmt.Errorf("set defaults of topics: %w", err)
	}
	l.topicDefaults = maps.Clone(configs)
	for _, t := range *l.topics.Load() {
		own := t.settings.Load().configs
		config, err := resolveConfig(&l.opts, l.defaultsOf(t.internal), own)
		if err != nil {
			return fmt.Errorf("set defaults of topic %q: %w", t.name, err) // both were checked
		}
		t.settings.Store(&topicSettings{own, config})
	}
	return nil
}

// defaultsOf are the defaults that hold for a topic. The caller holds topicMu.
func (l *Embedded) defaultsOf(internal bool) map[string]string {
	if internal {
		return nil
	}
	return l.topicDefaults
}
