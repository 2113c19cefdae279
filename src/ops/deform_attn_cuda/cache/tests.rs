use std::os::unix::fs::{symlink, PermissionsExt};

use super::*;

/// A directory of its own per test, removed at the end.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("dsct-cache-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        Self(path)
    }

    fn cache(&self) -> Cache {
        Cache::At(self.0.clone())
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn flags(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|&text| text.to_owned()).collect()
}

fn key() -> Key {
    Key::new("source", &flags(&["-DA=1", "-DB=2"]), "sm_90", (13, 0))
}

#[test]
fn every_part_changes_the_key() {
    let others = [
        Key::new("source ", &flags(&["-DA=1", "-DB=2"]), "sm_90", (13, 0)),
        Key::new("source", &flags(&["-DA=1", "-DB=3"]), "sm_90", (13, 0)),
        Key::new("source", &flags(&["-DA=1-DB=2"]), "sm_90", (13, 0)),
        Key::new("source", &flags(&["-DA=1", "-DB=2"]), "compute_90", (13, 0)),
        Key::new("source", &flags(&["-DA=1", "-DB=2"]), "sm_90", (13, 1)),
    ];
    assert_eq!(key(), key());
    assert!(others.iter().all(|other| *other != key()));
    assert_eq!(key().0.len(), 64);
}

#[test]
fn stored_entries_come_back_and_nothing_else_is_left() {
    let directory = Directory::new("round");
    let cache = directory.cache();
    assert_eq!(cache.load(&key()), None);
    cache.store(&key(), b"image");
    assert_eq!(cache.load(&key()).as_deref(), Some(&b"image"[..]));
    assert_eq!(fs::read_dir(&directory.0).unwrap().count(), 1);
    assert_eq!(fs::metadata(&directory.0).unwrap().permissions().mode() & 0o777, 0o700);
}

#[test]
fn torn_altered_and_renamed_entries_are_ignored() {
    let directory = Directory::new("torn");
    let cache = directory.cache();
    cache.store(&key(), b"image");
    let entry = directory.0.join(&key().0);
    let whole = fs::read(&entry).unwrap();
    let mut altered = whole.clone();
    altered[DIGEST] ^= 1;
    for bytes in [&whole[..whole.len() - 1], &whole[..DIGEST - 1], &[], &altered] {
        fs::write(&entry, bytes).unwrap();
        assert_eq!(cache.load(&key()), None);
    }
    let other = Key::new("other", &[], "sm_90", (13, 0));
    fs::write(directory.0.join(&other.0), &whole).unwrap();
    assert_eq!(cache.load(&other), None, "an entry of another key");
}

#[test]
fn what_others_can_write_is_refused() {
    let directory = Directory::new("foreign");
    let cache = directory.cache();
    cache.store(&key(), b"image");
    let entry = directory.0.join(&key().0);
    fs::set_permissions(&entry, fs::Permissions::from_mode(0o666)).unwrap();
    assert_eq!(cache.load(&key()), None, "a file that others can write");
    fs::set_permissions(&entry, fs::Permissions::from_mode(0o600)).unwrap();
    fs::set_permissions(&directory.0, fs::Permissions::from_mode(0o770)).unwrap();
    assert_eq!(cache.load(&key()), None, "a directory that others can write");
    assert!(cache.directory().unwrap_err().contains("can be written by others"));
    fs::remove_file(&entry).unwrap();
    cache.store(&key(), b"image");
    assert_eq!(fs::read_dir(&directory.0).unwrap().count(), 0, "nor is anything written there");
}

#[test]
fn a_place_that_is_no_directory_is_no_error() {
    let directory = Directory::new("file");
    fs::write(&directory.0, b"").unwrap();
    directory.cache().store(&key(), b"image");
    assert_eq!(directory.cache().load(&key()), None);
    fs::remove_file(&directory.0).unwrap();
    symlink("/nonexistent/place", &directory.0).unwrap();
    directory.cache().store(&key(), b"image");
    fs::remove_file(&directory.0).unwrap();
}

#[test]
fn the_environment_decides_the_place() {
    let choose = |setting: Option<&'static str>, xdg: Option<&'static str>, home: Option<&'static str>| {
        Cache::choose(setting.map(OsStr::new), xdg.map(OsStr::new), home.map(OsStr::new))
    };
    let at = |path: &str| Cache::At(PathBuf::from(path));
    assert_eq!(choose(Some("/a"), Some("/b"), Some("/c")), at("/a"));
    assert_eq!(choose(None, Some("/b"), Some("/c")), at("/b/dsct"));
    assert_eq!(choose(None, Some("b"), Some("/c")), at("/c/.cache/dsct"));
    assert!(matches!(choose(Some("off"), Some("/b"), Some("/c")), Cache::Off(_)));
    assert!(matches!(choose(None, None, None), Cache::Off(_)));
}
