//! From a URL path to a file, inside the folders that are served and nowhere else. Knows no HTTP.

use std::path::{Path, PathBuf};

/// File served for a folder.
const INDEX: &str = "index.html";

/// A folder served under a prefix.
#[derive(Clone, Debug)]
pub struct Mount {
    prefix: &'static str,
    folder: PathBuf,
}

/// What a path leads to.
#[derive(Debug, PartialEq, Eq)]
pub enum Target {
    /// A regular file inside a mount.
    File(PathBuf),
    /// A folder asked for without its final slash.
    Folder,
    /// Nothing that is served.
    Missing,
}

impl Mount {
    /// `prefix` begins and ends with a slash.
    pub fn new(prefix: &'static str, folder: PathBuf) -> Self {
        Self { prefix, folder }
    }
}

/// Finds what `url_path` leads to: the first mount whose prefix fits decides.
pub async fn find(mounts: &[Mount], url_path: &str) -> Target {
    let Some(mount) = mounts.iter().find(|mount| url_path.starts_with(mount.prefix)) else {
        // `/hearth` without its slash is a folder too.
        let with_slash = format!("{url_path}/");
        let is_mount = mounts.iter().any(|mount| mount.prefix == with_slash);
        return if is_mount { Target::Folder } else { Target::Missing };
    };
    let Some(relative) = decode(&url_path[mount.prefix.len()..]).as_deref().and_then(relative_path) else {
        return Target::Missing;
    };
    // Both sides with links resolved: a link may point elsewhere inside the mount, not out of it.
    let Ok(folder) = tokio::fs::canonicalize(&mount.folder).await else { return Target::Missing };
    let Ok(mut path) = tokio::fs::canonicalize(folder.join(relative)).await else { return Target::Missing };
    if path.starts_with(&folder) && path.is_dir() {
        if !url_path.ends_with('/') {
            return Target::Folder;
        }
        let Ok(index) = tokio::fs::canonicalize(path.join(INDEX)).await else { return Target::Missing };
        path = index;
    } else if url_path.ends_with('/') {
        return Target::Missing;
    }
    // Not a device or a pipe: reading one may never end.
    if path.starts_with(&folder) && path.is_file() { Target::File(path) } else { Target::Missing }
}

/// Content type by the file's extension.
pub fn content_type(path: &Path) -> &'static str {
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    match extension.to_ascii_lowercase().as_str() {
        "html" => "text/html; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "json" | "map" => "application/json",
        "webmanifest" => "application/manifest+json",
        "wasm" => "application/wasm",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "ico" => "image/x-icon",
        "txt" | "md" | "ts" | "wgsl" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

/// Undoes percent encoding; none for what is not UTF-8 or not well formed.
fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digit = |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16));
        let (high, low) = (digit(rest.next())?, digit(rest.next())?);
        bytes.push((high * 16 + low) as u8);
    }
    String::from_utf8(bytes).ok()
}

/// The path below the mount, or none for one that could lead out of it or to a hidden file.
fn relative_path(decoded: &str) -> Option<PathBuf> {
    let segments = decoded.split('/').filter(|segment| !segment.is_empty());
    let mut path = PathBuf::new();
    for segment in segments {
        // A leading dot covers `.`, `..` and hidden files; the others are separators or device marks on Windows.
        if segment.starts_with('.') || segment.contains(['\\', ':', '\0']) {
            return None;
        }
        path.push(segment);
    }
    Some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percent_encoding_is_undone_and_nonsense_refused() {
        assert_eq!(decode("a%20b%C3%A9").as_deref(), Some("a b\u{e9}"));
        assert_eq!(decode("%"), None);
        assert_eq!(decode("%g0"), None);
        assert_eq!(decode("%2"), None);
        assert_eq!(decode("%ff"), None);
    }

    #[test]
    fn no_path_leads_out_or_to_hidden_files() {
        for path in ["..", "a/../b", "./a", ".git/config", "a\\b", "c:", "a\0b"] {
            assert_eq!(relative_path(path), None, "{path:?}");
        }
        assert_eq!(relative_path("a//b.js"), Some(PathBuf::from("a/b.js")));
    }

    #[test]
    fn content_types_are_those_that_browsers_insist_on() {
        assert_eq!(content_type(Path::new("a.wasm")), "application/wasm");
        assert_eq!(content_type(Path::new("a.MJS")), "text/javascript; charset=utf-8");
        assert_eq!(content_type(Path::new("a.gguf")), "application/octet-stream");
        assert_eq!(content_type(Path::new("a")), "application/octet-stream");
    }
}
