package kafka

import (
	"io"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// fileSender sends bytes of files to a socket without having them in memory.
// Deadlines of the connection hold.
type fileSender struct {
	nc  net.Conn
	raw syscall.RawConn // nil if the connection is not a bare socket, as with TLS
}

func newFileSender(nc net.Conn) *fileSender {
	s := &fileSender{nc: nc}
	if tcp, ok := nc.(*net.TCPConn); ok {
		s.raw, _ = tcp.SyscallConn()
	}
	return s
}

// write sends b; with more set, the kernel may wait for what comes behind it.
func (s *fileSender) write(b []byte, more bool) error {
	if s.raw == nil || !more {
		if len(b) == 0 {
			return nil
		}
		_, err := s.nc.Write(b)
		return err
	}
	return s.loop("sendmsg", len(b), func(fd, at int) (int, error) {
		return unix.SendmsgN(fd, b[at:], nil, nil, unix.MSG_MORE)
	})
}

// sendFile sends n bytes of a file from pos on.
func (s *fileSender) sendFile(file uintptr, pos int64, n int) error {
	return s.loop("sendfile", n, func(fd, at int) (int, error) {
		off := pos + int64(at)
		return unix.Sendfile(fd, int(file), &off, n-at)
	})
}

// loop calls send, which reports how many bytes it has sent, until size bytes are.
func (s *fileSender) loop(name string, size int, send func(fd, at int) (int, error)) error {
	at := 0
	var failed error
	err := s.raw.Write(func(fd uintptr) bool {
		for at < size {
			n, err := send(int(fd), at)
			switch {
			case err == unix.EAGAIN:
				return false
			case err == unix.EINTR:
			case err != nil:
				failed = os.NewSyscallError(name, err)
				return true
			case n == 0:
				failed = io.ErrUnexpectedEOF // the file has been cut
				return true
			default:
				at += n
			}
		}
		return true
	})
	if err != nil {
		return err
	}
	return failed
}
