//go:build !linux

package kafka

import "net"

// fileSender sends bytes to a connection; elsewhere than on Linux, none from
// files.
type fileSender struct {
	nc  net.Conn
	raw any // nil
}

func newFileSender(nc net.Conn) *fileSender { return &fileSender{nc: nc} }

func (s *fileSender) write(b []byte, _ bool) error {
	_, err := s.nc.Write(b)
	return err
}

func (s *fileSender) sendFile(uintptr, int64, int) error { panic("no files can be sent") }
