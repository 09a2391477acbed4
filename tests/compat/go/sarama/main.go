// Command sarama is IBM's sarama behind the command line of ../../README.md.
package main

import (
	"bufio"
	"errors"
	"fmt"
	"time"

	"github.com/IBM/sarama"

	"milena.dev/compat/common"
)

const limit = 60 * time.Second

type client struct{}

var codecs = map[string]sarama.CompressionCodec{
	"none":   sarama.CompressionNone,
	"gzip":   sarama.CompressionGZIP,
	"snappy": sarama.CompressionSnappy,
	"lz4":    sarama.CompressionLZ4,
	"zstd":   sarama.CompressionZSTD,
}

func config() *sarama.Config {
	found := sarama.NewConfig()
	found.Version = sarama.V2_8_0_0
	found.ClientID = "compat"
	found.Producer.Return.Successes = true
	found.Consumer.Return.Errors = true
	return found
}

func (client) Create(bootstrap, topic string, partitions int) error {
	admin, err := sarama.NewClusterAdmin([]string{bootstrap}, config())
	if err != nil {
		return err
	}
	defer admin.Close()
	return admin.CreateTopic(topic, &sarama.TopicDetail{NumPartitions: int32(partitions), ReplicationFactor: 1}, false)
}

func (client) Write(bootstrap, topic string, records []common.Record, codec, acks string, idempotent bool) error {
	levels := map[string]sarama.RequiredAcks{"0": sarama.NoResponse, "1": sarama.WaitForLocal, "all": sarama.WaitForAll}
	settings := config()
	settings.Producer.RequiredAcks = levels[acks]
	settings.Producer.Compression = codecs[codec]
	settings.Producer.Partitioner = sarama.NewManualPartitioner
	settings.Producer.Idempotent = idempotent
	if idempotent {
		settings.Net.MaxOpenRequests = 1
	}
	writer, err := sarama.NewSyncProducer([]string{bootstrap}, settings)
	if err != nil {
		return err
	}
	defer writer.Close()
	messages := make([]*sarama.ProducerMessage, 0, len(records))
	for _, r := range records {
		messages = append(messages, &sarama.ProducerMessage{
			Topic: topic, Partition: r.Partition, Timestamp: time.UnixMilli(r.Timestamp),
			Key: sarama.ByteEncoder(r.Key), Value: sarama.ByteEncoder(r.Value),
			Headers: []sarama.RecordHeader{{Key: []byte("n"), Value: r.N}},
		})
	}
	return writer.SendMessages(messages)
}

func (client) WriteLines(string, string, string, *bufio.Reader) error {
	return errors.New("not needed: franz-go is the Go client for big inputs")
}

func (client) Read(bootstrap, topic string, partition int32, offset, count int64, show func(common.Record)) error {
	base, err := sarama.NewConsumer([]string{bootstrap}, config())
	if err != nil {
		return err
	}
	defer base.Close()
	reader, err := base.ConsumePartition(topic, partition, offset)
	if err != nil {
		return err
	}
	defer reader.AsyncClose()
	deadline := time.After(limit)
	for ; count > 0; count-- {
		select {
		case m := <-reader.Messages():
			found := common.Record{Offset: m.Offset, Timestamp: m.Timestamp.UnixMilli(), Key: m.Key, Value: m.Value}
			for _, header := range m.Headers {
				if string(header.Key) == "n" {
					found.N = header.Value
				}
			}
			show(found)
		case err := <-reader.Errors():
			return err
		case <-deadline:
			return fmt.Errorf("%d records did not come", count)
		}
	}
	return nil
}

func offsetAt(bootstrap, topic string, partition int32, timestamp int64) (int64, error) {
	base, err := sarama.NewClient([]string{bootstrap}, config())
	if err != nil {
		return 0, err
	}
	defer base.Close()
	return base.GetOffset(topic, partition, timestamp)
}

func (client) At(bootstrap, topic string, partition int32, timestamp int64) (int64, error) {
	return offsetAt(bootstrap, topic, partition, timestamp)
}

func (client) Ends(bootstrap, topic string, partition int32) (int64, int64, error) {
	first, err := offsetAt(bootstrap, topic, partition, sarama.OffsetOldest)
	if err != nil {
		return 0, 0, err
	}
	next, err := offsetAt(bootstrap, topic, partition, sarama.OffsetNewest)
	return first, next, err
}

func main() { common.Main(client{}) }
