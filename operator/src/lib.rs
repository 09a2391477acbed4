//! Kubernetes resources of Milena and, later, their reconciler.
//!
//! Today this crate owns the shapes: the custom resources `Topic` and `ConsumerGroup` with the rules that the API server
//! checks before anything reaches a cluster. Nothing is reconciled yet: a resource changes no cluster.

pub mod crd;
