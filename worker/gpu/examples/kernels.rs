//! Writes the WGSL of every kernel variant, as browsers get it, to a JSON file: a list of `{label, source, subgroups}`.
//!
//! A browser's compiler checks what naga does not, for example that barriers are in uniform control flow.
//! `cargo run -p hearth-gpu --example kernels -- kernels.json`

#[path = "../tests/support/catalog.rs"]
mod catalog;

use std::process::ExitCode;

use hearth_gpu::kernel::{Dialect, SUBGROUPS};
use serde_json::json;

fn main() -> ExitCode {
    let Some(path) = std::env::args_os().nth(1) else { return ExitCode::from(2) };
    let kernels: Vec<_> = catalog::all_kernels()
        .iter()
        .map(|kernel| {
            let subgroups = kernel.enables.contains(&SUBGROUPS);
            json!({ "label": kernel.label, "source": kernel.source(Dialect::Browser), "subgroups": subgroups })
        })
        .collect();
    match std::fs::write(path, json!(kernels).to_string()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}
