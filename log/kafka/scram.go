package kafka

import (
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"hash"
	"strconv"
	"strings"
)

// Mechanisms of SASL, by their names in the protocol.
const (
	Plain       = "PLAIN"
	ScramSHA256 = "SCRAM-SHA-256"
	ScramSHA512 = "SCRAM-SHA-512"
)

const (
	minIterations     = 4096  // of PBKDF2; Kafka's bounds
	maxIterations     = 16384 //
	defaultIterations = 8192
	saltBytes         = 24
	maxSaltBytes      = 256
	maxName           = 255 // bytes of a user's name
	maxPassword       = 1 << 10
)

// scramHash is the hash function of a mechanism, or nil.
func scramHash(mechanism string) func() hash.Hash {
	switch mechanism {
	case ScramSHA256:
		return sha256.New
	case ScramSHA512:
		return sha512.New
	}
	return nil
}

// verifier is what is kept of a password (RFC 5802): enough to check a proof,
// and not enough to make one.
type verifier struct {
	Salt       []byte `json:"salt"`
	StoredKey  []byte `json:"stored_key"` // H(HMAC(salted password, "Client Key"))
	ServerKey  []byte `json:"server_key"` // HMAC(salted password, "Server Key")
	Iterations int    `json:"iterations"`
}

// newVerifier makes the verifier of a password under a new salt.
func newVerifier(mechanism, password string, iterations int) (*verifier, error) {
	salt := make([]byte, saltBytes)
	_, _ = rand.Read(salt) // never fails
	return newVerifierWith(mechanism, password, salt, iterations)
}

// newVerifierWith makes the verifier of a password under a salt.
func newVerifierWith(mechanism, password string, salt []byte, iterations int) (*verifier, error) {
	salted, err := pbkdf2.Key(scramHash(mechanism), password, salt, iterations, scramHash(mechanism)().Size())
	if err != nil {
		return nil, fmt.Errorf("salt a password: %w", err)
	}
	return saltedVerifier(mechanism, salt, salted, iterations), nil
}

// saltedVerifier makes the verifier of a password that was salted elsewhere.
func saltedVerifier(mechanism string, salt, salted []byte, iterations int) *verifier {
	h := scramHash(mechanism)
	stored := h()
	stored.Write(sum(h, salted, "Client Key"))
	return &verifier{Salt: salt, StoredKey: stored.Sum(nil), ServerKey: sum(h, salted, "Server Key"), Iterations: iterations}
}

// sum is the HMAC of a text.
func sum(h func() hash.Hash, key []byte, text string) []byte {
	m := hmac.New(h, key)
	m.Write([]byte(text))
	return m.Sum(nil)
}

// check tells what is wrong with a stored verifier.
func (v *verifier) check(mechanism string) error {
	h := scramHash(mechanism)
	if h == nil {
		return fmt.Errorf("mechanism %q, want %s or %s", mechanism, ScramSHA256, ScramSHA512)
	}
	size := h().Size()
	if len(v.StoredKey) != size || len(v.ServerKey) != size || len(v.Salt) == 0 || len(v.Salt) > maxSaltBytes || v.Iterations < 1 || v.Iterations > maxIterations {
		return fmt.Errorf("verifier for %s with keys of %d and %d bytes, a salt of %d and %d iterations", mechanism, len(v.StoredKey), len(v.ServerKey), len(v.Salt), v.Iterations)
	}
	return nil
}

// hasPassword tells whether the verifier is that of a password, as PLAIN and HTTP
// send it. It takes some milliseconds, whatever the answer.
func (v *verifier) hasPassword(mechanism, password string) bool {
	h := scramHash(mechanism)
	salted, err := pbkdf2.Key(h, password, v.Salt, v.Iterations, h().Size())
	if err != nil {
		return false
	}
	return subtle.ConstantTimeCompare(saltedVerifier(mechanism, v.Salt, salted, v.Iterations).StoredKey, v.StoredKey) == 1
}

// errAuth is a proof that does not hold. It says nothing more, to nobody.
var errAuth = errors.New("user or password is wrong")

// scramServer is the server's side of one exchange:
//
//	C: n,,n=USER,r=NONCE
//	S: r=NONCE+OURS,s=SALT,i=ITERATIONS
//	C: c=biws,r=NONCE+OURS,p=PROOF
//	S: v=SIGNATURE
//
// The proof is HMAC(stored key, auth message) XOR client key, where the auth
// message is the first message without its header, the second, and the third
// without the proof, with commas in between.
type scramServer struct {
	mechanism string
	user      string
	verifier  *verifier
	known     bool   // the user exists; else verifier is made up
	header    string // of the first message: what c= must hold
	theirs    string // the client's nonce
	nonce     string // the client's and ours
	first     string // both first messages, without header
}

// scramFirst is the client's first message, taken apart.
type scramFirst struct {
	header string // with its two commas
	user   string
	nonce  string
	bare   string // without header
}

// parseScramFirst reads "n,,n=USER,r=NONCE".
func parseScramFirst(msg string) (scramFirst, error) {
	bad := func(why string) (scramFirst, error) {
		return scramFirst{}, fmt.Errorf("first message of SCRAM: %s", why)
	}
	parts := strings.SplitN(msg, ",", 3)
	if len(parts) != 3 {
		return bad("it has no header")
	}
	switch {
	case strings.HasPrefix(parts[0], "p="):
		return bad("channel binding, which is not served")
	case parts[0] != "n" && parts[0] != "y":
		return bad("its header is not n or y")
	}
	f := scramFirst{header: parts[0] + "," + parts[1] + ",", bare: parts[2]}
	fields := strings.Split(f.bare, ",")
	user, hasUser := strings.CutPrefix(fields[0], "n=")
	if !hasUser || len(fields) < 2 {
		return bad("it has no user")
	}
	nonce, hasNonce := strings.CutPrefix(fields[1], "r=")
	if !hasNonce || nonce == "" || !isPrintable(nonce) {
		return bad("it has no nonce")
	}
	if len(fields) > 2 {
		return bad("it has extensions, which are not known")
	}
	var err error
	if f.user, err = unescapeName(user); err != nil {
		return bad(err.Error())
	}
	f.nonce = nonce
	if on, ok := strings.CutPrefix(parts[1], "a="); ok {
		if on, err = unescapeName(on); err != nil || on != f.user {
			return bad("it asks to act as somebody else")
		}
	} else if parts[1] != "" {
		return bad("its header holds more than who to act as")
	}
	return f, nil
}

// isPrintable tells whether s may be a nonce.
func isPrintable(s string) bool {
	for i := range len(s) {
		if s[i] < 0x21 || s[i] > 0x7e {
			return false
		}
	}
	return true
}

// unescapeName reads a name in which "," is "=2C" and "=" is "=3D".
func unescapeName(s string) (string, error) {
	if s == "" || len(s) > 3*maxName {
		return "", fmt.Errorf("a name of %d bytes", len(s))
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '=' {
			b.WriteByte(s[i])
			continue
		}
		switch {
		case strings.HasPrefix(s[i:], "=2C"):
			b.WriteByte(',')
		case strings.HasPrefix(s[i:], "=3D"):
			b.WriteByte('=')
		default:
			return "", errors.New("a name with a bare =")
		}
		i += 2
	}
	return b.String(), nil
}

// start answers the client's first message. find returns a user's verifier, or
// one that is made up; ours is the server's part of the nonce.
func (s *scramServer) start(msg string, ours string, find func(user string) (v *verifier, known bool)) (string, error) {
	f, err := parseScramFirst(msg)
	if err != nil {
		return "", err
	}
	s.user, s.header, s.theirs, s.nonce = f.user, f.header, f.nonce, f.nonce+ours
	s.verifier, s.known = find(f.user)
	reply := "r=" + s.nonce + ",s=" + base64.StdEncoding.EncodeToString(s.verifier.Salt) + ",i=" + strconv.Itoa(s.verifier.Iterations)
	s.first = f.bare + "," + reply
	return reply, nil
}

// finish answers the client's second message: with errAuth, if the proof does
// not hold.
func (s *scramServer) finish(msg string) (string, error) {
	bare, proof, err := s.parseFinal(msg)
	if err != nil {
		return "", err
	}
	h := scramHash(s.mechanism)
	auth := s.first + "," + bare
	key := sum(h, s.verifier.StoredKey, auth)
	if len(proof) != len(key) {
		return "", errAuth
	}
	subtle.XORBytes(key, key, proof)
	stored := h()
	stored.Write(key)
	if subtle.ConstantTimeCompare(stored.Sum(nil), s.verifier.StoredKey) != 1 || !s.known {
		return "", errAuth
	}
	return "v=" + base64.StdEncoding.EncodeToString(sum(h, s.verifier.ServerKey, auth)), nil
}

// parseFinal reads "c=HEADER,r=NONCE,p=PROOF".
func (s *scramServer) parseFinal(msg string) (bare string, proof []byte, err error) {
	at := strings.LastIndex(msg, ",p=")
	if at < 0 {
		return "", nil, errors.New("last message of SCRAM: it has no proof")
	}
	bare = msg[:at]
	if proof, err = base64.StdEncoding.DecodeString(msg[at+3:]); err != nil {
		return "", nil, errors.New("last message of SCRAM: its proof is not base64")
	}
	// librdkafka before 2.6.1 puts its own nonce before ours once more. What is
	// signed is what it has sent, so nothing is lost by taking that.
	same := "c=" + base64.StdEncoding.EncodeToString([]byte(s.header)) + ",r="
	if bare != same+s.nonce && bare != same+s.theirs+s.nonce {
		return "", nil, errors.New("last message of SCRAM: header or nonce are not those of the first")
	}
	return bare, proof, nil
}

// parsePlain reads "ACT AS \0 USER \0 PASSWORD" (RFC 4616).
func parsePlain(msg string) (user, password string, err error) {
	parts := strings.Split(msg, "\x00")
	switch {
	case len(parts) != 3:
		return "", "", fmt.Errorf("message of PLAIN has %d parts, want 3", len(parts))
	case parts[1] == "" || parts[2] == "":
		return "", "", errors.New("message of PLAIN has no user or no password")
	case parts[0] != "" && parts[0] != parts[1]:
		return "", "", errors.New("message of PLAIN asks to act as somebody else")
	case len(parts[1]) > maxName || len(parts[2]) > maxPassword:
		return "", "", errors.New("message of PLAIN has a user or password that is too long")
	}
	return parts[1], parts[2], nil
}
