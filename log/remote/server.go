package remote

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/gretestream/grete/log"
)

const (
	maxFetchBytes = 4 << 20          // of one answer, in bytes
	maxWait       = 30 * time.Second // of one fetch
)

// Handler serves l under Prefix to the processes of this machine that know
// token. It refuses an empty token, and requests that come from elsewhere. It
// does not close l.
func Handler(l log.Log, token string) http.Handler {
	if token == "" {
		panic("remote: serve a log without a token")
	}
	s := &server{log: l, token: sha256.Sum256([]byte(token))}
	mux := http.NewServeMux()
	handle := func(pattern string, f func(w http.ResponseWriter, r *http.Request) (any, error)) {
		method, path, _ := strings.Cut(pattern, " ")
		mux.HandleFunc(method+" "+Prefix+path, func(w http.ResponseWriter, r *http.Request) {
			s.answer(w, r, f)
		})
	}
	handle("GET cluster", s.cluster)
	handle("GET topics", s.topics)
	handle("POST topics", s.createTopic)
	handle("GET topics/{name}", s.topic)
	handle("PATCH topics/{name}", s.alterTopic)
	handle("DELETE topics/{name}", s.deleteTopic)
	handle("POST topics/{name}/partitions", s.addPartitions)
	handle("POST topics/{name}/export", s.export)
	handle("GET bounds", s.bounds)
	handle("GET offset", s.offset)
	handle("POST delete-records", s.deleteRecords)
	handle("GET fetch", s.fetch)
	handle("POST append", s.append)
	handle("POST fence", s.fence)
	handle("POST commit", s.commit)
	handle("POST committed", s.committed)
	return mux
}

// server answers requests; it holds no state of its own, so that a client that
// goes away leaves nothing behind.
type server struct {
	log   log.Log
	token [sha256.Size]byte
}

// answer checks who asks, runs f, and writes its result or its error. A result
// of nil means that f has written the answer.
func (s *server) answer(w http.ResponseWriter, r *http.Request, f func(http.ResponseWriter, *http.Request) (any, error)) {
	if err := s.authorize(r); err != nil {
		writeError(w, err)
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, MaxBody+maxHead+4)
	result, err := f(w, r)
	if err != nil {
		var tooLarge *http.MaxBytesError
		if errors.As(err, &tooLarge) {
			err = fmt.Errorf("body of more than %d bytes: %w", tooLarge.Limit, log.ErrTooLarge)
		}
		if r.Context().Err() != nil {
			// Not the client's context: the client would not see this answer.
			err = fmt.Errorf("the process that holds the data directory is stopping: %w", log.ErrClosed)
		}
		writeError(w, err)
		return
	}
	if result != nil {
		writeJSON(w, http.StatusOK, result)
	}
}

// authorize compares hashes of equal length, so that the time it takes tells
// nothing about the token.
func (s *server) authorize(r *http.Request) error {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil || !loopbackHost(host) {
		return fmt.Errorf("request from %s, want one from this machine: %w", r.RemoteAddr, ErrUnauthorized)
	}
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	got := sha256.Sum256([]byte(token))
	if subtle.ConstantTimeCompare(got[:], s.token[:]) != 1 || !ok {
		return fmt.Errorf("log of this process: %w", ErrUnauthorized)
	}
	return nil
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	// An error here means that the client has gone: nobody is left to tell.
	_ = json.NewEncoder(w).Encode(v)
}

func writeError(w http.ResponseWriter, err error) {
	we, status := encodeError(err)
	writeJSON(w, status, we)
}

// readJSON decodes a body of bounded size.
func readJSON(r *http.Request, v any) error {
	if err := json.NewDecoder(io.LimitReader(r.Body, maxHead)).Decode(v); err != nil {
		return fmt.Errorf("read request: %w", err)
	}
	return nil
}

// params reads the query of a request with a sticky error.
type params struct {
	get func(string) string
	err error
}

func query(r *http.Request) *params { return &params{get: r.URL.Query().Get} }

func (p *params) int(name string, bits int) int64 {
	v, err := strconv.ParseInt(p.get(name), 10, bits)
	if err != nil && p.err == nil {
		p.err = fmt.Errorf("parameter %s: got %q, want a number: %w", name, p.get(name), err)
	}
	return v
}

func (p *params) partition() log.TopicPartition {
	return log.TopicPartition{Topic: p.get("topic"), Partition: int32(p.int("partition", 32))}
}

func (s *server) cluster(http.ResponseWriter, *http.Request) (any, error) {
	return wireCluster{ClusterID: s.log.ClusterID()}, nil
}

func (s *server) topics(_ http.ResponseWriter, r *http.Request) (any, error) {
	topics, err := s.log.Topics(r.Context())
	if err != nil {
		return nil, err
	}
	out := make([]wireTopic, len(topics))
	for i, t := range topics {
		out[i] = encodeTopic(t)
	}
	return out, nil
}

func (s *server) createTopic(_ http.ResponseWriter, r *http.Request) (any, error) {
	var spec wireSpec
	if err := readJSON(r, &spec); err != nil {
		return nil, err
	}
	return topicAnswer(s.log.CreateTopic(r.Context(), log.TopicSpec{
		Name: spec.Name, Partitions: spec.Partitions, Configs: spec.Configs, Internal: spec.Internal,
	}))
}

func (s *server) topic(_ http.ResponseWriter, r *http.Request) (any, error) {
	return topicAnswer(s.log.Topic(r.Context(), r.PathValue("name")))
}

func (s *server) alterTopic(_ http.ResponseWriter, r *http.Request) (any, error) {
	var configs map[string]*string
	if err := readJSON(r, &configs); err != nil {
		return nil, err
	}
	return topicAnswer(s.log.AlterTopic(r.Context(), r.PathValue("name"), configs))
}

func (s *server) addPartitions(_ http.ResponseWriter, r *http.Request) (any, error) {
	l, ok := s.log.(log.PartitionAdder)
	if !ok {
		return nil, errors.New("add partitions: this log cannot")
	}
	var n int
	if err := readJSON(r, &n); err != nil {
		return nil, err
	}
	return topicAnswer(l.AddPartitions(r.Context(), r.PathValue("name"), n))
}

func (s *server) export(_ http.ResponseWriter, r *http.Request) (any, error) {
	l, ok := s.log.(log.Exporter)
	if !ok {
		return nil, errors.New("export: this log cannot")
	}
	var dir string
	if err := readJSON(r, &dir); err != nil {
		return nil, err
	}
	return struct{}{}, l.Export(r.Context(), r.PathValue("name"), dir)
}

func topicAnswer(t log.Topic, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	return encodeTopic(t), nil
}

func (s *server) deleteTopic(_ http.ResponseWriter, r *http.Request) (any, error) {
	return struct{}{}, s.log.DeleteTopic(r.Context(), r.PathValue("name"))
}

func (s *server) bounds(_ http.ResponseWriter, r *http.Request) (any, error) {
	p := query(r)
	tp := p.partition()
	if p.err != nil {
		return nil, p.err
	}
	b, err := s.log.Bounds(r.Context(), tp)
	return wireBounds{Start: b.Start, Stable: b.Stable, End: b.End}, err
}

func (s *server) offset(_ http.ResponseWriter, r *http.Request) (any, error) {
	p := query(r)
	tp, t := p.partition(), log.Timestamp(p.int("timestamp", 64))
	if p.err != nil {
		return nil, p.err
	}
	off, at, err := s.log.OffsetFor(r.Context(), tp, t)
	return wireOffset{Offset: off, Timestamp: at}, err
}

func (s *server) deleteRecords(_ http.ResponseWriter, r *http.Request) (any, error) {
	p := query(r)
	tp, before := p.partition(), log.Offset(p.int("before", 64))
	if p.err != nil {
		return nil, p.err
	}
	return struct{}{}, s.log.DeleteRecords(r.Context(), tp, before)
}

// fetch opens a reader for each request: what a client has read so far is the
// client's to know, so there is nothing to expire here.
func (s *server) fetch(w http.ResponseWriter, r *http.Request) (any, error) {
	p := query(r)
	tp, from := p.partition(), log.Offset(p.int("from", 64))
	maxBytes := int(p.int("max_bytes", 32))
	wait := time.Duration(p.int("wait_ms", 32)) * time.Millisecond
	if p.err != nil {
		return nil, p.err
	}
	reader, err := s.log.OpenReader(tp, from, log.ReaderOptions{MaxBytes: min(maxBytes, maxFetchBytes), Uncommitted: r.URL.Query().Has("uncommitted")})
	if err != nil {
		return nil, err
	}
	defer reader.Close()

	records, err := reader.Poll()
	if err == nil && len(records) == 0 && wait > 0 {
		ctx, cancel := context.WithTimeout(r.Context(), min(wait, maxWait))
		defer cancel()
		records, err = reader.Next(ctx)
		if errors.Is(err, context.DeadlineExceeded) {
			records, err = nil, nil
		}
	}
	if err != nil {
		return nil, err
	}
	var b log.Builder
	body := appendRuns(nil, &b, records)
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.Header().Set(headerEnd, reader.End().String())
	w.Header().Set(headerPosition, reader.Position().String())
	_, _ = w.Write(body) // as in writeJSON
	return nil, nil
}

// appendRuns encodes records into batches and keeps their offsets: within a
// batch of a Builder they rise by one, so a gap (of a compacted topic) starts
// the next batch.
func appendRuns(dst []byte, b *log.Builder, records []log.Record) []byte {
	for len(records) > 0 {
		b.Reset()
		base := records[0].Offset
		n := 0
		for n < len(records) && records[n].Offset == base+log.Offset(n) {
			r := &records[n]
			b.Append(r.Timestamp, r.Key, r.Value, r.Headers...)
			n++
		}
		// The base offset lies outside of the checksum, see log.Builder.
		for batches := b.Bytes(); len(batches) > 0; {
			info, err := log.ParseBatch(batches)
			if err != nil {
				panic(fmt.Sprintf("builder made a batch that cannot be parsed: %v", err))
			}
			binary.BigEndian.PutUint64(batches, uint64(base))
			dst = append(dst, batches[:info.Size]...)
			base += log.Offset(info.Count)
			batches = batches[info.Size:]
		}
		records = records[n:]
	}
	return dst
}

func (s *server) append(_ http.ResponseWriter, r *http.Request) (any, error) {
	p := query(r)
	tp := p.partition()
	if p.err != nil {
		return nil, p.err
	}
	batches, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, fmt.Errorf("read batches for %v: %w", tp, err)
	}
	off, err := s.log.Append(r.Context(), tp, batches)
	return wireOffset{Offset: off, Timestamp: log.NoTimestamp}, err
}

func (s *server) fence(_ http.ResponseWriter, r *http.Request) (any, error) {
	epoch, err := s.log.Fence(r.Context(), r.URL.Query().Get("producer"))
	return wireEpoch{Epoch: epoch}, err
}

func (s *server) commit(_ http.ResponseWriter, r *http.Request) (any, error) {
	c, err := readCommit(r.Body)
	if err != nil {
		return nil, fmt.Errorf("commit: %w", err)
	}
	offsets, err := s.log.Commit(r.Context(), c)
	return wireOffsets{Offsets: offsets}, err
}

func (s *server) committed(_ http.ResponseWriter, r *http.Request) (any, error) {
	var req wireCommitted
	if err := readJSON(r, &req); err != nil {
		return nil, err
	}
	tps := make([]log.TopicPartition, len(req.Partitions))
	for i, p := range req.Partitions {
		tps[i] = p.decode()
	}
	offsets, err := s.log.Committed(r.Context(), req.Group, tps...)
	if err != nil {
		return nil, err
	}
	out := make([]wireGroupOffset, 0, len(offsets))
	for _, o := range offsets {
		out = append(out, encodeGroupOffset(o))
	}
	return out, nil
}
