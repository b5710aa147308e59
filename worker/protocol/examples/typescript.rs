//! Prints the wire types as TypeScript.

use std::io::Write;

fn main() -> std::io::Result<()> {
    std::io::stdout().write_all(hearth_protocol::typescript().as_bytes())
}
