package cli

import (
	"crypto/tls"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/rcrowley/go-metrics"
)

// certificateLook is how often the files of a certificate are looked at, at most.
const certificateLook = 2 * time.Second

// certificate is the server's, from files that are replaced while it runs. A
// handshake looks whether they have changed; nothing is done without one. What
// cannot be used, such as a new certificate whose key is still to come, leaves the
// one that was read last in its place.
type certificate struct {
	certFile, keyFile string
	now               func() time.Time

	logger                 hclog.Logger
	reloads, reloadsFailed metrics.Counter

	mu     sync.Mutex // guards the fields below
	inUse  *tls.Certificate
	files  [2]os.FileInfo // as they were when they were read last, good or bad
	looked time.Time
}

// loadCertificate reads a certificate for the first time.
func loadCertificate(certFile, keyFile string, now func() time.Time) (*certificate, error) {
	c := &certificate{certFile: certFile, keyFile: keyFile, now: now, looked: now()}
	c.watch(hclog.NewNullLogger(), metrics.NewRegistry())
	files, err := c.stat()
	if err != nil {
		return nil, err
	}
	return c, c.load(files)
}

// watch says where it is told that the certificate was read again, or could not
// be; and counted, as tls.certificate-reloads and tls.certificate-errors. It comes
// before the first handshake.
func (c *certificate) watch(logger hclog.Logger, r metrics.Registry) {
	c.logger = logger
	c.reloads = metrics.GetOrRegisterCounter("tls.certificate-reloads", r)
	c.reloadsFailed = metrics.GetOrRegisterCounter("tls.certificate-errors", r)
}

// get is tls.Config.GetCertificate.
func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := c.now(); now.Sub(c.looked) >= certificateLook {
		c.looked = now
		c.reload()
	}
	return c.inUse, nil
}

// reload reads the files again, if they are not those that were read last.
func (c *certificate) reload() {
	files, err := c.stat()
	if sameFile(files[0], c.files[0]) && sameFile(files[1], c.files[1]) {
		return
	}
	if err == nil {
		err = c.load(files)
	}
	c.files = files
	if err != nil {
		c.reloadsFailed.Inc(1)
		c.logger.Error("the changed certificate cannot be used; the one before stays in use", "cert", c.certFile, "key", c.keyFile, "err", err)
		return
	}
	c.reloads.Inc(1)
	c.logger.Info("the changed certificate is in use", "cert", c.certFile)
}

// stat looks at the files. What cannot be looked at is nil.
func (c *certificate) stat() (files [2]os.FileInfo, err error) {
	for i, name := range []string{c.certFile, c.keyFile} {
		info, e := os.Stat(name)
		if e == nil {
			files[i] = info
		} else if err == nil {
			err = e
		}
	}
	return files, err
}

// load reads the files, which were looked at before: if they change meanwhile,
// they are read again.
func (c *certificate) load(files [2]os.FileInfo) error {
	pair, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	if err != nil {
		return fmt.Errorf("load certificate: %w", err)
	}
	c.inUse, c.files = &pair, files
	return nil
}

func sameFile(a, b os.FileInfo) bool {
	if a == nil || b == nil {
		return a == b
	}
	return os.SameFile(a, b) && a.ModTime().Equal(b.ModTime()) && a.Size() == b.Size()
}
