//! The JavaScript glue of the wasm, by wasm-bindgen's own library in the version that the lock file pins for both sides.

use std::path::Path;

use wasm_bindgen_cli_support::Bindgen;

use crate::error::{CliError, Result};
use crate::terminal::Step;

/// Stem of the files that it writes: hearth.js, hearth.d.ts, hearth_bg.wasm.
const STEM: &str = "hearth";

/// Writes glue and wasm of `module` into `folder`.
pub fn generate(module: &Path, folder: &Path) -> Result<()> {
    let step = Step::start("Making the JavaScript glue");
    let refused = |error: &dyn std::fmt::Display| CliError::Bindgen {
        path: module.to_path_buf(),
        detail: error.to_string(),
    };
    let mut bindgen = Bindgen::new();
    bindgen.input_path(module).out_name(STEM).typescript(true).remove_producers_section(true);
    // The bundler puts the wasm beside the worker script, so the glue must not look for it by itself.
    bindgen.omit_default_module_path(true);
    bindgen
        .web(true)
        .and_then(|bindgen| bindgen.generate(folder))
        .map_err(|error| refused(&format!("{error:#}")))?;
    step.finish();
    Ok(())
}
