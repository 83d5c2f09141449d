package connect

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"

	"github.com/gretestream/grete/log"
)

// access is one line of an access log, cut into its fields, which point into it.
//
//	host ident user [time] "request" status bytes                      common
//	host ident user [time] "request" status bytes "referrer" "agent"   combined
//
// A line is malformed if it breaks before the end of the common part. What
// stands in the quotes is taken as the log holds it, backslashes included.
type access struct {
	host, user      []byte
	time            log.Timestamp
	request         []byte
	status, bytes   int64
	referrer, agent []byte
	extra           []byte // what a longer format has behind the agent
}

var (
	errNoHost    = errors.New("want host ident user [time] at the start")
	errTime      = errors.New("want a time in brackets, as [17/May/2015:10:05:03 +0000]")
	errRequest   = errors.New("want a request in quotes behind the time")
	errStatus    = errors.New("want a status of three digits behind the request")
	errBytes     = errors.New("want a number of bytes or - behind the status")
	errAfterSize = errors.New("want a space behind the number of bytes")
)

// scan cuts line into fields.
func (a *access) scan(line []byte, clock *clfClock) error {
	*a = access{}
	host := bytes.IndexByte(line, ' ')
	if host <= 0 {
		return errNoHost
	}
	a.host = line[:host]
	rest := line[host+1:]
	ident := bytes.IndexByte(rest, ' ')
	if ident <= 0 {
		return errNoHost
	}
	// A user's name may hold spaces, so it reaches to the bracket.
	rest = rest[ident+1:]
	user := bytes.Index(rest, []byte(" ["))
	if user <= 0 {
		return errNoHost
	}
	a.user = rest[:user]
	rest = rest[user+2:]
	if len(rest) <= len(clfTime) || rest[len(clfTime)] != ']' {
		return errTime
	}
	var ok bool
	if a.time, ok = clock.parse(rest[:len(clfTime)]); !ok {
		return errTime
	}
	rest = rest[len(clfTime)+1:]
	if a.request, rest, ok = quoted(rest); !ok || len(rest) == 0 || rest[0] != ' ' {
		return errRequest
	}
	if a.status, rest, ok = number(rest[1:]); !ok || a.status < 100 || a.status > 999 {
		return errStatus
	}
	if len(rest) < 2 || rest[0] != ' ' {
		return errBytes
	}
	if rest[1] == '-' {
		rest = rest[2:]
	} else if a.bytes, rest, ok = number(rest[1:]); !ok {
		return errBytes
	}
	return a.tail(rest)
}

// tail takes what follows the number of bytes. Loggers cut lines off and add
// fields of their own there, and neither makes the request less real: a missing
// quote at the end is taken as read, more fields are kept together.
func (a *access) tail(rest []byte) error {
	if len(rest) > 0 && rest[0] != ' ' {
		return errAfterSize
	}
	var ok bool
	for _, field := range []*[]byte{&a.referrer, &a.agent} {
		if len(rest) < 2 || rest[1] != '"' {
			break
		}
		if *field, rest, ok = quoted(rest); !ok {
			*field, rest = rest[2:], nil
		}
	}
	a.extra = bytes.TrimSpace(rest)
	return nil
}

// quoted takes a space and a string in quotes off b. A backslash keeps the quote
// behind it from ending the string.
func quoted(b []byte) (text, rest []byte, ok bool) {
	if len(b) < 2 || b[0] != ' ' || b[1] != '"' {
		return nil, b, false
	}
	for i := 2; ; {
		k := bytes.IndexByte(b[i:], '"')
		if k < 0 {
			return nil, b, false
		}
		i += k
		slashes := 0
		for b[i-1-slashes] == '\\' {
			slashes++
		}
		if slashes%2 == 0 {
			return b[2:i], b[i+1:], true
		}
		i++
	}
}

// number takes decimal digits off b.
func number(b []byte) (n int64, rest []byte, ok bool) {
	const most = 18 // digits: no overflow to think of
	i := 0
	for i < len(b) && b[i]-'0' <= 9 && i < most {
		n = n*10 + int64(b[i]-'0')
		i++
	}
	return n, b[i:], i > 0
}

// splitRequest cuts a request line, METHOD target PROTOCOL, into its three parts
// and the target's path, which ends at the first question mark. A line that is
// not of that form is target and path as a whole.
func splitRequest(request []byte) (method, target, path, protocol []byte) {
	first := bytes.IndexByte(request, ' ')
	last := bytes.LastIndexByte(request, ' ')
	if first <= 0 || last <= first+1 || last == len(request)-1 || bytes.IndexByte(request[first+1:last], ' ') >= 0 {
		return nil, request, request, nil
	}
	method, target, protocol = request[:first], request[first+1:last], request[last+1:]
	path = target
	if q := bytes.IndexByte(target, '?'); q >= 0 {
		path = target[:q]
	}
	return method, target, path, protocol
}

// accessParser turns lines of access logs into JSON objects.
type accessParser struct {
	key    func(a *access, p *accessParser) []byte // nil: no key
	clock  clfClock
	fields access
	buf    []byte // of the value
	keyBuf []byte

	method, target, path, protocol []byte
}

// accessKeys are the fields that can become a key.
var accessKeys = map[string]func(a *access, p *accessParser) []byte{
	"host":     func(a *access, _ *accessParser) []byte { return a.host },
	"user":     func(a *access, _ *accessParser) []byte { return dashless(a.user) },
	"method":   func(_ *access, p *accessParser) []byte { return p.method },
	"target":   func(_ *access, p *accessParser) []byte { return p.target },
	"path":     func(_ *access, p *accessParser) []byte { return p.path },
	"protocol": func(_ *access, p *accessParser) []byte { return p.protocol },
	"referrer": func(a *access, _ *accessParser) []byte { return dashless(a.referrer) },
	"agent":    func(a *access, _ *accessParser) []byte { return dashless(a.agent) },
	"status": func(a *access, p *accessParser) []byte {
		p.keyBuf = strconv.AppendInt(p.keyBuf[:0], a.status, 10)
		return p.keyBuf
	},
}

func newAccessParser(keyField string) (*accessParser, error) {
	p := &accessParser{}
	if keyField != "" {
		if p.key = accessKeys[keyField]; p.key == nil {
			return nil, fmt.Errorf("key field %q: an access log has host, user, method, target, path, protocol, status, referrer and agent", keyField)
		}
	}
	return p, nil
}

// Parse implements Parser. The value is
//
//	{"host":"83.149.9.216","user":"","time":1431857103000,"method":"GET","target":"/a?b=c","path":"/a",
//	 "protocol":"HTTP/1.1","status":200,"bytes":203023,"referrer":"","agent":"Mozilla/5.0 …"}
//
// in one line; a dash, which stands for nothing in user, referrer, agent and
// bytes, becomes an empty string or 0. What follows the agent is in "extra", if
// there is something.
func (p *accessParser) Parse(line []byte, rec *log.Record) error {
	if len(line) == 0 {
		return errEmptyLine
	}
	a := &p.fields
	if err := a.scan(line, &p.clock); err != nil {
		return err
	}
	p.method, p.target, p.path, p.protocol = splitRequest(a.request)
	rec.Timestamp = a.time
	rec.Key = nil
	if p.key != nil {
		rec.Key = p.key(a, p)
	}
	p.buf = p.appendValue(p.buf[:0])
	rec.Value = p.buf
	return nil
}

func (p *accessParser) appendValue(b []byte) []byte {
	a := &p.fields
	b = appendJSONString(append(b, `{"host":`...), a.host)
	b = appendJSONString(append(b, `,"user":`...), dashless(a.user))
	b = strconv.AppendInt(append(b, `,"time":`...), int64(a.time), 10)
	b = appendJSONString(append(b, `,"method":`...), p.method)
	b = appendJSONString(append(b, `,"target":`...), p.target)
	b = appendJSONString(append(b, `,"path":`...), p.path)
	b = appendJSONString(append(b, `,"protocol":`...), p.protocol)
	b = strconv.AppendInt(append(b, `,"status":`...), a.status, 10)
	b = strconv.AppendInt(append(b, `,"bytes":`...), a.bytes, 10)
	b = appendJSONString(append(b, `,"referrer":`...), dashless(a.referrer))
	b = appendJSONString(append(b, `,"agent":`...), dashless(a.agent))
	if len(a.extra) > 0 {
		b = appendJSONString(append(b, `,"extra":`...), a.extra)
	}
	return append(b, '}')
}

// dashless returns nothing for the dash that stands for nothing.
func dashless(b []byte) []byte {
	if len(b) == 1 && b[0] == '-' {
		return nil
	}
	return b
}
