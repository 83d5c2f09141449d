package kafka

import (
	"crypto/pbkdf2"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"
)

func mustJSON(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}

// RFC 7677's example: the exchange of SCRAM-SHA-256, byte for byte.
func TestSCRAMByTheBook(t *testing.T) {
	salt, _ := base64.StdEncoding.DecodeString("W22ZaJ0SNY7soEsUEjb6gQ==")
	v, err := newVerifierWith(ScramSHA256, "pencil", salt, 4096)
	if err != nil {
		t.Fatal(err)
	}
	s := &scramServer{mechanism: ScramSHA256}
	reply, err := s.start("n,,n=user,r=rOprNGfwEbeRWgbNEkqO", "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0", func(string) (*verifier, bool) { return v, true })
	if want := "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"; reply != want || err != nil {
		t.Fatalf("%q, %v, want %q", reply, err, want)
	}
	reply, err = s.finish("c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=")
	if want := "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="; reply != want || err != nil {
		t.Fatalf("%q, %v, want %q", reply, err, want)
	}
}

// The proof alone is not enough: the nonce has to be that of this exchange. One
// mistake of clients is let through.
func TestSCRAMNonce(t *testing.T) {
	v, err := newVerifierWith(ScramSHA256, "secret", []byte("salt"), 4096)
	if err != nil {
		t.Fatal(err)
	}
	f := func(nonce string, ok bool) {
		t.Helper()
		s := &scramServer{mechanism: ScramSHA256}
		if _, err := s.start("n,,n=user,r=theirs", "ours", func(string) (*verifier, bool) { return v, true }); err != nil {
			t.Fatal(err)
		}
		bare := "c=biws,r=" + nonce
		if _, err := s.finish(bare + ",p=" + proofOf(t, v, "secret", s.first+","+bare)); (err == nil) != ok {
			t.Errorf("nonce %q: %v", nonce, err)
		}
	}
	f("theirsours", true)
	f("theirstheirsours", true) // librdkafka before 2.6.1
	f("theirs", false)
	f("ours", false)
	f("", false)
	f("otherstheirsours", false)
	f("theirstheirstheirsours", false)
	f("theirsoursours", false)
}

// proofOf is what a client that knows the password shows for a message.
func proofOf(t *testing.T, v *verifier, password, auth string) string {
	t.Helper()
	h := scramHash(ScramSHA256)
	salted, err := pbkdf2.Key(h, password, v.Salt, v.Iterations, h().Size())
	if err != nil {
		t.Fatal(err)
	}
	proof := sum(h, salted, "Client Key")
	subtle.XORBytes(proof, proof, sum(h, v.StoredKey, auth))
	return base64.StdEncoding.EncodeToString(proof)
}

// No message of a client gets anybody in but the right one, and none panics.
func FuzzSCRAM(f *testing.F) {
	f.Add("n,,n=user,r=abc", "c=biws,r=abcours,p=AAAA")
	f.Add("y,a=user,n=user,r=abc", "c=eSxhPXVzZXIs,r=abcours,p=")
	f.Add("p=tls,,n=user,r=abc", "c=,r=,p=")
	f.Add("n,,n==2C=3D,r=a", "x")
	v, err := newVerifierWith(ScramSHA256, "secret", []byte("salt"), 1)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, first, last string) {
		s := &scramServer{mechanism: ScramSHA256}
		reply, err := s.start(first, "ours", func(string) (*verifier, bool) { return v, true })
		if err != nil {
			return
		}
		if !strings.HasPrefix(reply, "r="+s.nonce) || !strings.HasSuffix(s.nonce, "ours") || s.user == "" {
			t.Errorf("reply %q to %q", reply, first)
		}
		if reply, err := s.finish(last); err == nil {
			t.Errorf("%q got in: %q", last, reply)
		}
	})
}

func FuzzPlain(f *testing.F) {
	f.Add("\x00user\x00password")
	f.Add("user\x00user\x00password")
	f.Add("\x00\x00")
	f.Fuzz(func(t *testing.T, msg string) {
		user, password, err := parsePlain(msg)
		if err == nil && (user == "" || password == "" || strings.Contains(user+password, "\x00")) {
			t.Errorf("%q: user %q, password %q", msg, user, password)
		}
	})
}

// Stored facts are taken in or refused, and what is taken in is whole.
func FuzzAccessRecord(f *testing.F) {
	v, err := newVerifierWith(ScramSHA512, "secret", []byte("salt"), 1)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(mustJSON([]string{"user", "alice", ScramSHA512}), mustJSON(v))
	f.Add(mustJSON([]string{"acl", "TOPIC", "LITERAL", "t", "User:a", "*", "READ", "ALLOW"}), []byte("{}"))
	f.Add(mustJSON([]string{"quota", producerByteRate, "user=a", "client-id"}), []byte(`{"value":5}`))
	f.Add(mustJSON([]string{"config", "broker", "1", "log.retention.ms"}), []byte(`{"value":"5"}`))
	f.Add(mustJSON([]string{"config", "broker", "", "log.retention.ms"}), []byte(`{}`))
	f.Add([]byte(`["user"]`), []byte(nil))
	f.Add([]byte(`{}`), []byte(`x`))
	f.Fuzz(func(t *testing.T, key, value []byte) {
		s := &accessState{users: map[string]map[string]*verifier{}, quotas: map[quotaKey]float64{}, configs: map[configOwner]map[string]string{}}
		acls := map[ACL]bool{}
		if err := s.take(acls, key, value); err != nil {
			if len(s.users)+len(s.quotas)+len(s.configs)+len(acls) > 0 {
				t.Errorf("%s was refused, and taken in", key)
			}
			return
		}
		for a := range acls {
			if err := a.Check(); err != nil {
				t.Error(err)
			}
		}
		for _, by := range s.users {
			for mechanism, v := range by {
				if err := v.check(mechanism); err != nil {
					t.Error(err)
				}
			}
		}
		newACLSet(acls).judge("User:a", "10.0.0.1", toRead, 2, "t")
	})
}
