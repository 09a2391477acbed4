//! Kubernetes resources of Milena and, later, their reconciler.
//!
//! Today this crate owns the shapes: the custom resources `Topic` and `ConsumerGroup` with the rules that the API server
//! checks before anything reaches a cluster. Reconciling is deliberately absent until the cluster has several nodes.

pub mod crd;
