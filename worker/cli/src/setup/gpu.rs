//! A Vulkan driver for the native GPU code: a real one where there is a GPU, else Mesa's software driver.

use std::fs;
use std::path::{Path, PathBuf};

use crate::error::Result;
use crate::setup::system;

/// Variables by which the Vulkan loader is told its drivers; whoever set one has chosen.
const LOADER_VARIABLES: [&str; 2] = ["VK_DRIVER_FILES", "VK_ICD_FILENAMES"];
/// Folders in which drivers announce themselves.
const DRIVER_FOLDERS: [&str; 3] =
    ["/usr/share/vulkan/icd.d", "/etc/vulkan/icd.d", "/usr/local/share/vulkan/icd.d"];
/// Brings the loader and Mesa's drivers, the software one among them.
const PACKAGES: [&str; 2] = ["libvulkan1", "mesa-vulkan-drivers"];
/// How the software driver's file begins.
const SOFTWARE_DRIVER: &str = "lvp_icd";

/// What the native code can run on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Driver {
    /// The system's own choice: a real GPU, a driver named in the environment, or a system without Vulkan.
    SystemChoice,
    /// The software driver described by this file.
    Software(PathBuf),
}

impl Driver {
    /// What this machine has now; installs nothing.
    pub fn find() -> Option<Self> {
        if !cfg!(target_os = "linux") || LOADER_VARIABLES.iter().any(|name| std::env::var_os(name).is_some())
        {
            return Some(Self::SystemChoice);
        }
        let drivers = drivers();
        if has_gpu() && drivers.iter().any(|file| !is_software(file)) {
            return Some(Self::SystemChoice);
        }
        drivers.into_iter().find(|file| is_software(file)).map(Self::Software)
    }

    /// What this machine has, after installing it where it has none.
    pub fn ensure() -> Result<Self> {
        if let Some(driver) = Self::find() {
            return Ok(driver);
        }
        system::install(&PACKAGES)?;
        // A machine whose only driver is of an unknown kind is left to the loader.
        Ok(Self::find().unwrap_or(Self::SystemChoice))
    }

    /// Environment under which child processes use this driver.
    pub fn environment(&self) -> Vec<(&'static str, PathBuf)> {
        match self {
            Self::SystemChoice => Vec::new(),
            Self::Software(file) => {
                vec![("VK_DRIVER_FILES", file.clone()), ("VK_ICD_FILENAMES", file.clone())]
            }
        }
    }

    /// For people.
    pub fn describe(&self) -> String {
        match self {
            Self::SystemChoice => "the system's own choice".to_owned(),
            Self::Software(file) => format!("software ({})", file.display()),
        }
    }
}

/// Whether there is an NVIDIA GPU with its driver.
pub fn has_nvidia() -> bool {
    Path::new("/dev/nvidia0").exists()
}

fn has_gpu() -> bool {
    let has_render_node = fs::read_dir("/dev/dri").is_ok_and(|nodes| {
        nodes.flatten().any(|node| node.file_name().to_string_lossy().starts_with("renderD"))
    });
    has_nvidia() || has_render_node
}

fn is_software(file: &Path) -> bool {
    file.file_name().is_some_and(|name| name.to_string_lossy().starts_with(SOFTWARE_DRIVER))
}

fn drivers() -> Vec<PathBuf> {
    let files = DRIVER_FOLDERS.iter().filter_map(|folder| fs::read_dir(folder).ok()).flatten().flatten();
    let mut files: Vec<PathBuf> = files
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|kind| kind == "json"))
        .collect();
    files.sort();
    files
}
