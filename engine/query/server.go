package query

import (
	"context"
	"crypto/subtle"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/rcrowley/go-metrics"

	"github.com/gretestream/grete/engine"
	"github.com/gretestream/grete/log"
	"github.com/gretestream/grete/log/remote"
)

const (
	headerTimeout = 10 * time.Second // to send a request's headers
	idleTimeout   = 2 * time.Minute  // of a kept-alive connection
	writeTimeout  = 30 * time.Second // for one piece of an answer
	stopTimeout   = 5 * time.Second  // for answers under way when the server stops
	maxHeader     = 64 << 10         // bytes
)

// Options of a Server.
type Options struct {
	// Addr is host:port; port 0 takes a free one. Default: 127.0.0.1:0.
	Addr string
	// Fallback, if set, is tried when Addr is taken.
	Fallback string
	// Insecure allows an address that other machines can reach without
	// authentication, or passwords without TLS.
	Insecure bool
	// TLS, if set, encrypts what comes to Addr. Commands of this machine have a
	// loopback address of their own then, see Local.
	TLS *tls.Config
	// Authorize, if set, is asked about each request that does not bear Token: 0
	// lets it pass, else it is the status that it is refused with. It may wait.
	// Only /healthz and /readyz are for everybody.
	Authorize func(*http.Request) (status int)
	// Log is served to processes of this machine that know Token, and
	// asked where a query waits for a position. Nil: not served.
	Log   log.Log
	Token string
	// Metrics are shown at /metrics, beside those of the process. May be nil.
	Metrics metrics.Registry
	// Collectors are shown at /metrics, too.
	Collectors []prometheus.Collector
	Logger     hclog.Logger // nil: none
}

// Server answers over HTTP. It is made by Listen and ends with Close.
type Server struct {
	opts     Options
	logger   hclog.Logger
	listener net.Listener
	local    net.Listener // of commands of this machine, if listener speaks TLS; or nil
	http     *http.Server
	mux      *http.ServeMux
	cancel   context.CancelFunc // ends watches and long polls
	served   chan struct{}      // closed when the accept loop has ended

	mu   sync.Mutex // guards the field below
	jobs map[string]engine.Source
}

// Listen binds the address and answers from then on. Jobs are added with Add.
func Listen(opts Options) (*Server, error) {
	if opts.Addr == "" {
		opts.Addr = "127.0.0.1:0"
	}
	if opts.Logger == nil {
		opts.Logger = hclog.NewNullLogger()
	}
	if err := opts.Validate(); err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", opts.Addr)
	if err != nil && opts.Fallback != "" {
		l, err = net.Listen("tcp", opts.Fallback)
	}
	if err != nil {
		return nil, fmt.Errorf("serve HTTP at %s: %w", opts.Addr, err)
	}
	listeners := []net.Listener{l}
	var local net.Listener
	if opts.TLS != nil {
		if local, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			_ = l.Close()
			return nil, fmt.Errorf("serve HTTP to commands of this machine: %w", err)
		}
		listeners = []net.Listener{tls.NewListener(l, opts.TLS), local}
	}
	ctx, cancel := context.WithCancel(context.Background())
	s := &Server{
		opts: opts, logger: opts.Logger.Named("http"), listener: l, local: local, mux: http.NewServeMux(),
		cancel: cancel, served: make(chan struct{}), jobs: map[string]engine.Source{},
	}
	s.routes()
	s.http = &http.Server{
		Handler:           s.guard(s.authorize(s.mux)),
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ErrorLog:          s.logger.StandardLogger(&hclog.StandardLoggerOptions{ForceLevel: hclog.Debug}),
	}
	var serving sync.WaitGroup
	for _, l := range listeners {
		serving.Go(func() {
			if err := s.http.Serve(l); err != nil && !errors.Is(err, http.ErrServerClosed) {
				s.logger.Error("HTTP server ended", "err", err)
			}
		})
	}
	go func() {
		serving.Wait()
		close(s.served)
	}()
	return s, nil
}

// Validate refuses an Addr that is none, and one that other machines can reach
// unless it is guarded.
func (o *Options) Validate() error {
	host, _, err := net.SplitHostPort(o.Addr)
	switch {
	case o.Addr == "":
		return nil
	case err != nil:
		return fmt.Errorf("HTTP address %q: want HOST:PORT, such as 127.0.0.1:8080: %w", o.Addr, err)
	case o.Insecure || isLoopback(host):
		return nil
	case o.Authorize == nil:
		return fmt.Errorf("HTTP address %q can be reached from other machines and queries are not authenticated: use 127.0.0.1, or --auth, or --insecure if the network is trusted", o.Addr)
	case o.TLS == nil:
		return fmt.Errorf("HTTP address %q can be reached from other machines and passwords would be sent without TLS: use 127.0.0.1, or --tls-cert, or --insecure if the network is trusted", o.Addr)
	}
	return nil
}

func isLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(strings.Trim(host, "[]"))
	return ip != nil && ip.IsLoopback()
}

// Addr is where the server listens.
func (s *Server) Addr() string { return s.listener.Addr().String() }

// Local is Addr as this machine reaches it.
func (s *Server) Local() string {
	if s.local != nil {
		return s.local.Addr().String()
	}
	host, port, err := net.SplitHostPort(s.Addr())
	if err == nil && net.ParseIP(host).IsUnspecified() {
		return net.JoinHostPort("127.0.0.1", port)
	}
	return s.Addr()
}

// Add makes a job answerable, in place of one with the same name.
func (s *Server) Add(src engine.Source) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.jobs[src.Job()] = src
}

// Remove ends that.
func (s *Server) Remove(job string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.jobs, job)
}

// Handle adds a handler of the caller's, with a pattern of http.ServeMux.
func (s *Server) Handle(pattern string, h http.Handler) { s.mux.Handle(pattern, h) }

// Close stops listening, ends watches, and waits a moment for answers under way.
func (s *Server) Close() error {
	s.cancel()
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	err := s.http.Shutdown(ctx)
	if err != nil {
		err = s.http.Close()
	}
	<-s.served
	return err
}

// sources lists the jobs by name.
func (s *Server) sources() []engine.Source {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]engine.Source, 0, len(s.jobs))
	for _, src := range s.jobs {
		list = append(list, src)
	}
	slices.SortFunc(list, func(a, b engine.Source) int { return strings.Compare(a.Job(), b.Job()) })
	return list
}

func (s *Server) source(job string) (engine.Source, error) {
	s.mu.Lock()
	src := s.jobs[job]
	s.mu.Unlock()
	if src != nil {
		return src, nil
	}
	var names []string
	for _, src := range s.sources() {
		names = append(names, src.Job())
	}
	return nil, fmt.Errorf("job %q: %w: this process runs %s", job, errUnknownJob, list(names))
}

// guard refuses requests that a web page made a browser send: to a loopback
// address under a foreign name (DNS rebinding), or from a foreign origin.
func (s *Server) guard(next http.Handler) http.Handler {
	if s.opts.Insecure || s.opts.Authorize != nil {
		return next // a browser has no credentials for a foreign name
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, _, err := net.SplitHostPort(r.Host)
		if err != nil {
			host = r.Host
		}
		if !isLoopback(host) {
			writeJSON(w, http.StatusForbidden, map[string]string{
				"error": fmt.Sprintf("host %q: want 127.0.0.1 or localhost", r.Host)})
			return
		}
		next.ServeHTTP(w, r)
	})
}

// authorize refuses requests of those who may not send them. The log that is
// served to other processes asks for Token by itself.
func (s *Server) authorize(next http.Handler) http.Handler {
	if s.opts.Authorize == nil {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		open := r.URL.Path == "/healthz" || r.URL.Path == "/readyz" || strings.HasPrefix(r.URL.Path, remote.Prefix)
		if !open && !s.hasToken(r) {
			if status := s.opts.Authorize(r); status != 0 {
				if status == http.StatusUnauthorized {
					w.Header().Set("WWW-Authenticate", `Basic realm="grete", charset="UTF-8"`)
				}
				writeJSON(w, status, map[string]string{"error": strings.ToLower(http.StatusText(status))})
				return
			}
		}
		next.ServeHTTP(w, r)
	})
}

// hasToken tells whether a request comes from a command of this machine.
func (s *Server) hasToken(r *http.Request) bool {
	got, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	return ok && s.opts.Token != "" && subtle.ConstantTimeCompare([]byte(got), []byte(s.opts.Token)) == 1
}

func (s *Server) routes() {
	s.mux.HandleFunc("GET /healthz", s.health)
	s.mux.HandleFunc("GET /readyz", s.ready)
	s.mux.HandleFunc("GET /v1/jobs", s.jobList)
	s.mux.HandleFunc("GET /v1/jobs/{job}", s.job)
	s.mux.HandleFunc("GET /v1/jobs/{job}/stores", s.stores)
	s.mux.HandleFunc("GET /v1/jobs/{job}/stores/{store}", s.store)
	s.mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		writeJSON(w, http.StatusNotFound, map[string]string{
			"error": fmt.Sprintf("no %s %s: want GET /v1/jobs, /v1/jobs/{job}/stores/{store}, /metrics, /healthz or /readyz", r.Method, r.URL.Path)})
	})

	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		jobCollector{s.sources})
	if s.opts.Metrics != nil {
		registry.MustRegister(registryCollector{s.opts.Metrics})
	}
	if l, ok := s.opts.Log.(groupLog); ok {
		registry.MustRegister(groupCollector{l})
	}
	for _, c := range s.opts.Collectors {
		registry.MustRegister(c)
	}
	s.mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))

	if s.opts.Log != nil && s.opts.Token != "" {
		s.mux.Handle(remote.Prefix, remote.Handler(s.opts.Log, s.opts.Token))
	}
}

// health is about being alive: 503 only once a job has failed.
func (s *Server) health(w http.ResponseWriter, _ *http.Request) {
	for _, src := range s.sources() {
		if status := src.Status(); status.State == engine.Failed {
			writeJSON(w, http.StatusServiceUnavailable, map[string]string{
				"error": fmt.Sprintf("job %q failed: %v", status.Job, status.Err)})
			return
		}
	}
	writeJSON(w, http.StatusOK, map[string]string{"status": "ok"})
}

// ready is about answering: 503 while a task restores.
func (s *Server) ready(w http.ResponseWriter, _ *http.Request) {
	for _, src := range s.sources() {
		status := src.Status()
		if !status.Ready() {
			w.Header().Set("Retry-After", "1")
			writeJSON(w, http.StatusServiceUnavailable, map[string]string{
				"error": fmt.Sprintf("job %q is %v", status.Job, status.State)})
			return
		}
	}
	writeJSON(w, http.StatusOK, map[string]string{"status": "ready"})
}
