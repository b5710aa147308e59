//! The browser side of the worker: messages, clients, loads, and the store of weights. The only crate with web-sys.
//!
//! JavaScript sees [`host::Host`], and [`evaluation::Evaluation`] for comparing numbers. Empty on other targets than wasm, so that the workspace builds everywhere.
#![cfg(target_arch = "wasm32")]

mod browser;
mod client;
mod clients;
mod device;
mod error;
pub mod evaluation;
pub mod host;
mod load;
mod log;
mod message;
mod models;
mod persisted;
mod progress;
mod pull;
mod questions;
mod replies;
mod store;
mod worker;
