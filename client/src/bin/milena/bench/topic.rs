//! The topic of a run: there already, or made by `--create`.

use milena_client::admin::{Admin, NewTopic};
use milena_protocol::ErrorCode;

use crate::error::{Error, Result};
use crate::{progress, text};

#[derive(Debug, Clone, clap::Args)]
pub struct Creation {
    /// Create the topic first, unless it is there
    #[arg(long)]
    create: bool,
    /// Partitions of the topic that is created [default: the broker's num.partitions]
    #[arg(long, value_name = "COUNT", requires = "create", value_parser = text::at_least::<i32, 1>, allow_negative_numbers = true)]
    partitions: Option<i32>,
    /// Replicas of each of its partitions [default: the broker's default.replication.factor]
    #[arg(long, value_name = "COUNT", requires = "create", value_parser = text::at_least::<i16, 1>, allow_negative_numbers = true)]
    replication_factor: Option<i16>,
}

impl Creation {
    /// Creates the topic where that was asked for, and sees that it is there.
    pub async fn find(&self, admin: &Admin, topic: &str) -> Result<()> {
        if self.create {
            progress::during(&format!("creating topic {topic}"), self.create(admin, topic)).await?;
        }
        let looking = admin.cluster().topic(topic, self.create);
        progress::during(&format!("looking for topic {topic}"), looking).await?;
        Ok(())
    }

    async fn create(&self, admin: &Admin, topic: &str) -> Result<()> {
        let new = NewTopic {
            name: topic.to_owned(),
            partitions: self.partitions,
            replication_factor: self.replication_factor,
            ..NewTopic::default()
        };
        for (_, created) in admin.create_topics(&[new], false).await? {
            match created {
                Err(error) if error.code() == Some(ErrorCode::TopicAlreadyExists) => {}
                created => drop(created.map_err(Error::Client)?),
            }
        }
        Ok(())
    }
}
