//! How a resource is written: `topic/orders`, `broker/1`, `brokers`, `loggers/1`, `group/billing`, `client-metrics/slow`.

use milena_client::admin::ConfigResource;

pub fn parse(text: &str) -> Result<ConfigResource, String> {
    if text == "brokers" {
        return Ok(ConfigResource::AllBrokers);
    }
    let named = text.split_once('/').filter(|(_, name)| !name.is_empty());
    let (kind, name) = named.ok_or_else(|| FORMS.to_owned())?;
    match kind {
        "topic" => Ok(ConfigResource::Topic(name.to_owned())),
        "broker" => {
            name.parse().map(ConfigResource::Broker).map_err(|_| format!("'{name}' is not a broker's id"))
        }
        "loggers" => {
            name.parse().map(ConfigResource::Loggers).map_err(|_| format!("'{name}' is not a broker's id"))
        }
        "group" => Ok(ConfigResource::Group(name.to_owned())),
        "client-metrics" => Ok(ConfigResource::ClientMetrics(name.to_owned())),
        _ => Err(FORMS.to_owned()),
    }
}

const FORMS: &str =
    "topic/NAME, broker/ID, brokers (for all), loggers/ID, group/NAME or client-metrics/NAME is needed";

/// Where a value comes from, by Kafka's numbers.
pub fn source(number: i8) -> &'static str {
    match number {
        1 => "topic",
        2 => "broker",
        3 => "all brokers",
        4 => "properties file",
        5 => "default",
        6 => "logger",
        7 => "client metrics",
        8 => "group",
        _ => "unknown",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resources_are_a_kind_and_a_name() {
        assert_eq!(parse("topic/a/b"), Ok(ConfigResource::Topic("a/b".to_owned())));
        assert_eq!(parse("broker/7"), Ok(ConfigResource::Broker(7)));
        assert_eq!(parse("brokers"), Ok(ConfigResource::AllBrokers));
        assert_eq!(parse("loggers/7"), Ok(ConfigResource::Loggers(7)));
        assert_eq!(parse("group/g"), Ok(ConfigResource::Group("g".to_owned())));
        assert_eq!(parse("client-metrics/m"), Ok(ConfigResource::ClientMetrics("m".to_owned())));
        for wrong in ["", "t", "topic/", "topics/t", "broker/x", "broker"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
