//! Tidiness: what a reviewer would have to look for in every change, checked by a machine instead.

mod dependencies;
mod generated;
mod pages;
mod sizes;
mod source;
mod words;
