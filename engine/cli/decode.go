package cli

import (
	"context"
	"encoding/json"
	"strings"

	"github.com/gretestream/grete/engine/query"
	"github.com/gretestream/grete/jobs"
	"github.com/gretestream/grete/log"
	"github.com/gretestream/grete/state/codec"
)

// decodeFunc turns an encoded key or value into what JSON can write.
type decodeFunc func([]byte) (any, error)

// codecsOf returns how the keys and values of a topic are decoded, if a job
// writes its results to it; else nil.
func codecsOf(ctx context.Context, l log.Log, topic string) (key, value decodeFunc, err error) {
	all, err := jobs.Deployments(ctx, l)
	if err != nil {
		return nil, nil, err
	}
	for _, d := range all {
		for i := range d.Plan.Stages {
			for _, out := range d.Plan.Stages[i].Outputs {
				if out.Topic == topic {
					return decoder(out.KeyCodec), decoder(out.ValueCodec), nil
				}
			}
		}
	}
	return nil, nil, nil
}

// decoder returns how a codec of that name is decoded; nil: as text.
func decoder(name string) decodeFunc {
	outer, inner, _ := strings.Cut(name, "(")
	inner = strings.TrimSuffix(inner, ")")
	switch outer {
	case "int64":
		return decodeWith(codec.Int64)
	case "int32":
		return decodeWith(codec.Int32)
	case "int16":
		return decodeWith(codec.Int16)
	case "int8":
		return decodeWith(codec.Int8)
	case "float64":
		return decodeWith(codec.Float64)
	case "float32":
		return decodeWith(codec.Float32)
	case "bool":
		return decodeWith(codec.Bool)
	case "json":
		return func(b []byte) (any, error) {
			var v json.RawMessage
			err := json.Unmarshal(b, &v)
			return v, err
		}
	case "window-key":
		// "window-key(string,1m0s)": the key's codec has no comma outside of
		// brackets, the size has no bracket.
		if i := strings.LastIndexByte(inner, ','); i >= 0 && !strings.ContainsAny(inner[i:], ")") {
			inner = inner[:i]
		}
		return windowedDecoder(codec.WindowKey(codec.Bytes), decoder(inner))
	case "span-key":
		return windowedDecoder(codec.SpanKey(codec.Bytes), decoder(inner))
	}
	return nil
}

func decodeWith[T any](c codec.Codec[T]) decodeFunc {
	return func(b []byte) (any, error) {
		var v T
		err := c.Decode(&v, b, nil)
		return v, err
	}
}

// windowedKey is a key within a window, for people and JSON.
type windowedKey struct {
	Key           any    `json:"key"`
	WindowStartMs int64  `json:"window_start_ms"`
	WindowStart   string `json:"window_start"`
	WindowEnd     string `json:"window_end,omitempty"`
}

func windowedDecoder(c codec.Codec[codec.Windowed[[]byte]], key decodeFunc) decodeFunc {
	return func(b []byte) (any, error) {
		var w codec.Windowed[[]byte]
		if err := c.Decode(&w, b, nil); err != nil {
			return nil, err
		}
		out := windowedKey{Key: string(w.Key), WindowStartMs: w.Start, WindowStart: query.FormatTime(w.Start)}
		if w.End > w.Start {
			out.WindowEnd = query.FormatTime(w.End)
		}
		if key != nil {
			v, err := key(w.Key)
			if err != nil {
				return nil, err
			}
			out.Key = v
		}
		return out, nil
	}
}
