//! What encoding refuses and drops, and what decoding refuses, each with the message it matters for.

use milena_protocol::messages::{
    ApiVersionsResponse, ConsumerGroupHeartbeatResponse, FetchRequest, FetchResponse, ListOffsetsRequest,
    MetadataRequest, OffsetFetchRequest, ProduceRequest, ProduceResponse, SaslHandshakeRequest,
    fetch_response, metadata_request, produce_request, produce_response,
};
use milena_protocol::{
    DecodeError, Encode, EncodeError, Message, Problem, Records, Uuid, Writer, decode_exact, encode_to_vec,
};

#[test]
fn field_that_a_version_lacks_is_refused_when_it_is_set() {
    let request = OffsetFetchRequest { require_stable: true, ..Default::default() };
    assert_eq!(
        encode_to_vec(&request, 6),
        Err(EncodeError::FieldNotInVersion { field: "require_stable", version: 6 })
    );
    assert!(encode_to_vec(&request, 7).is_ok());
}

#[test]
fn ignorable_field_that_a_version_lacks_is_dropped() {
    let request = FetchRequest { rack_id: "r".into(), ..Default::default() };
    let plain = FetchRequest::default();
    assert_eq!(encode_to_vec(&request, 10), encode_to_vec(&plain, 10));
    assert_ne!(encode_to_vec(&request, 11), encode_to_vec(&plain, 11));
}

#[test]
fn tagged_field_follows_the_same_rules() {
    let endpoints = vec![produce_response::NodeEndpoint::default()];
    let response = ProduceResponse { node_endpoints: endpoints, ..Default::default() };
    let expected = EncodeError::FieldNotInVersion { field: "node_endpoints", version: 9 };
    assert_eq!(encode_to_vec(&response, 9), Err(expected));
    assert_ne!(encode_to_vec(&response, 10), encode_to_vec(&ProduceResponse::default(), 10));
    let request = FetchRequest { cluster_id: Some("c".into()), ..Default::default() };
    assert_eq!(encode_to_vec(&request, 11), encode_to_vec(&FetchRequest::default(), 11));
    assert_ne!(encode_to_vec(&request, 12), encode_to_vec(&FetchRequest::default(), 12));
}

#[test]
fn null_is_refused_where_a_version_has_none() {
    let request = MetadataRequest { topics: None, ..Default::default() };
    assert_eq!(encode_to_vec(&request, 0), Err(EncodeError::Null { field: "topics" }));
    assert!(encode_to_vec(&request, 1).is_ok());
}

#[test]
fn string_is_never_cut_to_fit() {
    for (size, fits) in [(32767, true), (32768, false)] {
        let request = SaslHandshakeRequest { mechanism: "m".repeat(size).into() };
        let found = encode_to_vec(&request, 1);
        assert_eq!(found.is_ok(), fits, "{size}");
        let topic = metadata_request::MetadataRequestTopic {
            name: Some("t".repeat(size).into()),
            ..Default::default()
        };
        let request = MetadataRequest { topics: Some(vec![topic]), ..Default::default() };
        assert_eq!(encode_to_vec(&request, 12).is_ok(), fits, "compact {size}");
    }
}

#[test]
fn version_outside_the_schema_is_refused_both_ways() {
    for version in [-1, ListOffsetsRequest::VERSIONS.end() + 1, i16::MIN, i16::MAX] {
        let message = ListOffsetsRequest::NAME;
        let expected = EncodeError::Version { message, version };
        assert_eq!(encode_to_vec(&ListOffsetsRequest::default(), version), Err(expected));
        let error = decode_exact::<ListOffsetsRequest<'_>>(&[0; 64], version).unwrap_err();
        assert_eq!(error, DecodeError { problem: Problem::Version { message, version }, position: 0 });
    }
}

#[test]
fn defaults_of_the_schema_are_those_of_the_structs() {
    let request = FetchRequest::default();
    assert_eq!((request.replica_id, request.max_bytes, request.session_epoch), (-1, i32::MAX, -1));
    assert_eq!(request.replica_state.replica_id, -1);
    assert_eq!(produce_request::ProduceRequest::default().transactional_id, None);
    assert_eq!(fetch_response::PartitionData::default().aborted_transactions, Some(Vec::new()));
    assert_eq!(ConsumerGroupHeartbeatResponse::default().assignment, None);
}

#[test]
fn strings_and_records_borrow_from_the_input() {
    let records = [7u8; 100];
    let partition = produce_request::PartitionProduceData { index: 3, records: Some(records[..].into()) };
    let topic = produce_request::TopicProduceData {
        topic_id: Uuid::from_u128(5),
        partition_data: vec![partition],
        ..Default::default()
    };
    let request = ProduceRequest { acks: -1, topic_data: vec![topic], ..Default::default() };
    let bytes = encode_to_vec(&request, 13).unwrap();
    let decoded: ProduceRequest<'_> = decode_exact(&bytes, 13).unwrap();
    assert_eq!(decoded, request);
    let found = decoded.topic_data[0].partition_data[0].records.as_ref().and_then(Records::bytes).unwrap();
    assert!(bytes.as_ptr_range().contains(&found.as_ptr()));
}

#[test]
fn detached_records_leave_a_splice_that_completes_the_bytes() {
    let response = |records| {
        let partition = fetch_response::PartitionData { records: Some(records), ..Default::default() };
        let topic =
            fetch_response::FetchableTopicResponse { partitions: vec![partition; 2], ..Default::default() };
        FetchResponse { responses: vec![topic], ..Default::default() }
    };
    for version in FetchResponse::VERSIONS {
        let expected = encode_to_vec(&response(Records::from(vec![9; 300])), version).unwrap();
        let mut w = Writer::new();
        response(Records::Detached(300)).encode(&mut w, version).unwrap();
        assert_eq!(w.wire_size(), expected.len());
        let (mut bytes, splices) = w.into_parts();
        assert_eq!(splices.len(), 2);
        for splice in splices.iter().rev() {
            bytes.splice(splice.position..splice.position, vec![9; splice.size as usize]);
        }
        assert_eq!(bytes, expected, "version {version}");
    }
}

#[test]
fn tagged_fields_are_held_to_their_order_and_size() {
    // ApiVersionsResponse 3: error, no keys, throttle time, then tagged fields; tag 1 is an int64.
    let head = [0, 0, 1, 0, 0, 0, 0];
    let finalized = |value: u8| [1, 8, 0, 0, 0, 0, 0, 0, 0, value];
    let decode = |tail: &[u8]| {
        let bytes = [&head, tail].concat();
        let found = decode_exact::<ApiVersionsResponse<'_>>(&bytes, 3);
        found.map(|response| response.finalized_features_epoch).map_err(|error| error.problem)
    };
    let known = [&[1][..], &finalized(5)].concat();
    assert_eq!(decode(&known), Ok(5));
    let unknown_after = [&[2][..], &finalized(5), &[100, 2, 0, 0]].concat();
    assert_eq!(decode(&unknown_after), Ok(5));
    let twice = [&[2][..], &finalized(5), &finalized(6)].concat();
    assert_eq!(decode(&twice), Err(Problem::TagOrder));
    let too_long = [1, 1, 9, 0, 0, 0, 0, 0, 0, 0, 5, 0];
    assert_eq!(decode(&too_long), Err(Problem::TagSize));
    assert_eq!(decode(&[100]), Err(Problem::Count { count: 100, left: 0 }));
    assert_eq!(decode(&[1, 9, 100]), Err(Problem::UnexpectedEnd { needed: 100, left: 0 }));
}
