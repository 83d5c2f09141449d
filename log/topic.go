package log

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync/atomic"
)

// topic is a topic of an embedded log. All but its settings stays as it is made:
// a topic that gets more partitions becomes another one of the same id, which
// shares settings and partitions with the one before. Its partitions go on to
// point at the one that they were made for.
type topic struct {
	name     string
	id       TopicID
	internal bool
	parts    []*partition
	settings *atomic.Pointer[topicSettings]
}

// topicSettings are a topic's configs and what they come to; replaced as a whole.
type topicSettings struct {
	configs map[string]string
	config  topicConfig
}

// is tells whether a topic is the one with an id; with a zero id, any is.
func (t *topic) is(id TopicID) bool { return id == TopicID{} || id == t.id }

func (t *topic) config() *topicConfig { return &t.settings.Load().config }

func (t *topic) describe() Topic {
	return Topic{Name: t.name, ID: t.id, Partitions: len(t.parts), Configs: maps.Clone(t.settings.Load().configs), Internal: t.internal}
}

// newTopic makes a topic in memory. The caller holds topicMu, or opens the log.
func (l *Embedded) newTopic(name string, id TopicID, internal bool, partitions int, configs map[string]string) (*topic, error) {
	config, err := resolveConfig(&l.opts, l.defaultsOf(internal), configs)
	if err != nil {
		return nil, err
	}
	t := &topic{name: name, id: id, internal: internal, settings: new(atomic.Pointer[topicSettings])}
	t.settings.Store(&topicSettings{maps.Clone(configs), config})
	l.grow(t, partitions)
	return t, nil
}

// grow makes partitions of t in memory until there are n.
func (l *Embedded) grow(t *topic, n int) {
	for i := len(t.parts); i < n; i++ {
		dir := l.fs.PathJoin(l.dir, topicsDirName, TopicPartition{t.name, int32(i)}.String())
		t.parts = append(t.parts, newPartition(t, int32(i), dir))
	}
}

// CreateTopic implements Log.
func (l *Embedded) CreateTopic(ctx context.Context, spec TopicSpec) (Topic, error) {
	if err := ctx.Err(); err != nil {
		return Topic{}, err
	}
	t, err := l.createTopic(spec)
	if err != nil {
		return Topic{}, fmt.Errorf("create topic %q: %w", spec.Name, err)
	}
	return t.describe(), nil
}

func (l *Embedded) createTopic(spec TopicSpec) (*topic, error) {
	if err := CheckTopicName(spec.Name); err != nil {
		return nil, err
	}
	if spec.Partitions == 0 {
		spec.Partitions = l.opts.DefaultPartitions
	}
	if spec.Partitions < 0 || spec.Partitions > maxPartitions {
		return nil, fmt.Errorf("%w: %d partitions, want 1 to %d", ErrInvalidConfig, spec.Partitions, maxPartitions)
	}
	l.topicMu.Lock()
	defer l.topicMu.Unlock()
	if err := l.usable(); err != nil {
		return nil, err
	}
	if _, ok := (*l.topics.Load())[spec.Name]; ok {
		return nil, ErrTopicExists
	}
	t, err := l.newTopic(spec.Name, newTopicID(), spec.Internal, spec.Partitions, spec.Configs)
	if err != nil {
		return nil, err
	}
	if err := l.addDirs(maps.Clone(*l.topics.Load()), nil, t); err != nil {
		return nil, err
	}
	return t, nil
}

// AddPartitions raises the number of partitions of a topic to n and returns the
// topic. Records stay where they are: a key may be found in two partitions then.
func (l *Embedded) AddPartitions(ctx context.Context, name string, n int) (Topic, error) {
	if err := ctx.Err(); err != nil {
		return Topic{}, err
	}
	t, err := l.addPartitions(name, n)
	if err != nil {
		return Topic{}, fmt.Errorf("add partitions to topic %q: %w", name, err)
	}
	return t.describe(), nil
}

func (l *Embedded) addPartitions(name string, n int) (*topic, error) {
	l.topicMu.Lock()
	defer l.topicMu.Unlock()
	if err := l.usable(); err != nil {
		return nil, err
	}
	old, ok := (*l.topics.Load())[name]
	switch {
	case !ok:
		return nil, ErrUnknownTopic
	case old.internal:
		return nil, fmt.Errorf("%w: the log keeps its own state in it", ErrInvalidTopic)
	case n <= len(old.parts) || n > maxPartitions:
		return nil, fmt.Errorf("%w: %d partitions, want %d to %d", ErrInvalidConfig, n, len(old.parts)+1, maxPartitions)
	}
	t := new(topic)
	*t = *old
	t.parts = slices.Clone(old.parts)
	l.grow(t, n)
	if err := l.addDirs(maps.Clone(*l.topics.Load()), old, t); err != nil {
		return nil, err
	}
	return t, nil
}

// addDirs makes t one of the topics, durably, in place of old or new, and its
// partitions that old does not have. The caller holds topicMu; topics is its copy.
func (l *Embedded) addDirs(topics map[string]*topic, old, t *topic) error {
	fresh := t.parts
	if old != nil {
		fresh = t.parts[len(old.parts):]
	}
	for _, p := range fresh {
		p.newDir = true
		p.safe.Segments = nil
	}
	// A checkpoint in between would store the meta without the topic.
	l.checkpointMu.Lock()
	defer l.checkpointMu.Unlock()
	// The meta first: a directory that it does not know is never taken over.
	topics[t.name] = t
	if err := l.storeMeta(topics); err != nil {
		return err
	}
	for _, p := range fresh {
		if err := p.makeDir(l.fs); err != nil {
			if delete(topics, t.name); old != nil {
				topics[t.name] = old
			}
			return errors.Join(l.failUnlessFull(err), l.storeMeta(topics))
		}
	}
	l.setTopics(topics)
	l.members.topicsChanged(l)
	return nil
}

// setTopics makes these the topics. The caller holds topicMu, or is Open.
func (l *Embedded) setTopics(topics map[string]*topic) {
	ids := make(map[TopicID]*topic, len(topics))
	for _, t := range topics {
		ids[t.id] = t
	}
	l.topics.Store(&topics)
	l.topicIDs.Store(&ids)
	l.topicsVersion.Add(1) // last: who has seen it finds these
}

// TopicsVersion counts how often topics have been made, deleted or given
// partitions: as long as it is the same, so are they.
func (l *Embedded) TopicsVersion() uint64 { return l.topicsVersion.Load() }

// makeDir makes the directory of a partition and the file by which Kafka's
// tools know the topic. The file is not synced: Open makes it again if need be.
func (p *partition) makeDir(fs FS) error {
	if err := fs.MkdirAll(p.dir, 0o755); err != nil {
		return fmt.Errorf("make directory %s: %w", p.dir, err)
	}
	p.newDir = true
	return writeFile(fs, fs.PathJoin(p.dir, partitionMetadataName), p.metadata(), false)
}

const partitionMetadataName = "partition.metadata"

func (p *partition) metadata() []byte {
	return fmt.Appendf(nil, "version: 0\ntopic_id: %s\n", p.topic.id)
}

// Topic implements Log.
func (l *Embedded) Topic(ctx context.Context, name string) (Topic, error) {
	t, ok := (*l.topics.Load())[name]
	if !ok {
		return Topic{}, fmt.Errorf("%w %q", ErrUnknownTopic, name)
	}
	return t.describe(), ctx.Err()
}

// TopicName finds the name of the topic with an id.
func (l *Embedded) TopicName(id TopicID) (name string, ok bool) {
	t, ok := (*l.topicIDs.Load())[id]
	if !ok {
		return "", false
	}
	return t.name, true
}

// TopicID finds the id of the topic with a name.
func (l *Embedded) TopicID(name string) (id TopicID, ok bool) {
	t, ok := (*l.topics.Load())[name]
	if !ok {
		return TopicID{}, false
	}
	return t.id, true
}

// Topics implements Log.
func (l *Embedded) Topics(ctx context.Context) ([]Topic, error) {
	topics := *l.topics.Load()
	all := make([]Topic, 0, len(topics))
	for _, name := range slices.Sorted(maps.Keys(topics)) {
		all = append(all, topics[name].describe())
	}
	return all, ctx.Err()
}

// AlterTopic implements Log.
func (l *Embedded) AlterTopic(ctx context.Context, name string, configs map[string]*string) (Topic, error) {
	if err := ctx.Err(); err != nil {
		return Topic{}, err
	}
	t, err := l.alterTopic(name, configs)
	if err != nil {
		return Topic{}, fmt.Errorf("alter topic %q: %w", name, err)
	}
	return t.describe(), nil
}

func (l *Embedded) alterTopic(name string, configs map[string]*string) (*topic, error) {
	l.topicMu.Lock()
	defer l.topicMu.Unlock()
	if err := l.usable(); err != nil {
		return nil, err
	}
	t, ok := (*l.topics.Load())[name]
	if !ok {
		return nil, ErrUnknownTopic
	}
	old := t.settings.Load()
	changed := maps.Clone(old.configs)
	if changed == nil {
		changed = map[string]string{}
	}
	for k, v := range configs {
		if v == nil {
			delete(changed, k)
		} else {
			changed[k] = *v
		}
	}
	config, err := resolveConfig(&l.opts, l.defaultsOf(t.internal), changed)
	if err != nil {
		return nil, err
	}
	t.settings.Store(&topicSettings{changed, config})
	if err := l.storeMeta(*l.topics.Load()); err != nil {
		t.settings.Store(old)
		return nil, err
	}
	return t, nil
}

// DeleteTopic implements Log. The files go after the topic does: renamed first,
// so that a topic made again under the name never meets them.
func (l *Embedded) DeleteTopic(ctx context.Context, name string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := l.deleteTopic(name, TopicID{}); err != nil {
		return fmt.Errorf("delete topic %q: %w", name, err)
	}
	return nil
}

// DeleteTopicByID is DeleteTopic of the topic with an id: never of one that was
// made since under the name that the id had.
func (l *Embedded) DeleteTopicByID(ctx context.Context, id TopicID) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	name, _ := l.TopicName(id)
	if err := l.deleteTopic(name, id); err != nil {
		return fmt.Errorf("delete topic with id %v: %w", id, err)
	}
	return nil
}

// deleteTopic deletes the topic with a name if it has that id, or any if that is
// zero.
func (l *Embedded) deleteTopic(name string, id TopicID) error {
	l.topicMu.Lock()
	defer l.topicMu.Unlock()
	if err := l.usable(); err != nil {
		return err
	}
	t, ok := (*l.topics.Load())[name]
	if !ok || !t.is(id) {
		return ErrUnknownTopic
	}
	if t.internal {
		return fmt.Errorf("%w: the log keeps its own state in it", ErrInvalidTopic)
	}
	l.mu.Lock()
	for _, p := range t.parts {
		p.deleted = true
	}
	l.mu.Unlock()
	l.barrier() // nothing is on its way to it any more
	if err := l.dropTopic(t); err != nil {
		// The next Open finishes the deletion.
		l.fail(fmt.Errorf("delete topic: %w", err))
		return err
	}
	l.members.topicsChanged(l)
	var errs []error
	for _, p := range t.parts {
		errs = append(errs, l.fs.RemoveAll(deletedDir(p.dir, t.id)))
	}
	return errors.Join(append(errs, l.forgetOffsets(name))...)
}

// dropTopic takes a topic out of the log and its directories out of the way. It
// keeps checkpoints off, which would look for the files.
func (l *Embedded) dropTopic(t *topic) error {
	l.checkpointMu.Lock()
	defer l.checkpointMu.Unlock()
	left := maps.Clone(*l.topics.Load())
	delete(left, t.name)
	l.setTopics(left)
	l.applyMu.Lock()
	for _, p := range t.parts {
		if l.opts.Sync.Mode == SyncInterval {
			// The journal will soon call synced what refers to it, and a crash may
			// bring the topic back.
			if err := l.syncPartition(p); err != nil {
				l.applyMu.Unlock()
				return err
			}
		}
		p.closeFiles()
		p.wake()
	}
	l.applyMu.Unlock()
	for _, p := range t.parts {
		if err := l.fs.Rename(p.dir, deletedDir(p.dir, t.id)); err != nil {
			return err
		}
	}
	if err := syncDir(l.fs, l.fs.PathJoin(l.dir, topicsDirName)); err != nil {
		return err
	}
	return l.storeMeta(left)
}

func deletedDir(dir string, id TopicID) string { return dir + "." + id.String() + deleteSuffix }

// closeFiles closes the files that a partition has open for writing.
func (p *partition) closeFiles() {
	for _, s := range *p.segments.Load() {
		_ = s.close()
	}
	p.dirty = nil
}
