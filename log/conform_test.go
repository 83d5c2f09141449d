package log_test

import (
	"testing"

	"github.com/gretestream/grete/log"
	"github.com/gretestream/grete/log/logtest"
)

func TestConform(t *testing.T) {
	logtest.Conform(t, logtest.Kind{Open: func(t *testing.T) log.Log {
		l, err := log.Open(t.TempDir(), log.Options{})
		if err != nil {
			t.Fatal(err)
		}
		return l
	}})
}
