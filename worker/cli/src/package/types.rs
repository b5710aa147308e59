//! The TypeScript of the wire: written from worker/protocol, and compared with it in the tests.

use std::fs;

use crate::error::{CliError, Result};
use crate::terminal;
use crate::workspace::Workspace;

/// Writes the file if it differs.
pub fn write(workspace: &Workspace) -> Result<()> {
    let path = workspace.protocol_types();
    let wanted = hearth_protocol::typescript();
    if fs::read_to_string(&path).is_ok_and(|text| text == wanted) {
        return Ok(());
    }
    fs::write(&path, wanted).map_err(CliError::file("write", &path))?;
    terminal::note(&format!("wrote {} anew; commit it", path.display()));
    Ok(())
}

/// Fails if the file differs.
pub fn check(workspace: &Workspace) -> Result<()> {
    let path = workspace.protocol_types();
    let text = fs::read_to_string(&path).map_err(CliError::file("read", &path))?;
    match first_difference(&text, &hearth_protocol::typescript()) {
        Some(line) => Err(CliError::StaleTypes { path, line }),
        None => Ok(()),
    }
}

/// Number of the first line that differs, from 1.
fn first_difference(left: &str, right: &str) -> Option<usize> {
    if left == right {
        return None;
    }
    let same = left.split('\n').zip(right.split('\n')).take_while(|(left, right)| left == right).count();
    Some(same + 1)
}

#[cfg(test)]
mod tests {
    use super::first_difference;

    #[test]
    fn a_difference_is_found_in_its_line() {
        assert_eq!(first_difference("a\nb\n", "a\nb\n"), None);
        assert_eq!(first_difference("a\nb\n", "a\nc\n"), Some(2));
        assert_eq!(first_difference("a\n", "a\nb\n"), Some(2));
        assert_eq!(first_difference("", "a"), Some(1));
    }
}
