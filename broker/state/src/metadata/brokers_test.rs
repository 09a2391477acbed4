use super::super::image::Applied;
use super::*;

/// A cluster whose brokers are registered and unfenced, with every feature at its first level.
pub(in crate::metadata) fn image_with_brokers(ids: &[i32]) -> Image {
    let mut image = Image::default();
    let mut records = crate::metadata::features::bootstrap(&image).records;
    for (index, id) in ids.iter().enumerate() {
        records.push(Record::RegisterBroker(record::RegisterBroker {
            broker_id: *id,
            incarnation_id: Uuid::from_u128(1000 + *id as u128),
            broker_epoch: 10 + index as i64,
            endpoints: Vec::new(),
            features: crate::metadata::features::supported(),
            rack: None,
            fenced: false,
            in_controlled_shutdown: false,
            log_dirs: vec![Uuid::from_u128(5000 + *id as u128)],
        }));
    }
    image.begin_entry(Applied { index: 50, term: 1 });
    records.iter().for_each(|record| image.apply(record).unwrap());
    image
}
