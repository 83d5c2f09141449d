package remote

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/gretestream/grete/log"
)

// dialTimeout bounds the first question to the other process.
const dialTimeout = 5 * time.Second

// client is a log.Log that asks the process at base.
type client struct {
	base      string // URL, ends with Prefix
	token     string
	http      *http.Client
	clusterID string
	closed    atomic.Bool
}

// Dial returns the log of the process that serves it at addr (host:port). It
// returns ErrUnauthorized if the token is not that of the process. Closing the
// Log ends the connections, not the process. Readers must be closed first.
func Dial(addr, token string) (log.Log, error) {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, fmt.Errorf("dial log at %q: %w", addr, err)
	}
	if !loopbackHost(host) {
		return nil, fmt.Errorf("dial log at %q: want an address of this machine (127.0.0.1 or ::1)", addr)
	}
	c := &client{
		base:  "http://" + addr + Prefix,
		token: token,
		http: &http.Client{Transport: &http.Transport{
			// No proxy: the other process is on this machine.
			DialContext:         (&net.Dialer{Timeout: dialTimeout}).DialContext,
			MaxIdleConnsPerHost: 16,
			IdleConnTimeout:     30 * time.Second,
			DisableCompression:  true,
		}},
	}
	ctx, cancel := context.WithTimeout(context.Background(), dialTimeout)
	defer cancel()
	var cluster wireCluster
	if err := c.call(ctx, http.MethodGet, "cluster", nil, nil, &cluster); err != nil {
		c.http.CloseIdleConnections()
		return nil, fmt.Errorf("dial log at %s: %w", addr, err)
	}
	c.clusterID = cluster.ClusterID
	return c, nil
}

// call sends one request and decodes its JSON answer into result.
func (c *client) call(ctx context.Context, method, path string, q url.Values, body []byte, result any) error {
	resp, err := c.do(ctx, method, path, q, body)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(result); err != nil {
		return fmt.Errorf("read answer of %s: %w", path, err)
	}
	return nil
}

// do sends one request. An answer that is an error is returned as one; the
// caller closes the body of the others.
func (c *client) do(ctx context.Context, method, path string, q url.Values, body []byte) (*http.Response, error) {
	if c.closed.Load() {
		return nil, log.ErrClosed
	}
	u := c.base + path
	if len(q) > 0 {
		u += "?" + q.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, method, u, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+c.token)
	resp, err := c.http.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, fmt.Errorf("ask the process that holds the data directory: %w", err)
	}
	if resp.StatusCode == http.StatusOK {
		return resp, nil
	}
	defer resp.Body.Close()
	var we wireError
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxHead)).Decode(&we); err != nil || we.Message == "" {
		return nil, fmt.Errorf("%s %s: got status %s", method, path, resp.Status)
	}
	return nil, we.decode()
}

func (c *client) ClusterID() string { return c.clusterID }

// Close ends idle connections.
func (c *client) Close() error {
	if c.closed.Swap(true) {
		return nil
	}
	c.http.CloseIdleConnections()
	return nil
}

func (c *client) topicCall(ctx context.Context, method, path string, body any) (log.Topic, error) {
	var text []byte
	if body != nil {
		var err error
		if text, err = json.Marshal(body); err != nil {
			return log.Topic{}, err
		}
	}
	var t wireTopic
	if err := c.call(ctx, method, path, nil, text, &t); err != nil {
		return log.Topic{}, err
	}
	return t.decode()
}

func (c *client) CreateTopic(ctx context.Context, spec log.TopicSpec) (log.Topic, error) {
	return c.topicCall(ctx, http.MethodPost, "topics", wireSpec{Name: spec.Name, Partitions: spec.Partitions, Configs: spec.Configs, Internal: spec.Internal})
}

func (c *client) Topic(ctx context.Context, name string) (log.Topic, error) {
	if path, err := topicPath(name); err != nil {
		return log.Topic{}, err
	} else {
		return c.topicCall(ctx, http.MethodGet, path, nil)
	}
}

func (c *client) AlterTopic(ctx context.Context, name string, configs map[string]*string) (log.Topic, error) {
	path, err := topicPath(name)
	if err != nil {
		return log.Topic{}, err
	}
	return c.topicCall(ctx, http.MethodPatch, path, configs)
}

// AddPartitions implements log.PartitionAdder.
func (c *client) AddPartitions(ctx context.Context, name string, n int) (log.Topic, error) {
	path, err := topicPath(name)
	if err != nil {
		return log.Topic{}, err
	}
	return c.topicCall(ctx, http.MethodPost, path+"/partitions", n)
}

// Export implements log.Exporter: the process that holds the log writes dir.
func (c *client) Export(ctx context.Context, topic, dir string) error {
	path, err := topicPath(topic)
	if err != nil {
		return err
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return err
	}
	body, err := json.Marshal(dir)
	if err != nil {
		return err
	}
	return c.call(ctx, http.MethodPost, path+"/export", nil, body, &struct{}{})
}

func (c *client) DeleteTopic(ctx context.Context, name string) error {
	path, err := topicPath(name)
	if err != nil {
		return err
	}
	return c.call(ctx, http.MethodDelete, path, nil, nil, &struct{}{})
}

// topicPath refuses names that would make another path, such as "" and "..",
// which no topic has.
func topicPath(name string) (string, error) {
	switch name {
	case "", ".", "..":
		return "", fmt.Errorf("topic %q: %w", name, log.ErrUnknownTopic)
	}
	return "topics/" + url.PathEscape(name), nil
}

func (c *client) Topics(ctx context.Context) ([]log.Topic, error) {
	var list []wireTopic
	if err := c.call(ctx, http.MethodGet, "topics", nil, nil, &list); err != nil {
		return nil, err
	}
	topics := make([]log.Topic, len(list))
	for i, t := range list {
		var err error
		if topics[i], err = t.decode(); err != nil {
			return nil, err
		}
	}
	return topics, nil
}

func values(tp log.TopicPartition) url.Values {
	return url.Values{"topic": {tp.Topic}, "partition": {strconv.Itoa(int(tp.Partition))}}
}

func (c *client) Bounds(ctx context.Context, tp log.TopicPartition) (log.Bounds, error) {
	var b wireBounds
	err := c.call(ctx, http.MethodGet, "bounds", values(tp), nil, &b)
	return log.Bounds{Start: b.Start, Stable: b.Stable, End: b.End}, err
}

func (c *client) OffsetFor(ctx context.Context, tp log.TopicPartition, t log.Timestamp) (log.Offset, log.Timestamp, error) {
	q := values(tp)
	q.Set("timestamp", strconv.FormatInt(int64(t), 10))
	var o wireOffset
	err := c.call(ctx, http.MethodGet, "offset", q, nil, &o)
	return o.Offset, o.Timestamp, err
}

func (c *client) DeleteRecords(ctx context.Context, tp log.TopicPartition, before log.Offset) error {
	q := values(tp)
	q.Set("before", before.String())
	return c.call(ctx, http.MethodPost, "delete-records", q, nil, &struct{}{})
}

func (c *client) Append(ctx context.Context, tp log.TopicPartition, batches []byte) (log.Offset, error) {
	if len(batches) > MaxBody {
		return 0, fmt.Errorf("append %d bytes to %v, want at most %d at a time: %w", len(batches), tp, MaxBody, log.ErrTooLarge)
	}
	var o wireOffset
	err := c.call(ctx, http.MethodPost, "append", values(tp), batches, &o)
	return o.Offset, err
}

func (c *client) Fence(ctx context.Context, producer string) (log.Epoch, error) {
	var e wireEpoch
	err := c.call(ctx, http.MethodPost, "fence", url.Values{"producer": {producer}}, nil, &e)
	return e.Epoch, err
}

func (c *client) Commit(ctx context.Context, commit *log.Commit) ([]log.Offset, error) {
	size := 0
	for _, w := range commit.Writes {
		size += len(w.Batches)
	}
	if size > MaxBody {
		return nil, fmt.Errorf("commit %d bytes, want at most %d: %w", size, MaxBody, log.ErrTooLarge)
	}
	body, err := appendCommitHead(make([]byte, 0, size+1024), commit)
	if err != nil {
		return nil, fmt.Errorf("commit: %w", err)
	}
	for _, w := range commit.Writes {
		body = append(body, w.Batches...)
	}
	var o wireOffsets
	err = c.call(ctx, http.MethodPost, "commit", nil, body, &o)
	return o.Offsets, err
}

func (c *client) Committed(ctx context.Context, group string, tps ...log.TopicPartition) (map[log.TopicPartition]log.GroupOffset, error) {
	req := wireCommitted{Group: group}
	for _, tp := range tps {
		req.Partitions = append(req.Partitions, encodePartition(tp))
	}
	text, err := json.Marshal(&req)
	if err != nil {
		return nil, err
	}
	var list []wireGroupOffset
	if err := c.call(ctx, http.MethodPost, "committed", nil, text, &list); err != nil {
		return nil, err
	}
	offsets := make(map[log.TopicPartition]log.GroupOffset, len(list))
	for _, w := range list {
		o := w.decode()
		offsets[o.TopicPartition] = o
	}
	return offsets, nil
}

// Join is refused: a member must be noticed when it dies, and a process that
// asks over HTTP is not. Containers run in the process that holds the log.
func (c *client) Join(context.Context, log.GroupSpec) (log.Member, error) {
	return nil, fmt.Errorf("join a group through the log of another process: %w: run the job in the process that holds the data directory", errors.ErrUnsupported)
}
