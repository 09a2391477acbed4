//! Custom resources of the group `milena.dev`, and their definitions as the API server wants them.

mod config_value;
mod consumer_group;
mod topic;

use kube::CustomResourceExt;

pub use config_value::ConfigValue;
pub use consumer_group::{ConsumerGroup, ConsumerGroupSpec, ConsumerGroupStatus, LagObjective, Members};
pub use topic::{
    Adoption, ClusterRef, ConfigPolicy, DeletionPolicy, DriftPolicy, Topic, TopicSpec, TopicStatus,
};

/// All definitions as one YAML stream, a document each.
pub fn to_yaml() -> Result<String, serde_yaml::Error> {
    let definitions = [Topic::crd(), ConsumerGroup::crd()];
    let documents = definitions.iter().map(serde_yaml::to_string).collect::<Result<Vec<_>, _>>()?;
    Ok(documents.join("---\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn definitions_are_namespaced_and_in_our_group() {
        for definition in [Topic::crd(), ConsumerGroup::crd()] {
            assert_eq!(definition.spec.group, "milena.dev");
            assert_eq!(definition.spec.scope, "Namespaced");
        }
    }

    #[test]
    fn partitions_may_only_grow_is_a_rule_of_the_schema() {
        let yaml = to_yaml().expect("definitions serialise");
        assert!(yaml.contains("self >= oldSelf"), "{yaml}");
        assert!(yaml.contains("topicName is immutable"), "{yaml}");
    }
}
