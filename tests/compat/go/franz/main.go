// Command franz is franz-go behind the command line of ../../README.md.
package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"milena.dev/compat/common"
)

const limit = 60 * time.Second

type client struct{}

var codecs = map[string]kgo.CompressionCodec{
	"none":   kgo.NoCompression(),
	"gzip":   kgo.GzipCompression(),
	"snappy": kgo.SnappyCompression(),
	"lz4":    kgo.Lz4Compression(),
	"zstd":   kgo.ZstdCompression(),
}

func open(bootstrap string, options ...kgo.Opt) (*kgo.Client, error) {
	return kgo.NewClient(append(options, kgo.SeedBrokers(bootstrap))...)
}

func withAdmin(bootstrap string, action func(context.Context, *kadm.Client) error) error {
	base, err := open(bootstrap)
	if err != nil {
		return err
	}
	defer base.Close()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	return action(ctx, kadm.NewClient(base))
}

func (client) Create(bootstrap, topic string, partitions int) error {
	return withAdmin(bootstrap, func(ctx context.Context, admin *kadm.Client) error {
		made, err := admin.CreateTopic(ctx, int32(partitions), 1, nil, topic)
		return errors.Join(err, made.Err)
	})
}

func producer(bootstrap, codec, acks string, idempotent bool) (*kgo.Client, error) {
	levels := map[string]kgo.Acks{"0": kgo.NoAck(), "1": kgo.LeaderAck(), "all": kgo.AllISRAcks()}
	// No delivery timeout: it counts from a record's timestamp, which is years ago here.
	options := []kgo.Opt{
		kgo.ProducerBatchCompression(codecs[codec]),
		kgo.RequiredAcks(levels[acks]),
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerLinger(20 * time.Millisecond),
	}
	if !idempotent {
		options = append(options, kgo.DisableIdempotentWrite())
	}
	return open(bootstrap, options...)
}

func (client) Write(bootstrap, topic string, records []common.Record, codec, acks string, idempotent bool) error {
	writer, err := producer(bootstrap, codec, acks, idempotent)
	if err != nil {
		return err
	}
	defer writer.Close()
	var failed atomic.Pointer[error]
	for _, r := range records {
		record := &kgo.Record{
			Topic: topic, Partition: r.Partition, Timestamp: time.UnixMilli(r.Timestamp), Key: r.Key, Value: r.Value,
			Headers: []kgo.RecordHeader{{Key: "n", Value: r.N}},
		}
		writer.Produce(context.Background(), record, func(_ *kgo.Record, err error) {
			if err != nil {
				failed.Store(&err)
			}
		})
	}
	return finish(writer, &failed)
}

func finish(writer *kgo.Client, failed *atomic.Pointer[error]) error {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	if err := writer.Flush(ctx); err != nil {
		return err
	}
	if err := failed.Load(); err != nil {
		return *err
	}
	return nil
}

func (client) WriteLines(bootstrap, topic, codec string, lines *bufio.Reader) error {
	writer, err := producer(bootstrap, codec, "all", true)
	if err != nil {
		return err
	}
	defer writer.Close()
	var failed atomic.Pointer[error]
	for {
		line, err := lines.ReadBytes('\n')
		if err == io.EOF {
			return finish(writer, &failed)
		}
		if err != nil {
			return err
		}
		record := &kgo.Record{Topic: topic, Value: bytes.TrimSuffix(line, []byte{'\n'})}
		writer.Produce(context.Background(), record, func(_ *kgo.Record, err error) {
			if err != nil {
				failed.Store(&err)
			}
		})
	}
}

func (client) Read(bootstrap, topic string, partition int32, offset, count int64, show func(common.Record)) error {
	from := map[string]map[int32]kgo.Offset{topic: {partition: kgo.NewOffset().At(offset)}}
	reader, err := open(bootstrap, kgo.ConsumePartitions(from), kgo.FetchMaxWait(500*time.Millisecond))
	if err != nil {
		return err
	}
	defer reader.Close()
	for count > 0 {
		ctx, cancel := context.WithTimeout(context.Background(), limit)
		fetches := reader.PollRecords(ctx, 10_000)
		cancel()
		if err := fetches.Err(); err != nil {
			return err
		}
		fetches.EachRecord(func(r *kgo.Record) {
			if count == 0 {
				return
			}
			count--
			found := common.Record{Offset: r.Offset, Timestamp: r.Timestamp.UnixMilli(), Key: r.Key, Value: r.Value}
			for _, header := range r.Headers {
				if header.Key == "n" {
					found.N = header.Value
				}
			}
			show(found)
		})
	}
	return nil
}

func (client) At(bootstrap, topic string, partition int32, timestamp int64) (offset int64, err error) {
	err = withAdmin(bootstrap, func(ctx context.Context, admin *kadm.Client) error {
		after, err := admin.ListOffsetsAfterMilli(ctx, timestamp, topic)
		found, _ := after.Lookup(topic, partition)
		offset = found.Offset
		if found.Timestamp < 0 { // the library turns "no such record" into the end
			offset = -1
		}
		return errors.Join(err, found.Err)
	})
	return offset, err
}

func (client) Ends(bootstrap, topic string, partition int32) (first, next int64, err error) {
	err = withAdmin(bootstrap, func(ctx context.Context, admin *kadm.Client) error {
		starts, err := admin.ListStartOffsets(ctx, topic)
		ends, err2 := admin.ListEndOffsets(ctx, topic)
		start, _ := starts.Lookup(topic, partition)
		end, _ := ends.Lookup(topic, partition)
		first, next = start.Offset, end.Offset
		return errors.Join(err, err2, start.Err, end.Err)
	})
	return first, next, err
}

func main() { common.Main(client{}) }
