package cli

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/rcrowley/go-metrics"
)

// fileLook is how often files that may be replaced are looked at, at most.
const fileLook = 2 * time.Second

// reloaded is what files hold that are replaced while the server runs: its
// certificate, or the authorities of its clients. A handshake looks whether they
// have changed; nothing is done without one. What cannot be used, such as a new
// certificate whose key is still to come, leaves what was read last in its place.
type reloaded[T any] struct {
	what  string // such as certificate
	names []string
	read  func() (T, error)
	now   func() time.Time

	logger                 hclog.Logger
	reloads, reloadsFailed metrics.Counter

	mu     sync.Mutex // guards the fields below
	inUse  T
	files  []os.FileInfo // as they were when they were read last, good or bad
	looked time.Time
}

// newReloaded reads the files for the first time.
func newReloaded[T any](what string, now func() time.Time, read func() (T, error), names ...string) (*reloaded[T], error) {
	r := &reloaded[T]{what: what, names: names, read: read, now: now, looked: now()}
	r.watch(hclog.NewNullLogger(), metrics.NewRegistry())
	files, err := r.stat()
	if err != nil {
		return nil, err
	}
	return r, r.load(files)
}

// loadCertificate reads the server's certificate and its key.
func loadCertificate(certFile, keyFile string, now func() time.Time) (*reloaded[*tls.Certificate], error) {
	return newReloaded("certificate", now, func() (*tls.Certificate, error) {
		pair, err := tls.LoadX509KeyPair(certFile, keyFile)
		return &pair, err
	}, certFile, keyFile)
}

// trustOnly is the TLS of a client that reaches a server of this machine: it
// trusts the one certificate that is in the file now, whatever name it has and
// whoever signed it.
func trustOnly(certFile string) (*tls.Config, error) {
	text, err := os.ReadFile(certFile)
	if err != nil {
		return nil, fmt.Errorf("read the server's certificate: %w", err)
	}
	block, _ := pem.Decode(text)
	if block == nil || block.Type != "CERTIFICATE" {
		return nil, fmt.Errorf("read the server's certificate: no certificate first in %s", certFile)
	}
	return &tls.Config{
		MinVersion:         tls.VersionTLS12,
		InsecureSkipVerify: true, // of name and signers; instead:
		VerifyConnection: func(s tls.ConnectionState) error {
			if !bytes.Equal(s.PeerCertificates[0].Raw, block.Bytes) {
				return fmt.Errorf("the server has another certificate than is in %s", certFile)
			}
			return nil
		},
	}, nil
}

// loadAuthorities reads those that certificates of clients are checked by.
func loadAuthorities(file string, now func() time.Time) (*reloaded[*x509.CertPool], error) {
	return newReloaded("client-ca", now, func() (*x509.CertPool, error) {
		pem, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(pem) {
			return nil, errors.New("it holds no certificate")
		}
		return pool, nil
	}, file)
}

// watch says where it is told that the files were read again, or could not be; and
// counted, such as tls.certificate-reloads and tls.certificate-errors. It comes
// before the first handshake.
func (r *reloaded[T]) watch(logger hclog.Logger, registry metrics.Registry) {
	r.logger = logger
	r.reloads = metrics.GetOrRegisterCounter("tls."+r.what+"-reloads", registry)
	r.reloadsFailed = metrics.GetOrRegisterCounter("tls."+r.what+"-errors", registry)
}

// get is what the files hold.
func (r *reloaded[T]) get() T {
	r.mu.Lock()
	defer r.mu.Unlock()
	if now := r.now(); now.Sub(r.looked) >= fileLook {
		r.looked = now
		r.reload()
	}
	return r.inUse
}

// reload reads the files again, if they are not those that were read last.
func (r *reloaded[T]) reload() {
	files, err := r.stat()
	if slices.EqualFunc(files, r.files, sameFile) {
		return
	}
	if err == nil {
		err = r.load(files)
	}
	r.files = files
	if err != nil {
		r.reloadsFailed.Inc(1)
		r.logger.Error("a changed file cannot be used; what it held before stays in use", "what", r.what, "files", r.names, "err", err)
		return
	}
	r.reloads.Inc(1)
	r.logger.Info("a changed file is in use", "what", r.what, "files", r.names)
}

// stat looks at the files. What cannot be looked at is nil.
func (r *reloaded[T]) stat() (files []os.FileInfo, err error) {
	for _, name := range r.names {
		info, e := os.Stat(name)
		if e != nil {
			info = nil
			err = errors.Join(err, e)
		}
		files = append(files, info)
	}
	return files, err
}

// load reads the files, which were looked at before: if they change meanwhile,
// they are read again.
func (r *reloaded[T]) load(files []os.FileInfo) error {
	x, err := r.read()
	if err != nil {
		return fmt.Errorf("load %s: %w", r.what, err)
	}
	r.inUse, r.files = x, files
	return nil
}

func sameFile(a, b os.FileInfo) bool {
	if a == nil || b == nil {
		return a == b
	}
	return os.SameFile(a, b) && a.ModTime().Equal(b.ModTime()) && a.Size() == b.Size()
}
