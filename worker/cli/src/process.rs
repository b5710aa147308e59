//! Child processes: started in a clean environment, watched, ended when they stall. Knows no particular program.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use crate::error::{CliError, Result};
use crate::terminal::Step;

/// Last lines of output kept for an error message.
const TAIL_LINES: usize = 15;
/// First lines that speak of an error, kept as well: tools like npm and cargo name the cause there and end with advice.
const CAUSE_LINES: usize = 5;
/// How often a running child is looked at.
const POLL: Duration = Duration::from_millis(100);

/// Where a line of a child's output came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Its standard output.
    Stdout,
    /// Its standard error.
    Stderr,
}

/// A program to run, with its arguments.
pub struct Tool {
    command: Command,
    stdin: Option<String>,
    stall_limit: Option<Duration>,
}

impl Tool {
    /// A program by name (looked up on PATH) or by path. What `cargo run` adds to the environment is taken out again,
    /// so that a nested cargo or a system compiler is not misled by it.
    pub fn new(program: impl AsRef<OsStr>) -> Self {
        let mut command = Command::new(program);
        for (name, _) in std::env::vars_os() {
            if is_set_by_cargo_run(&name) {
                command.env_remove(name);
            }
        }
        match library_path_without_toolchain() {
            Some(path) => command.env("LD_LIBRARY_PATH", path),
            None => command.env_remove("LD_LIBRARY_PATH"),
        };
        Self { command, stdin: None, stall_limit: None }
    }

    /// Adds one argument.
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.command.arg(argument);
        self
    }

    /// Adds arguments.
    pub fn args<S: AsRef<OsStr>>(mut self, arguments: impl IntoIterator<Item = S>) -> Self {
        self.command.args(arguments);
        self
    }

    /// Sets an environment variable.
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Sets several environment variables.
    pub fn envs<N: AsRef<OsStr>, V: AsRef<OsStr>>(
        mut self,
        variables: impl IntoIterator<Item = (N, V)>,
    ) -> Self {
        self.command.envs(variables);
        self
    }

    /// Sets the working directory.
    pub fn directory(mut self, path: &Path) -> Self {
        self.command.current_dir(path);
        self
    }

    /// Gives the child this text as its standard input.
    pub fn stdin(mut self, text: String) -> Self {
        self.stdin = Some(text);
        self
    }

    /// Ends the child when it prints nothing for this long.
    pub fn stall_limit(mut self, limit: Duration) -> Self {
        self.stall_limit = Some(limit);
        self
    }

    /// Runs it quietly and returns its standard output.
    pub fn capture(self) -> Result<String> {
        let mut stdout = String::new();
        self.each_line(|stream, line| {
            if stream == Stream::Stdout {
                stdout.push_str(line);
                stdout.push('\n');
            }
        })?;
        Ok(stdout)
    }

    /// Runs it as a part of `step`, whose message follows the last line that it prints.
    pub fn watch(self, step: &Step) -> Result<()> {
        self.each_line(|_, line| step.message(line))
    }

    /// Runs it and hands each line of its output to `on_line` as it comes.
    pub fn each_line(mut self, mut on_line: impl FnMut(Stream, &str)) -> Result<()> {
        let command_line = self.describe();
        let mut child = self.spawn()?;
        let mut kept = Kept::default();
        let (sender, lines) = mpsc::channel();
        let readers = [
            child.stdout.take().map(|pipe| read_lines(Stream::Stdout, pipe, sender.clone())),
            child.stderr.take().map(|pipe| read_lines(Stream::Stderr, pipe, sender.clone())),
        ];
        drop(sender);

        let mut silent = Duration::ZERO;
        let status = loop {
            match lines.recv_timeout(POLL) {
                Ok((stream, line)) => {
                    silent = Duration::ZERO;
                    on_line(stream, &line);
                    kept.push(line);
                }
                Err(RecvTimeoutError::Timeout) => {
                    silent += POLL;
                    // A grandchild may keep the pipes open after the child has ended.
                    if let Some(status) = self.poll(&mut child)? {
                        break status;
                    }
                    if self.stall_limit.is_some_and(|limit| silent >= limit) {
                        let _ = child.kill();
                        let _ = child.wait();
                        return Err(CliError::Stalled { command: command_line, seconds: silent.as_secs() });
                    }
                }
                Err(RecvTimeoutError::Disconnected) => break self.wait(&mut child)?,
            }
        };
        drop((readers, lines));
        if status.success() {
            Ok(())
        } else {
            Err(CliError::ProgramFailed { command: command_line, status, tail: kept.into_lines() })
        }
    }

    /// Whether it runs and succeeds; all output is dropped.
    pub fn succeeds(self) -> bool {
        self.each_line(|_, _| {}).is_ok()
    }

    fn spawn(&mut self) -> Result<Child> {
        let stdin = if self.stdin.is_some() { Stdio::piped() } else { Stdio::null() };
        let mut child = self
            .command
            .stdin(stdin)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|source| CliError::Spawn { program: self.program(), source })?;
        if let (Some(text), Some(mut pipe)) = (self.stdin.take(), child.stdin.take()) {
            // A child that ends without reading says why by its status.
            let _ = pipe.write_all(text.as_bytes());
        }
        Ok(child)
    }

    fn poll(&self, child: &mut Child) -> Result<Option<ExitStatus>> {
        child.try_wait().map_err(|source| CliError::Spawn { program: self.program(), source })
    }

    fn wait(&self, child: &mut Child) -> Result<ExitStatus> {
        child.wait().map_err(|source| CliError::Spawn { program: self.program(), source })
    }

    fn program(&self) -> String {
        self.command.get_program().to_string_lossy().into_owned()
    }

    fn describe(&self) -> String {
        let arguments = self.command.get_args().map(OsStr::to_string_lossy);
        std::iter::once(self.command.get_program().to_string_lossy())
            .chain(arguments)
            .collect::<Vec<_>>()
            .join(" ")
    }
}

/// The part of a child's output that an error message shows.
#[derive(Default)]
struct Kept {
    causes: Vec<String>,
    tail: VecDeque<String>,
}

impl Kept {
    fn push(&mut self, line: String) {
        self.tail.push_back(line);
        if self.tail.len() > TAIL_LINES
            && let Some(old) = self.tail.pop_front()
            && self.causes.len() < CAUSE_LINES
            && old.to_ascii_lowercase().contains("error")
            && old.len() > "npm error ".len()
        {
            self.causes.push(old);
        }
    }

    fn into_lines(self) -> Vec<String> {
        self.causes.into_iter().chain(self.tail).collect()
    }
}

/// The program of this name on PATH.
pub fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let file_name = format!("{name}{}", std::env::consts::EXE_SUFFIX);
    std::env::split_paths(&path).map(|folder| folder.join(&file_name)).find(|file| is_executable(file))
}

/// Whether this is a file that the user may run.
pub fn is_executable(path: &Path) -> bool {
    let Ok(metadata) = path.metadata() else { return false };
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        metadata.is_file() && metadata.permissions().mode() & 0o111 != 0
    }
    #[cfg(not(unix))]
    metadata.is_file()
}

/// The name under which npm's own programs are started: a script with an extension on Windows.
pub fn npm_program(name: &str) -> String {
    if cfg!(windows) { format!("{name}.cmd") } else { name.to_owned() }
}

fn read_lines(
    stream: Stream,
    pipe: impl Read + Send + 'static,
    sender: mpsc::Sender<(Stream, String)>,
) -> std::thread::JoinHandle<()> {
    std::thread::spawn(move || {
        let mut reader = BufReader::new(pipe);
        let mut bytes = Vec::new();
        // Bytes, not lines(): output that is not UTF-8 must not end the reading.
        while matches!(reader.read_until(b'\n', &mut bytes), Ok(count) if count > 0) {
            let line = String::from_utf8_lossy(&bytes).trim_end_matches(['\n', '\r']).to_owned();
            if sender.send((stream, line)).is_err() {
                break;
            }
            bytes.clear();
        }
    })
}

fn is_set_by_cargo_run(name: &OsStr) -> bool {
    let Some(name) = name.to_str() else { return false };
    name == "CARGO"
        || name.starts_with("CARGO_MANIFEST_")
        || name.starts_with("CARGO_PKG_")
        || name == "CARGO_BIN_NAME"
        || name == "CARGO_CRATE_NAME"
        || name == "CARGO_PRIMARY_PACKAGE"
}

/// LD_LIBRARY_PATH without the folders of rustup's toolchains and of the build, which cargo put there.
fn library_path_without_toolchain() -> Option<OsString> {
    let path = std::env::var_os("LD_LIBRARY_PATH")?;
    let kept: Vec<PathBuf> = std::env::split_paths(&path)
        .filter(|folder| {
            let text = folder.to_string_lossy();
            !folder.as_os_str().is_empty()
                && !text.contains("/toolchains/")
                && !text.contains("/target/debug")
        })
        .collect();
    if kept.is_empty() { None } else { std::env::join_paths(kept).ok() }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    fn shell(script: &str) -> Tool {
        Tool::new("sh").args(["-c", script])
    }

    #[test]
    fn captures_stdout_and_not_stderr() {
        assert_eq!(shell("echo out; echo err >&2").capture().unwrap(), "out\n");
    }

    #[test]
    fn a_failure_carries_the_command_and_the_end_of_its_output() {
        let error = shell("echo one; echo two >&2; exit 3").capture().unwrap_err();
        let CliError::ProgramFailed { command, status, tail } = error else { panic!("{error}") };
        assert!(command.starts_with("sh -c"), "{command}");
        assert_eq!(status.code(), Some(3));
        assert!(tail.contains(&"one".to_owned()) && tail.contains(&"two".to_owned()), "{tail:?}");
    }

    #[test]
    fn the_first_error_is_kept_however_much_is_printed_after_it() {
        let error = shell("echo error: the cause; seq 1 100; exit 1").capture().unwrap_err();
        let CliError::ProgramFailed { tail, .. } = error else { panic!("{error}") };
        assert_eq!(tail.first().map(String::as_str), Some("error: the cause"));
        assert_eq!(tail.last().map(String::as_str), Some("100"));
        assert_eq!(tail.len(), 1 + TAIL_LINES);
    }

    #[test]
    fn a_silent_child_is_ended() {
        let error = shell("sleep 30").stall_limit(Duration::from_millis(300)).capture().unwrap_err();
        assert!(matches!(error, CliError::Stalled { .. }), "{error}");
    }

    #[test]
    fn a_missing_program_is_a_spawn_error_that_names_it() {
        let error = Tool::new("no-such-program-hearth").capture().unwrap_err();
        assert!(error.to_string().contains("no-such-program-hearth"), "{error}");
    }

    #[test]
    fn stdin_reaches_the_child() {
        assert_eq!(Tool::new("cat").stdin("hello".to_owned()).capture().unwrap(), "hello\n");
    }

    #[test]
    fn a_nested_cargo_does_not_see_the_outer_ones_variables() {
        let seen = Tool::new("env").capture().unwrap();
        assert!(!seen.contains("CARGO_MANIFEST_DIR="), "{seen}");
    }
}
