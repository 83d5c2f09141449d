package kafka

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/gretestream/grete/log"
)

// Users, ACLs, quotas, and configs of brokers and groups are records of the
// internal, compacted topic __grete_access, one fact each, with JSON in key and
// value:
//
//	["user", NAME, MECHANISM]                      {"salt","stored_key","server_key","iterations"}
//	["acl", RESOURCE, PATTERN, NAME, PRINCIPAL,
//	        HOST, OPERATION, PERMISSION]           {}
//	["quota", LIMIT, ENTITY...]                    {"value"}
//	["config", "broker", BROKER, NAME]             {"value"}
//	["config", "group", GROUP, NAME]               {"value"}
//
// where BROKER is a number, or empty for all brokers, and an entity is
// "user=alice", or "user" for the default of all users. A null value takes a fact
// back. What one request changes is one append: all of it or nothing. Clients
// cannot reach the topic: it holds verifiers.
const accessTopic = "__grete_access"

// followPause is how long who follows waits after a failure.
const followPause = time.Second

var accessPartition = log.TopicPartition{Topic: accessTopic}

// Access is who may use a log, and how. It is kept in the log, so that a server
// and commands beside it see the same; a change holds once it has returned. All
// methods may be called from any goroutine.
type Access struct {
	l     log.Log
	state atomic.Pointer[accessState]
	// made keeps salts that are made up the same for the same name.
	made [32]byte

	mu sync.Mutex // guards r, and is held while the topic is read
	r  log.Reader
}

// accessState is what all records come to. It does not change.
type accessState struct {
	users  map[string]map[string]*verifier // by name and mechanism
	acls   *aclSet
	quotas map[quotaKey]float64
	// configs are what is set for brokers and groups, by name.
	configs map[configOwner]map[string]string
}

// quotaKey is one limit of one entity.
type quotaKey struct {
	limit  string
	entity string // entities, sorted, with NUL in between
}

// OpenAccess reads who may use a log. The topic is made if there is none yet.
func OpenAccess(ctx context.Context, l log.Log) (*Access, error) {
	a := &Access{l: l}
	_, _ = rand.Read(a.made[:]) // never fails
	a.state.Store(&accessState{acls: newACLSet(nil)})
	if err := a.open(ctx); err != nil {
		return nil, fmt.Errorf("open %s: %w", accessTopic, err)
	}
	return a, nil
}

func (a *Access) open(ctx context.Context) error {
	_, err := a.l.CreateTopic(ctx, log.TopicSpec{
		Name: accessTopic, Partitions: 1, Internal: true,
		Configs: map[string]string{"cleanup.policy": "compact"},
	})
	if err != nil && !errors.Is(err, log.ErrTopicExists) {
		return err
	}
	b, err := a.l.Bounds(ctx, accessPartition)
	if err != nil {
		return err
	}
	if a.r, err = a.l.OpenReader(accessPartition, b.Start, log.ReaderOptions{}); err != nil {
		return err
	}
	if err := a.refresh(ctx); err != nil {
		return errors.Join(err, a.r.Close())
	}
	return nil
}

// Close gives back what OpenAccess took; the log stays open.
func (a *Access) Close() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.r.Close()
}

// refresh takes in what has been written since.
func (a *Access) refresh(ctx context.Context) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	b, err := a.l.Bounds(ctx, accessPartition)
	if err != nil {
		return err
	}
	if a.r.Position() >= b.End {
		return nil
	}
	old := a.state.Load()
	next := &accessState{users: map[string]map[string]*verifier{}, quotas: maps.Clone(old.quotas), configs: map[configOwner]map[string]string{}}
	for name, by := range old.users {
		next.users[name] = maps.Clone(by)
	}
	for owner, set := range old.configs {
		next.configs[owner] = maps.Clone(set)
	}
	if next.quotas == nil {
		next.quotas = map[quotaKey]float64{}
	}
	acls := maps.Clone(old.acls.all)
	if acls == nil {
		acls = map[ACL]bool{}
	}
	from := a.r.Position()
	for a.r.Position() < b.End {
		recs, err := a.r.Next(ctx)
		for i := range recs {
			if err = next.take(acls, recs[i].Key, recs[i].Value); err != nil {
				err = fmt.Errorf("record at offset %d: %w", recs[i].Offset, err)
				break
			}
		}
		if err != nil {
			// Nothing of it holds, or a deny that came with it would not either.
			return errors.Join(err, a.r.Seek(from))
		}
	}
	next.acls = newACLSet(acls)
	a.state.Store(next)
	return nil
}

// follow takes in what others write, until ctx ends. changed is called after
// each change.
func (a *Access) follow(ctx context.Context, changed func(error)) {
	for {
		a.mu.Lock()
		from := a.r.Position()
		a.mu.Unlock()
		if err := a.await(ctx, from); ctx.Err() != nil {
			return
		} else if err == nil {
			err = a.refresh(ctx)
			if changed(err); err == nil {
				continue
			}
		}
		// What cannot be read now is tried again: it may be in another process.
		select {
		case <-ctx.Done():
			return
		case <-time.After(followPause):
		}
	}
}

// await waits for a record at an offset or above.
func (a *Access) await(ctx context.Context, from log.Offset) error {
	r, err := a.l.OpenReader(accessPartition, from, log.ReaderOptions{})
	if err != nil {
		return err
	}
	_, err = r.Next(ctx)
	return errors.Join(err, r.Close())
}

// take takes in one record.
func (s *accessState) take(acls map[ACL]bool, key, value []byte) error {
	var k []string
	if err := json.Unmarshal(key, &k); err != nil || len(k) == 0 {
		return fmt.Errorf("%w: key %.80q, want a list of texts", log.ErrCorrupt, key)
	}
	switch {
	case k[0] == "user" && len(k) == 3:
		return s.takeUser(k[1], k[2], value)
	case k[0] == "acl" && len(k) == 8:
		a, err := parseACLKey(k)
		if err != nil {
			return err
		}
		if acls[a] = true; value == nil {
			delete(acls, a)
		}
		return nil
	case k[0] == "config" && len(k) == 4:
		return s.takeConfig(configOwner{k[1], k[2]}, k[3], value)
	case k[0] == "quota" && len(k) >= 3:
		return s.takeQuota(quotaKey{k[1], strings.Join(k[2:], "\x00")}, value)
	}
	return fmt.Errorf("%w: key %.80q, want a user, an acl, a quota or a config", log.ErrCorrupt, key)
}

func (s *accessState) takeUser(name, mechanism string, value []byte) error {
	if value == nil {
		delete(s.users[name], mechanism)
		if len(s.users[name]) == 0 {
			delete(s.users, name)
		}
		return nil
	}
	v := new(verifier)
	err := json.Unmarshal(value, v)
	if err == nil {
		err = v.check(mechanism)
	}
	if err != nil {
		// Never with the value: it is as good as the password to some.
		return fmt.Errorf("%w: user %q: %w", log.ErrCorrupt, name, err)
	}
	if s.users[name] == nil {
		s.users[name] = map[string]*verifier{}
	}
	s.users[name][mechanism] = v
	return nil
}

func (s *accessState) takeQuota(key quotaKey, value []byte) error {
	if value == nil {
		delete(s.quotas, key)
		return nil
	}
	var v struct {
		Value float64 `json:"value"`
	}
	if err := json.Unmarshal(value, &v); err != nil || !(v.Value >= 0) || math.IsInf(v.Value, 0) {
		return fmt.Errorf("%w: quota %s: value %.40q", log.ErrCorrupt, key.limit, value)
	}
	s.quotas[key] = v.Value
	return nil
}

// aclKey is the key of an ACL's record.
func aclKey(a ACL) []string {
	return []string{"acl", a.Resource.String(), a.Pattern.String(), a.Name, a.Principal, a.Host, a.Operation.String(), a.Permission.String()}
}

func parseACLKey(k []string) (a ACL, err error) {
	a.Name, a.Principal, a.Host = k[3], k[4], k[5]
	var errs [4]error
	a.Resource, errs[0] = kmsg.ParseACLResourceType(k[1])
	a.Pattern, errs[1] = kmsg.ParseACLResourcePatternType(k[2])
	a.Operation, errs[2] = kmsg.ParseACLOperation(k[6])
	a.Permission, errs[3] = kmsg.ParseACLPermissionType(k[7])
	if err := errors.Join(errs[:]...); err != nil {
		return a, fmt.Errorf("%w: acl %q: %w", log.ErrCorrupt, k, err)
	}
	if err := a.Check(); err != nil {
		return a, fmt.Errorf("%w: %w", log.ErrCorrupt, err)
	}
	return a, nil
}

// fact is one record to be written; a nil value takes it back.
type fact struct {
	key   []string
	value any
}

// write writes facts, all or none, and returns when they hold.
func (a *Access) write(ctx context.Context, facts []fact) error {
	if len(facts) == 0 {
		return nil
	}
	var b log.Builder
	now := log.TimestampOf(time.Now())
	for _, f := range facts {
		key, err := json.Marshal(f.key)
		if err != nil {
			return err
		}
		var value []byte
		if f.value != nil {
			if value, err = json.Marshal(f.value); err != nil {
				return err
			}
		}
		b.Append(now, key, value)
	}
	if _, err := a.l.Append(ctx, accessPartition, b.Bytes()); err != nil {
		return err
	}
	return a.refresh(context.WithoutCancel(ctx))
}

// User is a user and how they may prove who they are.
type User struct {
	Name       string
	Mechanisms map[string]int // iterations by mechanism
}

// Users returns all users, by name.
func (a *Access) Users() []User {
	s := a.state.Load()
	var users []User
	for _, name := range slices.Sorted(maps.Keys(s.users)) {
		u := User{name, map[string]int{}}
		for mechanism, v := range s.users[name] {
			u.Mechanisms[mechanism] = v.Iterations
		}
		users = append(users, u)
	}
	return users
}

// CheckUserName tells whether a user may have this name.
func CheckUserName(name string) error {
	if name == "" || len(name) > maxName || strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f || r == 0xfffd }) {
		return fmt.Errorf("user %q, want a name of 1 to %d bytes that can be printed", name, maxName)
	}
	return nil
}

// SetUser makes a user, or gives one a new password, for both kinds of SCRAM. Of
// the password only verifiers are kept.
func (a *Access) SetUser(ctx context.Context, name, password string) error {
	if err := CheckUserName(name); err != nil {
		return err
	}
	if password == "" || len(password) > maxPassword || strings.Contains(password, "\x00") {
		return fmt.Errorf("password of %d bytes, want 1 to %d, without NUL", len(password), maxPassword)
	}
	var facts []fact
	for _, mechanism := range []string{ScramSHA256, ScramSHA512} {
		v, err := newVerifier(mechanism, password, defaultIterations)
		if err != nil {
			return err
		}
		facts = append(facts, userFact(name, mechanism, v))
	}
	if err := a.write(ctx, facts); err != nil {
		return fmt.Errorf("store user %q: %w", name, err)
	}
	return nil
}

func userFact(name, mechanism string, v *verifier) fact {
	f := fact{key: []string{"user", name, mechanism}}
	if v != nil {
		f.value = v
	}
	return f
}

// RemoveUser removes a user; known tells whether there was one.
func (a *Access) RemoveUser(ctx context.Context, name string) (known bool, err error) {
	var facts []fact
	for mechanism := range a.state.Load().users[name] {
		facts = append(facts, userFact(name, mechanism, nil))
	}
	if err := a.write(ctx, facts); err != nil {
		return true, fmt.Errorf("remove user %q: %w", name, err)
	}
	return len(facts) > 0, nil
}

// ACLs returns all ACLs that fit, in order of resources.
func (a *Access) ACLs(f ACLFilter) []ACL {
	return slices.DeleteFunc(a.state.Load().acls.sorted(), func(acl ACL) bool { return !f.Fits(acl) })
}

// AddACLs adds ACLs, all or none; one that is there already stays.
func (a *Access) AddACLs(ctx context.Context, acls ...ACL) error {
	var facts []fact
	for _, acl := range acls {
		if err := acl.Check(); err != nil {
			return err
		}
		if !a.state.Load().acls.all[acl] {
			facts = append(facts, fact{aclKey(acl), struct{}{}})
		}
	}
	if err := a.write(ctx, facts); err != nil {
		return fmt.Errorf("add ACLs: %w", err)
	}
	return nil
}

// RemoveACLs removes the ACLs that fit one of the filters, all or none, and
// returns those of each.
func (a *Access) RemoveACLs(ctx context.Context, filters ...ACLFilter) ([][]ACL, error) {
	var facts []fact
	removed := make([][]ACL, len(filters))
	seen := map[ACL]bool{}
	for i := range filters {
		removed[i] = a.ACLs(filters[i])
		for _, acl := range removed[i] {
			if !seen[acl] {
				seen[acl] = true
				facts = append(facts, fact{aclKey(acl), nil})
			}
		}
	}
	if err := a.write(ctx, facts); err != nil {
		return nil, fmt.Errorf("remove ACLs: %w", err)
	}
	return removed, nil
}

// verifierOf returns a user's verifier. Of somebody who is not known one is made
// up, always the same, so that nobody learns who is.
func (a *Access) verifierOf(user, mechanism string) (v *verifier, known bool) {
	if v, ok := a.state.Load().users[user][mechanism]; ok {
		return v, true
	}
	m := hmac.New(sha256.New, a.made[:])
	m.Write([]byte(user))
	salt := m.Sum(nil)[:saltBytes]
	size := scramHash(mechanism)().Size()
	return &verifier{Salt: salt, StoredKey: make([]byte, size), ServerKey: make([]byte, size), Iterations: defaultIterations}, false
}

// CheckPassword tells whether a password is a user's. It takes some milliseconds
// of work, also if there is no such user.
func (a *Access) CheckPassword(user, password string) bool {
	mechanism := ScramSHA512
	if _, ok := a.state.Load().users[user][mechanism]; !ok {
		mechanism = ScramSHA256
	}
	v, known := a.verifierOf(user, mechanism)
	return v.hasPassword(mechanism, password) && known
}
