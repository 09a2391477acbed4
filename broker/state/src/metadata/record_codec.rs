//! The bytes of metadata records.
//!
//! They are our own, because no tool but ours reads this log (house decision 11). One batch is the
//! payload of one Raft entry and is applied as a whole:
//!
//! ```text
//! batch  := format:u8 (1)  count:varint  { size:varint record }*
//! record := type:u8  version:u8  fields
//! ```
//!
//! Integers are big-endian, lengths and counts are unsigned varints, an optional field is one byte
//! 0 or 1 and then the value. A record keeps its fields for ever; a new field means a new version,
//! which old readers refuse by number instead of guessing. `PartitionChange` starts with a bit mask
//! of the fields that follow.

use super::codec::{Decoder, Encoder};
use super::record::{
    BATCH_RECORDS_MAX, BrokerRegistrationChange, ClearElr, ClientQuotaRecord, ConfigRecord, DecodeError,
    Endpoint, FeatureLevel, PartitionChange, PartitionRecord, ProducerIds, Record, RecoveryState,
    RegisterBroker, RegisterController, RemoveTopic, SupportedFeature, TopicRecord, UnregisterBroker,
};

use crate::quota::entity::EntityType;
use crate::quota::{Entity, Key, Name, Value};

/// First byte of a batch.
const BATCH_FORMAT: u8 = 1;

/// The payload of one Raft entry.
pub fn encode_batch(records: &[Record]) -> Vec<u8> {
    debug_assert!(records.len() <= BATCH_RECORDS_MAX, "{} records in one batch", records.len());
    let mut e = Encoder::default();
    e.u8(BATCH_FORMAT);
    e.length(records.len());
    for record in records {
        e.bytes(&record.encode());
    }
    e.into_bytes()
}

/// Reads what [`encode_batch`] wrote, or says what is wrong with it.
pub fn decode_batch(bytes: &[u8]) -> Result<Vec<Record>, DecodeError> {
    let mut d = Decoder::new(bytes);
    let format = d.u8()?;
    if format != BATCH_FORMAT {
        return Err(DecodeError::UnknownFormat { format });
    }
    let count = d.count(3)?;
    if count > BATCH_RECORDS_MAX {
        return Err(DecodeError::TooManyRecords { count });
    }
    let records = (0..count).map(|_| Record::decode(d.bytes()?)).collect::<Result<_, _>>()?;
    match d.remaining() {
        0 => Ok(records),
        left => Err(DecodeError::LeftOver { left }),
    }
}

impl Record {
    /// Kafka's number of the record type, the first byte of the encoded record.
    pub fn type_number(&self) -> u8 {
        match self {
            Record::RegisterBroker(_) => 0,
            Record::UnregisterBroker(_) => 1,
            Record::Topic(_) => 2,
            Record::Partition(_) => 3,
            Record::Config(_) => 4,
            Record::PartitionChange(_) => 5,
            Record::RemoveTopic(_) => 9,
            Record::FeatureLevel(_) => 12,
            Record::ClientQuota(_) => 14,
            Record::ProducerIds(_) => 15,
            Record::BrokerRegistrationChange(_) => 17,
            Record::NoOp => 20,
            Record::RegisterController(_) => 27,
            Record::ClearElr(_) => 28,
        }
    }

    /// One record without the length in front.
    pub fn encode(&self) -> Vec<u8> {
        let mut e = Encoder::default();
        e.u8(self.type_number());
        e.u8(0);
        match self {
            Record::RegisterBroker(r) => r.encode(&mut e),
            Record::UnregisterBroker(r) => {
                e.i32(r.broker_id);
                e.i64(r.broker_epoch);
            }
            Record::Topic(r) => {
                e.string(&r.name);
                e.uuid(r.topic_id);
            }
            Record::Partition(r) => r.encode(&mut e),
            Record::Config(r) => {
                e.u8(r.resource_type as u8);
                e.string(&r.resource_name);
                e.string(&r.name);
                e.option(r.value.as_deref(), Encoder::string);
            }
            Record::PartitionChange(r) => r.encode(&mut e),
            Record::RemoveTopic(r) => e.uuid(r.topic_id),
            Record::FeatureLevel(r) => {
                e.string(&r.name);
                e.i16(r.level);
            }
            Record::ClientQuota(r) => r.encode(&mut e),
            Record::ProducerIds(r) => {
                e.i32(r.broker_id);
                e.i64(r.broker_epoch);
                e.i64(r.next_producer_id);
            }
            Record::BrokerRegistrationChange(r) => r.encode(&mut e),
            Record::NoOp => {}
            Record::RegisterController(r) => r.encode(&mut e),
            Record::ClearElr(r) => e.string(&r.topic_name),
        }
        e.into_bytes()
    }

    /// Reads exactly one record.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut d = Decoder::new(bytes);
        let kind = d.u8()?;
        let version = d.u8()?;
        if version != 0 {
            return Err(DecodeError::UnknownVersion { kind, version });
        }
        let record = match kind {
            0 => Record::RegisterBroker(RegisterBroker::decode(&mut d)?),
            1 => Record::UnregisterBroker(UnregisterBroker { broker_id: d.i32()?, broker_epoch: d.i64()? }),
            2 => Record::Topic(TopicRecord { name: d.string()?, topic_id: d.uuid()? }),
            3 => Record::Partition(PartitionRecord::decode(&mut d)?),
            4 => Record::Config(ConfigRecord {
                resource_type: d.u8()? as i8,
                resource_name: d.string()?,
                name: d.string()?,
                value: d.option(Decoder::string)?,
            }),
            5 => Record::PartitionChange(PartitionChange::decode(&mut d)?),
            9 => Record::RemoveTopic(RemoveTopic { topic_id: d.uuid()? }),
            12 => Record::FeatureLevel(FeatureLevel { name: d.string()?, level: d.i16()? }),
            14 => Record::ClientQuota(ClientQuotaRecord::decode(&mut d)?),
            15 => Record::ProducerIds(ProducerIds {
                broker_id: d.i32()?,
                broker_epoch: d.i64()?,
                next_producer_id: d.i64()?,
            }),
            17 => Record::BrokerRegistrationChange(BrokerRegistrationChange::decode(&mut d)?),
            20 => Record::NoOp,
            27 => Record::RegisterController(RegisterController::decode(&mut d)?),
            28 => Record::ClearElr(ClearElr { topic_name: d.string()? }),
            kind => return Err(DecodeError::UnknownType { kind }),
        };
        match d.remaining() {
            0 => Ok(record),
            left => Err(DecodeError::LeftOver { left }),
        }
    }
}

impl RegisterBroker {
    fn encode(&self, e: &mut Encoder) {
        e.i32(self.broker_id);
        e.uuid(self.incarnation_id);
        e.i64(self.broker_epoch);
        put_endpoints(&self.endpoints, e);
        put_features(&self.features, e);
        e.option(self.rack.as_deref(), Encoder::string);
        e.bool(self.fenced);
        e.bool(self.in_controlled_shutdown);
        e.uuids(&self.log_dirs);
    }

    fn decode(d: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            broker_id: d.i32()?,
            incarnation_id: d.uuid()?,
            broker_epoch: d.i64()?,
            endpoints: endpoints(d)?,
            features: features(d)?,
            rack: d.option(Decoder::string)?,
            fenced: d.bool()?,
            in_controlled_shutdown: d.bool()?,
            log_dirs: d.uuids()?,
        })
    }
}

impl RegisterController {
    fn encode(&self, e: &mut Encoder) {
        e.i32(self.controller_id);
        e.uuid(self.incarnation_id);
        put_endpoints(&self.endpoints, e);
        put_features(&self.features, e);
    }

    fn decode(d: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            controller_id: d.i32()?,
            incarnation_id: d.uuid()?,
            endpoints: endpoints(d)?,
            features: features(d)?,
        })
    }
}

fn put_endpoints(endpoints: &[Endpoint], e: &mut Encoder) {
    e.length(endpoints.len());
    for endpoint in endpoints {
        e.string(&endpoint.name);
        e.string(&endpoint.host);
        e.u16(endpoint.port);
        e.i16(endpoint.security_protocol);
    }
}

fn endpoints(d: &mut Decoder<'_>) -> Result<Vec<Endpoint>, DecodeError> {
    let count = d.count(6)?;
    (0..count).map(|_| Endpoint::decode(d)).collect()
}

fn put_features(features: &[SupportedFeature], e: &mut Encoder) {
    e.length(features.len());
    for feature in features {
        e.string(&feature.name);
        e.i16(feature.min);
        e.i16(feature.max);
    }
}

fn features(d: &mut Decoder<'_>) -> Result<Vec<SupportedFeature>, DecodeError> {
    let count = d.count(5)?;
    (0..count).map(|_| SupportedFeature::decode(d)).collect()
}

impl Endpoint {
    fn decode(d: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        Ok(Self { name: d.string()?, host: d.string()?, port: d.u16()?, security_protocol: d.i16()? })
    }
}

impl SupportedFeature {
    fn decode(d: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        Ok(Self { name: d.string()?, min: d.i16()?, max: d.i16()? })
    }
}

impl ClientQuotaRecord {
    fn encode(&self, e: &mut Encoder) {
        for entity_type in EntityType::ALL {
            e.option(self.entity.part(entity_type), |e, name| e.option(name.as_option(), Encoder::string));
        }
        e.u8(self.key as u8);
        e.option(self.value, |e, value| e.i64(value.get().to_bits() as i64));
    }

    fn decode(d: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        let mut entity = Entity::default();
        for entity_type in EntityType::ALL {
            if let Some(name) = d.option(|d| d.option(Decoder::string))? {
                entity.set_part(entity_type, Name::of(name.as_deref()));
            }
        }
        let number = d.u8()?;
        let unknown = DecodeError::Field { what: "the key of a quota", value: i64::from(number) };
        let key = Key::from_number(number).ok_or(unknown)?;
        let value = d.option(Decoder::i64)?.map(|bits| Value::new(f64::from_bits(bits as u64)));
        Ok(Self { entity, key, value })
    }
}

impl BrokerRegistrationChange {
    fn encode(&self, e: &mut Encoder) {
        e.i32(self.broker_id);
        e.i64(self.broker_epoch);
        e.option(self.fenced, Encoder::bool);
        e.option(self.in_controlled_shutdown, Encoder::bool);
        e.option(self.log_dirs.as_deref(), Encoder::uuids);
    }

    fn decode(d: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            broker_id: d.i32()?,
            broker_epoch: d.i64()?,
            fenced: d.option(Decoder::bool)?,
            in_controlled_shutdown: d.option(Decoder::bool)?,
            log_dirs: d.option(Decoder::uuids)?,
        })
    }
}

impl RecoveryState {
    fn decode(d: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        match d.u8()? {
            0 => Ok(Self::Recovered),
            1 => Ok(Self::Recovering),
            other => Err(DecodeError::Field { what: "a leader recovery state", value: i64::from(other) }),
        }
    }
}

impl PartitionRecord {
    fn encode(&self, e: &mut Encoder) {
        e.uuid(self.topic_id);
        e.i32(self.partition_id);
        e.i32s(&self.replicas);
        e.i32s(&self.isr);
        e.i32s(&self.removing_replicas);
        e.i32s(&self.adding_replicas);
        e.option(self.leader, Encoder::i32);
        e.u8(self.leader_recovery_state as u8);
        e.i32(self.leader_epoch);
        e.i32(self.partition_epoch);
        e.uuids(&self.directories);
        e.i32s(&self.eligible_leader_replicas);
        e.i32s(&self.last_known_elr);
    }

    fn decode(d: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            topic_id: d.uuid()?,
            partition_id: d.i32()?,
            replicas: d.i32s()?,
            isr: d.i32s()?,
            removing_replicas: d.i32s()?,
            adding_replicas: d.i32s()?,
            leader: d.option(Decoder::i32)?,
            leader_recovery_state: RecoveryState::decode(d)?,
            leader_epoch: d.i32()?,
            partition_epoch: d.i32()?,
            directories: d.uuids()?,
            eligible_leader_replicas: d.i32s()?,
            last_known_elr: d.i32s()?,
        })
    }
}

/// Bits of the mask in front of a `PartitionChange`, in the order of the fields.
mod changed {
    pub(super) const ISR: u16 = 1;
    pub(super) const LEADER: u16 = 1 << 1;
    pub(super) const REPLICAS: u16 = 1 << 2;
    pub(super) const REMOVING_REPLICAS: u16 = 1 << 3;
    pub(super) const ADDING_REPLICAS: u16 = 1 << 4;
    pub(super) const LEADER_RECOVERY_STATE: u16 = 1 << 5;
    pub(super) const DIRECTORIES: u16 = 1 << 6;
    pub(super) const ELIGIBLE_LEADER_REPLICAS: u16 = 1 << 7;
    pub(super) const LAST_KNOWN_ELR: u16 = 1 << 8;
    pub(super) const ALL: u16 = (1 << 9) - 1;
}

impl PartitionChange {
    pub(super) fn mask(&self) -> u16 {
        let bit = |present: bool, bit: u16| if present { bit } else { 0 };
        bit(self.isr.is_some(), changed::ISR)
            | bit(self.leader.is_some(), changed::LEADER)
            | bit(self.replicas.is_some(), changed::REPLICAS)
            | bit(self.removing_replicas.is_some(), changed::REMOVING_REPLICAS)
            | bit(self.adding_replicas.is_some(), changed::ADDING_REPLICAS)
            | bit(self.leader_recovery_state.is_some(), changed::LEADER_RECOVERY_STATE)
            | bit(self.directories.is_some(), changed::DIRECTORIES)
            | bit(self.eligible_leader_replicas.is_some(), changed::ELIGIBLE_LEADER_REPLICAS)
            | bit(self.last_known_elr.is_some(), changed::LAST_KNOWN_ELR)
    }

    fn encode(&self, e: &mut Encoder) {
        e.uuid(self.topic_id);
        e.i32(self.partition_id);
        e.u16(self.mask());
        let i32s = |e: &mut Encoder, field: &Option<Vec<i32>>| {
            if let Some(values) = field {
                e.i32s(values);
            }
        };
        i32s(e, &self.isr);
        if let Some(leader) = self.leader {
            e.option(leader, Encoder::i32);
        }
        i32s(e, &self.replicas);
        i32s(e, &self.removing_replicas);
        i32s(e, &self.adding_replicas);
        if let Some(state) = self.leader_recovery_state {
            e.u8(state as u8);
        }
        if let Some(directories) = &self.directories {
            e.uuids(directories);
        }
        i32s(e, &self.eligible_leader_replicas);
        i32s(e, &self.last_known_elr);
    }

    fn decode(d: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        let topic_id = d.uuid()?;
        let partition_id = d.i32()?;
        let mask = d.u16()?;
        if mask & !changed::ALL != 0 {
            return Err(DecodeError::Field { what: "a partition change mask", value: i64::from(mask) });
        }
        let has = |bit: u16| mask & bit != 0;
        Ok(Self {
            topic_id,
            partition_id,
            isr: has(changed::ISR).then(|| d.i32s()).transpose()?,
            leader: has(changed::LEADER).then(|| d.option(Decoder::i32)).transpose()?,
            replicas: has(changed::REPLICAS).then(|| d.i32s()).transpose()?,
            removing_replicas: has(changed::REMOVING_REPLICAS).then(|| d.i32s()).transpose()?,
            adding_replicas: has(changed::ADDING_REPLICAS).then(|| d.i32s()).transpose()?,
            leader_recovery_state: has(changed::LEADER_RECOVERY_STATE)
                .then(|| RecoveryState::decode(d))
                .transpose()?,
            directories: has(changed::DIRECTORIES).then(|| d.uuids()).transpose()?,
            eligible_leader_replicas: has(changed::ELIGIBLE_LEADER_REPLICAS).then(|| d.i32s()).transpose()?,
            last_known_elr: has(changed::LAST_KNOWN_ELR).then(|| d.i32s()).transpose()?,
        })
    }
}
