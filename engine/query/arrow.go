package query

import (
	"context"
	"io"
	"reflect"
	"strings"
	"unicode/utf8"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/ipc"
	"github.com/apache/arrow/go/v15/arrow/memory"

	op "github.com/gretestream/grete/operators"
)

// arrowRows is how many rows one Arrow record batch holds at most.
const arrowRows = 8192

// column fills one side of a row, key or value, into one or two Arrow columns.
type column struct {
	fields []arrow.Field
	kind   kind
	at     int // of the first field in the schema
}

// newColumn chooses the Arrow type for a Go type. Text gets a second column for
// the values that are not UTF-8, which Arrow's strings cannot hold.
func newColumn(name string, t reflect.Type, at int) column {
	c := column{kind: kindOf(t), at: at}
	field := func(name string, t arrow.DataType) {
		c.fields = append(c.fields, arrow.Field{Name: name, Type: t, Nullable: true})
	}
	switch c.kind {
	case kindInt:
		field(name, arrow.PrimitiveTypes.Int64)
	case kindUint:
		field(name, arrow.PrimitiveTypes.Uint64)
	case kindFloat:
		field(name, arrow.PrimitiveTypes.Float64)
	case kindBool:
		field(name, arrow.FixedWidthTypes.Boolean)
	case kindBytes:
		field(name, arrow.BinaryTypes.Binary)
	case kindText:
		field(name, arrow.BinaryTypes.String)
		field(name+"_bytes", arrow.BinaryTypes.Binary)
	default:
		field(name, arrow.BinaryTypes.String)
	}
	return c
}

// append adds one value to the builders of the column.
func (c *column) append(b *array.RecordBuilder, v any) {
	if v == nil {
		for i := range c.fields {
			b.Field(c.at + i).AppendNull()
		}
		return
	}
	switch c.kind {
	case kindInt:
		n, ok := v.(int64)
		if !ok {
			n = reflect.ValueOf(v).Int()
		}
		b.Field(c.at).(*array.Int64Builder).Append(n)
	case kindUint:
		b.Field(c.at).(*array.Uint64Builder).Append(reflect.ValueOf(v).Uint())
	case kindFloat:
		b.Field(c.at).(*array.Float64Builder).Append(reflect.ValueOf(v).Float())
	case kindBool:
		b.Field(c.at).(*array.BooleanBuilder).Append(reflect.ValueOf(v).Bool())
	case kindBytes:
		b.Field(c.at).(*array.BinaryBuilder).Append(reflect.ValueOf(v).Bytes())
	case kindText:
		s, ok := v.(string)
		if !ok {
			s = reflect.ValueOf(v).String()
		}
		if utf8.ValidString(s) {
			b.Field(c.at).(*array.StringBuilder).Append(s)
			b.Field(c.at + 1).AppendNull()
			return
		}
		b.Field(c.at).AppendNull()
		b.Field(c.at + 1).(*array.BinaryBuilder).Append([]byte(s))
	default:
		b.Field(c.at).(*array.StringBuilder).Append(string(appendJSON(nil, v)))
	}
}

// writeArrow writes the answer as an Arrow IPC stream: the rows of the scan go
// straight into column builders, and out in record batches of arrowRows.
func (a *Answer) writeArrow(ctx context.Context, w io.Writer) error {
	var fields []arrow.Field
	windowed := a.Store.Query.Windowed
	if windowed {
		ms := &arrow.TimestampType{Unit: arrow.Millisecond, TimeZone: "UTC"}
		fields = append(fields, arrow.Field{Name: "window_start", Type: ms}, arrow.Field{Name: "window_end", Type: ms})
	}
	key := newColumn("key", a.Store.Query.KeyType, len(fields))
	fields = append(fields, key.fields...)
	value := newColumn("value", a.Store.Query.RowType, len(fields))
	fields = append(fields, value.fields...)
	meta := arrow.MetadataFrom(map[string]string{
		"grete.job": a.Job, "grete.store": a.Store.Name,
		"grete.offsets": a.TrueUpTo.Offsets(), "grete.watermark": a.TrueUpTo.WatermarkText(),
		"grete.elsewhere": strings.Join(a.Elsewhere, ", "),
	})
	schema := arrow.NewSchema(fields, &meta)

	alloc := memory.NewGoAllocator()
	out := ipc.NewWriter(w, ipc.WithSchema(schema), ipc.WithAllocator(alloc))
	b := array.NewRecordBuilder(alloc, schema)
	defer b.Release()
	rows := 0
	flush := func() error {
		if rows == 0 {
			return nil
		}
		rec := b.NewRecord() // resets the builders
		defer rec.Release()
		rows = 0
		return out.Write(rec)
	}
	err := a.Rows(ctx, func(r *op.Row) error {
		if windowed {
			b.Field(0).(*array.TimestampBuilder).Append(arrow.Timestamp(r.Start))
			b.Field(1).(*array.TimestampBuilder).Append(arrow.Timestamp(r.End))
		}
		key.append(b, r.Key)
		value.append(b, r.Value)
		if rows++; rows == arrowRows {
			return flush()
		}
		return nil
	})
	if err == nil {
		err = flush()
	}
	if err != nil {
		return err // without the end mark of the stream: a reader notices
	}
	return out.Close() // writes the schema, if no batch has, and the end mark
}
