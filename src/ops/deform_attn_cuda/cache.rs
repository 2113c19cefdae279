//! Compiled kernels on disk, so that only the first process on a machine waits for the compiler.
//!
//! The driver executes what is in here, so nothing is taken from a directory or a file that somebody else could have
//! written. A missing, torn, altered or refused entry costs a compilation and is never an error.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use sha2::{Digest, Sha256};

const DIGEST: usize = 32;

/// Everything that decides what the compiler makes, as one name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Key(String);

impl Key {
    /// Of the text, all flags with the architecture, and the compiler's version; the crate's version is added.
    pub(super) fn new(source: &str, flags: &[String], architecture: &str, compiler: (i32, i32)) -> Self {
        let (major, minor) = compiler;
        let mut hash = Sha256::new();
        let mut part = |text: &str| {
            hash.update((text.len() as u64).to_le_bytes()); // so that no two lists run into the same text
            hash.update(text);
        };
        part(env!("CARGO_PKG_VERSION"));
        part(&format!("{major}.{minor}"));
        part(architecture);
        flags.iter().for_each(|flag| part(flag));
        part(source);
        Self(hex(&hash.finalize()))
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Over the key too: an entry under another name is as foreign as an altered one.
fn digest(key: &Key, image: &[u8]) -> [u8; DIGEST] {
    Sha256::new().chain_update(&key.0).chain_update(image).finalize().into()
}

/// Where the entries are.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Cache {
    /// In this directory, if it turns out to be ours alone.
    At(PathBuf),
    /// Nowhere, and why.
    Off(&'static str),
}

impl Cache {
    /// As the environment says at this moment.
    pub(super) fn from_environment() -> Self {
        let get = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        Self::choose(get("DSCT_KERNEL_CACHE").as_deref(), get("XDG_CACHE_HOME").as_deref(), get("HOME").as_deref())
    }

    fn choose(setting: Option<&OsStr>, cache_home: Option<&OsStr>, home: Option<&OsStr>) -> Self {
        if let Some(setting) = setting {
            let off = setting.eq_ignore_ascii_case("off");
            return if off { Self::Off("DSCT_KERNEL_CACHE=off") } else { Self::At(setting.into()) };
        }
        // A relative XDG_CACHE_HOME is to be ignored, says its specification.
        let cache_home = cache_home.map(PathBuf::from).filter(|path| path.is_absolute());
        let parent = cache_home.or_else(|| home.map(|home| Path::new(home).join(".cache")));
        parent.map_or(Self::Off("neither XDG_CACHE_HOME nor HOME is set"), |parent| Self::At(parent.join("dsct")))
    }

    /// The directory, made if need be, or why there is none.
    pub(super) fn directory(&self) -> Result<&Path, String> {
        let path = match self {
            Self::At(path) => path,
            Self::Off(reason) => return Err((*reason).to_owned()),
        };
        let refused = |reason: String| format!("{}: {reason}", path.display());
        create_private(path).map_err(|error| refused(error.to_string()))?;
        let about = fs::metadata(path).map_err(|error| refused(error.to_string()))?;
        if !about.is_dir() {
            return Err(refused("not a directory".to_owned()));
        }
        match foreign(&about) {
            Some(reason) => Err(refused(format!("refused, it {reason}"))),
            None => Ok(path),
        }
    }

    /// The image under this key, if it is there, ours and whole.
    pub(super) fn load(&self, key: &Key) -> Option<Vec<u8>> {
        let mut file = File::open(self.directory().ok()?.join(&key.0)).ok()?;
        if foreign(&file.metadata().ok()?).is_some() {
            return None;
        }
        let mut entry = Vec::new();
        file.read_to_end(&mut entry).ok()?;
        let (front, image) = entry.split_at_checked(DIGEST)?;
        (front == digest(key, image)).then(|| image.to_vec())
    }

    /// Writes aside and renames, so that readers see the whole entry or none.
    pub(super) fn store(&self, key: &Key, image: &[u8]) {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let Ok(directory) = self.directory() else { return };
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let aside = directory.join(format!("{}.{}.{number}.tmp", key.0, std::process::id()));
        let written = create_new(&aside).and_then(|mut file| {
            file.write_all(&digest(key, image))?;
            file.write_all(image)?;
            fs::rename(&aside, directory.join(&key.0))
        });
        if written.is_err() {
            let _ = fs::remove_file(&aside); // a full disk: the next process tries again
        }
    }
}

#[cfg(unix)]
fn create_private(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

#[cfg(unix)]
fn create_new(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

/// Who else could have written this, or nobody.
#[cfg(unix)]
fn foreign(about: &fs::Metadata) -> Option<&'static str> {
    use std::os::unix::fs::MetadataExt;
    extern "C" {
        fn geteuid() -> u32;
    }
    // SAFETY: POSIX, always succeeds.
    if about.uid() != unsafe { geteuid() } {
        return Some("belongs to another user");
    }
    (about.mode() & 0o022 != 0).then_some("can be written by others")
}

#[cfg(not(unix))]
fn create_private(path: &Path) -> io::Result<()> {
    fs::create_dir_all(path)
}

#[cfg(not(unix))]
fn create_new(path: &Path) -> io::Result<File> {
    File::create_new(path)
}

#[cfg(not(unix))]
fn foreign(_about: &fs::Metadata) -> Option<&'static str> {
    None // a user's profile is closed to others there
}

#[cfg(test)]
mod tests;
