//! What the global options come to: settings, the output format, the way to the cluster.

use std::collections::BTreeMap;

use milena_client::admin::Admin;
use milena_client::config::Settings;
use milena_client::{ClientConfig, Cluster};

use crate::cli::{Format, Global};
use crate::error::{Error, Result};
use crate::progress;
use crate::properties;

/// What every command gets.
#[derive(Debug)]
pub struct Context {
    pub format: Format,
    properties: BTreeMap<String, String>,
}

impl Context {
    pub fn new(global: Global) -> Result<Self> {
        let mut properties = match &global.command_config {
            Some(path) => {
                properties::parse(&std::fs::read_to_string(path).map_err(|error| Error::file(path, error))?)
            }
            None => BTreeMap::new(),
        };
        for property in &global.properties {
            let named = property.split_once('=');
            let (name, value) =
                named.ok_or_else(|| Error::Usage(format!("-X {property}: NAME=VALUE is needed")))?;
            properties.insert(name.trim().to_owned(), value.trim().to_owned());
        }
        if let Some(servers) = global.bootstrap_server {
            properties.insert("bootstrap.servers".to_owned(), servers);
        }
        let context = Self { format: global.output, properties };
        context.settings(&[], &[])?;
        Ok(context)
    }

    /// Settings with what a command prefers where the user said nothing, and with what its own options say.
    pub fn settings(&self, preferred: &[(&str, &str)], said: &[(&str, Option<String>)]) -> Result<Settings> {
        let mut properties = self.properties.clone();
        for (name, value) in preferred {
            properties.entry((*name).to_owned()).or_insert_with(|| (*value).to_owned());
        }
        for (name, value) in said {
            if let Some(value) = value {
                properties.insert((*name).to_owned(), value.clone());
            }
        }
        Ok(Settings::parse(&properties)?)
    }

    /// A cluster of which at least one broker answers. Tried once: a user who mistyped should know at once.
    pub async fn connect(&self) -> Result<Admin> {
        self.connect_with(self.settings(&[], &[])?.client).await
    }

    pub async fn connect_with(&self, config: ClientConfig) -> Result<Admin> {
        let servers = config.bootstrap_servers.join(", ");
        let cluster = Cluster::new(config);
        progress::during(&format!("connecting to {servers}"), cluster.any()).await?;
        Ok(Admin::new(cluster))
    }

    pub fn is_json(&self) -> bool {
        self.format == Format::Json
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context(properties: &[&str], server: Option<&str>) -> Result<Context> {
        Context::new(Global {
            bootstrap_server: server.map(str::to_owned),
            output: Format::Table,
            command_config: None,
            properties: properties.iter().map(|property| (*property).to_owned()).collect(),
        })
    }

    #[test]
    fn a_command_prefers_the_user_decides() {
        let context = context(&["linger.ms=7"], Some("a:1")).expect("valid");
        let settings =
            context.settings(&[("linger.ms", "50"), ("batch.size", "9")], &[("acks", Some("1".to_owned()))]);
        let settings = settings.expect("valid");
        assert_eq!(settings.client.bootstrap_servers, ["a:1"]);
        assert_eq!(settings.producer.linger.as_millis(), 7);
        assert_eq!(settings.producer.batch_size, 9);
        assert_eq!(settings.producer.acks, milena_client::config::Acks::Leader);
    }

    #[test]
    fn a_wrong_property_is_found_before_anything_is_dialled() {
        assert!(context(&["no.such.property=1"], None).is_err());
        assert!(matches!(context(&["linger.ms"], None), Err(Error::Usage(_))));
    }
}
