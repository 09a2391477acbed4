//! The controllers of the cluster: what each says it supports, and where it is reached (KIP-919).
//!
//! A controller registers when it starts, as a broker does, but has no session and no epoch: whether it lives is the
//! quorum's business. What it says is asked when a feature is raised ([`super::features`]).

use milena_protocol::ErrorCode;

use super::command::{ApiError, Decision, Reply};
use super::features::METADATA_VERSION;
use super::image::Image;
use super::record::{Record, RegisterController};

/// The metadata version from which on controllers register, 3.7-IV0 of Kafka.
const REGISTERED_FROM: i16 = 15;

/// Whether the cluster speaks a metadata version that has the records of controllers.
pub fn register_in(image: &Image) -> bool {
    image.feature_level(METADATA_VERSION) >= REGISTERED_FROM
}

/// Takes down what a controller says. What is known already changes nothing.
///
/// Errors: `UNSUPPORTED_VERSION` below the metadata version that has the record.
pub fn register(image: &Image, command: &RegisterController) -> Decision {
    if !register_in(image) {
        let message = "The current MetadataVersion is too old to support controller registrations.";
        let error = ApiError::new(ErrorCode::UnsupportedVersion, message);
        return Decision::reply(Reply::RegisterController(Err(error)));
    }
    let is_known = image.controller(command.controller_id).is_some_and(|known| **known == *command);
    let records = if is_known { Vec::new() } else { vec![Record::RegisterController(command.clone())] };
    Decision::new(records, Reply::RegisterController(Ok(())))
}

#[cfg(test)]
mod tests {
    use milena_protocol::types::Uuid;

    use super::*;
    use crate::metadata::features;
    use crate::metadata::record::FeatureLevel;

    fn image(metadata_version: i16) -> Image {
        let mut image = Image::default();
        let level = FeatureLevel { name: METADATA_VERSION.to_owned(), level: metadata_version };
        image.apply(&Record::FeatureLevel(level)).unwrap();
        image
    }

    fn controller(incarnation: u128) -> RegisterController {
        RegisterController {
            controller_id: 7,
            incarnation_id: Uuid::from_u128(incarnation),
            endpoints: Vec::new(),
            features: features::supported(),
        }
    }

    #[test]
    fn a_controller_is_taken_down_once_for_each_of_its_starts() {
        let mut image = image(30);
        for incarnation in [1, 2] {
            let decision = register(&image, &controller(incarnation));
            assert_eq!(decision.records, [Record::RegisterController(controller(incarnation))]);
            assert_eq!(decision.reply, Reply::RegisterController(Ok(())));
            image.apply(&decision.records[0]).unwrap();
            assert!(register(&image, &controller(incarnation)).records.is_empty());
        }
        assert_eq!(image.controllers().count(), 1);
        assert_eq!(Image::from_snapshot(image.applied(), image.snapshot()).unwrap(), image);
    }

    #[test]
    fn no_older_metadata_version_has_the_record() {
        assert!(register_in(&image(15)));
        let decision = register(&image(14), &controller(1));
        assert!(decision.records.is_empty());
        let Reply::RegisterController(Err(error)) = decision.reply else { panic!("{:?}", decision.reply) };
        assert_eq!(error.code, ErrorCode::UnsupportedVersion);
    }
}
