package cluster

import (
	"github.com/hashicorp/go-hclog"
	"github.com/twmb/franz-go/pkg/kgo"
)

// clientLogger hands what the client library says to an hclog.Logger, one level
// lower: its warnings are about single requests, which are sent again.
type clientLogger struct{ logger hclog.Logger }

// Level implements kgo.Logger.
func (l clientLogger) Level() kgo.LogLevel {
	switch {
	case l.logger.IsTrace():
		return kgo.LogLevelDebug
	case l.logger.IsDebug():
		return kgo.LogLevelWarn
	}
	return kgo.LogLevelError
}

// Log implements kgo.Logger.
func (l clientLogger) Log(level kgo.LogLevel, msg string, keyvals ...any) {
	switch level {
	case kgo.LogLevelError:
		l.logger.Info(msg, keyvals...)
	case kgo.LogLevelWarn:
		l.logger.Debug(msg, keyvals...)
	default:
		l.logger.Trace(msg, keyvals...)
	}
}
